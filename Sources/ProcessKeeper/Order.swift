import CSpawn
import Glibc

/// What is handed to the keeper for one run. The ends that the process gets are closed here when the order is let go.
final class Order {
    enum Outcome { case sent, later, keeperGone }

    let ticket: UInt64
    /// Our ends. Who takes the order on closes them.
    let line: Int32
    let output: Int32
    let error: Int32

    private let theirs: [gaia_order_descriptor: Int32]
    private let command: ProcessCommand

    /// Makes both ends of everything. Nil when descriptors or memory are used up; the reason is in `errno`.
    init?(_ ticket: UInt64, _ command: ProcessCommand, watch: Duration) {
        var opened: [Int32] = []
        func pair(_ make: (UnsafeMutablePointer<Int32>) -> Int32) -> (ours: Int32, theirs: Int32)? {
            var ends: [Int32] = [-1, -1]
            guard make(&ends) == 0 else { return nil }
            opened += ends
            return (ends[0], ends[1])
        }
        func file(_ number: Int32) -> Int32? {
            guard number >= 0 else { return nil }
            opened.append(number)
            return number
        }
        guard let line = pair(gaia_line), let output = pair(gaia_pipe), let error = pair(gaia_pipe),
            // Only the reading ends: how a program's own end behaves is its own affair.
            fcntl(output.ours, F_SETFL, O_NONBLOCK) == 0, fcntl(error.ours, F_SETFL, O_NONBLOCK) == 0,
            let request = file(JobRequest.file(command, watch: watch)),
            let input = file(Self.input(of: command)),
            let written = command.channel == nil ? output.theirs : file(fcntl(input, F_DUPFD_CLOEXEC, 0))
        else {
            let reason = errno
            for number in opened { close(number) }
            errno = reason
            return nil
        }
        // With a channel nobody writes to the pipe: its end is there from the beginning.
        if written != output.theirs { close(output.theirs) }
        self.ticket = ticket
        self.command = command
        (self.line, self.output, self.error) = (line.ours, output.ours, error.ours)
        theirs = [
            GAIA_ORDER_LINE: line.theirs, GAIA_ORDER_REQUEST: request, GAIA_ORDER_INPUT: input,
            GAIA_ORDER_OUTPUT: written, GAIA_ORDER_ERROR: error.theirs,
        ]
    }

    private static func input(of command: ProcessCommand) -> Int32 {
        if let channel = command.channel { return channel.take() }
        guard let bytes = command.input else { return open("/dev/null", O_RDONLY | O_CLOEXEC) }
        return bytes.withUnsafeBytes { gaia_memory_file($0.baseAddress, $0.count) }
    }

    deinit { for number in theirs.values { close(number) } }

    /// - Parameter root: where a process runs that names no directory.
    func place(_ socket: Int32, root: Int32) -> Outcome {
        var numbers = [Int32](repeating: -1, count: Int(GAIA_ORDER_COUNT.rawValue))
        for (place, number) in theirs { numbers[Int(place.rawValue)] = number }
        numbers[Int(GAIA_ORDER_EXECUTABLE.rawValue)] = command.executable.descriptor.number
        numbers[Int(GAIA_ORDER_DIRECTORY.rawValue)] = command.directory?.descriptor.number ?? root
        if gaia_keeper_order(socket, numbers) == 0 { return .sent }
        // ETOOMANYREFS: so many descriptors are on their way already that the kernel takes no more just now.
        return errno == EAGAIN || errno == ETOOMANYREFS ? .later : .keeperGone
    }
}

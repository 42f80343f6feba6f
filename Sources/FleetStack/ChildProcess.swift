import CSpawn
import Dispatch
import FoundationEssentials
import Glibc
import Synchronization

/// A child of this process, started, signalled and awaited.
///
/// It ends with us unless asked otherwise, even when we are killed outright. One thread per child, blocked in poll(2),
/// collects its output and its end; so a child never stays a zombie, and its id is never signalled once it has been
/// collected and may mean another.
public final class ChildProcess: Sendable {
    /// Where the child's standard output and standard error go. Its standard input is empty.
    public enum Output: Sendable, Hashable {
        /// To where ours go.
        case inherit
        /// Nowhere.
        case null
        /// To the end of this file, made when absent with mode 0600.
        case file(String)
        /// Into ``ChildProcess/capturedOutput``.
        case capture
    }

    /// How a process ended.
    public enum ExitStatus: Sendable, Hashable, CustomStringConvertible {
        case exited(Int32)
        case signalled(Int32)

        public var isSuccess: Bool { self == .exited(0) }

        public var description: String {
            switch self {
            case .exited(let code): "exited with code \(code)"
            case .signalled(let signal): "was ended by signal \(signal)"
            }
        }
    }

    /// At most so many bytes of output are kept. A child that writes more goes on unhindered; the surplus is dropped.
    public static let captureBytesMax = 16 << 20

    private struct State {
        var status: ExitStatus?
        var waiters: [UInt64: CheckedContinuation<ExitStatus?, Never>] = [:]
        var waiterCount: UInt64 = 0
        var output: [UInt8] = []
        /// Which stretches of `output` came by standard output; the others came by standard error.
        var stretches: [(isOutput: Bool, range: Range<Int>)] = []
        var isTruncated = false
    }

    public let processID: Int32
    /// The file that was executed.
    public let executable: String
    private let state = Mutex(State())

    private init(processID: Int32, executable: String) {
        self.processID = processID
        self.executable = executable
    }

    /// Starts a child; it runs the new program when this returns.
    ///
    /// - Parameters:
    ///   - executable: a path, or a name that is searched for in PATH.
    ///   - arguments: without the program's own name.
    ///   - environment: all of it; nil for ours.
    ///   - directory: its working directory; nil for ours.
    ///   - output: where standard output and standard error go.
    ///   - diesWithParent: whether it is killed when this process ends, however that comes.
    ///   - ownSession: whether it leaves our terminal and process group, so that Ctrl-C does not reach it.
    ///   - user: whom to become; needs us to be root. nil for ours.
    /// - Throws: ``StackError``.
    public static func start(
        executable: String,
        arguments: [String] = [],
        environment: [String: String]? = nil,
        directory: String? = nil,
        output: Output = .inherit,
        diesWithParent: Bool = true,
        ownSession: Bool = false,
        user: String? = nil
    ) throws -> ChildProcess {
        var account: Account?
        if let user {
            account = try Account(name: user)
            if account == nil { throw StackError(.startFailed, "There is no user \(user) to run \(executable) as.") }
        }
        return try start(
            ChildDescription(
                executable: try located(executable),
                arguments: arguments,
                environment: environment ?? ProcessInfo.processInfo.environment,
                directory: directory,
                ownSession: ownSession,
                parentDeathSignal: diesWithParent ? SIGKILL : 0,
                account: account
            ),
            output: output
        )
    }

    static func start(_ description: ChildDescription, output: Output) throws -> ChildProcess {
        var description = description
        var reading: (output: Int32, error: Int32)?
        var lent: [Int32] = []
        defer { for descriptor in lent { close(descriptor) } }
        switch output {
        case .inherit:
            (description.output, description.error) = (STDOUT_FILENO, STDERR_FILENO)
        case .null:
            break
        case .file(let path):
            let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw systemError("Cannot open \(path) for the output of a child") }
            lent = [descriptor]
            (description.output, description.error) = (descriptor, descriptor)
        case .capture:
            let output = try pipe()
            lent = [output.write]
            let error: (read: Int32, write: Int32)
            do { error = try pipe() } catch {
                close(output.read)
                throw error
            }
            lent.append(error.write)
            reading = (output.read, error.read)
            (description.output, description.error) = (output.write, error.write)
        }

        do {
            let processID = try Spawner.shared.spawn(description)
            let child = ChildProcess(processID: processID, executable: description.executable)
            try child.watch(reading)
            return child
        } catch {
            if let reading {
                close(reading.output)
                close(reading.error)
            }
            throw error
        }
    }

    /// Sends a signal. One sent after the end is lost without error, as it would be a moment earlier.
    public func signal(_ number: Int32) throws {
        try state.withLock { state in
            // Collected under the same lock: until then the id is the child's, alive or not.
            guard state.status == nil else { return }
            guard kill(processID, number) == 0 else {
                throw systemError("Cannot send signal \(number) to \(executable)")
            }
        }
    }

    /// Stops the child (SIGSTOP), and returns when it stands still or has ended. SIGCONT lets it go on.
    ///
    /// - Returns: whether it stands still.
    @discardableResult
    public func pause() async throws -> Bool {
        try signal(SIGSTOP)
        return try await awaitStandstill(of: processID, executable) { isRunning }
    }

    /// How the child ended; waits until it has.
    public func exitStatus() async -> ExitStatus {
        while true {
            if let status = await nextStatus(within: nil) { return status }
        }
    }

    /// How the child ended, or nil when it still runs at the end of the limit.
    public func exitStatus(within limit: Duration) async -> ExitStatus? { await nextStatus(within: limit) }

    /// Asks the child to end (SIGTERM), kills it when it has not after the grace, and tells how it ended.
    @discardableResult
    public func stop(grace: Duration = .seconds(10)) async throws -> ExitStatus {
        try signal(SIGTERM)
        if let status = await exitStatus(within: grace) { return status }
        try signal(SIGKILL)
        return await exitStatus()
    }

    /// Whether it has not ended yet.
    public var isRunning: Bool { state.withLock { $0.status == nil } }

    /// All that it has written so far to standard output and standard error, in order of arrival.
    public var capturedOutput: String { state.withLock { String(decoding: $0.output, as: UTF8.self) } }

    /// The part of ``capturedOutput`` that came by standard output.
    public var standardOutput: String { part(isOutput: true) }

    /// The part of ``capturedOutput`` that came by standard error.
    public var standardError: String { part(isOutput: false) }

    /// Whether output has been dropped, see ``captureBytesMax``.
    public var isOutputTruncated: Bool { state.withLock { $0.isTruncated } }

    /// Waits until the captured output contains a text: false when the child ends or the limit passes without it.
    public func awaitOutput(containing text: String, within limit: Duration) async throws -> Bool {
        let found: Bool? = try await polling(within: limit, every: .milliseconds(10)) {
            let ended = !isRunning
            if capturedOutput.contains(text) { return true }
            return ended ? false : nil
        }
        return found ?? false
    }

    private func part(isOutput: Bool) -> String {
        state.withLock { state in
            var bytes: [UInt8] = []
            for stretch in state.stretches where stretch.isOutput == isOutput { bytes += state.output[stretch.range] }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    private func nextStatus(within limit: Duration?) async -> ExitStatus? {
        await withCheckedContinuation { continuation in
            let (status, ticket): (ExitStatus?, UInt64) = state.withLock { state in
                if let status = state.status { return (status, 0) }
                state.waiterCount += 1
                state.waiters[state.waiterCount] = continuation
                return (nil, state.waiterCount)
            }
            if let status {
                continuation.resume(returning: status)
            } else if let limit {
                let milliseconds = DispatchTimeInterval.milliseconds(Int(limit.pollMilliseconds))
                DispatchQueue.global().asyncAfter(deadline: .now() + milliseconds) {
                    self.state.withLock { $0.waiters.removeValue(forKey: ticket) }?.resume(returning: nil)
                }
            }
        }
    }
}

// MARK: - The thread that watches

extension ChildProcess {
    private func watch(_ reading: (output: Int32, error: Int32)?) throws {
        let descriptor = gaia_pidfd_open(processID)
        let openError = errno
        do {
            guard descriptor >= 0 else {
                throw StackError(.system(errno: openError), "Cannot watch \(executable): \(errorText(openError)).")
            }
            try startThread("child") { self.collect(descriptor, reading) }
        } catch {
            // A child that nobody watches must not stay.
            kill(processID, SIGKILL)
            waitpid(processID, nil, 0)
            if descriptor >= 0 { close(descriptor) }
            throw error
        }
    }

    private func collect(_ descriptor: Int32, _ reading: (output: Int32, error: Int32)?) {
        // A negative descriptor is one that poll passes over.
        var entries = [descriptor, reading?.output ?? -1, reading?.error ?? -1].map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        repeat {
            _ = poll(&entries, nfds_t(entries.count), -1)
            // After its end too: what it wrote last lies in the pipes still. What grandchildren write later does not
            // concern us.
            for index in 1...2 where entries[index].fd >= 0 && !drain(entries[index].fd, isOutput: index == 1) {
                close(entries[index].fd)
                entries[index].fd = -1
            }
        } while entries[0].revents == 0

        for entry in entries where entry.fd >= 0 { close(entry.fd) }
        let (status, waiters) = state.withLock { state in
            var code: Int32 = 0
            while waitpid(processID, &code, 0) < 0 && errno == EINTR {}
            // The lower seven bits hold the signal, the next byte the exit code.
            let status: ExitStatus = code & 0x7F == 0 ? .exited((code >> 8) & 0xFF) : .signalled(code & 0x7F)
            state.status = status
            defer { state.waiters = [:] }
            return (status, Array(state.waiters.values))
        }
        for waiter in waiters { waiter.resume(returning: status) }
    }

    /// Takes what is there; false once the pipe has ended.
    private func drain(_ descriptor: Int32, isOutput: Bool) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count == 0 { return false }
            if count < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN
            }
            state.withLock { state in
                let start = state.output.count
                let kept = min(count, Self.captureBytesMax - start)
                state.isTruncated = state.isTruncated || kept < count
                guard kept > 0 else { return }
                state.output += buffer[..<kept]
                if let last = state.stretches.last, last.isOutput == isOutput {
                    state.stretches[state.stretches.count - 1].range = last.range.lowerBound..<start + kept
                } else {
                    state.stretches.append((isOutput, start..<start + kept))
                }
            }
        }
    }

    /// A pipe whose reading end never blocks.
    private static func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        guard gaia_pipe(&ends) == 0, fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 else {
            throw systemError("Cannot make a pipe")
        }
        return (ends[0], ends[1])
    }

    /// The file that a name stands for, searched for in PATH; a path stands for itself.
    ///
    /// - Throws: ``StackError`` when there is none.
    public static func located(_ executable: String) throws -> String {
        guard !executable.contains("/") else { return executable }
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        for directory in path.split(separator: ":") {
            let candidate = "\(directory)/\(executable)"
            if access(candidate, X_OK) == 0 { return candidate }
        }
        throw StackError(.startFailed, "There is no \(executable) in PATH (\(path)).")
    }
}

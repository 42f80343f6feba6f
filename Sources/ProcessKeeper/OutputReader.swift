import Glibc

/// The reading end of a process's output, on the thread of the event loop.
final class OutputReader {
    let descriptor: Int32
    private let bytesMax: Int
    /// Whether pieces are handed over one by one, each when it is asked for.
    private var isStream: Bool
    private(set) var captured = CapturedOutput()
    private(set) var isOpen = true
    /// Who waits for the next piece of a stream.
    private var puller: CheckedContinuation<[UInt8]?, Never>?
    /// After the end of all that could write: an empty pipe is at its end.
    private var isLast = false
    /// Whether the event loop has been told to wake for it.
    var isWatched = false

    /// How much is taken at a time, so that one that pours out does not keep the others waiting.
    private static let readsMax = 4

    /// - Parameter descriptor: taken over; it does not block.
    init(_ descriptor: Int32, _ plan: OutputPlan) {
        self.descriptor = descriptor
        switch plan {
        case .capture(let bytesMax): (self.bytesMax, isStream) = (bytesMax, false)
        case .stream: (bytesMax, isStream) = (0, true)
        }
    }

    /// Whether it is to be read when there is something.
    var isWanted: Bool { isOpen && (!isStream || puller != nil) }

    func pull(_ puller: CheckedContinuation<[UInt8]?, Never>, _ buffer: UnsafeMutableRawBufferPointer) {
        guard isOpen else { return puller.resume(returning: nil) }
        self.puller = puller
        if isLast { finish(buffer) }
    }

    /// From now on it is only counted.
    func discard(_ buffer: UnsafeMutableRawBufferPointer) {
        isStream = false
        if isLast { finish(buffer) }
    }

    /// Nothing can write any more: takes what is left in the pipe, as far as it is asked for.
    func finish(_ buffer: UnsafeMutableRawBufferPointer) {
        isLast = true
        while isWanted { read(buffer) }
    }

    /// Takes what there is.
    func read(_ buffer: UnsafeMutableRawBufferPointer) {
        for _ in 0..<(isStream ? 1 : Self.readsMax) {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN {
                if isLast { close() }
                return
            }
            // An error of a pipe is its end; there is none in practice.
            guard count > 0 else { return close() }
            take(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            if count < buffer.count && !isLast { return }
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer) {
        captured.byteCount += bytes.count
        if let puller {
            self.puller = nil
            return puller.resume(returning: Array(bytes))
        }
        let room = bytesMax - captured.bytes.count
        if room > 0 { captured.bytes += bytes.prefix(room) }
    }

    func close() {
        guard isOpen else { return }
        isOpen = false
        Glibc.close(descriptor)
        puller?.resume(returning: nil)
        puller = nil
    }
}

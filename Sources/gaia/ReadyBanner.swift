import Synchronization

/// Prints lines once all parts have said that they are ready.
final class ReadyBanner: Sendable {
    private let lines: [String]
    private let missing: Mutex<Int>

    init(lines: [String], parts: Int) {
        self.lines = lines
        missing = Mutex(parts)
    }

    func partIsReady() {
        let isComplete = missing.withLock { count in
            count -= 1
            return count == 0
        }
        if isComplete { Terminal.error(lines.joined(separator: "\n")) }
    }
}

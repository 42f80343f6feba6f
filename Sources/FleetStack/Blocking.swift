import Dispatch
import Glibc
import SystemThreads

/// Runs what blocks on a thread of Dispatch, so that no thread of Swift's own pool, which has but one a core, waits.
func offPool<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async {
            continuation.resume(with: Result { try body() })
        }
    }
}

/// Asks again until the answer is not nil or the time is over (nil then). For what another process does and tells
/// nobody about: a port that opens, an entry of /proc that goes.
func polling<Value>(
    within limit: Duration,
    every interval: Duration = .milliseconds(20),
    _ question: () async throws -> Value?
) async throws -> Value? {
    let deadline = ContinuousClock.now + limit
    while true {
        if let answer = try await question() { return answer }
        if ContinuousClock.now >= deadline { return nil }
        try await Task.sleep(for: interval)
    }
}

/// Starts a thread of its own, for what waits in system calls as long as a child or the process lives.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) throws {
    do { try SystemThread.start(name, body) } catch {
        throw StackError(.system(errno: error.code), "\(error)")
    }
}

/// The system's words for an error number.
func errorText(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

extension Duration {
    /// Whole milliseconds, rounded up, as poll(2) takes them.
    var pollMilliseconds: Int32 {
        let (seconds, attoseconds) = components
        let milliseconds = seconds.multipliedReportingOverflow(by: 1000)
        guard !milliseconds.overflow, milliseconds.partialValue < Int64(Int32.max) - 1000 else { return Int32.max }
        return Int32(max(0, milliseconds.partialValue + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000))
    }
}

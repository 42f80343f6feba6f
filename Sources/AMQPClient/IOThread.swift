import CRabbitMQ
import Glibc
import SystemThreads

/// A thread of our own: librabbitmq blocks, which the cooperative pool must not.
enum IOThread {
    /// librabbitmq before 0.14 decodes nested tables by recursion, and a frame of 128 KiB can nest 26,000 deep. Only
    /// touched pages cost memory.
    private static let stackBytes = 64 << 20

    /// Runs `body` on a detached thread. `body` says itself when it has ended.
    static func start(name: String, _ body: @escaping @Sendable () -> Void) throws(AMQPError) {
        do { try SystemThread.start(name, stackBytes: stackBytes, body) } catch {
            throw AMQPError(.unreachable, "For the broker's connection \(error)")
        }
    }
}

func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }

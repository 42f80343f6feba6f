import CThreads
import Glibc

/// # SystemThreads
///
/// Threads for what blocks, which Swift's own pool, with one a core, must not: an event loop, a library that waits, a file.
///
/// All signals are blocked on them, since handlers belong to the program's other threads, but for the one by which threads are
/// sampled. Their names, of which Linux keeps 15 bytes, show in `ps -T`, in `top` and in profiles.
public enum SystemThread {
    /// The system gives no more threads.
    public struct Refusal: Error, CustomStringConvertible {
        /// An errno: EAGAIN at a limit on threads, ENOMEM without room for a stack.
        public let code: Int32

        public var description: String {
            "no thread could be started: \(String(cString: strerror(code))). Raise the limit on threads (ulimit -u, TasksMax)."
        }
    }

    /// Runs `body` on a thread of its own, which ends with it.
    ///
    /// - Parameter stackBytes: the system's size when 0; only pages that are touched take memory.
    public static func start(
        _ name: String, stackBytes: Int = 0, _ body: @escaping @Sendable () -> Void
    ) throws(Refusal) {
        try start(name, stackBytes, body, nil)
    }

    /// The same for a thread that somebody must join, or detach.
    public static func startJoinable(_ name: String, _ body: @escaping @Sendable () -> Void) throws(Refusal)
        -> pthread_t
    {
        var thread = pthread_t()
        try start(name, 0, body, &thread)
        return thread
    }

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private static func start(
        _ name: String, _ stackBytes: Int, _ body: @escaping @Sendable () -> Void,
        _ thread: UnsafeMutablePointer<pthread_t>?
    ) throws(Refusal) {
        let kept = Unmanaged.passRetained(Body(body))
        let code = gaia_thread_start(
            name, stackBytes, { Unmanaged<Body>.fromOpaque($0).takeRetainedValue().run() }, kept.toOpaque(), thread)
        guard code == 0 else {
            kept.release()
            throw Refusal(code: code)
        }
    }
}

import CRabbitMQ
import Glibc

/// A thread of our own: librabbitmq blocks, which the cooperative pool must not.
enum IOThread {
    /// librabbitmq before 0.14 decodes nested tables by recursion, and a frame of 128 KiB can nest 26,000 deep. Only
    /// touched pages cost memory.
    private static let stackBytes = 64 << 20
    /// What the kernel shows of a thread's name.
    private static let maxNameBytes = 15

    private final class Start {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Runs `body` on a detached thread. `body` says itself when it has ended.
    static func start(name: String, _ body: @escaping @Sendable () -> Void) throws(AMQPError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, stackBytes)
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, &attributes,
            { raw in
                guard let raw else { return nil }
                let start = Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
                // Signals are for the threads of the program, not for one that must keep a connection alive.
                var all = sigset_t()
                sigfillset(&all)
                // But for the one by which threads are sampled.
                sigdelset(&all, SIGPROF)
                pthread_sigmask(SIG_SETMASK, &all, nil)
                gaia_amqp_name_thread(String(start.name.prefix(IOThread.maxNameBytes)))
                start.body()
                return nil
            }, start.toOpaque())
        if status != 0 {
            start.release()
            throw AMQPError(
                .unreachable,
                "No thread could be started for the broker's connection: \(errorText(status)). Raise the limit on threads."
            )
        }
    }
}

func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }

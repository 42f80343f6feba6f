import CRabbitMQ
import Glibc

/// Wakes an IO thread out of its poll. Callers coalesce: one signal per batch of commands.
final class Wakeup: Sendable {
    let descriptor: Int32

    init() {
        descriptor = gaia_amqp_eventfd()
        precondition(descriptor >= 0, "no file descriptor is left for waking an IO thread")
    }

    deinit { close(descriptor) }

    func signal() {
        // It can only fail by overflowing, and then the thread is woken already.
        _ = eventfd_write(descriptor, 1)
    }

    func clear() {
        var count: eventfd_t = 0
        _ = eventfd_read(descriptor, &count)
    }
}

/// Waits on up to two descriptors.
enum Poll {
    struct Readiness {
        var socketReadable = false
        var socketWritable = false
        var woken = false
    }

    /// - Parameters:
    ///   - socket: negative to wait for the wakeup alone.
    ///   - deadline: ``Instant/never`` to wait without end.
    static func wait(socket: Int32, forWriting: Bool, wakeup: Wakeup, until deadline: Instant) -> Readiness {
        var descriptors = (
            pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: socket, events: Int16(forWriting ? POLLIN | POLLOUT : POLLIN), revents: 0)
        )
        let ready = withUnsafeMutablePointer(to: &descriptors) { pointer in
            pointer.withMemoryRebound(to: pollfd.self, capacity: 2) { poll($0, 2, milliseconds(until: deadline)) }
        }
        var readiness = Readiness()
        // Interrupted or timed out: the caller looks at its clocks and comes back.
        guard ready > 0 else { return readiness }
        if descriptors.0.revents != 0 {
            wakeup.clear()
            readiness.woken = true
        }
        // An error or hang-up is found by reading.
        readiness.socketReadable = Int32(descriptors.1.revents) & ~POLLOUT != 0
        readiness.socketWritable = Int32(descriptors.1.revents) & POLLOUT != 0
        return readiness
    }

    /// Rounded up, or a deadline less than a millisecond away would be polled for in a busy loop.
    private static func milliseconds(until deadline: Instant) -> Int32 {
        if deadline == .never { return -1 }
        let left = max(deadline - .now(), 0)
        return Int32(clamping: (left + 999_999) / 1_000_000)
    }

    static func isWritable(_ socket: Int32) -> Bool {
        var descriptor = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
        return poll(&descriptor, 1, 0) > 0
    }
}

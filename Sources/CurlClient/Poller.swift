internal import CCurl
internal import Glibc

/// An epoll set: what the thread sleeps on.
struct Poller: ~Copyable {
    /// Read off per turn; more stay for the next one.
    static let eventsPerTurn = 512

    private let descriptor: Int32
    private let events: UnsafeMutablePointer<epoll_event>

    init() throws(CurlError) {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard descriptor >= 0 else { throw CurlError(.interrupted, "epoll: \(String(cString: strerror(errno)))") }
        events = .allocate(capacity: Self.eventsPerTurn)
    }

    deinit {
        close(descriptor)
        events.deallocate()
    }

    /// Watches a descriptor for what `mask` says, from now on, in place of what it was watched for.
    func watch(_ target: Int32, _ mask: UInt32, isWatched: Bool) throws(CurlError) {
        var event = epoll_event()
        event.events = mask
        event.data.fd = target
        if epoll_ctl(descriptor, isWatched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, target, &event) == 0 { return }
        // libcurl may have closed it and got the same number for another socket meanwhile: then the kernel forgot it.
        let other = errno == ENOENT ? EPOLL_CTL_ADD : errno == EEXIST ? EPOLL_CTL_MOD : -1
        if other >= 0, epoll_ctl(descriptor, other, target, &event) == 0 { return }
        throw CurlError(.interrupted, "epoll_ctl: \(String(cString: strerror(errno)))")
    }

    /// One that is closed already is forgotten already.
    func forget(_ target: Int32) {
        var unused = epoll_event()
        epoll_ctl(descriptor, EPOLL_CTL_DEL, target, &unused)
    }

    /// Sleeps until something is ready or the time is over, then hands each descriptor with its mask to `body`.
    func wait(atMost: Nanoseconds?, _ body: (_ descriptor: Int32, _ mask: UInt32) -> Void) {
        // Rounded up: a turn that comes too early finds nothing due and comes again.
        let milliseconds = atMost.map { Int32(clamping: ($0 + 999_999) / 1_000_000) } ?? -1
        let count = epoll_wait(descriptor, events, Int32(Self.eventsPerTurn), milliseconds)
        guard count >= 0 else {
            precondition(errno == EINTR, "epoll_wait fails only by interruption, as its arguments are this type's own")
            return
        }
        for index in 0..<Int(count) { body(events[index].data.fd, events[index].events) }
    }
}

/// An eventfd: how other threads end the sleep.
final class Bell: Sendable {
    let descriptor: Int32

    init() throws(CurlError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard descriptor >= 0 else { throw CurlError(.interrupted, "eventfd: \(String(cString: strerror(errno)))") }
    }

    deinit { close(descriptor) }

    func ring() {
        var one: UInt64 = 1
        // Fails only when the counter is full, and then it rings already.
        _ = write(descriptor, &one, MemoryLayout<UInt64>.size)
    }

    func silence() {
        var count: UInt64 = 0
        // Fails only when it did not ring.
        _ = read(descriptor, &count, MemoryLayout<UInt64>.size)
    }
}

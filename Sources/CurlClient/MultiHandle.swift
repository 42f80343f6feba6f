internal import CCurl
internal import Glibc

/// Owns a CURLM. Its connections, its cache of names and its TLS sessions go with it.
struct MultiHandle: ~Copyable {
    private let raw: UnsafeMutableRawPointer
    /// libcurl holds a pointer to it.
    private let watcher: MultiWatcher

    /// - Parameter watcher: told of sockets and of the time of libcurl's next duty.
    init(watcher: MultiWatcher) throws(CurlError) {
        guard let raw = curl_multi_init() else {
            throw CurlError(.interrupted, "out of memory making the multi handle")
        }
        self.raw = raw
        self.watcher = watcher
    }

    func configure(maxConnections: Int, maxConnectionsPerHost: Int) throws(CurlError) {
        let me = Unmanaged.passUnretained(watcher).toOpaque()
        try check(ccurl_multi_set_socket(raw, multiSocket, me))
        try check(ccurl_multi_set_timer(raw, multiTimer, me))
        // The admission keeps both limits for transfers; these keep them for idle connections, which libcurl closes for room.
        try check(ccurl_multi_set_long(raw, CURLMOPT_MAX_TOTAL_CONNECTIONS, maxConnections))
        try check(ccurl_multi_set_long(raw, CURLMOPT_MAX_HOST_CONNECTIONS, maxConnectionsPerHost))
        try check(ccurl_multi_set_long(raw, CURLMOPT_PIPELINING, Int(CURLPIPE_NOTHING)))
    }

    deinit { curl_multi_cleanup(raw) }

    /// How many connections libcurl keeps after use.
    func keep(connections: Int) throws(CurlError) {
        try check(ccurl_multi_set_long(raw, CURLMOPT_MAXCONNECTS, connections))
    }

    func add(_ easy: Easy) throws(CurlError) { try check(curl_multi_add_handle(raw, easy.handle.raw)) }

    /// If the transfer is not finished its connection is closed.
    func remove(_ easy: Easy) {
        let code = curl_multi_remove_handle(raw, easy.handle.raw)
        precondition(code == CURLM_OK, "a handle is removed outside of callbacks and from the multi it was added to")
    }

    func socketReady(_ socket: Int32, _ mask: UInt32) {
        var action: Int32 = 0
        if mask & EPOLLIN.rawValue != 0 { action |= CURL_CSELECT_IN }
        if mask & EPOLLOUT.rawValue != 0 { action |= CURL_CSELECT_OUT }
        if mask & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { action |= CURL_CSELECT_ERR }
        act(socket, action)
    }

    func timerDue() { act(CURL_SOCKET_TIMEOUT, 0) }

    /// The next finished transfer. It stays added.
    func nextFinished() -> (easy: Easy, code: CURLcode)? {
        var left: Int32 = 0
        while let message = curl_multi_info_read(raw, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle else { continue }
            var me: UnsafeMutableRawPointer?
            ccurl_easy_get_pointer(handle, CURLINFO_PRIVATE, &me)
            guard let me else { continue }
            return (Unmanaged<Easy>.fromOpaque(me).takeUnretainedValue(), ccurl_message_result(message))
        }
        return nil
    }

    private func act(_ socket: Int32, _ action: Int32) {
        var running: Int32 = 0
        let code = curl_multi_socket_action(raw, socket, action, &running)
        // A transfer's own failure comes as its result. What is left is lack of memory, and bugs.
        if code != CURLM_OK {
            watcher.fail(CurlError(.interrupted, code: Int(code.rawValue), String(cString: curl_multi_strerror(code))))
        }
    }

    private func check(_ code: CURLMcode) throws(CurlError) {
        guard code == CURLM_OK else {
            throw CurlError(.interrupted, code: Int(code.rawValue), String(cString: curl_multi_strerror(code)))
        }
    }
}

/// What libcurl wants watched: sockets, which go straight to the poller, and one timer.
final class MultiWatcher {
    let poller: Poller
    private(set) var timerDue: Nanoseconds?
    /// Sockets the poller has.
    private var watched: Set<Int32> = []
    /// What left the multi handle in doubt. A socket that could not be watched, for one, would be a transfer that never ends.
    /// The engine then starts over.
    private(set) var failure: CurlError?

    init() throws(CurlError) { poller = try Poller() }

    func clear() {
        for socket in watched { poller.forget(socket) }
        watched = []
        timerDue = nil
        failure = nil
    }

    func fail(_ error: CurlError) { if failure == nil { failure = error } }

    fileprivate func socketChanged(_ socket: Int32, _ what: Int32) {
        guard what != CURL_POLL_REMOVE else {
            if watched.remove(socket) != nil { poller.forget(socket) }
            return
        }
        var mask: UInt32 = 0
        if what & CURL_POLL_IN != 0 { mask |= EPOLLIN.rawValue }
        if what & CURL_POLL_OUT != 0 { mask |= EPOLLOUT.rawValue }
        do throws(CurlError) {
            try poller.watch(socket, mask, isWatched: !watched.insert(socket).inserted)
        } catch {
            fail(error)
        }
    }

    fileprivate func timerChanged(_ milliseconds: Int) {
        timerDue = milliseconds < 0 ? nil : monotonicNow() + Nanoseconds(milliseconds) * 1_000_000
    }

    /// The timer is being served: libcurl sets the next one during that.
    func timerTaken() { timerDue = nil }
}

private func watcher(_ user: UnsafeMutableRawPointer) -> MultiWatcher {
    Unmanaged<MultiWatcher>.fromOpaque(user).takeUnretainedValue()
}

private func multiSocket(
    _ easy: UnsafeMutableRawPointer?, _ socket: curl_socket_t, _ what: Int32, _ user: UnsafeMutableRawPointer?,
    _ mark: UnsafeMutableRawPointer?
) -> Int32 {
    if let user { watcher(user).socketChanged(socket, what) }
    return 0
}

private func multiTimer(_ multi: UnsafeMutableRawPointer?, _ milliseconds: Int, _ user: UnsafeMutableRawPointer?)
    -> Int32
{
    if let user { watcher(user).timerChanged(milliseconds) }
    return 0
}

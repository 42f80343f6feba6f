internal import CCurl

/// One request on its way, over all its hops. Lives on the multi's thread alone.
final class Transfer: DeadlineHeld {
    /// waiting ⇄ running: each redirect goes back to waiting. The end is being nowhere any more.
    private enum Phase {
        case waiting
        case running(Easy)
    }

    let id: UInt64
    let request: CurlRequest
    let continuation: CheckedContinuation<Result<CurlResponse, CurlError>, Never>
    let deadline: Nanoseconds
    let connectTimeout: Nanoseconds
    var heapIndex = -1
    private(set) var hop: Hop
    private let acceptedAt: Nanoseconds
    private var firstStart: Nanoseconds?
    private var phase = Phase.waiting

    init(_ ask: Shared.Ask) {
        id = ask.id
        request = ask.request
        hop = ask.hop
        continuation = ask.continuation
        acceptedAt = ask.acceptedAt
        deadline = ask.acceptedAt + ask.request.timeout.nanosecondsClamped
        connectTimeout = ask.request.connectTimeout.nanosecondsClamped
    }

    func started(on easy: Easy, _ now: Nanoseconds) {
        phase = .running(easy)
        if firstStart == nil { firstStart = now }
    }

    /// The handle it ran on, if it ran.
    func stopped() -> Easy? {
        guard case .running(let easy) = phase else { return nil }
        phase = .waiting
        return easy
    }

    func redirected(to next: Hop) { hop = next }

    var mayHaveBeenSent: Bool {
        if hop.redirects > 0 { return true }
        if case .running(let easy) = phase { return easy.mayHaveBeenSent }
        return false
    }

    /// For the message of a timeout.
    var progress: String {
        switch phase {
        case .waiting: "while waiting for a turn"
        case .running(let easy): easy.progress
        }
    }

    func response(from easy: Easy, now: Nanoseconds) -> CurlResponse {
        var timing = CurlTiming()
        timing.queued = .nanoseconds((firstStart ?? now) - acceptedAt)
        timing.nameLookup = easy.handle.microseconds(CURLINFO_NAMELOOKUP_TIME_T)
        timing.connect = easy.handle.microseconds(CURLINFO_CONNECT_TIME_T)
        timing.tls = easy.handle.microseconds(CURLINFO_APPCONNECT_TIME_T)
        timing.firstByte = easy.handle.microseconds(CURLINFO_STARTTRANSFER_TIME_T)
        timing.total = .nanoseconds(now - acceptedAt)
        let host = easy.handle.string(CURLINFO_PRIMARY_IP) ?? ""
        let port = easy.handle.long(CURLINFO_PRIMARY_PORT)
        return CurlResponse(
            status: easy.sink.status, headers: easy.sink.headers, body: easy.takeBody(), finalURL: hop.url.publicText,
            timing: timing,
            connectionReused: easy.handle.long(CURLINFO_NUM_CONNECTS) == 0,
            remoteAddress: host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)", redirects: hop.redirects)
    }
}

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
    let answer: Shared.Answer
    /// When to look at it next: the end of its time, or the earliest that it may have been idle for too long.
    private(set) var deadline: Nanoseconds
    let connectTimeout: Nanoseconds
    var heapIndex = -1
    private let end: Nanoseconds
    private let idleTimeout: Nanoseconds?
    /// When it last was not idle, as far as libcurl's callbacks do not say.
    private var movedAt: Nanoseconds
    /// Whether its receiver is behind.
    private var isPaused = false
    private(set) var hop: Hop
    private let acceptedAt: Nanoseconds
    private var firstStart: Nanoseconds?
    private var phase = Phase.waiting
    /// Whether the receiver has got the head.
    private var isHandedOver = false

    init(_ ask: Shared.Ask) {
        id = ask.id
        request = ask.request
        hop = ask.hop
        answer = ask.answer
        acceptedAt = ask.acceptedAt
        end = ask.acceptedAt + ask.request.timeout.nanosecondsClamped
        idleTimeout = ask.request.idleTimeout?.nanosecondsClamped
        movedAt = ask.acceptedAt
        deadline = min(end, idleTimeout.map { ask.acceptedAt + $0 } ?? end)
        connectTimeout = ask.request.connectTimeout.nanosecondsClamped
    }

    func started(on easy: Easy, _ now: Nanoseconds) {
        phase = .running(easy)
        movedAt = now
        if firstStart == nil { firstStart = now }
    }

    /// The handle it ran on, if it ran.
    func stopped() -> Easy? {
        guard case .running(let easy) = phase else { return nil }
        phase = .waiting
        return easy
    }

    func redirected(to next: Hop) { hop = next }

    /// The handle it runs on now.
    var easy: Easy? {
        guard case .running(let easy) = phase else { return nil }
        return easy
    }

    func pause() {
        guard case .running(let easy) = phase, easy.pause() else { return }
        isPaused = true
    }

    func resumed(_ now: Nanoseconds) {
        guard isPaused, case .running(let easy) = phase else { return }
        isPaused = false
        movedAt = now
        easy.goOn()
    }

    /// Why its time is over, or nil if it is not: then its deadline is a later one. Must not be held by a heap.
    func expired(_ now: Nanoseconds) -> String? {
        if end <= now { return "\(request.timeout) ran out \(progress)" }
        guard let idleTimeout, let limit = request.idleTimeout else { return nil }
        var moved = movedAt
        switch phase {
        // Whoever waits for its turn or for its own receiver is not idle.
        case .waiting: moved = now
        case .running(let easy): moved = isPaused ? now : max(moved, easy.receivedAt)
        }
        if moved + idleTimeout <= now { return "nothing came in for \(limit) \(progress)" }
        deadline = min(end, moved + idleTimeout)
        return nil
    }

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
            status: easy.sink.status, headers: easy.sink.headers, body: answer.stream == nil ? easy.takeBody() : [],
            finalURL: hop.url.publicText,
            timing: timing,
            connectionReused: easy.handle.long(CURLINFO_NUM_CONNECTS) == 0,
            remoteAddress: host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)", redirects: hop.redirects)
    }

    /// Hands over what has come in of the last hop. The body of a redirect is nobody's business, and short.
    ///
    /// - Returns: whether the receiver is behind, so that the transfer has to pause.
    func handOver(_ easy: Easy, to stream: BodyStream) throws(CurlError) -> Bool {
        guard easy.sink.isInBody else { return false }
        if !isHandedOver {
            guard isLastHop(easy) else {
                _ = easy.takeBody()
                guard easy.sink.bodyBytes <= Self.redirectBodyBytesMax else {
                    throw CurlError(.tooLarge, "\(hop.url.origin): the redirect's own body has no end")
                }
                return false
            }
            isHandedOver = true
            stream.begin(
                CurlHead(status: easy.sink.status, headers: easy.sink.headers, finalURL: hop.url.publicText))
        }
        let bytes = easy.takeBody()
        return bytes.isEmpty ? false : stream.append(bytes)
    }

    private static let redirectBodyBytesMax = 1 << 20

    /// A redirect that cannot be followed has no receiver either: it ends as an error.
    private func isLastHop(_ easy: Easy) -> Bool {
        do throws(CurlError) {
            return try RedirectRules.next(after: hop, status: easy.sink.status, location: easy.sink.location) == nil
        } catch {
            return false
        }
    }
}

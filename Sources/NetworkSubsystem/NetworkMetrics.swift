import Metrics
import NetworkClient
import Synchronization

/// Everything that this subsystem counts.
final class NetworkMetrics: Sendable {
    // MARK: Names

    /// Questions, by where the answer came from: `hit`, `negative_hit`, `joined` (an equal question was under way), `miss`.
    private let hits, negativeHits, joined, misses: Counter
    /// Tries with a name server, by outcome: `answered` or `failed`.
    private let answered, unanswered: Counter
    /// Questions that had to be repeated over TCP.
    private let byStream: Counter
    /// How long one try with a name server took.
    private let queryTime: Metrics.Timer
    /// Answers that left the cache for want of room.
    private let evictions: Counter
    /// Answers in the cache, and about how many bytes they take.
    private let cacheEntries, cacheBytes: Gauge
    /// Of the questions so far, the part that the cache answered, from 0 to 1.
    private let hitRatio: Gauge

    // MARK: Probes

    /// Probes, by outcome: `connected`, `unreachable`, `refused` (by the address policy).
    private let probesConnected, probesUnreachable, probesRefused: Counter
    /// How long a connection and a TLS handshake took.
    private let connectTime, handshakeTime: Metrics.Timer
    /// Probes under way.
    private let probesActive: Gauge

    // MARK: Downloads

    /// Downloads, by outcome: `done`, `kept` (the file was there), `failed`.
    private let downloadsDone, downloadsKept, downloadsFailed: Counter
    /// How often a download went on from where one broke off.
    private let resumed: Counter
    /// Bytes received into files.
    private let bytes: Counter
    /// How long a download took that was done.
    private let downloadTime: Metrics.Timer
    /// Downloads under way.
    private let downloadsActive: Gauge

    private struct State {
        var cached = 0
        var asked = 0
        var probes = 0
        var downloads = 0
    }

    private let state = Mutex(State())

    init(_ factory: any MetricsFactory) {
        func counter(_ name: String, _ dimensions: [(String, String)] = []) -> Counter {
            Counter(label: "gaia_network_\(name)_total", dimensions: dimensions, factory: factory)
        }
        func timer(_ name: String) -> Metrics.Timer {
            Timer(label: "gaia_network_\(name)_seconds", dimensions: [], factory: factory)
        }
        func gauge(_ name: String) -> Gauge { Gauge(label: "gaia_network_\(name)", dimensions: [], factory: factory) }

        hits = counter("name_questions", [("source", "hit")])
        negativeHits = counter("name_questions", [("source", "negative_hit")])
        joined = counter("name_questions", [("source", "joined")])
        misses = counter("name_questions", [("source", "miss")])
        answered = counter("name_queries", [("outcome", "answered")])
        unanswered = counter("name_queries", [("outcome", "failed")])
        byStream = counter("name_queries_over_tcp")
        queryTime = timer("name_query")
        evictions = counter("name_cache_evictions")
        cacheEntries = gauge("name_cache_entries")
        cacheBytes = gauge("name_cache_bytes")
        hitRatio = gauge("name_cache_hit_ratio")

        probesConnected = counter("probes", [("outcome", "connected")])
        probesUnreachable = counter("probes", [("outcome", "unreachable")])
        probesRefused = counter("probes", [("outcome", "refused")])
        connectTime = timer("probe_connect")
        handshakeTime = timer("probe_handshake")
        probesActive = gauge("probes_active")

        downloadsDone = counter("downloads", [("outcome", "done")])
        downloadsKept = counter("downloads", [("outcome", "kept")])
        downloadsFailed = counter("downloads", [("outcome", "failed")])
        resumed = counter("downloads_resumed")
        bytes = counter("download_bytes")
        downloadTime = timer("download")
        downloadsActive = gauge("downloads_active")
    }

    // MARK: Names

    func count(_ event: ResolverEvent) {
        switch event {
        case .hit(let isNegative):
            (isNegative ? negativeHits : hits).increment()
            countQuestion(fromCache: true)
        case .joined:
            joined.increment()
            countQuestion(fromCache: false)
        case .missed:
            misses.increment()
            countQuestion(fromCache: false)
        case .asked(let duration, let isAnswered):
            (isAnswered ? answered : unanswered).increment()
            queryTime.record(duration: duration)
        case .askedByStream: byStream.increment()
        case .evicted(let count): evictions.increment(by: count)
        }
    }

    func cacheHolds(_ cached: (answers: Int, bytes: Int)) {
        cacheEntries.record(cached.answers)
        cacheBytes.record(cached.bytes)
    }

    /// Of the questions so far, the part that the cache answered, from 0 to 1.
    var cacheHitRatio: Double { state.withLock { $0.asked == 0 ? 0 : Double($0.cached) / Double($0.asked) } }

    private func countQuestion(fromCache: Bool) {
        let ratio = state.withLock { state in
            state.asked += 1
            if fromCache { state.cached += 1 }
            return Double(state.cached) / Double(state.asked)
        }
        hitRatio.record(ratio)
    }

    // MARK: Probes and downloads

    enum ProbeEnd { case connected, unreachable, refused }

    func probing<Value>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
    ) async rethrows -> Value {
        func change(_ by: Int) {
            probesActive.record(
                state.withLock { state in
                    state.probes += by
                    return state.probes
                })
        }
        change(1)
        defer { change(-1) }
        return try await body()
    }

    func probed(_ end: ProbeEnd, connect: Duration? = nil, handshake: Duration? = nil) {
        switch end {
        case .connected: probesConnected.increment()
        case .unreachable: probesUnreachable.increment()
        case .refused: probesRefused.increment()
        }
        if let connect { connectTime.record(duration: connect) }
        if let handshake { handshakeTime.record(duration: handshake) }
    }

    enum DownloadEnd {
        case done(Duration)
        case kept, failed
    }

    func downloading<Value>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
    ) async rethrows -> Value {
        func change(_ by: Int) {
            downloadsActive.record(
                state.withLock { state in
                    state.downloads += by
                    return state.downloads
                })
        }
        change(1)
        defer { change(-1) }
        return try await body()
    }

    func downloaded(_ end: DownloadEnd) {
        switch end {
        case .done(let duration):
            downloadsDone.increment()
            downloadTime.record(duration: duration)
        case .kept: downloadsKept.increment()
        case .failed: downloadsFailed.increment()
        }
    }

    func received(_ count: Int) { bytes.increment(by: count) }
    func wentOn() { resumed.increment() }
}

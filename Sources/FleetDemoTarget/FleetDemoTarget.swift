internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore

/// # FleetDemoTarget
///
/// The service that the demo's jobs call: an HTTP server that behaves as badly as a real one, in a way that a seed repeats,
/// and that counts what was really done, so that a run can prove that each job took effect once.
///
/// ```
/// POST /effect                        fate of (seed, key, attempt)
///   Idempotency-Key: K  ──▶ Ledger ──▶ throttled   429, Retry-After: 1         nothing applied
///                           attempt+1  ┌─ waits latency ─┐
///                                      failed          500                     nothing applied
///                                      failed after    effect applied, 500     the nasty case: the caller must ask again
///                                      succeeds        effect applied, 200
/// GET /counts[?keys=1]   what happened so far
/// GET /health            200 once it listens
/// ```
///
/// An effect is applied once per key, as a payment provider does that honours `Idempotency-Key`: `raw` counts every request
/// that got as far as the effect, `effects` the keys, and `repeats` the difference. A fleet that works ends with as many
/// `effects` as it had jobs; what `repeats` and the failures cost is in the other counts.
public struct DemoTarget: Sendable {
    /// How badly it behaves. Shares are of 1; the fates exclude each other, so together they are at most 1.
    public struct Behaviour: Sendable {
        /// How long an answer takes, evenly distributed. A 429 comes at once.
        public var latencyMilliseconds: ClosedRange<Int> = 20...120
        /// Requests answered 500 with nothing applied.
        public var failures = 0.05
        /// Requests answered 429 with `Retry-After`.
        public var throttled = 0.02
        /// Requests answered 500 though the effect was applied.
        public var failuresAfterEffect = 0.01
        public var retryAfterSeconds = 1
        /// Keys remembered. A request with one more is answered 507 and applied never.
        public var maxKeys = 1_000_000

        public init() {}

        /// At once, and always 200.
        public static var perfect: Behaviour {
            var behaviour = Behaviour()
            behaviour.latencyMilliseconds = 0...0
            (behaviour.failures, behaviour.throttled, behaviour.failuresAfterEffect) = (0, 0, 0)
            return behaviour
        }
    }

    public static let maxKeyBytes = 255
    public static let maxBodyBytes = 1 << 20
    /// Connections that may wait to be accepted: a fleet connects in bursts.
    public static let backlog = 2048

    private let host: String
    private let port: Int
    private let ledger: EffectLedger

    /// - Parameters:
    ///   - port: 0 for any that is free; `run` tells which.
    ///   - seed: the same seed gives the same fate to the n-th request with a key, in whatever order requests come.
    /// - Precondition: shares are not negative and at most 1 together, and the latency is not negative.
    public init(host: String = "127.0.0.1", port: Int = 0, seed: UInt64, behaviour: Behaviour = Behaviour()) {
        let shares = [behaviour.failures, behaviour.throttled, behaviour.failuresAfterEffect]
        precondition(shares.allSatisfy { $0 >= 0 } && shares.reduce(0, +) <= 1, "shares are of 1")
        precondition(
            behaviour.latencyMilliseconds.lowerBound >= 0 && behaviour.maxKeys > 0, "latency and bound are above zero")
        self.host = host
        self.port = port
        ledger = EffectLedger(seed: seed, behaviour: behaviour)
    }

    /// What happened so far.
    public var counts: DemoCounts { ledger.counts(withKeys: false) }

    /// Serves until the graceful shutdown of the service group it runs in, which lets requests under way end, or until its task
    /// is cancelled, which does not.
    ///
    /// - Parameter onReady: told the port as soon as it listens.
    public func run(onReady: @escaping @Sendable (Int) -> Void) async throws {
        // The demo's own output is worth reading; a line per start and request of this server is not.
        var logger = Logger(label: "gaia.demo-target")
        logger.logLevel = .critical
        let application = Application(
            router: makeRouter(),
            configuration: ApplicationConfiguration(address: .hostname(host, port: port), backlog: Self.backlog),
            onServerRunning: { channel in
                // A server that listens on an address always has its port; 0 would say it does not.
                onReady(channel.localAddress?.port ?? 0)
            }, logger: logger)
        try await application.run()
    }

    private func makeRouter() -> Router<BasicRequestContext> {
        let router = Router()
        router.get("health") { _, _ in "ok\n" }
        router.get("counts") { [ledger] request, _ in
            CountsAnswer(counts: ledger.counts(withKeys: request.uri.queryParameters["keys"] == "1"))
        }
        router.post("effect") { [ledger] request, _ in
            // Read, so that the connection can go on with the next request; larger ones are answered 413.
            _ = try await request.body.collect(upTo: Self.maxBodyBytes)
            return try await Self.answer(request.headers[.idempotencyKey], ledger)
        }
        return router
    }

    private static func answer(_ key: String?, _ ledger: EffectLedger) async throws -> Response {
        guard let key, !key.isEmpty, key.utf8.count <= maxKeyBytes else {
            return text(
                .badRequest, "the header Idempotency-Key of 1 to \(maxKeyBytes) bytes says which effect is meant\n")
        }
        let attempt: Attempt
        switch ledger.begin(key) {
        case .full(let keys):
            return text(
                .init(code: 507, reasonPhrase: "Insufficient Storage"),
                "\(keys) keys are remembered, and no more are taken; start the target anew\n")
        case .attempt(let begun): attempt = begun
        }
        if case .throttled(let seconds) = attempt.fate {
            var response = text(.tooManyRequests, "slow down\n")
            response.headers[.retryAfter] = String(seconds)
            return response
        }
        try await Task.sleep(for: .milliseconds(attempt.latencyMilliseconds))
        switch ledger.end(key, attempt) {
        case .failed: return text(.internalServerError, "failed, as it happens\n")
        case .applied(let isRepeat): return text(.ok, isRepeat ? "repeated\n" : "applied\n")
        }
    }

    private static func text(_ status: HTTPResponse.Status, _ text: String) -> Response {
        Response(
            status: status, headers: [.contentType: "text/plain; charset=utf-8"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }
}

/// The counts as JSON. A type of its own, so that who reads `DemoCounts` need not know of the server's framework.
private struct CountsAnswer: ResponseEncodable {
    let counts: DemoCounts
    func encode(to encoder: any Encoder) throws { try counts.encode(to: encoder) }
}

extension HTTPField.Name {
    fileprivate static let idempotencyKey = Self("Idempotency-Key")!  // a literal, and a token
    fileprivate static let retryAfter = Self("Retry-After")!  // the same
}

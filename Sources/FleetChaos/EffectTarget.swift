import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Synchronization

/// What a handler tells the target, in headers.
enum EffectReport {
    enum Step: String, Sendable {
        /// The effect of a job.
        case effect
        /// A handler's start, where the job is to have no effect.
        case attempt
        /// The first and the last effect under a lock.
        case begin, end
    }

    enum Header {
        static let key = "Idempotency-Key", token = "X-Token", attempt = "X-Attempt", step = "X-Step", nonce = "X-Nonce"
        static let process = "X-Process", lock = "X-Lock", lockToken = "X-Lock-Token"
    }
}

/// One request as the target saw it.
struct Effect: Sendable {
    /// Since the start of the run.
    let at: Duration
    let key: String
    let step: EffectReport.Step
    let token: Int64
    let attempt: Int
    let nonce: String
    let process: Int
    let lock: String?
    let lockToken: Int64?
    /// Whether the target took it: a token lower than one it has seen is refused.
    let isAccepted: Bool
}

/// The service that the run's jobs have their effect at: an HTTP server in the harness, which no fault befalls and which
/// shares no code with the fleet. It writes each request down as it comes, without asking whether it knows the key, and
/// does the one thing that a service must do for fencing tokens to be of use: it refuses one that is lower than another
/// which it has seen for the same job or the same lock.
final class EffectTarget: Sendable {
    private struct State {
        var effects: [Effect] = []
        var tokens: [String: Int64] = [:]
        var lockTokens: [String: Int64] = [:]
    }

    private let state = Mutex(State())
    private let clock: RunClock

    init(clock: RunClock) { self.clock = clock }

    var effects: [Effect] { state.withLock { $0.effects } }
    var count: Int { state.withLock { $0.effects.count } }

    /// Serves until its task is cancelled.
    ///
    /// - Parameter onReady: told the port as soon as it listens.
    func run(onReady: @escaping @Sendable (Int) -> Void) async throws {
        var logger = Logger(label: "gaia.chaos-target")
        logger.logLevel = .critical
        let router = Router()
        router.post("effect") { [self] request, _ in take(request.headers) }
        let application = Application(
            router: router,
            configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: 0), backlog: 2_048),
            onServerRunning: { onReady($0.localAddress?.port ?? 0) }, logger: logger)
        try await application.run()
    }

    private func take(_ headers: HTTPFields) -> HTTPResponse.Status {
        func text(_ name: String) -> String? { HTTPField.Name(name).flatMap { headers[$0] } }
        guard let key = text(EffectReport.Header.key),
            let token = text(EffectReport.Header.token).flatMap({ Int64($0) }),
            let step = text(EffectReport.Header.step).flatMap({ EffectReport.Step(rawValue: $0) })
        else { return .badRequest }
        let lock = text(EffectReport.Header.lock)
        let lockToken = text(EffectReport.Header.lockToken).flatMap { Int64($0) }
        let isAccepted = state.withLock { state in
            var isAccepted = token >= state.tokens[key, default: 0]
            if let lock, let lockToken {
                isAccepted = isAccepted && lockToken >= state.lockTokens[lock, default: 0]
                if isAccepted { state.lockTokens[lock] = lockToken }
            }
            if isAccepted { state.tokens[key] = token }
            state.effects.append(
                Effect(
                    at: clock.now, key: key, step: step, token: token,
                    attempt: text(EffectReport.Header.attempt).flatMap { Int($0) } ?? 0,
                    nonce: text(EffectReport.Header.nonce) ?? "",
                    process: text(EffectReport.Header.process).flatMap { Int($0) } ?? 0, lock: lock,
                    lockToken: lockToken, isAccepted: isAccepted))
            return isAccepted
        }
        return isAccepted ? .ok : .conflict
    }
}

/// Time since the load began, for journal, effects and faults alike.
final class RunClock: Sendable {
    private let start = Mutex(ContinuousClock.now)

    func begin() { start.withLock { $0 = .now } }
    var now: Duration { ContinuousClock.now - start.withLock { $0 } }
    func instant(_ offset: Duration) -> ContinuousClock.Instant { start.withLock { $0 } + offset }
}

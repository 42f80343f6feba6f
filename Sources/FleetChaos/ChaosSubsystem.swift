import CurlClient
import FleetModel
import Glibc

/// The kinds of job that a run consists of, with their handlers. Each tells the target what it does under which token; the
/// target alone counts.
public struct ChaosSubsystem: Sendable {
    public static let name = "chaos"
    private let curl: CurlMulti
    private let target: String

    /// - Parameter target: the address of the run's target, `http://127.0.0.1:PORT`.
    public init(target: String) {
        self.target = target
        curl = CurlMulti(maxConnections: 64, maxConnectionsPerHost: 64, maxInFlight: 256)
    }

    public func close() async { await curl.close() }

    /// Brisk pauses between tries: a run is to see the end of all of them.
    private static let retry = RetryPolicy(
        backoff: .exponentialFullJitter(base: .milliseconds(100), cap: .seconds(1)), attemptsMax: 20)

    public var definitions: [JobDefinition] { [effect, lock, once, doomed, poison] }

    private var effect: JobDefinition {
        JobDefinition(EffectWork.self, retry: Self.retry) { (work: EffectWork, context: JobContext) -> Int in
            try await Task.sleep(for: .milliseconds(work.ms))
            try await report(.effect, work.nonce, context)
            if context.attempt <= work.failures {
                throw JobFailure(.transient, code: "chaos", message: "fails, as it was told")
            }
            return context.attempt
        }
    }

    private var lock: JobDefinition {
        JobDefinition(LockWork.self, retry: Self.retry) { (work: LockWork, context: JobContext) -> Int64 in
            try await context.withLock(work.lock, within: .seconds(60)) { held in
                try await report(.begin, work.nonce, context, lock: held)
                try await Task.sleep(for: .milliseconds(work.ms))
                try await report(.end, work.nonce, context, lock: held)
                return held.token
            }
        }
    }

    private var once: JobDefinition {
        JobDefinition(OnceWork.self, retry: Self.retry, isRepeatable: false) {
            (work: OnceWork, context: JobContext) -> Void in
            do { try await report(.effect, work.nonce, context) } catch let failure as JobFailure {
                // Nothing says that an earlier try of this very job did not get through.
                throw JobFailure(.unsafe, code: failure.code, message: failure.message)
            }
            try await Task.sleep(for: .milliseconds(work.ms))
        }
    }

    private var doomed: JobDefinition {
        JobDefinition(DoomedWork.self, retry: Self.retry) { (work: DoomedWork, context: JobContext) -> Void in
            try await report(.attempt, work.nonce, context)
            throw JobFailure(.permanent, code: "doomed", message: "fails for good, as it was told")
        }
    }

    private var poison: JobDefinition {
        JobDefinition(PoisonWork.self, retry: Self.retry) { (work: PoisonWork, context: JobContext) -> Void in
            try await report(.attempt, work.nonce, context)
            kill(getpid(), SIGKILL)
        }
    }

    /// - Throws: a failure by which the attempt is made again later, when the target did not answer or refused the token.
    private func report(
        _ step: EffectReport.Step, _ nonce: String, _ context: JobContext, lock: LockGrant? = nil
    ) async throws {
        var headers: [(name: String, value: String)] = [
            (EffectReport.Header.key, context.idempotencyKey), (EffectReport.Header.token, "\(context.token)"),
            (EffectReport.Header.attempt, "\(context.attempt)"), (EffectReport.Header.step, step.rawValue),
            (EffectReport.Header.nonce, nonce), (EffectReport.Header.process, "\(getpid())"),
        ]
        if let lock {
            headers.append((EffectReport.Header.lock, lock.name))
            headers.append((EffectReport.Header.lockToken, "\(lock.token)"))
        }
        let response = try await curl.perform(
            CurlRequest(method: "POST", url: "\(target)/effect", headers: headers, timeout: .seconds(20)))
        switch response.status {
        case 200: return
        case 409:
            throw JobFailure(.transient, code: "stale-token", message: "the target has seen a newer owner")
        default: throw JobFailure(.transient, code: "target", message: "the target answered \(response.status)")
        }
    }
}

import FleetModel
import PostgresClient

/// What became of a request to call a job off.
public enum CancelAnswer: String, Sendable {
    /// It had not begun, and will not.
    case cancelled
    /// It runs; its handler is told.
    case requested
    /// There is no such job yet. It will be called off if it comes.
    case noted
    /// Too late.
    case finished
}

/// An operator's word on a job that is indeterminate.
public enum Resolution: Sendable {
    /// It took effect; `output` is JSON text.
    case succeeded(output: String?)
    case discarded
    /// It did not take effect: run it again.
    case retry
}

extension FleetStore {
    /// The channel on which workers hear that there are orders to look for.
    public static let controlChannel = "gaia_control"
    /// The channel on which workers hear that somebody looks, and wants to know how far they are.
    public static let reportChannel = "gaia_report"
    /// The channel on which the leader hears that something is due.
    public static let agendaChannel = "gaia_agenda"

    public func cancel(_ identity: JobIdentity, reason: String) async throws -> CancelAnswer {
        let word: String = try await pool.execute(
            SQL.cancel, [.text(identity.subsystem), .text(identity.key), .text(reason)]
        ).only().get(0)
        guard let answer = CancelAnswer(rawValue: word) else { throw UnknownState(name: word) }
        return answer
    }

    /// - Returns: the state in which the job was found when that was not indeterminate, "unknown" when there is no such
    ///   job; nil when it is resolved.
    public func resolve(_ identity: JobIdentity, as resolution: Resolution, reason: String) async throws -> String? {
        let (word, output): (String, String?) =
            switch resolution {
            case .succeeded(let output): ("succeeded", output)
            case .discarded: ("discarded", nil)
            case .retry: ("retry", nil)
            }
        let answer: String = try await pool.execute(
            SQL.resolve,
            [
                .text(identity.subsystem), .text(identity.key), .text(word), output.map { .text($0) } ?? .null,
                .text(reason),
            ]
        ).only().get(0)
        return answer == "resolved" ? nil : answer
    }

    /// Which of the jobs that this worker runs have been called off, and why.
    public func calledOff(_ owner: WorkerEpoch) async throws -> [(identity: JobIdentity, reason: String)] {
        try await pool.execute(SQL.calledOff, [.int64(owner.worker), .int32(owner.epoch)]).map { row in
            (JobIdentity(subsystem: try row.get(0), key: try row.get(1)), try row.get(2))
        }
    }

    /// Notes that a claim is about to run with nothing beside it.
    ///
    /// - Returns: false when the token no longer owns the job.
    public func runAlone(_ identity: JobIdentity, token: Int64) async throws -> Bool {
        let rows = try await pool.execute(
            SQL.runAlone, [.text(identity.subsystem), .text(identity.key), .int64(token)])
        return !rows.isEmpty
    }

    /// Writes down how far running jobs are.
    public func note(_ progress: [(identity: JobIdentity, token: Int64, progress: JobProgress)]) async throws {
        if progress.isEmpty { return }
        _ = try await pool.execute(
            SQL.progress,
            [
                .textArray(progress.map { $0.identity.subsystem }), .textArray(progress.map { $0.identity.key }),
                .int64Array(progress.map { $0.token }), .textArray(progress.map { $0.progress.document }),
            ])
    }

    /// Gives a job to the fleet as any program with a connection to the database may: `select gaia.enqueue(…)`.
    ///
    /// - Returns: "scheduled" or "duplicate".
    @discardableResult
    public func enqueueBySQL<Parameters: JobParameters>(_ parameters: Parameters, key: String) async throws -> String {
        let job = try Job(parameters, key: key)
        return try await pool.execute(
            SQL.enqueue,
            [.text(job.type.name), .text(String(decoding: job.payload, as: UTF8.self)), .text(key)]
        ).only().get(0)
    }
}

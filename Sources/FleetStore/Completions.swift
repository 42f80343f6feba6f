import FleetModel
import PostgresClient

/// One attempt's end, to be written while its token still owns the job.
public struct Completion: Sendable {
    public let identity: JobIdentity
    public let token: Int64
    public let attempt: Int
    public let settlement: Settlement

    public init(identity: JobIdentity, token: Int64, attempt: Int, settlement: Settlement) {
        self.identity = identity
        self.token = token
        self.attempt = attempt
        self.settlement = settlement
    }
}

/// What the ledger made of a completion.
public enum CompletionAnswer: Sendable, Equatable {
    /// Written. `waiters` are repeats that want the result too; only a final state has any.
    case settled(finishedAt: PostgresTimestamp?, attempt: Int, waiters: [Waiter])
    /// The token no longer owns the job: the outcome is void.
    case fenced
}

/// A repeat that was parked.
public struct Waiter: Sendable, Hashable {
    public let identity: JobIdentity
    /// nil where nobody is to be answered, and only the reminder on the agenda to be struck out.
    public let replyTo: String?
    public let correlationID: String

    public init(identity: JobIdentity, replyTo: String?, correlationID: String) {
        self.identity = identity
        self.replyTo = replyTo
        self.correlationID = correlationID
    }
}

extension FleetStore {
    /// Completes a batch in one round trip; another only to read back what did not match.
    ///
    /// - Returns: an answer for each, in the same order.
    /// - Throws: `PostgresError`; with `.outcomeUnknown` the same call may simply be made again: what the lost commit
    ///   had written is found by its token.
    public func complete(_ completions: [Completion], worker: String) async throws -> [CompletionAnswer] {
        if completions.isEmpty { return [] }
        var positions: [JobIdentity: Int] = [:]
        for (index, completion) in completions.enumerated() { positions[completion.identity] = index }
        precondition(positions.count == completions.count, "a batch names a job once")
        let subsystems = PostgresValue.textArray(completions.map { $0.identity.subsystem })
        let keys = PostgresValue.textArray(completions.map { $0.identity.key })

        let results = try await pool.pipeline([
            (SQL.complete, Self.completeArguments(completions, subsystems, keys, worker)),
            (SQL.waiters, [subsystems, keys]),
        ])
        var waiters: [JobIdentity: [Waiter]] = [:]
        for row in results[1] {
            let identity = try JobIdentity(subsystem: row.get(0), key: row.get(1))
            waiters[identity, default: []].append(
                Waiter(identity: identity, replyTo: try row.get(2), correlationID: try row.get(3)))
        }

        var answers = [CompletionAnswer](repeating: .fenced, count: completions.count)
        var written = 0
        func note(_ row: PostgresRow, attempt: Int32, finishedAt: PostgresTimestamp?) throws {
            let identity = try JobIdentity(subsystem: row.get(0), key: row.get(1))
            guard let position = positions[identity] else { return }
            let isFinal = completions[position].settlement.state.isFinal
            answers[position] = .settled(
                finishedAt: finishedAt, attempt: Int(attempt), waiters: isFinal ? waiters[identity] ?? [] : [])
            written += 1
        }
        for row in results[0] { try note(row, attempt: row.get(2), finishedAt: row.get(3)) }
        if written < completions.count {
            let open = zip(completions, answers).filter { $1 == .fenced }.map(\.0)
            for row in try await readBack(open) {
                // Written by an earlier try of ours whose answer was lost, if it says what we would have written.
                let identity = try JobIdentity(subsystem: row.get(0), key: row.get(1))
                guard let position = positions[identity],
                    completions[position].settlement.state.rawValue == (try row.get(2, as: String.self))
                else { continue }
                try note(row, attempt: row.get(3), finishedAt: row.get(4))
            }
        }
        return answers
    }

    /// The waiters have been answered.
    public func answered(_ waiters: [Waiter]) async throws {
        if waiters.isEmpty { return }
        _ = try await pool.execute(
            SQL.answered,
            [
                .textArray(waiters.map { $0.identity.subsystem }), .textArray(waiters.map { $0.identity.key }),
                .textArray(waiters.map { $0.replyTo }), .textArray(waiters.map { $0.correlationID }),
            ])
    }

    /// Who waits for jobs that are found finished.
    public func waiters(of identities: [JobIdentity]) async throws -> [Waiter] {
        if identities.isEmpty { return [] }
        let rows = try await pool.execute(
            SQL.waiters,
            [.textArray(identities.map { $0.subsystem }), .textArray(identities.map { $0.key })])
        return try rows.map { row in
            Waiter(
                identity: JobIdentity(subsystem: try row.get(0), key: try row.get(1)), replyTo: try row.get(2),
                correlationID: try row.get(3))
        }
    }

    private func readBack(_ completions: [Completion]) async throws -> PostgresRows {
        try await pool.execute(
            SQL.readBack,
            [
                .textArray(completions.map { $0.identity.subsystem }), .textArray(completions.map { $0.identity.key }),
                .int64Array(completions.map { $0.token }),
            ])
    }

    private static func completeArguments(
        _ completions: [Completion], _ subsystems: PostgresValue, _ keys: PostgresValue, _ worker: String
    ) -> [PostgresValue] {
        var outputs: [String?] = []
        var errors: [String?] = []
        var delays: [Int64?] = []
        var spends: [Bool?] = []
        for completion in completions {
            var (output, failure, delay, spent) = (String?.none, JobFailure?.none, Int64?.none, true)
            switch completion.settlement {
            case .succeed(let value): output = value
            case .retry(let error, let pause, let spendsAttempt):
                (failure, delay, spent) = (error, pause.milliseconds, spendsAttempt)
            case .snooze(let pause): (delay, spent) = (pause.milliseconds, false)
            case .discard(let error), .doubt(let error), .cancel(let error): failure = error
            case .handBack: spent = false
            }
            outputs.append(output)
            errors.append(failure?.document(attempt: completion.attempt, worker: worker))
            delays.append(delay)
            spends.append(spent)
        }
        return [
            subsystems, keys, .int64Array(completions.map { $0.token }),
            .textArray(completions.map { $0.settlement.state.rawValue }), .textArray(outputs), .textArray(errors),
            .int64Array(delays), .boolArray(spends),
        ]
    }
}

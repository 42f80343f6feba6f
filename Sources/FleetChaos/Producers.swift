import AMQPClient
import FleetBroker
import FleetModel
import Logging
import PostgresClient
import Synchronization

/// What a producer knows of one enqueue.
struct JournalEntry: Sendable {
    enum Outcome: String, Sendable, Codable {
        /// Acknowledged: the fleet has it.
        case ok
        /// Certainly not enqueued.
        case failed
        /// The answer was lost: it may be enqueued.
        case unknown
        /// The transaction was rolled back by its own client.
        case rolledBack = "rolled-back"
        /// Refused, since the key belongs to another job.
        case conflict
    }

    let at: Duration
    let item: Int
    let key: String
    let nonce: String
    let route: Workload.Route
    let outcome: Outcome
    let why: String
}

/// Clients of the fleet: they enqueue the workload at an even pace over broker and database, write each outcome down, and
/// try again what failed or stayed unknown, as clients do; some give up.
struct Producers: Sendable {
    let workload: Workload
    let amqp: AMQPConfiguration
    let database: PostgresConfiguration
    let clock: RunClock
    let journal: Journal
    let logger: Logger

    /// Tasks that enqueue side by side.
    private static let lanes = 6

    /// Notes of all producers, in the order of their making.
    final class Journal: Sendable {
        private let notes = Mutex<[JournalEntry]>([])
        var entries: [JournalEntry] { notes.withLock { $0 } }
        var count: Int { notes.withLock { $0.count } }
        func add(_ entry: JournalEntry) { notes.withLock { $0.append(entry) } }
    }

    private struct RolledBack: Error {}

    private static let enqueue = PostgresStatement(
        name: "chaos-enqueue",
        sql: """
            select gaia.enqueue($1, $2::text::jsonb, $3, delay => $4::bigint * interval '1 millisecond', urgent => $5)
            """)

    /// Enqueues everything within `span`; returns when each item has been acknowledged or given up.
    ///
    /// - Parameter delay: by how much the strikes are later than planned. Then the jobs are too, or the last strikes would
    ///   find none.
    func run(over span: Duration, delay: @escaping @Sendable () -> Duration) async throws {
        let producer = JobProducer(amqp, publishTimeout: .seconds(5), logger: logger)
        let pool = PostgresPool(configuration: database, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await producer.run() }
            group.addTask { try await pool.run() }
            let result: Result<Void, any Error>
            do {
                try await withThrowingTaskGroup(of: Void.self) { lanes in
                    for lane in 0..<Self.lanes {
                        lanes.addTask { try await enqueue(lane, span, delay, producer, pool) }
                    }
                    for try await _ in lanes {}
                }
                result = .success(())
            } catch {
                result = .failure(error)
            }
            await producer.close()
            await pool.close()
            for try await _ in group {}
            try result.get()
        }
    }

    private func enqueue(
        _ lane: Int, _ span: Duration, _ delay: @Sendable () -> Duration, _ producer: JobProducer,
        _ pool: PostgresPool
    ) async throws {
        for item in workload.items where item.index % Self.lanes == lane {
            let due = span * (Double(item.index) / Double(workload.items.count))
            // Further strikes may have come late meanwhile.
            while clock.now < due + delay() { try await Task.sleep(until: clock.instant(due + delay())) }
            let isIn = try await enqueueUntilKnown(item, producer, pool)
            // The same once more, as a client does that has lost the answer; and another job under its key.
            if isIn {
                for _ in 0..<item.repeats { _ = try await attempt(item, isConflict: false, producer, pool) }
                if item.hasConflict { _ = try await attempt(item, isConflict: true, producer, pool) }
            }
        }
    }

    /// - Returns: whether it was acknowledged.
    private func enqueueUntilKnown(
        _ item: Workload.Item, _ producer: JobProducer, _ pool: PostgresPool
    ) async throws -> Bool {
        while true {
            switch try await attempt(item, isConflict: false, producer, pool) {
            case .ok: return true
            case .rolledBack, .conflict: return false
            case .failed, .unknown: if item.givesUp { return false }
            }
            try await Task.sleep(for: .milliseconds(250))
        }
    }

    private func attempt(
        _ item: Workload.Item, isConflict: Bool, _ producer: JobProducer, _ pool: PostgresPool
    ) async throws -> JournalEntry.Outcome {
        let job = try item.job(isConflict: isConflict)
        let (outcome, why): (JournalEntry.Outcome, String) =
            switch item.route {
            case .broker: await publish(job, producer)
            case .sql, .sqlLater: await insert(job, item, pool)
            }
        journal.add(
            JournalEntry(
                at: clock.now, item: item.index, key: item.key, nonce: item.nonce(isConflict: isConflict),
                route: item.route, outcome: outcome, why: why))
        try Task.checkCancellation()
        return outcome
    }

    private func publish(_ job: Job, _ producer: JobProducer) async -> (JournalEntry.Outcome, String) {
        switch await producer.enqueue([job])[0] {
        case .queued: (.ok, "")
        case .failed(let why): (.failed, why)
        case .unknown(let why): (.unknown, why)
        }
    }

    private func insert(
        _ job: Job, _ item: Workload.Item, _ pool: PostgresPool
    ) async -> (JournalEntry.Outcome, String) {
        let parameters: [PostgresValue] = [
            .text(job.type.description), .text(String(decoding: job.payload, as: UTF8.self)), .text(job.key),
            .int64(item.route == .sqlLater ? Int64(200 + item.index % 1_800) : 0), .bool(job.isUrgent),
        ]
        do {
            try await pool.withTransaction { session in
                try await session.execute(Self.enqueue, parameters)
                if item.isRolledBack { throw RolledBack() }
            }
            return (.ok, "")
        } catch is RolledBack {
            return (.rolledBack, "")
        } catch let error as PostgresError {
            switch error.kind {
            case .outcomeUnknown: return (.unknown, error.description)
            case .server(sqlState: "23505"): return (.conflict, error.description)
            default: return (.failed, error.description)
            }
        } catch {
            return (.unknown, "\(error)")
        }
    }
}

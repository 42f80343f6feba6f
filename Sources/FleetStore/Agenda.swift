import FleetModel
import PostgresClient

/// A delivery that is owed to the broker.
public struct DueDelivery: Sendable {
    public fileprivate(set) var job: Job
    public let dueAt: PostgresTimestamp
    public let reason: String
    /// It came by SQL, and nobody has looked yet whether it can be run as it was given.
    public fileprivate(set) var isUnsealed: Bool
    /// Its backoff as it was given, when that is none.
    let flaw: InvalidBackoff?
}

/// A job for later, as the dispatcher takes it on.
public struct ScheduleRequest: Sendable {
    public let job: Job
    /// In canonical form.
    public let payload: String
    public let delay: Duration

    public init(job: Job, payload: String, delay: Duration) {
        self.job = job
        self.payload = payload
        self.delay = delay
    }
}

/// What became of a request for later.
public enum ScheduleAnswer: Sendable, Equatable {
    case scheduled
    /// The same job is in the ledger already.
    case duplicate(JobState)
    /// The key belongs to another job.
    case conflict
}

extension FleetStore {
    /// What is owed by now, oldest first.
    public func due(atMost limit: Int) async throws -> [DueDelivery] {
        try await pool.execute(SQL.due, [.int32(Int32(limit))]).map { row in
            let type = try JobType(validating: row.get(4, as: String.self))
            let payload: String = try row.get(5)
            // A flaw in one must not keep back the others: `seal` ends the job that has it.
            let (backoff, flaw) = Self.backoff(try row.get(11))
            return DueDelivery(
                job: Job(
                    type: type, key: try row.get(1), payload: Array(payload.utf8), replyTo: try row.get(6),
                    correlationID: try row.get(7), subject: try row.get(8), traceparent: try row.get(9),
                    backoff: backoff, isUrgent: try row.get(12), producer: try row.get(10)),
                dueAt: try row.get(2), reason: try row.get(3), isUnsealed: try row.get(13), flaw: flaw)
        }
    }

    private static func backoff(_ text: String?) -> (Backoff?, InvalidBackoff?) {
        guard let text else { return (nil, nil) }
        do throws(InvalidBackoff) {
            return (try Backoff(parsing: text), nil)
        } catch {
            return (nil, error)
        }
    }

    /// Brings payloads that came by SQL into canonical form, or ends jobs that cannot be run as they were given.
    ///
    /// - Returns: what may be published, with its payload as the ledger has it now. The others, ended just now or sealed by
    ///   another, are due still and read as they stand in the next round.
    public func seal(_ due: [DueDelivery], term: Int64) async throws -> [DueDelivery] {
        let open = due.filter(\.isUnsealed)
        if open.isEmpty { return due }
        let sealed = open.map { delivery -> (payload: String?, code: String?, flaw: String?) in
            if let flaw = delivery.flaw { return (nil, "malformed", flaw.description) }
            do throws(InvalidJSON) {
                return (try CanonicalJSON.text(of: delivery.job.payload), nil, nil)
            } catch {
                return (nil, "invalid-json", error.description)
            }
        }
        var payloads: [JobIdentity: String] = [:]
        for row in try await pool.execute(
            SQL.seal,
            [
                .textArray(open.map { $0.job.type.subsystem }), .textArray(open.map { $0.job.key }),
                .textArray(sealed.map(\.payload)), .textArray(sealed.map(\.code)), .textArray(sealed.map(\.flaw)),
                .int64(term),
            ])
        { payloads[JobIdentity(subsystem: try row.get(0), key: try row.get(1))] = try row.get(2, as: String?.self) }
        return due.compactMap { delivery in
            guard delivery.isUnsealed else { return delivery }
            guard let payload = payloads[delivery.job.identity] else { return nil }
            var delivery = delivery
            delivery.job.payload = Array(payload.utf8)
            delivery.isUnsealed = false
            return delivery
        }
    }

    /// How long until something is owed; nil when nothing is.
    public func nextDue() async throws -> Duration? {
        try await pool.execute(SQL.nextDue).only().get(0, as: Int64?.self).map { .milliseconds(max($0, 0)) }
    }

    /// Strikes out what the broker has confirmed.
    ///
    /// - Returns: how many rows were struck out: none when the term has ended.
    @discardableResult
    public func staged(_ deliveries: [DueDelivery], term: Int64) async throws -> Int {
        if deliveries.isEmpty { return 0 }
        let rows = try await pool.execute(
            SQL.staged,
            [
                .int64(term), .textArray(deliveries.map { $0.job.type.subsystem }),
                .textArray(deliveries.map { $0.job.key }), .timestampArray(deliveries.map { $0.dueAt }),
            ])
        return Int(try rows.only().get(0, as: Int64.self))
    }

    /// Takes on jobs for later. A batch may name a key twice: the second is a repeat, or a conflict.
    public func schedule(_ requests: [ScheduleRequest]) async throws -> [ScheduleAnswer] {
        if requests.isEmpty { return [] }
        var first: [JobIdentity: Int] = [:]
        for (index, request) in requests.enumerated() where first[request.job.identity] == nil {
            first[request.job.identity] = index
        }
        let unique = first.values.sorted().map { requests[$0] }
        var made: Set<JobIdentity> = []
        for row in try await pool.execute(SQL.schedule, Self.scheduleArguments(unique)) {
            made.insert(JobIdentity(subsystem: try row.get(0), key: try row.get(1)))
        }
        var answers: [ScheduleAnswer] = []
        let taken = requests.enumerated().filter { !(made.contains($1.job.identity) && first[$1.job.identity] == $0) }
        let standing = try await compare(taken.map { $0.element })
        for (index, request) in requests.enumerated() {
            let identity = request.job.identity
            if made.contains(identity), first[identity] == index {
                answers.append(.scheduled)
            } else {
                answers.append(standing[Comparison(request)] ?? .conflict)
            }
        }
        return answers
    }

    /// What stands in the ledger under the keys of these jobs, without writing anything: the same job, another, or nil
    /// where there is none.
    public func standing(_ documents: [JobDocument]) async throws -> [ScheduleAnswer?] {
        let requests = documents.map { ScheduleRequest(job: $0.job, payload: $0.payload, delay: .zero) }
        let standing = try await compare(requests)
        return requests.map { standing[Comparison($0)] }
    }

    private struct Comparison: Hashable {
        let identity: JobIdentity
        let type: String
        let payload: String

        init(_ request: ScheduleRequest) {
            identity = request.job.identity
            type = request.job.type.name
            payload = request.payload
        }
    }

    /// Owes the messages of a subsystem's jobs again whose queue was lost.
    ///
    /// - Parameters:
    ///   - urgent: those of the urgent queue, or those of the other one.
    ///   - age: only jobs that have been in the ledger for so long.
    ///   - isCertain: the queue was seen to go; else it is taken for lost only when jobs are owed.
    /// - Returns: how many are owed.
    public func republish(
        subsystem: String, urgent: Bool, olderThan age: Duration, isCertain: Bool
    ) async throws -> Int {
        try await pool.execute(
            SQL.republish,
            [
                .text(subsystem), .bool(urgent), .int64(age.milliseconds), .bool(isCertain),
                .int64(Self.recheckAfter.milliseconds), .int64(Int64(Self.inHandMax)),
            ]
        ).count
    }

    /// The most deliveries that a worker has in hand of one queue: its prefetch limit at its largest.
    public static let inHandMax = 2_000

    /// Owes what workers that are gone had in hand of a queue that was lost.
    ///
    /// - Returns: how many jobs.
    public func oweLost(term: Int64) async throws -> Int {
        try await pool.execute(SQL.oweLost, [.int64(term), .int64(Int64(Self.inHandMax))]).count
    }

    private func compare(_ requests: [ScheduleRequest]) async throws -> [Comparison: ScheduleAnswer] {
        var answers: [Comparison: ScheduleAnswer] = [:]
        if requests.isEmpty { return answers }
        let rows = try await pool.execute(
            SQL.compare,
            [
                .textArray(requests.map { $0.job.type.subsystem }), .textArray(requests.map { $0.job.key }),
                .textArray(requests.map { $0.job.type.name }), .textArray(requests.map { $0.payload }),
            ])
        var standing: [JobIdentity: (state: JobState, same: Set<Bool>)] = [:]
        for row in rows {
            let identity = JobIdentity(subsystem: try row.get(0), key: try row.get(1))
            let name: String = try row.get(2)
            guard let state = JobState(rawValue: name) else { throw UnknownState(name: name) }
            standing[identity, default: (state, [])].same.insert(try row.get(3))
        }
        for request in requests {
            guard let (state, same) = standing[request.job.identity] else { continue }
            // One answer for all requests of a key only when they agree; else the request is compared by itself.
            if same.count == 1 {
                answers[Comparison(request)] = same.contains(true) ? .duplicate(state) : .conflict
            } else {
                answers[Comparison(request)] = try await compare([request])[Comparison(request)]
            }
        }
        return answers
    }

    private static func scheduleArguments(_ requests: [ScheduleRequest]) -> [PostgresValue] {
        [
            .textArray(requests.map { $0.job.type.subsystem }), .textArray(requests.map { $0.job.key }),
            .textArray(requests.map { $0.job.type.name }), .textArray(requests.map { $0.payload }),
            .textArray(requests.map { $0.job.replyTo }), .textArray(requests.map { $0.job.correlationID }),
            .textArray(requests.map { $0.job.subject }), .textArray(requests.map { $0.job.traceparent }),
            .textArray(requests.map { $0.job.producer }), .int32Array(requests.map { Int32($0.job.attemptsMax ?? 0) }),
            .int64Array(requests.map { $0.delay.milliseconds }),
            .int64Array(requests.map { $0.job.deadline?.milliseconds }),
            .textArray(requests.map { $0.job.backoff?.description }), .boolArray(requests.map { $0.job.isUrgent }),
        ]
    }
}

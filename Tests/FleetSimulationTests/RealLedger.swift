import FleetModel
import FleetStore
import Glibc
import Logging
import PostgresClient

/// The ledger in a database of this test's own, on the server that `GAIA_TEST_DATABASE_URL` names; it performs the same
/// steps as the model.
struct RealLedger: Sendable {
    private let store: FleetStore
    private let pool: PostgresPool
    /// Holds the liveness locks of all workers and makes guarded writes.
    private let session: PostgresSession

    private static let logger = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }

    struct NoServer: Error, CustomStringConvertible {
        let description = "GAIA_TEST_DATABASE_URL must be the URL of a database server for tests; ./gaia test sets it"
    }

    // MARK: Life

    static func with(_ body: @Sendable (RealLedger) async throws -> Void) async throws {
        guard let variable = getenv("GAIA_TEST_DATABASE_URL") else { throw NoServer() }
        let server = String(cString: variable)
        let name = "simulation_\(getpid())_" + String(UInt64.random(in: 0 ... .max), radix: 36)
        let configuration = FleetStore.keyed(try PostgresConfiguration(url: url(of: name, on: server)))
        try await withPool(try PostgresConfiguration(url: server)) { administration in
            try await administration.script("create database \(name) template template0")
            let result: Result<Void, any Error>
            do {
                result = .success(try await serve(configuration, body))
            } catch {
                result = .failure(error)
            }
            try await administration.script("drop database \(name) with (force)")
            try result.get()
        }
    }

    private static func serve(
        _ configuration: PostgresConfiguration, _ body: @Sendable (RealLedger) async throws -> Void
    ) async throws {
        try await withPool(configuration) { pool in
            let dedicated = PostgresDedicated(configuration: configuration, logger: logger)
            let result: Result<Void, any Error>
            do {
                let store = FleetStore(pool: pool)
                try await store.migrate()
                let ledger = RealLedger(store: store, pool: pool, session: try await dedicated.connect())
                result = .success(try await body(ledger))
            } catch {
                result = .failure(error)
            }
            await dedicated.close()
            try result.get()
        }
    }

    private static func withPool(
        _ configuration: PostgresConfiguration, _ body: @Sendable (PostgresPool) async throws -> Void
    ) async throws {
        var configuration = configuration
        configuration.poolSize = 2
        // The simulations beside it leave the processor to nobody for as long as they compute.
        configuration.acquireTimeout = .seconds(300)
        let pool = PostgresPool(configuration: configuration, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await pool.run() }
            let result: Result<Void, any Error>
            do {
                result = .success(try await body(pool))
            } catch {
                result = .failure(error)
            }
            await pool.close()
            try result.get()
            try await group.waitForAll()
        }
    }

    private static func url(of database: String, on server: String) throws -> String {
        let parts = server.split(separator: "?", maxSplits: 1)
        guard let slash = parts[0].lastIndex(of: "/") else { throw NoServer() }
        return parts[0][...slash] + database + (parts.count > 1 ? "?\(parts[1])" : "")
    }

    /// As if nothing had ever been written.
    func clear() async throws {
        try await session.execute(PostgresStatement(name: "sim-unlock", sql: "select pg_advisory_unlock_all()"))
        try await pool.script(
            """
            delete from gaia.job; delete from gaia.worker; delete from gaia.agenda; delete from gaia.waiter;
            delete from gaia.cancellation; delete from gaia.leader; delete from gaia.lock; delete from gaia.lock_waiter;
            delete from gaia.dead;
            alter table gaia.worker alter column id restart;
            alter sequence gaia.lock_number restart;
            """)
    }

    // MARK: Names

    static let subsystem = "sim"

    private static func identity(_ key: Int) -> JobIdentity { JobIdentity(subsystem: subsystem, key: "\(key)") }

    private static func job(_ key: Int, _ content: JobContent, _ replyTo: Int?) throws -> (Job, String) {
        let payload = #"{"n":\#(content.payload)}"#
        let job = Job(
            type: try JobType(validating: "\(subsystem).do\(content.type == 0 ? "" : "-other").v1"), key: "\(key)",
            payload: Array(payload.utf8), replyTo: replyTo.map { "\($0)" })
        return (job, payload)
    }

    private static func request(_ question: ClaimQuestion) throws -> ClaimRequest {
        let (job, payload) = try job(question.key, question.content, question.replyTo)
        return ClaimRequest(
            job: job, payload: payload, attemptsMax: question.attemptsMax, isRepeatable: question.isRepeatable)
    }

    // MARK: Steps

    /// - Returns: the answer in words, as the model has them.
    func perform(_ step: LedgerStep, seen due: inout [DueDelivery]) async throws -> String {
        switch step {
        case .claim(let questions, let owner):
            return try await store.claim(questions.map(Self.request), by: owner).map(\.words).joined(separator: ", ")
        case .classify(let questions, let owner):
            return try await store.classify(questions.map(Self.request), by: owner).map(\.words).joined(separator: ", ")
        case .runAlone(let key, let token): return "\(try await store.runAlone(Self.identity(key), token: token))"
        case .complete(let completions):
            let completions = completions.map {
                Completion(identity: Self.identity($0.key), token: $0.token, attempt: 1, settlement: $0.settlement)
            }
            return try await store.complete(completions, worker: "w").map(\.words).joined(separator: ", ")
        case .answered(let key, let replyTo):
            try await store.answered([
                Waiter(identity: Self.identity(key), replyTo: "\(replyTo)", correlationID: "\(key)")
            ])
        case .schedule(let key, let content, let replyTo, let delay):
            let (job, payload) = try Self.job(key, content, replyTo)
            let request = ScheduleRequest(job: job, payload: payload, delay: .milliseconds(delay))
            return try await store.schedule([request]).map(\.word).joined()
        case .due:
            due = try await store.due(atMost: 100)
            return due.map { "\($0.job.key) \($0.reason)" }.sorted().joined(separator: ", ")
        case .staged(let term): return "\(try await store.staged(due, term: term))"
        case .cancel(let key): return try await store.cancel(Self.identity(key), reason: "called off").rawValue
        case .calledOff(let owner):
            return "\(try await store.calledOff(owner).compactMap { Int($0.identity.key) }.sorted())"
        case .pass(let span):
            try await pass(span)
            due = []
        default: return try await performOnOwners(step)
        }
        return "done"
    }

    private func performOnOwners(_ step: LedgerStep) async throws -> String {
        switch step {
        case .register(let lease):
            let card = WorkerCard(name: "w", host: "here", processID: 1, subsystems: [Self.subsystem], slots: 5)
            return "\(try await store.register(card, lease: .milliseconds(lease)))"
        case .renew(let owner, let lease):
            return
                "\(try await store.renew(owner, lease: .milliseconds(lease), load: WorkerLoad(busy: 0), draining: false))"
        case .beginEpoch(let worker, let lease):
            return "\(try await store.beginEpoch(worker: worker, lease: .milliseconds(lease)))"
        case .release(let owner): try await store.release(owner)
        case .holdLiveness(let worker): _ = try await FleetStore.holdLiveness(of: worker, on: session)
        case .loseLiveness(let worker): try await loseLiveness(worker)
        case .missing:
            return try await store.missingWorkers().map { "\($0.owner) \($0.expired)" }.joined(separator: ", ")
        case .endEpoch(let owner, let term): return "\(try await store.endEpoch(of: owner, term: term))"
        case .releaseOrphans(let term): return "\(try await store.releaseOrphans(term: term))"
        case .renewTerm(let term): return "\(try await store.renewTerm(term))"
        case .beginTerm: return "\(try await store.beginTerm(name: "d"))"
        case .enterLock(let name, let request, let wait, let owner):
            let question = LockQuestion(name: "\(name)", request: request, holder: "h", wait: .milliseconds(wait))
            return try await store.enterLocks([question], by: owner).map { "\($0)" }.joined()
        case .lookAtLock(let name, let request, let owner):
            return try await store.lookAtLocks([LockRequest(name: "\(name)", request: request)], by: owner)
                .map { "\($0)" }.joined()
        case .leaveLock(let name, let request, let owner):
            return try await store.leaveLocks([LockRequest(name: "\(name)", request: request)], by: owner)
                .map { "\($0)" }.joined()
        case .checkLock(let name, let token):
            do {
                try await FleetStore.checkLock("\(name)", token: token, on: session)
                return "true"
            } catch let error as PostgresError where error.sqlState == FleetStore.staleTokenState {
                return "false"
            }
        default: preconditionFailure("\(step) is performed above")
        }
        return "done"
    }

    private func loseLiveness(_ worker: Int64) async throws {
        let unlock = PostgresStatement(
            name: "sim-lose",
            sql: """
                select pg_advisory_unlock($1::int4, $2::int4)
                from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and classid::bigint = $1 and objid = $2
                """)
        // A session that has taken a lock twice gives it back twice.
        while try await !session.execute(
            unlock, [.int32(FleetStore.livenessLockClass), .int32(Int32(truncatingIfNeeded: worker))]
        ).isEmpty {}
    }

    /// Time is not waited for: everything that lies in it comes nearer.
    private func pass(_ span: Int64) async throws {
        let by = "- interval '\(span) milliseconds'"
        try await pool.script(
            """
            update gaia.worker set lease_until = lease_until \(by);
            update gaia.job set not_before = not_before \(by), created_at = created_at \(by), due_at = due_at \(by);
            update gaia.agenda set due_at = due_at \(by);
            update gaia.lock_waiter set until = until \(by);
            """)
    }

    // MARK: Looking

    /// Every row, as the model shows its own.
    func rows() async throws -> [String] {
        let time = { (column: String) in
            "coalesce(ceil(extract(epoch from \(column) - now()) * 1000 / \(LedgerModel.unit))::int::text, '-')"
        }
        let owner = "coalesce(worker || '/' || epoch, '-')"
        let words = { (flag: String) in "case when \(flag) then 'true' else 'false' end" }
        let statement = PostgresStatement(
            name: "sim-rows",
            sql: """
                select 'term ' || coalesce((select term from gaia.leader), 0)
                union all
                select format('worker %s epoch %s gone %s lease %s', id, epoch, \(words("state = 'gone'")),
                    \(time("lease_until"))) from gaia.worker
                union all
                select format('job %s %s type %s payload %s attempt %s/%s token %s of %s reply %s due %s crashes %s alone '
                    || '%s repeatable %s errors %s', key, state, case when type like '%other%' then 1 else 0 end,
                    payload::jsonb ->> 'n', attempt, attempts_max, token, \(owner), coalesce(reply_to, '-'),
                    \(time("not_before")), crashes, \(words("alone")), \(words("repeatable")), jsonb_array_length(errors))
                from gaia.job
                union all
                select format('agenda %s %s of %s due %s', key, reason, \(owner), \(time("due_at"))) from gaia.agenda
                union all
                select format('waiter %s %s', key, reply_to) from gaia.waiter
                union all
                select format('cancellation %s', key) from gaia.cancellation
                union all
                select format('lock %s token %s of %s request %s', name, token, \(owner), request) from gaia.lock
                union all
                select format('place %s number %s of %s request %s until %s', name, number, \(owner), request,
                    \(time("until"))) from gaia.lock_waiter
                """)
        return try await pool.execute(statement, []).map { try $0.get(0, as: String.self) }.sorted()
    }
}

extension ClaimAnswer {
    fileprivate var words: String {
        switch self {
        case .claimed(let owned):
            "claimed, token \(owned.token), attempt \(owned.attempt) of \(owned.attemptsMax), crashes \(owned.crashes), age "
                + "\(owned.age.milliseconds / LedgerModel.unit)"
        case .ended(let result): "ended as \(result.state) in attempt \(result.attempt)"
        case .finished(let result): "finished as \(result.state) in attempt \(result.attempt)"
        case .parked: "parked"
        case .conflict: "conflict"
        case .again: "again"
        case .fenced: "fenced"
        }
    }
}

extension CompletionAnswer {
    fileprivate var words: String {
        switch self {
        case .settled(_, let attempt, let waiters):
            "settled in attempt \(attempt), waiters \(waiters.compactMap { $0.replyTo.flatMap { Int($0) } }.sorted())"
        case .fenced: "fenced"
        }
    }
}

extension ScheduleAnswer {
    fileprivate var word: String {
        switch self {
        case .scheduled: "scheduled"
        case .duplicate: "duplicate"
        case .conflict: "conflict"
        }
    }
}

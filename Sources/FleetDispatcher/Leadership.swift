import FleetModel
import FleetStore
import Logging
import PostgresClient

/// Something that one dispatcher does for all. It runs for one term and ends by cancellation.
protocol Duty: Sendable {
    var name: String { get }
    /// Ends the pause between two rounds early.
    var bell: Bell { get }
    /// Does what is to be done now.
    ///
    /// - Returns: how long there will be nothing to do.
    func round(term: Int64) async throws -> Duration
}

/// Competes for the leader's lock and runs the duties while it holds it. The lock lives in a session of its own: when the
/// process dies, or the connection breaks, the server frees it at once and another takes over. A leader that hangs keeps
/// its session; so it renews its term every second, and when a follower has seen no sign of that for a while it ends the
/// session for it. Each new leader begins a term, and every write of a duty names its term, so that a deposed leader's late
/// write matches no row.
struct Leadership: Sendable {
    let store: FleetStore
    let name: String
    let logger: Logger
    let duties: [any Duty]
    let record: LeadershipRecord
    private let database: PostgresConfiguration

    /// How often a follower tries for the lock: half of what a takeover may cost in all.
    static let attemptInterval: Duration = .milliseconds(100)
    /// How often a leader renews its term, and a follower looks whether it has.
    static let renewInterval: Duration = .seconds(1)
    /// How long a leader may go without renewing.
    static let lease: Duration = .seconds(4)

    init(
        store: FleetStore, database: PostgresConfiguration, name: String, logger: Logger, duties: [any Duty],
        record: LeadershipRecord
    ) {
        self.record = record
        self.store = store
        self.name = name
        self.logger = logger
        self.duties = duties
        var configuration = database
        configuration.applicationName = "gaia leadership"
        self.database = configuration
    }

    /// Runs until the task is cancelled.
    func run() async {
        var failures = 0
        while !Task.isCancelled {
            let dedicated = PostgresDedicated(configuration: database, logger: logger)
            do {
                let session = try await dedicated.connect()
                failures = 0
                var watch = LeaderWatch(lease: Self.lease)
                while try await !FleetStore.takeLeadership(on: session) {
                    try await Task.sleep(for: Self.attemptInterval)
                    try await look(&watch, on: session)
                }
                try await lead(on: session, until: dedicated)
            } catch {
                if !Task.isCancelled {
                    failures += 1
                    if failures % 10 == 1 { logger.warning("leadership: \(error)") }
                    // Woken by cancellation too, which ends the loop.
                    try? await Task.sleep(for: Patience().pause(afterFailure: failures))
                }
            }
            await dedicated.close()
        }
    }

    /// Ends the session of a leader that has shown no sign for the time of its lease.
    private func look(_ watch: inout LeaderWatch, on session: PostgresSession) async throws {
        let now = ContinuousClock.now
        guard now - watch.looked >= Self.renewInterval else { return }
        guard let leader = watch.hangs(try await FleetStore.leaderSign(on: session), at: now) else { return }
        if try await FleetStore.depose(leader, on: session) {
            logger.warning("the leader has not renewed its term \(leader.term) for \(Self.lease) and is deposed")
        }
    }

    private func lead(on session: PostgresSession, until dedicated: PostgresDedicated) async throws {
        let term = try await FleetStore.beginTerm(name: name, on: session)
        logger.notice("\(name) leads, term \(term)")
        record.begin(term)
        defer { record.end() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                if let lost = await dedicated.closed(), !Task.isCancelled {
                    logger.warning("\(name) no longer leads, its connection is lost: \(lost)")
                }
            }
            group.addTask { await keep(term) }
            for duty in duties {
                group.addTask { await perform(duty, term: term) }
            }
            // Whichever ends first ends the term; duties end only by cancellation.
            await group.next()
            group.cancelAll()
            await dedicated.close()
        }
    }

    /// Returns when the term is over, or by cancellation.
    private func keep(_ term: Int64) async {
        while !Task.isCancelled {
            do {
                guard try await store.renewTerm(term) else {
                    logger.warning("\(name) no longer leads, another has begun a term")
                    return
                }
            } catch {
                if !Task.isCancelled { logger.warning("the term could not be renewed: \(error)") }
            }
            // Woken by cancellation too, which ends the loop.
            try? await Task.sleep(for: Self.renewInterval)
        }
    }

    private func perform(_ duty: any Duty, term: Int64) async {
        var failures = 0
        while !Task.isCancelled {
            var pause: Duration
            let began = ContinuousClock.now
            do {
                pause = try await duty.round(term: term)
                failures = 0
                record.done(duty.name, .now - began)
            } catch {
                failures += 1
                if !Task.isCancelled { record.failed(duty.name, .now - began, "\(error)") }
                pause = Patience(initial: .milliseconds(100)).pause(afterFailure: failures)
                if !Task.isCancelled, failures % 10 == 1 { logger.warning("\(duty.name): \(error)") }
            }
            // Woken by cancellation too, which ends the loop.
            if pause > .zero { await duty.bell.wait(atMost: pause) }
        }
    }
}

/// A follower's memory of the leader: it hangs when all its signs have stayed the same for the time of its lease, by the
/// follower's own clock.
package struct LeaderWatch: Sendable {
    package private(set) var looked: ContinuousClock.Instant
    private let lease: Duration
    private var sign: LeaderSign?
    private var since: ContinuousClock.Instant

    package init(lease: Duration, now: ContinuousClock.Instant = .now) {
        self.lease = lease
        (looked, since) = (now, now)
    }

    /// - Returns: the leader, when it hangs.
    package mutating func hangs(_ sign: LeaderSign?, at now: ContinuousClock.Instant) -> LeaderSign? {
        looked = now
        if sign != self.sign { (self.sign, since) = (sign, now) }
        return now - since >= lease ? sign : nil
    }
}

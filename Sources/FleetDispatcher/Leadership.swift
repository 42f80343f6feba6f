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
/// process dies, or the connection breaks, the server frees it at once and another takes over. Each new leader begins a
/// term, and every write of a duty names its term, so that a deposed leader's late write matches no row.
struct Leadership: Sendable {
    let store: FleetStore
    let name: String
    let logger: Logger
    let duties: [any Duty]
    private let database: PostgresConfiguration

    /// How often a follower tries for the lock: half of what a takeover may cost in all.
    static let attemptInterval: Duration = .milliseconds(100)

    init(
        store: FleetStore, database: PostgresConfiguration, name: String, logger: Logger, duties: [any Duty]
    ) {
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
                while try await !FleetStore.takeLeadership(on: session) {
                    try await Task.sleep(for: Self.attemptInterval)
                }
                try await lead(until: dedicated)
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

    private func lead(until dedicated: PostgresDedicated) async throws {
        let term = try await store.beginTerm(name: name)
        logger.notice("\(name) leads, term \(term)")
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                if let lost = await dedicated.closed(), !Task.isCancelled {
                    logger.warning("\(name) no longer leads, its connection is lost: \(lost)")
                }
            }
            for duty in duties {
                group.addTask { await perform(duty, term: term) }
            }
            // Whichever ends first ends the term; duties end only by cancellation.
            await group.next()
            group.cancelAll()
            await dedicated.close()
        }
    }

    private func perform(_ duty: any Duty, term: Int64) async {
        var failures = 0
        while !Task.isCancelled {
            var pause: Duration
            do {
                pause = try await duty.round(term: term)
                failures = 0
            } catch {
                failures += 1
                pause = Patience(initial: .milliseconds(100)).pause(afterFailure: failures)
                if !Task.isCancelled, failures % 10 == 1 { logger.warning("\(duty.name): \(error)") }
            }
            // Woken by cancellation too, which ends the loop.
            if pause > .zero { await duty.bell.wait(atMost: pause) }
        }
    }
}

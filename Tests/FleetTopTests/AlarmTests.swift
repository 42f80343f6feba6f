import FleetStore
import Testing

@testable import FleetTop

@Suite("What is amiss, in a sentence with its remedy")
struct AlarmTests {
    private func alarms(_ sight: Sight, _ history: History = History(), now: Double = 0) -> [Alarm] {
        frame(sight, history, now: now).alarms
    }

    private func expect(
        _ alarms: [Alarm], _ level: Alarm.Level, _ text: String, _ remedy: String,
        _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(
            alarms.contains { $0.level == level && $0.text == text && $0.remedy.contains(remedy) }, "\(alarms)",
            sourceLocation: location)
    }

    @Test("Nothing is said of a fleet that is well")
    func well() {
        #expect(alarms(sight(ledger([worker()]))) == [])
    }

    @Test("A server that does not answer, and how old is what is shown of it")
    func servers() {
        var seen = sight(ledger([worker()]))
        #expect(alarms(seen, now: 2.9) == [])
        let silent = alarms(seen, now: 12)
        expect(silent, .bad, "The database does not answer, what is shown of it is 12 s old.", "GAIA_DATABASE_URL")
        expect(silent, .bad, "The broker does not answer, what is shown of it is 12 s old.", "GAIA_AMQP_URL")
        seen.ledger.failed("connection refused")
        expect(
            alarms(seen, now: 1), .bad,
            "The database does not answer, what is shown of it is 1 s old: connection refused.", "start it")
        seen.ledger.saw(ledger([worker()]), at: 2)
        #expect(alarms(seen, now: 2) == [])
        let never = Sight(known: [], begun: 0)
        #expect(alarms(never, now: 1) == [])
        expect(alarms(never, now: 9), .bad, "The broker does not answer, nothing is known of it.", "start it")
    }

    @Test("No leader, and jobs that are overdue")
    func leadership() {
        let seen = sight(
            ledger([worker()]) { glance in
                glance.leader = nil
                (glance.overdue, glance.overdueSeconds) = (FleetGlance.countMax, 75)
            })
        expect(alarms(seen), .bad, "No dispatcher leads: retries and jobs for later wait.", "gaia dispatcher")
        expect(alarms(seen), .bad, "10,000+ jobs are due and not published, for 75 s.", "gaia doctor")
    }

    @Test("Leases that have run out, are late, and workers that were lost; of many the first are named")
    func leases() {
        let lapsed = (8...12).map { worker("w\($0)", id: Int64($0), leaseSeconds: -Double($0 - 7)) }
        expect(
            alarms(sight(ledger(lapsed))), .bad,
            "The leases of w8, w9, w10 and 2 more ran out 5 s ago: the jobs there go to others.", "restart")
        expect(
            alarms(sight(ledger([worker("w", leaseSeconds: 9, reported: 100, now: 121)]))), .warning,
            "w renewed no lease for 21 s.", "log")
        let lost = worker("x", id: 2, state: "gone", lostSeconds: 4)
        expect(
            alarms(sight(ledger([worker(), lost]))), .warning, "x was lost 4 s ago; the jobs there run elsewhere.",
            "start it again")
        let drained = worker("x", id: 2, state: "gone")
        let replaced = worker("x", id: 3)
        #expect(alarms(sight(ledger([worker(), drained]))) == [])
        #expect(alarms(sight(ledger([replaced, lost]))) == [])
        expect(alarms(sight(ledger([drained]))), .bad, "There is no worker: no job runs.", "gaia worker")
    }

    @Test("Queues that nobody takes from, or that are not there; those that rest are left alone")
    func queues() {
        func with(_ queue: BrokerSight.Queue, _ change: (inout LedgerSight) -> Void = { _ in }) -> [Alarm] {
            var told = ledger([worker()])
            change(&told)
            return alarms(sight(told, queues: [queue]))
        }
        let alone = BrokerSight.Queue(name: "gaia.jobs.api", ready: 0, consumers: 0)
        expect(with(alone), .bad, "gaia.jobs.api has no consumer, though workers of api live.", "restart")
        let paused = with(alone) { $0.pauses = [PauseRecord(scope: "api", reason: "a release", since: "")] }
        #expect(paused.map(\.text) == ["api rests: a release."] && paused[0].remedy == "gaia resume api")
        let foreign = BrokerSight.Queue(name: "gaia.jobs.browser", ready: 1_500, consumers: 0)
        expect(
            with(foreign), .bad, "1,500 jobs wait in gaia.jobs.browser, and no worker serves browser.", "gaia worker")
        #expect(with(BrokerSight.Queue(name: "gaia.jobs.browser", ready: 0, consumers: 0)) == [])
        let missing = BrokerSight.Queue(name: "gaia.jobs.api", ready: nil, consumers: nil)
        expect(with(missing), .bad, "The broker has no gaia.jobs.api.", "gaia topology apply")
        #expect(with(BrokerSight.Queue(name: "gaia.jobs.browser", ready: nil, consumers: nil)) == [])
        let asked = BrokerSight.Queue(name: "gaia.enqueue", ready: 3, consumers: 0)
        expect(with(asked), .bad, "3 requests wait in gaia.enqueue, and no dispatcher takes them.", "gaia dispatcher")
        let lost = BrokerSight.Queue(name: "gaia.unroutable", ready: 2, consumers: 0)
        expect(with(lost), .warning, "2 jobs of a subsystem that has no queue were set aside.", "gaia dead list")
    }

    @Test("Jobs that are given up, connections near the limit, a broker's alarm; the worst stand first")
    func others() {
        var history = History()
        for (at, dead) in [(0.0, 1), (5, 4)] { history.add(ledger([worker()]) { $0.dead = dead }, at: at) }
        var seen = sight(ledger([worker()]) { ($0.sessions, $0.sessionsMax) = (85, 100) }, at: 5)
        seen.broker.saw(BrokerSight(queues: [], alarms: ["rabbit@a is short of memory"]), at: 5)
        let found = alarms(seen, history, now: 5)
        expect(found, .warning, "3 jobs were given up in the last minute.", "gaia dead list")
        expect(found, .warning, "The database has 85 of 100 connections in use.", "max_connections")
        expect(found, .bad, "rabbit@a is short of memory: nothing can be published.", "rabbitmq-diagnostics")
        #expect(found.map(\.level) == [.bad, .warning, .warning])
        seen.broker.saw(BrokerSight(queues: [], managementFault: "it answers with 401"), at: 5)
        expect(
            alarms(seen, history, now: 5), .warning,
            "The management plugin tells nothing, so no alarm of the broker shows here: it answers with 401.",
            "GAIA_MANAGEMENT_URL")
        let many = (1...FleetStore.workersMax).map { worker("w\($0)", id: Int64($0)) }
        #expect(alarms(sight(ledger(many))) == [])
        expect(
            alarms(sight(ledger(many) { $0.workers = 1_200 })), .note,
            "1,000 of 1,200 workers are shown; slots and rates are theirs alone.", "dashboards")
    }

    @Test("What several workers say alike, but for numbers, stands once")
    func notices() {
        let workers = (1...4).map {
            worker(
                "w\($0)", id: Int64($0),
                load: [tally("api", ended: 0, notices: ["breaker of a:80 is open for \($0) ms"])])
        }
        #expect(
            alarms(sight(ledger(workers))).map(\.text) == [
                "w1, w2, w3 and 1 more, api: breaker of a:80 is open for 1 ms"
            ])
    }
}

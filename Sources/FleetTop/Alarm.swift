import FleetBroker
import FleetModel
import FleetStore

/// Something that is amiss, in a sentence, and what to do about it.
public struct Alarm: Sendable, Equatable {
    /// The worst first.
    public enum Level: String, Sendable, CaseIterable {
        /// Work stands still, or what is shown is not so any more.
        case bad
        /// It works, and somebody should look.
        case warning
        /// Somebody wanted it so.
        case note
    }

    public var level: Level
    public var text: String
    public var remedy: String

    init(_ level: Level, _ text: String, _ remedy: String) {
        (self.level, self.text, self.remedy) = (level, text, remedy)
    }
}

/// From where on something is an alarm.
enum AlarmBounds {
    /// How old an answer may be, in looks and in seconds.
    static let silentLooks = 3.0
    static let silentSeconds = 3.0
    /// As in `gaia doctor`.
    static let overdueSeconds = 60.0
    static let sessionShare = 0.8
    /// Of a lease that is still left.
    static let leaseShare = 0.4
    /// How long a worker that was lost is told of, unless one of its name has come.
    static let lostSeconds = 300.0
    /// Of several of one kind so many are named.
    static let namesMax = 3
}

/// Judges what was seen.
struct AlarmJudge {
    let sight: Sight
    let history: History
    let now: Double
    /// Seconds between two looks.
    let interval: Double

    /// The worst first.
    var alarms: [Alarm] {
        let all = servers + leadership + workers + queues + jobs + notices
        return Alarm.Level.allCases.flatMap { level in all.filter { $0.level == level } }
    }

    private func isSilent(_ age: Double?) -> Bool {
        (age ?? now - sight.begun) > max(AlarmBounds.silentLooks * interval, AlarmBounds.silentSeconds)
    }

    // MARK: Servers

    private var servers: [Alarm] {
        var alarms: [Alarm] = []
        func add(_ name: String, _ age: Double?, _ fault: String?, _ remedy: String) {
            guard fault != nil || isSilent(age) else { return }
            let since = age.map { "what is shown of it is \(Words.span($0)) old" } ?? "nothing is known of it"
            alarms.append(Alarm(.bad, "The \(name) does not answer, \(since)\(fault.map { ": \($0)" } ?? "").", remedy))
        }
        add(
            "database", sight.ledger.age(at: now), sight.ledger.fault,
            "start it, or check database.url (GAIA_DATABASE_URL)")
        add("broker", sight.broker.age(at: now), sight.broker.fault, "start it, or check amqp.url (GAIA_AMQP_URL)")
        for alarm in sight.broker.content?.alarms ?? [] {
            alarms.append(
                Alarm(
                    .bad, "\(alarm): nothing can be published.",
                    "rabbitmq-diagnostics alarms; free memory or disk there"))
        }
        if let fault = sight.broker.content?.managementFault {
            alarms.append(
                Alarm(
                    .warning, "The management plugin tells nothing, so no alarm of the broker shows here: \(fault).",
                    "check management.url (GAIA_MANAGEMENT_URL) and the rights of its user"))
        }
        if let glance = sight.ledger.content?.glance, glance.sessionsMax > 0,
            Double(glance.sessions) >= AlarmBounds.sessionShare * Double(glance.sessionsMax)
        {
            alarms.append(
                Alarm(
                    .warning, "The database has \(glance.sessions) of \(glance.sessionsMax) connections in use.",
                    "raise max_connections, or lower database.pool_size"))
        }
        return alarms
    }

    // MARK: Dispatchers

    private var leadership: [Alarm] {
        guard let glance = sight.ledger.content?.glance else { return [] }
        var alarms: [Alarm] = []
        if glance.leader == nil {
            alarms.append(
                Alarm(.bad, "No dispatcher leads: retries and jobs for later wait.", "start one: gaia dispatcher"))
        }
        if glance.overdueSeconds >= AlarmBounds.overdueSeconds {
            alarms.append(
                Alarm(
                    .bad,
                    "\(Words.capped(glance.overdue)) jobs are due and not published, for \(Words.span(glance.overdueSeconds)).",
                    "see the dispatcher's log and gaia doctor"))
        }
        return alarms
    }

    // MARK: Workers

    private var present: [WorkerRecord] { sight.ledger.content?.workers.filter { $0.state != "gone" } ?? [] }

    /// What is left of a lease, in seconds.
    private func left(_ worker: WorkerRecord) -> Double { Double(worker.leaseMilliseconds) / 1_000 }

    private var workers: [Alarm] {
        guard sight.ledger.content != nil else { return [] }
        if present.isEmpty { return [Alarm(.bad, "There is no worker: no job runs.", "start one: gaia worker")] }
        var alarms: [Alarm] = []
        if let all = sight.ledger.content?.glance.workers, all > present.count, present.count >= FleetStore.workersMax {
            alarms.append(
                Alarm(
                    .note,
                    "\(Words.count(present.count)) of \(Words.count(all)) workers are shown; slots and rates are theirs alone.",
                    "see the dashboards for all"))
        }
        let lapsed = present.filter { left($0) <= 0 }
        if let longest = lapsed.map({ -left($0) }).max() {
            let whose = "The lease\(lapsed.count == 1 ? "" : "s") of \(Words.list(lapsed.map(\.name)))"
            alarms.append(
                Alarm(
                    .bad, "\(whose) ran out \(Words.span(longest)) ago: the jobs there go to others.",
                    "see whether process and host still run, then restart it"))
        }
        let names = Set(present.map(\.name))
        let lost = (sight.ledger.content?.workers ?? []).filter {
            $0.lostSeconds.map { $0 < AlarmBounds.lostSeconds } ?? false && !names.contains($0.name)
        }
        if let latest = lost.compactMap(\.lostSeconds).min() {
            alarms.append(
                Alarm(
                    .warning,
                    "\(Words.list(lost.map(\.name))) \(lost.count == 1 ? "was" : "were") lost \(Words.span(latest)) ago; the jobs there run elsewhere.",
                    "see its log and the kernel's, start it again"))
        }
        let late = present.filter {
            left($0) > 0 && left($0) < AlarmBounds.leaseShare * Double($0.leaseWholeMilliseconds) / 1_000
        }
        if let longest = late.map({ $0.now - $0.reported }).max() {
            alarms.append(
                Alarm(
                    .warning, "\(Words.list(late.map(\.name))) renewed no lease for \(Words.span(longest)).",
                    "see its log: does it reach the database, does it hang?"))
        }
        return alarms
    }

    /// What workers say themselves. What several say alike, but for numbers, stands once, as the first of them says it.
    private var notices: [Alarm] {
        var places: [String: [String]] = [:]
        var order: [(kind: String, text: String)] = []
        for worker in present {
            for load in worker.load {
                for notice in load.notices {
                    let kind = "\(load.name): \(notice.filter { !$0.isNumber })"
                    if places[kind] == nil { order.append((kind, "\(load.name): \(notice)")) }
                    places[kind, default: []].append(worker.name)
                }
            }
        }
        return order.map { Alarm(.warning, "\(Words.list(places[$0.kind] ?? [])), \($0.text)", "") }
    }

    // MARK: Queues and jobs

    private var served: Set<String> { Set(present.filter { left($0) > 0 }.flatMap(\.subsystems)) }

    private var queues: [Alarm] {
        guard let queues = sight.broker.content?.queues else { return [] }
        let pauses = Pauses(sight.ledger.content?.pauses.map(\.scope) ?? [])
        var missing: [String] = []
        var alarms: [Alarm] = []
        for queue in queues {
            let subsystem = queue.subsystem
            let isServed = subsystem.map(served.contains) ?? true
            guard let ready = queue.ready, let consumers = queue.consumers else {
                if isServed { missing.append(queue.name) }
                continue
            }
            if consumers > 0 || subsystem.map(pauses.rests(subsystem:)) ?? false { continue }
            if queue.name == FleetBroker.enqueueQueue {
                if ready > 0 {
                    alarms.append(
                        Alarm(
                            .bad, "\(Words.count(ready)) requests wait in \(queue.name), and no dispatcher takes them.",
                            "start one: gaia dispatcher"))
                }
            } else if let subsystem {
                if isServed {
                    alarms.append(
                        Alarm(
                            .bad, "\(queue.name) has no consumer, though workers of \(subsystem) live.",
                            "see GET /health/broker of the workers; restart them"))
                } else if ready > 0 {
                    alarms.append(
                        Alarm(
                            .bad,
                            "\(Words.count(ready)) jobs wait in \(queue.name), and no worker serves \(subsystem).",
                            "start one that does: gaia worker"))
                }
            }
        }
        if !missing.isEmpty {
            alarms.append(Alarm(.bad, "The broker has no \(Words.list(missing)).", "declare it: gaia topology apply"))
        }
        if let lost = queues.first(where: { $0.name == FleetBroker.unroutableQueue })?.ready, lost > 0 {
            alarms.append(
                Alarm(
                    .warning, "\(Words.count(lost)) jobs of a subsystem that has no queue were set aside.",
                    "gaia dead list; a worker that serves it makes the queue"))
        }
        return alarms
    }

    private var jobs: [Alarm] {
        guard let ledger = sight.ledger.content else { return [] }
        var alarms: [Alarm] = []
        let failing = history.rates.filter { $0.value.failed ?? 0 > 0 }.keys.sorted()
        let growth = history.deadGrowth
        if growth > 0 || !failing.isEmpty {
            let what = growth > 0 ? "\(Words.jobs(growth)) given up in the last minute" : "Jobs are given up"
            let whose = failing.isEmpty ? "" : " (\(failing.joined(separator: ", ")))"
            alarms.append(Alarm(.warning, "\(what)\(whose).", "gaia dead list groups them by cause"))
        }
        for pause in ledger.pauses {
            let reason = pause.reason.isEmpty ? "" : ": \(pause.reason)"
            let isFleet = pause.scope == Pauses.fleet
            alarms.append(
                Alarm(
                    .note, "\(isFleet ? "The whole fleet" : pause.scope) rests\(reason).",
                    "gaia resume \(isFleet ? "all" : pause.scope)"))
        }
        return alarms
    }
}

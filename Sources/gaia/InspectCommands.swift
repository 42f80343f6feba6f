import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStore
import FleetTop
import Foundation

/// `gaia job`
struct JobCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "job", abstract: "Look at single jobs, call them off, decide over them.",
        subcommands: [Show.self, Explain.self, Cancel.self, Resolve.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show all that the ledger knows of a job.",
            discussion: "Exit status 66 when no job has this key.")

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "The idempotency key, or SUBSYSTEM/KEY.")
        var key: String
        @Option(name: .long, help: "The subsystem, when the key is used in several.")
        var subsystem: String?
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func run() async throws {
            try await report {
                let found = try await settings.load().withStore("gaia job show") { [key, subsystem] store in
                    try await JobCommand.find(key, subsystem, store)
                }
                if found.isEmpty {
                    throw CommandFailure(
                        .notFound,
                        "no job has the key '\(key)'; if it was just published it may wait in its queue, unclaimed: gaia status"
                    )
                }
                if json {
                    let text = try found.map { try Terminal.json(JSONValue($0.document)) }.joined(separator: ",\n")
                    Terminal.print("[\(text)]")
                } else {
                    Terminal.print(try found.map { try JobView($0).text }.joined(separator: "\n\n"))
                }
            }
        }
    }
}

extension JobCommand {
    /// Jobs with this key; what status and logs print, subsystem/key, is taken as well.
    static func find(_ key: String, _ subsystem: String?, _ store: FleetStore) async throws -> [JobRecord] {
        let jobs = try await store.job(key, subsystem: subsystem)
        guard jobs.isEmpty, subsystem == nil, let slash = key.firstIndex(of: "/") else { return jobs }
        return try await store.job(String(key[key.index(after: slash)...]), subsystem: String(key[..<slash]))
    }

    /// The one job that is meant.
    fileprivate static func identity(
        _ key: String, _ subsystem: String?, _ store: FleetStore
    ) async throws -> JobIdentity? {
        let found = try await find(key, subsystem, store)
        guard found.count <= 1 else {
            let names = found.map(\.identity.subsystem).joined(separator: ", ")
            throw CommandFailure(.usage, "the key '\(key)' is used in \(names); say which with --subsystem")
        }
        return found.first?.identity
    }

    /// `gaia job cancel`
    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Call a job off, wherever it is.",
            discussion: """
                A job that waits never runs. The handler of one that runs is told to stop, which it does within a second
                if it listens. With --subsystem also a job that has not been claimed yet: it ends when it is delivered.
                Exit status 66 when no job has this key, 65 when it is finished already.
                """)

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "The idempotency key, or SUBSYSTEM/KEY.")
        var key: String
        @Option(name: .long, help: "The subsystem, when the key is used in several or nowhere yet.")
        var subsystem: String?
        @Option(name: .long, help: "Why; it stands in the job's result.")
        var reason = "called off by an operator"

        func run() async throws {
            try await report {
                let (identity, answer) = try await settings.load().withStore("gaia job cancel") {
                    [key, subsystem, reason] store in
                    let found = try await JobCommand.identity(key, subsystem, store)
                    guard let identity = found ?? subsystem.map({ JobIdentity(subsystem: $0, key: key) }) else {
                        throw CommandFailure(
                            .notFound,
                            "no job has the key '\(key)'; one that waits in its queue unclaimed needs --subsystem")
                    }
                    return (identity, try await store.cancel(identity, reason: reason))
                }
                switch answer {
                case .cancelled: Terminal.print("\(identity) is cancelled")
                case .requested: Terminal.print("\(identity) runs; its handler is told to stop")
                case .noted: Terminal.print("\(identity) is not in the ledger; it is cancelled if it comes")
                case .finished: throw CommandFailure(.refused, "\(identity) is finished: gaia job show \(identity)")
                }
            }
        }
    }

    /// `gaia job resolve`
    struct Resolve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Decide over a job whose worker was lost half way and that must not be repeated blindly.",
            discussion: """
                Look first whether it took effect. Then say so: --as succeeded (it did; --output is what to answer),
                --as discarded (it did not, and shall not), --as retry (it did not: run it again).
                Exit status 66 when no job has this key, 65 when it is not indeterminate.
                """)

        enum Decision: String, ExpressibleByArgument, CaseIterable { case succeeded, discarded, retry }

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "The idempotency key, or SUBSYSTEM/KEY.")
        var key: String
        @Option(name: .long, help: "The subsystem, when the key is used in several.")
        var subsystem: String?
        @Option(name: .customLong("as"), help: "succeeded, discarded or retry.")
        var decision: Decision
        @Option(name: .long, help: "The output of a job that succeeded, as JSON.")
        var output: String?
        @Option(name: .long, help: "How you know; it stands in the job's history.")
        var reason = ""

        func validate() throws {
            if output != nil, decision != .succeeded { throw ValidationError("--output goes with --as succeeded") }
        }

        func run() async throws {
            try await report {
                var canonical: String?
                if let output {
                    do { canonical = try CanonicalJSON.text(of: Array(output.utf8)) } catch {
                        throw CommandFailure(.refused, "--output: \(error)")
                    }
                }
                let resolution: Resolution =
                    switch decision {
                    case .succeeded: .succeeded(output: canonical)
                    case .discarded: .discarded
                    case .retry: .retry
                    }
                let (identity, state) = try await settings.load().withStore("gaia job resolve") {
                    [key, subsystem, reason] store in
                    guard let identity = try await JobCommand.identity(key, subsystem, store) else {
                        throw CommandFailure(.notFound, "no job has the key '\(key)'")
                    }
                    return (identity, try await store.resolve(identity, as: resolution, reason: reason))
                }
                if let state {
                    throw CommandFailure(.refused, "\(identity) is \(state), not indeterminate; nothing was changed")
                }
                Terminal.print("\(identity): \(decision.rawValue)")
            }
        }
    }
}

/// A job as it is printed for a person; as JSON it is `JobRecord.document`.
struct JobView {
    let subsystem, key, type, state: String
    let attempt, attemptsMax: Int
    let token: Int64
    let worker, subject, producer, replyTo, correlationID: String?
    let createdAt: String
    let notBefore, deadlineAt, claimedAt, finishedAt: String?
    let payload: JSONValue
    let output: JSONValue?
    let errors: JSONValue
    let progress: JSONValue?
    let crashes: Int
    let backoff: String?
    let urgent: Bool

    init(_ record: JobRecord) throws {
        (subsystem, key) = (record.identity.subsystem, record.identity.key)
        (type, state) = (record.type, record.state)
        (attempt, attemptsMax, token) = (record.attempt, record.attemptsMax, record.token)
        (worker, subject, producer) = (record.worker, record.subject, record.producer)
        (replyTo, correlationID) = (record.replyTo, record.correlationID)
        (createdAt, notBefore, deadlineAt) = (record.createdAt, record.notBefore, record.deadlineAt)
        (claimedAt, finishedAt) = (record.claimedAt, record.finishedAt)
        func parse(_ text: String) throws -> JSONValue {
            try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
        }
        payload = try parse(record.payload)
        output = try record.output.map(parse)
        errors = try parse(record.errors)
        progress = try record.progress.map(parse)
        (crashes, backoff, urgent) = (record.crashes, record.backoff, record.isUrgent)
    }

    var text: String {
        get throws {
            var lines = ["\(subsystem)/\(key)", "  type       \(type)", "  state      \(state)"]
            lines.append(
                "  attempt    \(attempt) of \(attemptsMax == 0 ? "the type's own number" : "\(attemptsMax)"), token \(token)"
            )
            func add(_ name: String, _ value: String?) {
                guard let value else { return }
                lines.append("  " + name.padding(toLength: 11, withPad: " ", startingAt: 0) + value)
            }
            add("worker", worker)
            if case .object(let progress)? = progress {
                let percent: String
                if case .number(let fraction)? = progress["fraction"] {
                    percent = "\(Int(fraction * 100)) %"
                } else {
                    percent = try progress["fraction"]?.line == "1" ? "100 %" : "0 %"
                }
                add("progress", "\(percent) \(try progress["note"]?.plain ?? "")")
            }
            if crashes > 0 { add("crashes", "\(crashes) workers were lost while they ran it") }
            add("backoff", backoff)
            if urgent { add("lane", "urgent") }
            add("for", subject)
            add("producer", producer)
            add("reply to", replyTo)
            add("created", createdAt)
            add("not before", notBefore)
            add("deadline", deadlineAt)
            add("claimed", claimedAt)
            add("finished", finishedAt)
            add("payload", Self.excerpt(try payload.line))
            add("output", try output.map { Self.excerpt(try $0.line) })
            if case .list(let errors) = errors, !errors.isEmpty {
                lines.append("  errors")
                for case .object(let error) in errors {
                    func field(_ name: String) throws -> String { try error[name]?.plain ?? "" }
                    lines.append(
                        "    \(try field("at"))  attempt \(try field("attempt")) on \(try field("worker")): \(try field("kind")) \(try field("code")): \(try field("message"))"
                    )
                }
            }
            return lines.joined(separator: "\n")
        }
    }

    /// What a terminal can bear; `--json` prints all of it.
    private static func excerpt(_ text: String) -> String {
        text.count <= 400 ? text : text.prefix(400) + "… (\(text.utf8.count) bytes, --json prints all)"
    }
}

/// Any JSON, for printing it again.
enum JSONValue: Codable, Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case text(String)
    case list([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .text(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .list(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    init(_ text: [UInt8]) throws { self = try JSONDecoder().decode(JSONValue.self, from: Data(text)) }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .text(let value): try container.encode(value)
        case .list(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }

    /// On one line.
    var line: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return String(decoding: try encoder.encode(self), as: UTF8.self)
        }
    }

    /// Text without its quotes, anything else as JSON.
    var plain: String {
        get throws { if case .text(let text) = self { text } else { try line } }
    }
}

/// `gaia status`
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show queues, jobs by state, workers, the leader, and what is amiss.",
        discussion: """
            Exit status 0 when it could look; 1 with --check when work stands still somewhere, as an alarm of level "bad"
            says; 69 when broker or database cannot be reached. To watch it live: gaia top.
            """)

    @OptionGroup var settings: SettingsOptions
    @Flag(name: .long, help: "Print JSON.")
    var json = false
    @Flag(name: .long, help: "Leave out jobs by state, for which the whole ledger is read.")
    var quick = false
    @Flag(name: .long, help: "Exit status 1 when an alarm is bad.")
    var check = false

    func run() async throws {
        try await report {
            let status = try await FleetStatus(settings.load(), countsJobs: !quick)
            Terminal.print(json ? try Terminal.json(status) : status.text)
            guard check, status.alarms.contains(where: { $0.level == Alarm.Level.bad.rawValue }) else { return }
            throw ExitCode(FailureStatus.workFailed.rawValue)
        }
    }
}

/// The fleet at a glance.
struct FleetStatus: Encodable {
    struct Queue: Encodable {
        let name: String
        /// Nil when the queue does not exist.
        let messages: Int?
        let consumers: Int?
    }
    struct Jobs: Encodable {
        let subsystem: String
        let states: [String: Int]
    }
    struct Worker: Encodable {
        struct Load: Encodable {
            let busy, slots, waiting: Int
            /// What is amiss, in words.
            let notices: [String]
            /// What it holds, in words; absent when there is nothing to say.
            let holdings: String?
        }
        let load: [String: Load]
        let id: Int64
        let name, host, state, version: String
        let processID: Int32
        let subsystems: [String]
        let busy, slots: Int
        let epoch: Int32
        let leaseMilliseconds: Int64
        enum CodingKeys: String, CodingKey {
            case id, name, host, state, version, subsystems, busy, slots, epoch, load
            case processID = "process_id"
            case leaseMilliseconds = "lease_ms"
        }
    }
    struct Leader: Encodable {
        let name: String
        let term: Int64
        let since: String
        let leads: Bool
    }
    struct Alarm: Encodable {
        let level, text, remedy: String
    }

    let queues: [Queue]
    let jobs: [Jobs]
    let workers: [Worker]
    let leader: Leader?
    /// What rests: types, subsystems, or the fleet.
    let pauses: [String]
    let agenda: Int
    let overdue: Int
    /// As in `gaia top`, as far as one look tells.
    let alarms: [Alarm]

    init(_ configuration: FleetConfiguration, countsJobs: Bool) async throws {
        queues = try await AMQPSession.withConnection(try configuration.amqp("gaia status")) { session in
            var queues: [Queue] = []
            let names =
                Catalogue.subsystems.flatMap { [FleetBroker.jobsQueue($0), FleetBroker.urgentQueue($0)] } + [
                    FleetBroker.enqueueQueue, FleetBroker.deadQueue, FleetBroker.unroutableQueue,
                ]
            for name in names {
                let status = try await session.queueStatus(name)
                queues.append(
                    Queue(
                        name: name, messages: status.map { Int($0.messages) },
                        consumers: status.map { Int($0.consumers) }))
            }
            return queues
        }
        let (counts, records, leading, resting, glance) = try await configuration.withStore("gaia status") { store in
            switch try await store.schemaStatus() {
            case .behind: throw CommandFailure(.unavailable, "the database has no current schema; run: gaia migrate")
            case .current, .ahead: break
            }
            return (
                countsJobs ? try await store.jobCounts() : [], try await store.workers(), try await store.leader(),
                try await store.pauses(), try await store.glance()
            )
        }
        jobs = Dictionary(grouping: counts, by: \.subsystem).sorted { $0.key < $1.key }.map { subsystem, counts in
            Jobs(
                subsystem: subsystem,
                states: Dictionary(counts.map { ($0.state, $0.jobs) }, uniquingKeysWith: { $0 + $1 }))
        }
        workers = records.map {
            Worker(
                load: Dictionary(
                    uniqueKeysWithValues: $0.load.map {
                        (
                            $0.name,
                            Worker.Load(
                                busy: $0.busy, slots: $0.slots, waiting: $0.waiting, notices: $0.notices,
                                holdings: $0.holdings)
                        )
                    }), id: $0.id, name: $0.name, host: $0.host, state: $0.state, version: $0.version,
                processID: $0.processID, subsystems: $0.subsystems, busy: $0.busy, slots: $0.slots, epoch: $0.epoch,
                leaseMilliseconds: $0.leaseMilliseconds)
        }
        leader = leading.map { Leader(name: $0.name, term: $0.term, since: $0.since, leads: $0.leads) }
        pauses = resting.map { PauseScope.text($0.scope) }
        agenda = leading?.agenda ?? 0
        overdue = leading?.overdue ?? 0
        var sight = Sight(known: Catalogue.subsystems, begun: 0)
        sight.ledger.saw(LedgerSight(glance: glance, workers: records, pauses: resting), at: 0)
        sight.broker.saw(
            BrokerSight(queues: queues.map { .init(name: $0.name, ready: $0.messages, consumers: $0.consumers) }), at: 0
        )
        alarms = FleetFrame(sight, History(), now: 0, interval: 1).alarms.map {
            Alarm(level: $0.level.rawValue, text: $0.text, remedy: $0.remedy)
        }
    }

    var text: String {
        var parts: [String] = []
        parts.append(
            Terminal.table(
                ["queue", "messages", "consumers"],
                queues.map {
                    [
                        $0.name, $0.messages.map(Terminal.grouped) ?? "missing",
                        $0.consumers.map { "\($0)" } ?? "missing",
                    ]
                }))
        let states = JobState.allCases.map(\.rawValue)
        if !jobs.isEmpty {
            parts.append(
                Terminal.table(
                    ["jobs"] + states,
                    jobs.map { jobs in [jobs.subsystem] + states.map { Terminal.grouped(jobs.states[$0] ?? 0) } }))
        }
        parts.append(
            Terminal.table(
                ["worker", "state", "busy", "slots", "serves", "lease ends in", "epoch"],
                workers.map { worker in
                    [
                        worker.name, worker.state, "\(worker.busy)", "\(worker.slots)",
                        worker.subsystems.map { name in
                            worker.load[name].map { "\(name) \($0.busy)/\($0.slots)" } ?? name
                        }.joined(separator: ", "),
                        worker.state == "gone" ? "-" : "\(worker.leaseMilliseconds / 1_000) s", "\(worker.epoch)",
                    ]
                }))
        if let leader, leader.leads {
            parts.append("leader: \(leader.name), term \(leader.term), since \(leader.since)")
        } else {
            parts.append("leader: none")
        }
        parts.append("agenda: \(agenda) deliveries owed, \(overdue) of them due now")
        let holdings = workers.filter { $0.state != "gone" }.flatMap { worker in
            worker.load.sorted { $0.key < $1.key }.compactMap { name, load in
                load.holdings.map { "\(worker.name), \(name): \($0)" }
            }
        }
        if !holdings.isEmpty { parts.append(holdings.joined(separator: "\n")) }
        if !alarms.isEmpty {
            parts.append(
                alarms.map { $0.text + ($0.remedy.isEmpty ? "" : " → \($0.remedy)") }.joined(separator: "\n"))
        }
        return parts.joined(separator: "\n\n")
    }
}

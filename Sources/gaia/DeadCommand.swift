import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStore
import Foundation
import PostgresClient

/// `gaia dead`
struct DeadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead",
        abstract: "Jobs that were given up and messages that were set aside: look at them, run them again, drop them.",
        discussion: """
            Both are grouped by cause. A group whose name begins with d- is of jobs in the ledger, one with m- is of
            messages in gaia.dead and gaia.unroutable. TARGET is such a name, an idempotency key, or SUBSYSTEM/KEY.
            """,
        subcommands: [List.self, Show.self, Replay.self, Drop.self])

    /// `gaia dead list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what was given up and set aside, by cause, the latest first.")

        @OptionGroup var settings: SettingsOptions
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func run() async throws {
            try await report {
                let groups = try await DeadDesk.use(settings.load()) { try await $0.groups() }
                if json { return Terminal.print(try Terminal.json(groups)) }
                if groups.isEmpty { return Terminal.print("nothing was given up and nothing was set aside") }
                Terminal.print(
                    Terminal.table(
                        ["group", "count", "last", "type", "cause", "message"],
                        groups.map {
                            [
                                $0.group, Terminal.grouped($0.count), $0.last ?? "-", $0.type, $0.cause,
                                $0.message.count <= 90 ? $0.message : $0.message.prefix(89) + "…",
                            ]
                        }))
            }
        }
    }

    /// `gaia dead show`
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the jobs or messages of a group, or one of them.",
            discussion:
                "'gaia job show KEY' shows all of a job's errors. Exit status 66 when there is no such group or key.")

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "A group, a key, or SUBSYSTEM/KEY.")
        var target: String
        @Option(name: .long, help: "How many at most.")
        var limit = 20
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func validate() throws {
            guard (1...DeadDesk.messagesMax).contains(limit) else {
                throw ValidationError("--limit must be from 1 to \(DeadDesk.messagesMax)")
            }
        }

        func run() async throws {
            try await report {
                let items = try await DeadDesk.use(settings.load()) { [target, limit] desk in
                    try await desk.items(DeadTarget(target), atMost: limit)
                }
                if json { return Terminal.print(try Terminal.json(items)) }
                Terminal.print(items.map(\.text).joined(separator: "\n\n"))
            }
        }
    }

    /// `gaia dead replay`
    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run jobs again under their own keys, or publish messages again.",
            discussion: """
                Of a group the canaries come first; the rest follows only when all of them have succeeded. A job keeps
                its key and its errors and begins with its first attempt. What has succeeded meanwhile is left alone.
                --payload and --patch change what a job is given; the result must be a payload of its type.
                Exit status 1 when a canary failed again, 66 when there is no such group or key.
                """)

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "A group, a key, or SUBSYSTEM/KEY.")
        var target: String
        @Option(name: .long, help: "How many go first; 0 for all at once.")
        var canary = 3
        @Option(name: .long, help: "Seconds in which the canaries must succeed.")
        var within = 60
        @Option(name: .long, help: "Another payload, as JSON; for one job.")
        var payload: String?
        @Option(name: .long, help: "A JSON object whose members take the place of the payload's.")
        var patch: String?
        @Flag(name: .long, help: "Take a changed payload of a type that this program does not know.")
        var unchecked = false

        func validate() throws {
            guard canary >= 0 else { throw ValidationError("--canary must not be negative") }
            guard (1...86_400).contains(within) else { throw ValidationError("--within must be from 1 to 86400") }
            if payload != nil, patch != nil { throw ValidationError("give --payload or --patch, not both") }
        }

        func run() async throws {
            try await report {
                let change = try DeadChange(payload: payload, patch: patch, isUnchecked: unchecked)
                try await DeadDesk.use(settings.load()) { [target, canary, within] desk in
                    try await desk.replay(
                        DeadTarget(target), canary: canary, within: .seconds(within), change: change)
                }
            }
        }
    }

    /// `gaia dead drop`
    struct Drop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a group or a key off the list: messages are deleted, jobs stay in the ledger as discarded.",
            discussion: "Exit status 66 when there is no such group or key.")

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "A group, a key, or SUBSYSTEM/KEY.")
        var target: String
        @Flag(name: .long, help: "Do it; without this only what would be dropped is shown.")
        var yes = false

        func run() async throws {
            try await report {
                try await DeadDesk.use(settings.load()) { [target, yes] desk in
                    try await desk.drop(DeadTarget(target), isMeant: yes)
                }
            }
        }
    }
}

/// What a person names.
private enum DeadTarget: CustomStringConvertible {
    case jobs(String)
    case messages(String)
    case key(String)

    init(_ text: String) {
        let isGroup = text.utf8.count == 10 && text.dropFirst(2).allSatisfy(\.isHexDigit)
        switch text.prefix(2) {
        case "d-" where isGroup: self = .jobs(String(text.dropFirst(2)))
        case "m-" where isGroup: self = .messages(String(text.dropFirst(2)))
        default: self = .key(text)
        }
    }

    var description: String {
        switch self {
        case .jobs(let name): "d-\(name)"
        case .messages(let name): "m-\(name)"
        case .key(let key): key
        }
    }

    /// The key as it stands, or SUBSYSTEM/KEY read as that.
    var keys: [(key: String, subsystem: String?)] {
        guard case .key(let text) = self else { return [] }
        guard let slash = text.firstIndex(of: "/") else { return [(text, nil)] }
        return [(text, nil), (String(text[text.index(after: slash)...]), String(text[..<slash]))]
    }
}

/// How the payload of what is run again is to differ.
private struct DeadChange {
    /// Canonical.
    let payload: String?
    let patch: String?
    let isUnchecked: Bool

    init(payload: String?, patch: String?, isUnchecked: Bool) throws {
        func object(_ name: String, _ text: String?) throws -> String? {
            guard let text else { return nil }
            do {
                let canonical = try CanonicalJSON.text(of: Array(text.utf8))
                guard canonical.hasPrefix("{") else { throw CommandFailure(.usage, "\(name) must be a JSON object") }
                return canonical
            } catch let error as InvalidJSON {
                throw CommandFailure(.usage, "\(name): \(error)")
            }
        }
        self.payload = try object("--payload", payload)
        self.patch = try object("--patch", patch)
        self.isUnchecked = isUnchecked
    }

    var isNone: Bool { payload == nil && patch == nil }

    /// The new payload of a job in canonical form, checked by its type.
    ///
    /// - Parameter patched: its payload with the members of `patch` put in.
    func payload(of job: DeadJob, _ definitions: [JobDefinition]) throws -> String? {
        if isNone { return nil }
        let text = try payload ?? CanonicalJSON.text(of: Array(job.payload.utf8))
        guard let definition = definitions.first(where: { $0.type.name == job.type }) else {
            if isUnchecked { return text }
            throw CommandFailure(
                .refused,
                "this program does not know the type \(job.type) of \(job.identity) and cannot check its payload; "
                    + "give --unchecked to let its worker judge")
        }
        do {
            _ = try definition.prepare(Array(text.utf8))
        } catch {
            throw CommandFailure(
                .refused,
                "\(job.identity): the changed payload is no \(job.type): \(error); gaia types \(job.type) prints the schema"
            )
        }
        return text
    }
}

/// A cause as it is printed.
private struct DeadGroupView: Encodable {
    let group, type, cause, message: String
    let count: Int
    let first, last: String?
}

/// A job or a message as it is printed.
private struct DeadItemView: Encodable {
    let group, subsystem, key, type, cause, message, at, worker, queue: String?
    let attempt: Int?
    let payload: String

    var text: String {
        var lines = ["\(subsystem.map { "\($0)/" } ?? "")\(key ?? "(no key)")"]
        func add(_ name: String, _ value: String?) {
            guard let value, !value.isEmpty else { return }
            lines.append("  " + name.padding(toLength: 9, withPad: " ", startingAt: 0) + value)
        }
        add("group", group)
        add("type", type)
        add("cause", cause)
        add("message", message)
        add("at", at)
        add("worker", worker)
        add("attempt", attempt.map { "\($0)" })
        add("queue", queue)
        add("payload", payload.count <= 400 ? payload : payload.prefix(400) + "… (--json prints all)")
        return lines.joined(separator: "\n")
    }
}

/// Where both kinds are dealt with: jobs by the ledger, messages over one connection to the broker, which holds those that
/// it has read until it is closed; what was not settled by then is back in its queue.
struct DeadDesk: Sendable {
    /// Messages that are looked at, from the head of each queue.
    static let messagesMax = 1_000
    /// And of these no more than so many bytes: all are in hand at once.
    static let messageBytesMax = 64 << 20
    /// Jobs a statement.
    static let batch = 500

    let settings: FleetConfiguration
    let store: FleetStore
    let broker: AMQPSession

    static func use<Value: Sendable>(
        _ settings: FleetConfiguration, _ name: String = "gaia dead",
        _ body: @escaping @Sendable (DeadDesk) async throws -> Value
    ) async throws -> Value {
        let amqp = try settings.amqp(name)
        return try await settings.withStore(name) { store in
            if case .behind = try await store.schemaStatus() {
                throw CommandFailure(.unavailable, "the database has no current schema; run: gaia migrate")
            }
            return try await AMQPSession.withConnection(amqp) { broker in
                try await body(DeadDesk(settings: settings, store: store, broker: broker))
            }
        }
    }

    // MARK: Looking

    /// Messages that were set aside, each with the name of its group.
    private func messages() async throws -> [(message: SetAsideMessage, group: String)] {
        var messages: [SetAsideMessage] = []
        for queue in [FleetBroker.deadQueue, FleetBroker.unroutableQueue] {
            guard try await broker.queueStatus(queue) != nil else { continue }
            var (count, bytes) = (0, 0)
            while count < Self.messagesMax, bytes < Self.messageBytesMax, let delivery = try await broker.get(queue) {
                messages.append(SetAsideMessage(delivery))
                count += 1
                bytes += delivery.body.count
                if count.isMultiple(of: 100) { Progress.shared.show("reading \(queue): \(count) messages") }
            }
            Progress.shared.clear()
            if count == Self.messagesMax || bytes >= Self.messageBytesMax {
                Terminal.error("gaia: only the first \(Terminal.grouped(count)) messages of \(queue) are looked at")
            }
        }
        let names = try await store.fingerprints(messages.map { ($0.type, $0.reason, $0.explanation) })
        return zip(messages, names).map { ($0, "m-\($1)") }
    }

    /// Messages with this key that were set aside.
    func setAside(_ key: String, _ subsystem: String?) async throws -> [SetAsideMessage] {
        let keys = subsystem.map { [(key: key, subsystem: Optional($0))] } ?? DeadTarget.key(key).keys
        return try await messages().map(\.message).filter { message in
            keys.contains { Self.matches(message, $0) }
        }
    }

    private static func matches(_ message: SetAsideMessage, _ name: (key: String, subsystem: String?)) -> Bool {
        name.key == message.key && (name.subsystem == nil || name.subsystem == message.identity?.subsystem)
    }

    fileprivate func groups() async throws -> [DeadGroupView] {
        let jobs = try await store.deadGroups().map {
            DeadGroupView(
                group: "d-\($0.fingerprint)", type: $0.type, cause: "\($0.kind) \($0.code)", message: $0.message,
                count: $0.count, first: $0.first, last: $0.last)
        }
        let messages = Dictionary(grouping: try await messages(), by: \.group).map { group, members in
            DeadGroupView(
                group: group, type: members[0].message.type, cause: members[0].message.reason,
                message: members[0].message.explanation, count: members.count, first: nil, last: nil)
        }
        return jobs + messages.sorted { ($1.count, $0.group) < ($0.count, $1.group) }
    }

    fileprivate func items(_ target: DeadTarget, atMost limit: Int) async throws -> [DeadItemView] {
        let jobs = try await jobs(target, atMost: limit)
        if !jobs.isEmpty { return jobs.map(DeadItemView.init) }
        return try await found(target).prefix(limit).map { DeadItemView($0.message, group: $0.group) }
    }

    private func jobs(
        _ target: DeadTarget, before time: PostgresTimestamp? = nil, settingMembers members: String? = nil,
        atMost limit: Int
    ) async throws -> [DeadJob] {
        for selection in selections(target) {
            let jobs = try await store.deadJobs(selection, before: time, settingMembers: members, atMost: limit)
            if !jobs.isEmpty { return jobs }
        }
        return []
    }

    private func selections(_ target: DeadTarget) -> [DeadSelection] {
        switch target {
        case .jobs(let name): [.group(name)]
        case .messages: []
        case .key: target.keys.map { .job(key: $0.key, subsystem: $0.subsystem) }
        }
    }

    /// Messages that are meant.
    ///
    /// - Throws: a failure of status 66 when there are none.
    private func found(_ target: DeadTarget) async throws -> [(message: SetAsideMessage, group: String)] {
        var found: [(message: SetAsideMessage, group: String)] = []
        switch target {
        case .jobs: break
        case .messages: found = try await messages().filter { $0.group == target.description }
        case .key:
            let keys = target.keys
            found = try await messages().filter { message, _ in
                keys.contains { Self.matches(message, $0) }
            }
        }
        if found.isEmpty {
            throw CommandFailure(
                .notFound, "nothing that was given up or set aside is called '\(target)'; gaia dead list shows all")
        }
        return found
    }

    // MARK: Running again

    fileprivate func replay(_ target: DeadTarget, canary: Int, within limit: Duration, change: DeadChange) async throws
    {
        let begin = try await store.now()
        let first = try await jobs(
            target, before: begin, settingMembers: change.patch, atMost: canary == 0 ? Self.batch : canary)
        if first.isEmpty {
            guard change.isNone else {
                throw CommandFailure(
                    .refused, "a message is published again as it was; to change it, publish another with gaia enqueue")
            }
            return try await publishAgain(try await found(target), canary: canary, within: limit)
        }
        if change.payload != nil, try await jobs(target, before: begin, atMost: 2).count > 1 {
            throw CommandFailure(.usage, "--payload is for one job; '\(target)' are several: use --patch")
        }
        var total = try await run(first, change)
        if canary > 0 {
            try await awaitSuccess(of: first.map(\.identity), within: limit)
            Terminal.error("gaia: \(first.count) of '\(target)' ran again and succeeded")
        }
        while true {
            let next = try await jobs(target, before: begin, settingMembers: change.patch, atMost: Self.batch)
            if next.isEmpty { break }
            let count = try await run(next, change)
            // What is not discarded any more is on no list, so there is always another.
            if count == 0 { break }
            total += count
            Progress.shared.show("\(Terminal.grouped(total)) run again")
        }
        Progress.shared.clear()
        Terminal.print("\(Terminal.grouped(total)) jobs run again")
    }

    /// - Returns: how many of them run again.
    private func run(_ jobs: [DeadJob], _ change: DeadChange) async throws -> Int {
        let wishes = try await Catalogue.withDefinitions { definitions in
            try jobs.map { (identity: $0.identity, payload: try change.payload(of: $0, definitions)) }
        }
        return try await store.replay(wishes).count { $0 == .replayed }
    }

    /// Waits until all have succeeded.
    ///
    /// - Parameter isRefused: says that a message was set aside again.
    private func awaitSuccess(
        of identities: [JobIdentity], within limit: Duration, isRefused: () async throws -> Bool = { false }
    ) async throws {
        let end = ContinuousClock.now + limit
        while true {
            let states = try await store.states(of: identities)
            let failed: [JobState] = [.retrying, .discarded, .cancelled, .indeterminate]
            for (identity, state) in states.sorted(by: { $0.key < $1.key }) where failed.contains(state) {
                throw CommandFailure(
                    .workFailed,
                    "\(identity) failed again (\(state.rawValue)), the rest was left alone: gaia job show \(identity)")
            }
            if try await isRefused() {
                throw CommandFailure(
                    .workFailed, "a message was set aside again, the rest was left alone: gaia dead list")
            }
            if identities.allSatisfy({ states[$0] == .succeeded }) { return }
            guard ContinuousClock.now < end else {
                throw CommandFailure(
                    .workFailed,
                    "not all of the first \(identities.count) were done after \(Terminal.seconds(limit)), the rest was left "
                        + "alone; see gaia status, or give them more time with --within")
            }
            let done = identities.count { states[$0] == .succeeded }
            Progress.shared.show("canaries: \(done) of \(identities.count) have succeeded")
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func publishAgain(
        _ found: [(message: SetAsideMessage, group: String)], canary: Int, within limit: Duration
    ) async throws {
        if let large = found.first(where: { $0.message.original == nil })?.message {
            throw CommandFailure(
                .refused,
                "message \(large.key ?? "without a key") is too large to be read (\(large.delivery.bodyBytes) bytes); "
                    + "publish it again from its source and drop this one")
        }
        var logger = settings.logger
        logger.logLevel = max(logger.logLevel, .error)
        let publisher = AMQPPublisher(configuration: try settings.amqp("gaia dead replay"), logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await publisher.run() }
            let result: Result<Int, any Error>
            do {
                let first = canary == 0 ? found[...] : found.prefix(canary)
                let before = try await untouched()
                var count = try await publish(first, publisher)
                if canary > 0 {
                    try await awaitSuccess(of: first.compactMap(\.message.identity), within: limit) {
                        try await untouched() > before
                    }
                    count += try await publish(found.dropFirst(canary), publisher)
                }
                result = .success(count)
            } catch {
                result = .failure(error)
            }
            await publisher.close()
            try await group.waitForAll()
            Progress.shared.clear()
            Terminal.print("\(Terminal.grouped(try result.get())) messages published again")
        }
    }

    /// How many messages are set aside that are not in our hands: more of them have come since.
    private func untouched() async throws -> Int {
        var count = 0
        for queue in [FleetBroker.deadQueue, FleetBroker.unroutableQueue] {
            count += Int(try await broker.queueStatus(queue)?.messages ?? 0)
        }
        return count
    }

    /// Takes each off its queue only when the broker has confirmed it in its new one.
    private func publish(
        _ found: ArraySlice<(message: SetAsideMessage, group: String)>, _ publisher: AMQPPublisher
    ) async throws -> Int {
        let outcomes = await publisher.publish(found.compactMap(\.message.original))
        for ((message, _), outcome) in zip(found, outcomes) where outcome == .confirmed {
            try await broker.acknowledge(message.delivery.tag)
        }
        let failed = outcomes.filter { $0 != .confirmed }
        if let failure = failed.first {
            throw CommandFailure(
                .workFailed,
                "\(failed.count) of \(outcomes.count) messages were not taken and stay where they are: "
                    + "\(EnqueueOutcome(failure))")
        }
        return outcomes.count
    }

    // MARK: Dropping

    fileprivate func drop(_ target: DeadTarget, isMeant: Bool) async throws {
        let known = try await jobs(target, atMost: 1)
        if known.isEmpty {
            let found = try await found(target)
            guard isMeant else {
                return Terminal.print("\(found.count) messages would be deleted; give --yes to do it")
            }
            for (message, _) in found { try await broker.acknowledge(message.delivery.tag) }
            return Terminal.print("\(Terminal.grouped(found.count)) messages deleted")
        }
        guard isMeant else {
            let count = try await jobs(target, atMost: 100_000).count
            return Terminal.print(
                "\(Terminal.grouped(count)) jobs would be taken off the list; give --yes to do it")
        }
        var count = 0
        for selection in selections(target) where count == 0 { count = try await store.dropDead(selection) }
        Terminal.print("\(Terminal.grouped(count)) jobs are off the list; they stay in the ledger as discarded")
    }
}

extension DeadItemView {
    fileprivate init(_ job: DeadJob) {
        self.init(
            group: "d-\(job.fingerprint)", subsystem: job.identity.subsystem, key: job.identity.key, type: job.type,
            cause: "\(job.kind) \(job.code)", message: job.message, at: job.at, worker: job.worker, queue: nil,
            attempt: job.attempt, payload: job.payload)
    }

    fileprivate init(_ message: SetAsideMessage, group: String) {
        self.init(
            group: group, subsystem: message.identity?.subsystem, key: message.key, type: message.type,
            cause: message.reason, message: message.explanation, at: nil, worker: message.worker, queue: message.queue,
            attempt: nil, payload: String(decoding: message.delivery.body, as: UTF8.self))
    }
}

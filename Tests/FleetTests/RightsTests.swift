import AMQPClient
import FleetBroker
import FleetModel
import FleetStack
import FleetTestKit
import Foundation
import Glibc
import TestPatience
import Testing

/// The users of `configs/rabbitmq`, under names of this test's own, in a virtual host of its own.
@Suite("Users with no more rights than they need", .timeLimit(.minutes(5)))
struct RightsTests {
    private typealias Role = BrokerDefinitions.Role

    private static let subsystems = ["api", "browser", "file", "gaia", "network", "process"]

    private func use(_ body: (Guarded) async throws -> Void) async throws {
        try await Isolated.use { place in try await Guarded.use(place, subsystems: Self.subsystems, body) }
    }

    @Test("A worker, a dispatcher and a producer do their work, and an operator finds what was set aside")
    func work() async throws {
        try await use { guarded in
            try await guarded.importing(guarded.definitions.topology)
            let settings = try Dictionary(
                uniqueKeysWithValues: Role.allCases.map { ($0, ["GAIA_AMQP_URL": try guarded.url($0)]) })
            try await ProgramGroup.use(environment: guarded.place.environment) { programs in
                let children = [
                    try await programs.serve("dispatcher", "dispatcher", settings[.dispatcher] ?? [:]),
                    try await programs.serve("worker", "worker", settings[.worker] ?? [:]),
                ]
                for arguments in [["--key", "now"], ["--key", "later", "--delay", "100"]] {
                    let run = try await Program.run(
                        try Program.gaia, ["enqueue", "--type", "gaia.noop.v1", "--wait"] + arguments,
                        environment: settings[.producer] ?? [:])
                    #expect(run.status == .exited(0), "\(run.output)")
                }
                try await publish(
                    AMQPMessage(
                        exchange: FleetBroker.jobsExchange, routingKey: "gaia.noop.v1",
                        properties: AMQPProperties(messageID: "bad"), body: Array("{".utf8)),
                    as: guarded.amqp(.producer))
                try await AMQPSession.withConnection(try guarded.amqp(.operator)) { session in
                    let dead = try await eventually("the message that was set aside") {
                        try await session.get(FleetBroker.deadQueue)
                    }
                    #expect(dead.properties.messageID == "bad")
                    #expect(dead.properties.headers[JobHeader.reason] == .string("invalid-json"))
                    try await session.acknowledge(dead.tag)
                }
                for child in children { #expect(try await child.stop(grace: .seconds(30)) == .exited(0)) }
            }
        }
    }

    @Test("A dispatcher that serves HTTP hears of results with the rights that it has")
    func http() async throws {
        try await use { guarded in
            try await guarded.importing(guarded.definitions.topology)
            try await ProgramGroup.use(environment: guarded.place.environment) { programs in
                _ = try await programs.serve("worker", "worker", ["GAIA_AMQP_URL": try guarded.url(.worker)])
                let dispatcher = try await HTTPFleet.serve(
                    programs, "dispatcher", ["GAIA_AMQP_URL": try guarded.url(.dispatcher)])
                try await HTTPClient.use { http in
                    let answer = try await http.send(
                        "POST", dispatcher.url + "/v1/jobs?wait=60",
                        body: #"{"type": "gaia.noop.v1", "key": "k", "payload": {}}"#)
                    #expect((answer.status, answer.json["state"]) == (200, .string("succeeded")), "\(answer)")
                }
            }
        }
    }

    /// What somebody tries to do at the broker.
    struct Attempt: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let run: @Sendable (AMQPSession) async throws -> Void

        init(_ description: String, _ run: @escaping @Sendable (AMQPSession) async throws -> Void) {
            (testDescription, self.run) = (description, run)
        }

        static func get(_ queue: String) -> Attempt { Attempt("get from \(queue)") { _ = try await $0.get(queue) } }
        static func purge(_ queue: String) -> Attempt { Attempt("purge \(queue)") { try await $0.purge(queue) } }
        static func delete(_ queue: String) -> Attempt {
            Attempt("delete \(queue)") { try await $0.deleteQueue(queue) }
        }
        static func deleteExchange(_ name: String) -> Attempt {
            Attempt("delete the exchange \(name)") { try await $0.deleteExchange(name) }
        }
        static func declare(_ queue: String) -> Attempt {
            Attempt("declare \(queue)") { try await $0.declare(AMQPTopology(queues: [AMQPQueue(name: queue)])) }
        }
        static func bind(_ queue: String, _ exchange: String) -> Attempt {
            Attempt("bind \(queue) to \(exchange)") {
                try await $0.declare(
                    AMQPTopology(bindings: [AMQPBinding(queue: queue, exchange: exchange, routingKey: "#")]))
            }
        }
    }

    /// By role: what it must not do, and where it must not publish.
    private static let forbidden: [Role: (attempts: [Attempt], exchanges: [String])] = [
        .worker: (
            [
                .declare("gaia.jobs.more"), .declare("other"), .delete("gaia.jobs.gaia"), .deleteExchange("gaia.jobs"),
                .bind("gaia.jobs.gaia", "gaia.results"), .get("gaia.dead"), .get("gaia.enqueue"), .purge("gaia.dead"),
                .purge("gaia.enqueue"),
            ], ["gaia.jobs", "gaia.enqueue", "gaia.unroutable", "gaia.control"]
        ),
        .dispatcher: (
            [
                .declare("gaia.jobs.more"), .declare("gaia.reply.other"), .delete("gaia.enqueue"),
                .deleteExchange("gaia.jobs"),
                .bind("gaia.enqueue", "gaia.jobs"), .get("gaia.jobs.gaia"), .get("gaia.dead"),
                .purge("gaia.jobs.gaia"),
            ], ["gaia.results", "gaia.unroutable", "gaia.control"]
        ),
        .producer: (
            [
                .get("gaia.jobs.gaia"), .get("gaia.dead"), .get("gaia.enqueue"), .purge("gaia.jobs.gaia"),
                .delete("gaia.jobs.gaia"), .deleteExchange("gaia.jobs"), .declare("gaia.jobs.more"),
                .declare("other"), .declare("gaia.wait.other"), .bind("gaia.jobs.gaia", "gaia.results"),
            ], ["", "gaia.results", "gaia.events", "gaia.dead", "gaia.unroutable", "gaia.control"]
        ),
        .operator: (
            [
                .get("gaia.jobs.gaia"), .get("gaia.enqueue"), .purge("gaia.jobs.gaia"), .delete("gaia.dead"),
                .declare("gaia.jobs.more"), .bind("gaia.dead", "gaia.jobs"),
            ], ["", "gaia.jobs", "gaia.dead", "gaia.results"]
        ),
        .monitor: (
            [
                .get("gaia.jobs.gaia"), .get("gaia.dead"), .purge("gaia.dead"), .delete("gaia.dead"),
                .declare("gaia.jobs.more"), .bind("gaia.dead", "gaia.jobs"),
            ], ["", "gaia.jobs", "gaia.dead", "gaia.results"]
        ),
        .admin: ([.declare("other"), .deleteExchange("amq.topic")], [""]),
    ]

    @Test("Each is refused what is not its part", arguments: BrokerDefinitions.Role.allCases)
    func refused(role: BrokerDefinitions.Role) async throws {
        let (attempts, exchanges) = try #require(Self.forbidden[role])
        try await use { guarded in
            try await guarded.importing(guarded.definitions.topology)
            let amqp = try guarded.amqp(role)
            try await AMQPSession.withConnection(amqp) { session in
                for attempt in attempts {
                    let error = await #expect(throws: AMQPError.self, "\(attempt.testDescription)") {
                        try await attempt.run(session)
                    }
                    #expect(error.map(isRefusal) == true, "\(attempt.testDescription): \(String(describing: error))")
                }
            }
            for exchange in exchanges {
                // Into a queue that is there, by the default exchange.
                let message = AMQPMessage(exchange: exchange, routingKey: "gaia.dead", body: [])
                let outcome = try await outcome(of: message, as: amqp)
                guard case .notSent(let reason) = outcome else {
                    Issue.record("publishing to '\(exchange)' ended as \(outcome)")
                    continue
                }
                #expect(reason.contains("403"))
            }
        }
    }

    @Test("An operator and a monitor may look at the broker with the management plugin, the others may not")
    func management() async throws {
        try await use { guarded in
            try await guarded.importing(guarded.definitions.topology)
            let port = try #require(
                URL(string: guarded.place.stack.managementURL)?.port.flatMap { UInt16(exactly: $0) })
            for role in Role.allCases {
                let api = ManagementAPI(
                    port: port, user: guarded.definitions.user(role), password: guarded.passwords[role] ?? "")
                if [.operator, .monitor].contains(role) {
                    #expect(try await api.send("GET", "/api/queues/\(guarded.place.name)").contains("gaia.dead"))
                } else {
                    await #expect(throws: StackError.self) { try await api.send("GET", "/api/overview") }
                }
            }
        }
    }

    @Test("What is imported is what the fleet declares, and only an admin may declare it")
    func apply() async throws {
        try await use { guarded in
            try await guarded.importing(guarded.definitions.topology)
            // A queue with other arguments would be refused here.
            let admin = try await Program.run(
                try Program.gaia, ["topology", "apply"], environment: ["GAIA_AMQP_URL": try guarded.url(.admin)])
            #expect(admin.status == .exited(0), "\(admin.output)")
            let worker = try await Program.run(
                try Program.gaia, ["topology", "apply"], environment: ["GAIA_AMQP_URL": try guarded.url(.worker)])
            #expect(worker.status == .exited(69))
            #expect(worker.output.contains("configure"))
        }
    }

    @Test("Where the topology is missing a worker says what and how to make it, and serves once it is there")
    func missing() async throws {
        try await use { guarded in
            let settings = ["GAIA_AMQP_URL": try guarded.url(.worker)]
            let run = try await Program.run(
                try Program.gaia, ["worker"],
                environment: guarded.place.environment.merging(settings.merging(["GAIA_START_WAIT_MS": "300"]) { $1 }) {
                    $1
                })
            #expect(run.status == .exited(69))
            #expect(run.output.contains("gaia.jobs is missing"))
            #expect(run.output.contains("gaia topology apply"))

            try await ProgramGroup.use(environment: guarded.place.environment) { programs in
                let worker = try programs.start("worker", "worker", settings)
                #expect(try await worker.awaitOutput(containing: "gaia.jobs is missing", within: patienceOfTests))
                try await guarded.importing(guarded.definitions.topology)
                #expect(try await worker.awaitOutput(containing: "worker serves", within: patienceOfTests))
                #expect(try await worker.stop(grace: .seconds(30)) == .exited(0))
            }
        }
    }

    @Test("The limits of queues are policies, which refuse and never drop")
    func limits() async throws {
        try await use { guarded in
            try await guarded.importing(guarded.definitions.topology)
            let wanted = [
                "gaia.jobs.gaia": "gaia-intake", "gaia.jobs.api": "gaia-intake", "gaia.enqueue": "gaia-intake",
                "gaia.dead": "gaia-set-aside", "gaia.unroutable": "gaia-set-aside",
            ]
            for (name, policy) in wanted {
                try await eventually("\(name) to have its policy") {
                    let answer = try await guarded.place.stack.ask("GET", "/api/queues/\(guarded.place.name)/\(name)")
                    let queue = try JSONValue(Array(answer.utf8))
                    guard queue["policy"] == .string(policy) else { return false }
                    return queue["effective_policy_definition"]?["overflow"] == .string("reject-publish")
                }
            }
        }
    }

    private func isRefusal(_ error: AMQPError) -> Bool {
        if case .channelClosed(code: 403, _) = error.kind { return true }
        return error.kind == .accessRefused
    }

    private func outcome(
        of message: AMQPMessage, as amqp: AMQPConfiguration
    ) async throws -> AMQPPublishOutcome {
        let publisher = AMQPPublisher(configuration: amqp, logger: testLogger)
        let running = Task { try await publisher.run() }
        let outcome = await publisher.publish([message])[0]
        await publisher.close()
        try await running.value
        return outcome
    }

    private func publish(_ message: AMQPMessage, as amqp: AMQPConfiguration) async throws {
        #expect(try await outcome(of: message, as: amqp) == .confirmed)
    }
}

/// The files of `configs/rabbitmq` as they are.
@Suite("Definitions shipped as files", .timeLimit(.minutes(5)))
struct DefinitionsTests {
    private static let files = ["definitions", "users"]

    private func path(_ name: String) -> String { "\(Program.root)/configs/rabbitmq/\(name).json" }

    @Test("They are what the program prints", arguments: files)
    func upToDate(name: String) async throws {
        let printed = try await Program.run(try Program.gaia, ["topology", name])
        #expect(printed.status == .exited(0))
        #expect(
            try String(contentsOfFile: path(name), encoding: .utf8) == printed.output,
            "write it anew: gaia topology \(name) > configs/rabbitmq/\(name).json")
    }

    @Test("A subsystem of one's own is added by name")
    func ownSubsystem() async throws {
        let run = try await Program.run(
            try Program.gaia, ["topology", "definitions", "--subsystem", "hello", "--virtual-host", "other"])
        let document = try JSONValue(Array(run.output.utf8))
        #expect(document["vhosts"] == .array([.object(["name": .string("other")])]))
        let queues = try #require(document["queues"]?.array)
        #expect(queues.contains { $0["name"] == .string("gaia.jobs.hello") && $0["vhost"] == .string("other") })
        let wrong = try await Program.run(try Program.gaia, ["topology", "definitions", "--subsystem", "Not One"])
        #expect(wrong.status == .exited(64))
    }

    @Test("rabbitmqctl imports them, nobody can log in without a password, and the topology may be imported again")
    func imported() async throws {
        let directory = temporaryDirectory("definitions")
        let broker = try await PrivateBroker.start(PrivateBroker.Options(directory: directory, management: false))
        let result: Result<Void, any Error>
        do { result = .success(try await useFiles(broker, directory)) } catch { result = .failure(error) }
        try await broker.stop()
        try FileManager.default.removeItem(atPath: directory)
        try result.get()
    }

    private func useFiles(_ broker: PrivateBroker, _ directory: String) async throws {
        // Where the broker's user can read them.
        var copies: [String: String] = [:]
        for name in Self.files {
            let copy = "\(directory)/\(name).json"
            try FileManager.default.copyItem(atPath: path(name), toPath: copy)
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: copy)
            copies[name] = copy
        }
        let definitions = try #require(copies["definitions"])
        // In the order of the documentation.
        _ = try await broker.control(["import_definitions", definitions])
        _ = try await broker.control(["import_definitions", try #require(copies["users"])])
        let users = BrokerDefinitions.Role.allCases.map { "gaia-\($0.rawValue)" }
        let listed = try await broker.control(["list_users"])
        for user in users { #expect(listed.contains(user)) }
        for password in ["", "gaia", "guest"] {
            await #expect(throws: StackError.self) {
                try await broker.control(["authenticate_user", "gaia-admin", password])
            }
        }
        _ = try await broker.control(["change_password", "gaia-admin", "open-sesame"])
        _ = try await broker.control(["import_definitions", definitions])
        let port = try #require(URL(string: broker.amqpURL)?.port)
        let run = try await Program.run(
            try Program.gaia, ["topology", "apply"],
            environment: ["GAIA_AMQP_URL": "amqp://gaia-admin:open-sesame@127.0.0.1:\(port)/gaia"])
        #expect(run.status == .exited(0), "\(run.output)")
    }
}

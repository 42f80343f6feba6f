import FleetBroker
import FleetModel
import FleetStack
import FleetStore
import FleetTestKit
import Foundation
import TestPatience
import Testing

@Suite("gaia top on a terminal", .timeLimit(.minutes(5)))
struct TopTests {
    /// One kind of job, so that a worker starts at once.
    private static let settings = ["GAIA_WORKER_SUBSYSTEMS": "gaia"]

    private func publish(_ fleet: TestFleet, _ keys: Range<Int>) async throws {
        try await fleet.enqueue(try keys.map { try Job(NoopParameters(), key: "k-\($0)") })
    }

    @Test("It shows what is so: rates, what waits, who works and leads, in any view and at any size")
    func shows() async throws {
        try await TestFleet.use(workers: 0) { fleet in
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                _ = try await programs.serve("dispatcher", "dispatcher-a")
                _ = try await programs.serve("worker", "worker-a", Self.settings)
                try await PseudoTerminal.use(["top"], environment: fleet.place.environment) { terminal in
                    try await terminal.wait(for: "a leader, a worker and its rates") {
                        $0.text.contains("leader dispatcher-a, term 1") && $0.row("worker-a")?.contains("live") == true
                            && $0.row("gaia")?[4] == "0.0"
                    }
                    try await publish(fleet, 0..<300)
                    try await terminal.wait(for: "its rate and latencies") {
                        guard let row = $0.row("gaia"), row.count == 9, let rate = Double(row[4]) else { return false }
                        // Of the last ten seconds at most, and all of them were done in two reports or more.
                        return (27...600).contains(rate) && !row[7...8].contains("–")
                    }
                    let told = try await eventually("all to be told") {
                        let tally = try await fleet.store.workers().first?.load.first?.tally
                        return tally?.ended == 300 ? tally : nil
                    }
                    #expect(
                        told.failed == 0 && told.run.total == 300 && told.queued.total == 300)

                    _ = try await fleet.store.pause("gaia", reason: "for the test")
                    try await terminal.wait(for: "the subsystem to rest, without consumers") {
                        guard let row = $0.row("gaia ‖") else { return false }
                        return row[4] == "0" && $0.text.contains("gaia rests: for the test. → gaia resume gaia")
                    }
                    try await publish(fleet, 300..<307)
                    try await terminal.wait(for: "what waits") { $0.row("gaia ‖")?[2] == "7" }
                    try terminal.type("u")
                    try await terminal.wait(for: "the queues") { $0.row("gaia.jobs.gaia ")?[1] == "7" }

                    terminal.resize(columns: 120, rows: 40)
                    try await terminal.wait(for: "the whole window to be used") {
                        $0.lines[39].hasPrefix("q quit") && $0.lines[39].count == 120
                    }
                    terminal.resize(columns: 50, rows: 12)
                    try terminal.type("w")
                    try await terminal.wait(for: "the workers in little room") {
                        $0.lines[11].hasPrefix("q quit") && $0.row("worker-a") != nil
                    }
                    try terminal.type("?")
                    try await terminal.wait(for: "help") { $0.text.contains("Ctrl-C") }
                    try terminal.type("q")
                    let (status, isRestored) = try await terminal.end()
                    #expect(status == 0 && isRestored, "\(terminal.text)")
                }
            }
        }
    }

    @Test("However it ends, the terminal is as it was before", arguments: ["q", "\u{3}", "TERM", "HUP"])
    func restores(_ how: String) async throws {
        try await Isolated.use { place in
            try await PseudoTerminal.use(["top"], environment: place.environment) { terminal in
                try await terminal.wait(for: "the first picture") {
                    $0.text.contains("There is no worker") && !$0.hasCursor
                }
                switch how {
                case "TERM": try terminal.signal(SIGTERM)
                case "HUP": try terminal.signal(SIGHUP)
                default: try terminal.type(how)
                }
                let (status, isRestored) = try await terminal.end()
                #expect(status == 0 && isRestored, "\(terminal.text)")
            }
        }
    }

    @Test("Database and broker may go and come back: it says so, shows what it knew, and how old that is")
    func outage() async throws {
        let stack = try await TestStack.start("top")
        let servers = try #require(stack.own)
        try await Isolated.use(on: stack) { place in
            try await ProgramGroup.use(environment: place.environment) { programs in
                _ = try await programs.serve("worker", "worker-a", Self.settings)
                try await PseudoTerminal.use(["top"], environment: place.environment) { terminal in
                    /// In whole seconds, as the last line says.
                    func age(_ server: String, _ terminal: PseudoTerminal) -> Int? {
                        let words = terminal.lines.last?.split(separator: " ") ?? []
                        return words.firstIndex { $0 == server }.flatMap { Int(words[$0 + 1]) }
                    }
                    func isWell(_ terminal: PseudoTerminal) -> Bool {
                        terminal.row("worker-a")?.contains("live") == true && !terminal.text.contains("does not answer")
                    }
                    try await terminal.wait(for: "the worker", isWell)
                    try await servers.database.stopImmediately()
                    try await terminal.wait(for: "word of the database") {
                        $0.text.contains("The database does not answer") && age("ledger", $0) ?? 0 >= 4
                            && age("broker", $0) ?? 9 <= 2 && $0.row("worker-a") != nil
                    }
                    try await servers.database.startAgain()
                    try await terminal.wait(for: "the database again", isWell)

                    try await servers.broker.stop()
                    try await terminal.wait(for: "word of the broker") {
                        $0.text.contains("The broker does not answer") && age("broker", $0) ?? 0 >= 4
                            && age("ledger", $0) ?? 9 <= 2
                    }
                    try await servers.broker.startAgain()
                    try await terminal.wait(for: "the broker again", isWell)
                    try terminal.type("q")
                    #expect(try await terminal.end().isRestored)
                }
            }
        }
    }

    @Test("A management plugin that refuses is told of: alarms of the broker would not be seen")
    func managementRefuses() async throws {
        try await Isolated.use { place in
            var address = try #require(URLComponents(string: place.stack.managementURL))
            (address.user, address.password) = ("gaia", "not-the-password")
            let settings = ["GAIA_MANAGEMENT_URL": try #require(address.string)]
            try await PseudoTerminal.use(["top"], environment: place.environment.merging(settings) { $1 }) { terminal in
                terminal.resize(columns: 120, rows: 30)
                try await terminal.wait(for: "word of it") {
                    $0.text.contains("! The management plugin tells nothing") && $0.text.contains("GAIA_MANAGEMENT_URL")
                        && !$0.text.contains("not-the-password")
                }
                try terminal.type("q")
                #expect(try await terminal.end().status == 0)
            }
        }
    }

    @Test("Without a terminal it says what to use instead; one picture in plain text needs none")
    func withoutTerminal() async throws {
        try await Isolated.use { place in
            let refused = try await Program.run(try Program.gaia, ["top"], environment: place.environment)
            #expect(refused.status == .exited(64) && refused.output.contains("gaia status"), "\(refused.output)")
            let once = try await Program.run(try Program.gaia, ["top", "--once"], environment: place.environment)
            #expect(once.status == .exited(0), "\(once.output)")
            #expect(once.output.contains("There is no worker") && once.output.contains("SUBSYSTEM"))
            #expect(!once.output.contains("\u{1B}"))
            let nowhere = [
                "GAIA_AMQP_URL": "amqp://gaia:x@127.0.0.1:1/", "GAIA_DATABASE_URL": "postgres://gaia:x@127.0.0.1:1/x",
            ]
            let away = try await Program.run(try Program.gaia, ["top", "--once"], environment: nowhere)
            #expect(away.status == .exited(69) && away.output.contains("does not answer"), "\(away.output)")
        }
    }

    @Test("A worker that is asked reports at once, long before its lease is a third over")
    func reports() async throws {
        try await TestFleet.use(definitions: [NoopParameters.definition], configure: { $0.lease = .seconds(900) }) {
            fleet in
            try await publish(fleet, 0..<20)
            try await fleet.mailbox.wait(for: "the results") { $0.results.count == 20 }
            try await eventually("the report") {
                try await fleet.store.askForReports()
                return try await fleet.store.workers().first?.load.first?.tally?.ended == 20
            }
        }
    }
}

@Suite("gaia status for scripts", .timeLimit(.minutes(2)))
struct StatusTests {
    private func status(_ place: Isolated, _ options: String...) async throws -> (
        code: ChildProcess.ExitStatus, document: JSONValue
    ) {
        let child = try Program.start(
            try Program.gaia, ["status", "--json"] + options, environment: place.environment)
        let code = await child.exitStatus()
        return (code, try JSONValue(Array(child.standardOutput.utf8)))
    }

    @Test("Its JSON has the members that are documented; with --check it fails while work stands still")
    func json() async throws {
        try await Isolated.use { place in
            let (code, document) = try await status(place, "--check", "--quick")
            #expect(code == .exited(1))
            #expect(document["alarms"]?.array?.first?["level"] == .string("bad"))
            #expect(try await status(place).code == .exited(0))
            try await ProgramGroup.use(environment: place.environment) { programs in
                _ = try await programs.serve("dispatcher", "dispatcher-a")
                _ = try await programs.serve("worker", "worker-a", ["GAIA_WORKER_SUBSYSTEMS": "gaia"])
                let document = try await eventually("all to be well") {
                    let (code, document) = try await status(place, "--check")
                    return code == .exited(0) && document["leader"] != nil ? document : nil
                }
                #expect(document["alarms"] == .array([]))
                for name in ["queues", "jobs", "workers", "leader", "pauses", "agenda", "overdue", "alarms"] {
                    #expect(document[name] != nil, "\(name)")
                }
                let worker = document["workers"]?.array?.first
                for name in [
                    "id", "name", "host", "process_id", "state", "version", "subsystems", "busy", "slots", "epoch",
                    "lease_ms", "load",
                ] {
                    #expect(worker?[name] != nil, "\(name)")
                }
            }
        }
    }
}

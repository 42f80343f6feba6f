import CurlClient
import FleetModel
import FleetStack
import FleetTestKit
import Foundation
import ProfileReports
import Synchronization
import TestPatience
import Testing

@Suite("Profiles of live processes", .timeLimit(.minutes(10)))
struct ProfileTests {
    /// An address at which nothing listens, since it was just given back.
    private static let nobody = "127.0.0.1:9"

    @Test(
        "A worker whose jobs use libcurl, OpenSSL, libpq and librabbitmq is sampled 1,000 times a second, and works on")
    func underLoad() async throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("gaia-profile-\(UUID().uuidString)")
            .path
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: root) }
        try Data(repeating: 7, count: 4 << 20).write(to: URL(fileURLWithPath: "\(root)/large"))
        try await HTTPTarget.use { _ in
            200
        } _: { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let settings = ["GAIA_FILE_ROOTS": "data=\(root)", "GAIA_API_ALLOW": "127.0.0.1"]
                    let worker = try await programs.serve(
                        "worker", "sampled", settings.merging(AdminPage.listening) { $1 })
                    let page = try await AdminPage(of: worker)
                    let isOver = Mutex(false)
                    async let found = {
                        defer { isOver.withLock { $0 = true } }
                        return try await Self.profiles(page)
                    }()
                    var round = 0
                    repeat {
                        round += 1
                        try await Self.work(fleet, target.url, "\(round)")
                    } while !isOver.withLock { $0 }
                    for stacks in try await found { Self.check(stacks) }
                    try await Self.work(fleet, target.url, "after")
                    #expect(worker.isRunning)
                }
            }
        }
    }

    /// Some jobs of each kind, until all are done.
    private static func work(_ fleet: TestFleet, _ url: String, _ round: String) async throws {
        let kinds: [(type: JobType, payload: String, count: Int)] = [
            ("gaia.noop.v1", "{}", 300), ("api.request.v1", #"{"url": "\#(url)"}"#, 20),
            ("file.hash.v1", #"{"path": "data:large", "algorithm": "sha256"}"#, 20),
        ]
        var keys: [String] = []
        for (type, payload, count) in kinds {
            let jobs = (0..<count).map { number in
                Job(
                    type: type, key: "\(type.subsystem)-\(round)-\(number)", payload: Array(payload.utf8),
                    replyTo: "reply")
            }
            keys += jobs.map(\.key)
            try await fleet.enqueue(jobs)
        }
        for key in keys { #expect(try await fleet.mailbox.reply(key).outcome == "succeeded", "\(key)") }
    }

    /// OpenSSL offers few of its names to others.
    private static let parts = [
        ["PQ"], ["amqp_"], ["curl_"], ["EVP_", "SHA256", "libcrypto"], ["FleetWorker."], ["swift_"],
    ]

    /// As many as it takes for each part to be seen at work: a machine that is busy leaves little to look at in one.
    private static func profiles(_ page: AdminPage) async throws -> [FoldedStacks] {
        var unseen = parts
        var all: [FoldedStacks] = []
        try await eventually("a function of each library to be seen") {
            let (status, text, type) = try await page.get("/profile/cpu?seconds=10&hertz=1000")
            #expect(status == 200 && type == "text/plain; charset=utf-8")
            let stacks = try FoldedStacks(parsing: text)
            all.append(stacks)
            let names = stacks.functions.map(\.name)
            unseen.removeAll { part in names.contains { name in part.contains { name.hasPrefix($0) } } }
            return unseen.isEmpty
        }
        return all
    }

    private static func check(_ stacks: FoldedStacks) {
        #expect(stacks.samples > 100)
        // Whole: each begins where threads begin, or the program.
        let whole = stacks.stacks.filter {
            $0.frames.count > 2 && $0.frames[1].hasPrefix("libc.so") || $0.frames.contains("_start")
        }
        let share = Double(whole.reduce(0) { $0 + $1.count }) / Double(stacks.samples)
        let broken = stacks.stacks.filter { !whole.contains($0) }.prefix(20).map { $0.frames.joined(separator: ";") }
        #expect(share > 0.97, "\(broken.joined(separator: "\n"))")
    }

    @Test("What cannot be meant is refused with words, and one profile at a time is taken")
    func refused() async throws {
        try await Isolated.use { place in
            try await ProgramGroup.use(environment: place.environment) { programs in
                let page = try await AdminPage(of: try await programs.serve("worker", "asked", AdminPage.listening))
                for query in [
                    "seconds=0", "seconds=301", "seconds=1.5", "hertz=0", "hertz=1001", "seconds=", "minutes=1",
                ] {
                    let answer = try await page.get("/profile/cpu?\(query)")
                    #expect(answer.status == 400, "\(query)")
                    #expect(answer.text.contains(query.prefix { $0 != "=" }), "\(answer.text)")
                }
                async let first = page.get("/profile/cpu?seconds=8")
                async let second = page.get("/profile/cpu?seconds=8")
                #expect(try await [first.status, second.status].sorted() == [200, 409])
                // Longer than a test waits: only that its client went away can end it before.
                await #expect(throws: CurlError.self) {
                    try await Self.ask(page, "/profile/cpu?seconds=300", for: .seconds(2))
                }
                try await eventually("the profile that nobody waits for to end") {
                    try await page.get("/profile/cpu?seconds=1").status == 200
                }
            }
        }
    }

    /// - Returns: the answer's status.
    private static func ask(_ page: AdminPage, _ path: String, for time: Duration) async throws -> Int {
        let curl = CurlMulti(maxConnections: 1, maxConnectionsPerHost: 1, maxInFlight: 1)
        var request = CurlRequest(url: page.address + path)
        request.timeout = time
        let response: Result<CurlResponse, any Error>
        do { response = .success(try await curl.perform(request)) } catch { response = .failure(error) }
        await curl.close()
        return try response.get().status
    }

    @Test("A process that is told to stop breaks a profile off")
    func stopped() async throws {
        try await Isolated.use { place in
            try await ProgramGroup.use(environment: place.environment) { programs in
                let worker = try await programs.serve("worker", "ending", AdminPage.listening)
                let page = try await AdminPage(of: worker)
                async let answer = eventually("a profile to be taken and broken off") {
                    let status = try await Self.ask(page, "/profile/cpu?seconds=300", for: patienceOfTests)
                    return status == 409 ? nil : status
                }
                try await eventually("it to be taken") { try await page.get("/profile/cpu?seconds=1").status == 409 }
                try worker.signal(SIGTERM)
                #expect(try await answer == 503)
                #expect(await worker.exitStatus(within: patienceOfTests) == .exited(0))
            }
        }
    }

    @Test("Where a token is set, profiles want it; the tool shows it, and says what is wrong")
    func tool() async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "gaia-profile-\(UUID().uuidString)"
        ).path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try "a-token-of-some-length\n".write(toFile: "\(directory)/token", atomically: true, encoding: .utf8)
        try "another-token-of-some-length".write(toFile: "\(directory)/other", atomically: true, encoding: .utf8)
        func gaia(_ arguments: String...) async throws -> (status: ChildProcess.ExitStatus, output: String) {
            try await Program.run(try Program.gaia, ["profile"] + arguments, within: patienceOfTests)
        }
        try await TestFleet.use(workers: 0) { fleet in
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                let settings = AdminPage.listening.merging(["GAIA_ADMIN_TOKEN": "a-token-of-some-length"]) { $1 }
                let page = try await AdminPage(of: try await programs.serve("worker", "shown", settings))
                for path in ["/profile/cpu?seconds=1", "/profile/memory", "/profile/tasks"] {
                    #expect(try await page.get(path).status == 401, "\(path)")
                }
                let key = "\(directory)/token"
                let cpu = try await gaia(
                    "cpu", page.address, "--token-file", key, "--seconds", "2", "--output", "\(directory)/cpu.svg",
                    "--folded",
                    "\(directory)/cpu.txt")
                #expect(
                    cpu.status == .exited(0) && (cpu.output.contains("SELF") || cpu.output.contains("no samples")),
                    "\(cpu.output)")
                let svg = try String(contentsOfFile: "\(directory)/cpu.svg", encoding: .utf8)
                #expect(svg.contains("worker shown, \(page.address), 2 s at 99 Hz"))
                try "t;A.f() 3\n".write(toFile: "\(directory)/cpu.txt", atomically: true, encoding: .utf8)
                let again = try await gaia("cpu", "\(directory)/cpu.txt", "--output", "\(directory)/again.svg")
                #expect(again.status == .exited(0) && again.output.contains("FUNCTION"), "\(again.output)")

                let memory = try await gaia("memory", page.address, "--token-file", key)
                #expect(memory.status == .exited(0) && memory.output.contains("heap in use"), "\(memory.output)")
                let tasks = try await gaia("tasks", page.address, "--token-file", key)
                #expect(tasks.status == .exited(0) && tasks.output.contains("SUBSYSTEM"), "\(tasks.output)")
                #expect(tasks.output.contains("no job runs"))

                for (arguments, status, words) in [
                    (["memory", page.address], 65, "wants its token"),
                    (["memory", page.address, "--token-file", "\(directory)/other"], 65, "has another token"),
                    (["memory", page.address, "--token-file", "\(directory)/none"], 64, "cannot be read"),
                    (["memory", Self.nobody], 69, "cannot be asked"),
                    (["memory", "\(page.address)/else", "--token-file", key], 65, "has no /profile/memory"),
                    (["cpu", page.address, "--token-file", key, "--hertz", "5000"], 64, "hertz"),
                    (["cpu", "\(directory)/cpu.svg"], 65, "line 1 is no stack"),
                    (["cpu", page.address, "--output", "/no/such/place"], 64, "nothing can be written"),
                ] as [([String], Int32, String)] {
                    let run = try await Program.run(try Program.gaia, ["profile"] + arguments)
                    #expect(run.status == .exited(status), "\(arguments): \(run.output)")
                    #expect(run.output.contains(words), "\(arguments): \(run.output)")
                }
            }
        }
    }

    @Test("Tasks tell keys, attempts and stages of what runs, and never a payload")
    func tasks() async throws {
        let gate = Gate()
        try await HTTPTarget.use { _ in
            try await gate.pass()
            return 200
        } _: { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let settings = AdminPage.listening.merging(["GAIA_API_ALLOW": "127.0.0.1"]) { $1 }
                    let page = try await AdminPage(of: try await programs.serve("worker", "telling", settings))
                    let payload = #"{"url": "\#(target.url)?a-secret-of-its-own"}"#
                    try await fleet.enqueue([
                        Job(type: "api.request.v1", key: "held", payload: Array(payload.utf8), replyTo: "reply")
                    ])
                    try await target.wait(for: "the job's call") { !$0.isEmpty }
                    let text = try await page.get("/profile/tasks").text
                    let document = try JSONValue(Array(text.utf8))
                    let job = try #require(document["worker"]?["jobs"]?.array?.first)
                    #expect(job["key"] == .string("held") && job["type"] == .string("api.request.v1"))
                    #expect(job["stage"] == .string("run") && job["attempt"] == .number(1))
                    #expect(document["worker"]?["subsystems"]?["api"]?["busy"] == .number(1))
                    #expect((document["threads"]?.array?.count ?? 0) > 3)
                    #expect(!text.contains("secret"))
                    gate.open()
                    #expect(try await fleet.mailbox.reply("held").outcome == "succeeded")
                    try await eventually("nothing to run") {
                        let text = try await page.get("/profile/tasks").text
                        return try JSONValue(Array(text.utf8))["worker"]?["jobs"]?.array?.isEmpty == true
                    }
                }
            }
        }
    }
}

import FleetTestKit
import Foundation
import Testing

/// What a process says and answers to its caller when it cannot begin.
@Suite("A start that fails", .timeLimit(.minutes(5)))
struct StartTests {
    /// Exit statuses, as `gaia --help` lists them.
    private static let (unavailable, configuration): (Int32, Int32) = (69, 78)
    private static let commands = ["worker", "dispatcher"]

    private func run(
        _ command: String, _ environment: [String: String]
    ) async throws -> (status: Int32?, output: String) {
        let run = try await Program.run(try Program.gaia, [command], environment: environment)
        guard case .exited(let status) = run.status else { return (nil, run.output) }
        return (status, run.output)
    }

    /// The URL with another password.
    private func withWrongPassword(_ url: String) throws -> String {
        let at = try #require(url.lastIndex(of: "@"))
        let colon = try #require(url[..<at].lastIndex(of: ":"))
        return "\(url[...colon])wrong-password\(url[at...])"
    }

    @Test(
        "Wrong credentials for the broker end it at once, naming the setting and not the password", arguments: commands)
    func brokerCredentials(command: String) async throws {
        try await Isolated.use { place in
            let url = try withWrongPassword(place.amqpURL)
            let (status, output) = try await run(command, place.environment.merging(["GAIA_AMQP_URL": url]) { $1 })
            #expect(status == Self.unavailable)
            #expect(output.contains("GAIA_AMQP_URL"))
            #expect(!output.contains("wrong-password"))
        }
    }

    @Test(
        "Wrong credentials for the database end it at once, naming the setting and not the password",
        arguments: commands)
    func databaseCredentials(command: String) async throws {
        try await Isolated.use { place in
            let url = try withWrongPassword(place.databaseURL)
            let (status, output) = try await run(command, place.environment.merging(["GAIA_DATABASE_URL": url]) { $1 })
            #expect(status == Self.unavailable)
            #expect(output.contains("GAIA_DATABASE_URL"))
            #expect(!output.contains("wrong-password"))
        }
    }

    @Test("A password may stand in a file, and the one in the URL does not count then")
    func passwordFiles() async throws {
        try await Isolated.use { place in
            let files = (amqp: try passwordFile(of: place.amqpURL), database: try passwordFile(of: place.databaseURL))
            // A file that is left behind harms nobody: its servers end with the tests.
            defer { for file in [files.amqp, files.database] { try? FileManager.default.removeItem(atPath: file) } }
            let settings = [
                "GAIA_AMQP_URL": try withWrongPassword(place.amqpURL), "GAIA_AMQP_PASSWORD_FILE": files.amqp,
                "GAIA_DATABASE_URL": try withWrongPassword(place.databaseURL),
                "GAIA_DATABASE_PASSWORD_FILE": files.database,
            ]
            let (status, output) = try await run("status", settings)
            #expect(status == 0, "\(output)")
        }
    }

    @Test("A password file that cannot be read ends the process at once, named", arguments: commands)
    func passwordFileAbsent(command: String) async throws {
        for setting in ["GAIA_AMQP_PASSWORD_FILE", "GAIA_DATABASE_PASSWORD_FILE"] {
            let (status, output) = try await run(
                command,
                [
                    "GAIA_AMQP_URL": "amqp://gaia@127.0.0.1:1/",
                    "GAIA_DATABASE_URL": "postgres://gaia@127.0.0.1:1/gaia",
                    "GAIA_START_WAIT_MS": "0", setting: "/nowhere/password",
                ])
            #expect(status == Self.configuration)
            #expect(output.contains(setting) && output.contains("/nowhere/password"), "\(output)")
        }
    }

    @Test("A broker that does not answer is waited for, then given up", arguments: commands)
    func brokerAbsent(command: String) async throws {
        try await Isolated.use { place in
            let settings = ["GAIA_AMQP_URL": "amqp://gaia:secret@127.0.0.1:1/", "GAIA_START_WAIT_MS": "1000"]
            let (status, output) = try await run(command, place.environment.merging(settings) { $1 })
            #expect(status == Self.unavailable)
            #expect(output.contains("waiting for the broker"))
            #expect(output.contains("GAIA_AMQP_URL"))
            #expect(!output.contains("secret"))
        }
    }

    @Test("A database that does not answer is waited for, then given up", arguments: commands)
    func databaseAbsent(command: String) async throws {
        try await Isolated.use { place in
            let settings = [
                "GAIA_DATABASE_URL": "postgres://gaia:secret@127.0.0.1:1/gaia", "GAIA_START_WAIT_MS": "1000",
            ]
            let (status, output) = try await run(command, place.environment.merging(settings) { $1 })
            #expect(status == Self.unavailable)
            #expect(output.contains("waiting for the database"))
            #expect(output.contains("GAIA_DATABASE_URL"))
            #expect(!output.contains("secret"))
        }
    }

    @Test(
        "A virtual host or a database that does not exist ends it at once",
        arguments: ["GAIA_AMQP_URL", "GAIA_DATABASE_URL"])
    func nameless(variable: String) async throws {
        try await Isolated.use { place in
            var environment = place.environment
            environment[variable]? += "_absent"
            let (status, output) = try await run("worker", environment)
            #expect(status == Self.unavailable)
            #expect(output.contains(variable))
        }
    }

    @Test("Without the ledger's schema it says which command makes it", arguments: commands)
    func schema(command: String) async throws {
        try await Isolated.use(migrated: false) { place in
            let (status, output) = try await run(command, place.environment)
            #expect(status == Self.unavailable)
            #expect(output.contains("gaia migrate"))
        }
    }

    @Test(
        "A setting that is wrong is named",
        arguments: [
            (["GAIA_WORKER_SLOTS_DEFAULT": "many"], "worker.slots.default is 'many'"),
            (["GAIA_WORKER_LEASE_MS": "0"], "worker.lease_ms is '0'"),
            (["GAIA_LOG_LEVEL": "loud"], "log.level is 'loud'"),
            (["GAIA_AMQP_URL": "http://x"], "amqp.url (GAIA_AMQP_URL)"),
            (["GAIA_DATABASE_URL": "mysql://x"], "database.url (GAIA_DATABASE_URL)"),
            (["GAIA_AMQP_URL": ""], "GAIA_AMQP_URL"),
            (["GAIA_WORKER_SUBSYSTEMS": "nothing"], "worker.subsystems names 'nothing'"),
            (["GAIA_CONFIG": "/nowhere/gaia.yaml"], "/nowhere/gaia.yaml"),
        ])
    func setting(wrong: [String: String], named: String) async throws {
        let right = [
            "GAIA_AMQP_URL": "amqp://gaia:x@127.0.0.1:1/", "GAIA_DATABASE_URL": "postgres://gaia:x@127.0.0.1:1/gaia",
            "GAIA_START_WAIT_MS": "0",
        ]
        let (status, output) = try await run("worker", right.merging(wrong) { $1 })
        #expect(status == Self.configuration)
        #expect(output.contains(named), "\(output)")
    }
}

/// Makes a file with the password of a URL.
private func passwordFile(of url: String) throws -> String {
    let password = try #require(URL(string: url)?.password(percentEncoded: false))
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("gaia-\(UUID().uuidString)")
    try Data("\(password)\n".utf8).write(to: file)
    return file.path
}

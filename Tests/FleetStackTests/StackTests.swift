import FleetStack
import Foundation
import Glibc
import Testing

/// All that start servers, one after another: side by side they would fight for the cores and time out.
@Suite("Servers", .serialized)
struct ServerTests {}

extension ServerTests {
    @Suite("A stack")
    struct StackTests {
        @Test("serves both, survives its starter when detached, is found again, and goes without a trace")
        func detached() async throws {
            try await withStackDirectory { directory in
                await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
                    _ = try await Stack.up(Stack.Options(directory: directory, detached: true))
                    kill(getpid(), SIGKILL)
                }
                let stack = try Stack.attach(directory: directory)
                #expect(try Stack.status(directory: directory).isRunning)
                #expect(try await stack.database.psql("select 1") == "1\n")
                _ = try await stack.broker.createVirtualHost("v")
                #expect(Set(stack.environment.keys) == ["GAIA_AMQP_URL", "GAIA_DATABASE_URL", "GAIA_MANAGEMENT_URL"])
                let json = try JSONSerialization.jsonObject(with: JSONEncoder().encode(stack.addresses))
                let addresses = try #require(json as? [String: String])
                #expect(addresses["amqp_url"] == stack.broker.amqpURL)
                #expect(addresses["database_url"] == stack.database.url)
                #expect(addresses["management_url"] == stack.broker.managementURL)
                let metrics = try #require(addresses["broker_metrics_url"].flatMap { URLComponents(string: $0) })
                let page = ManagementAPI(port: UInt16(try #require(metrics.port)), user: "", password: "")
                let figures = try await page.send("GET", metrics.path)
                #expect(figures.contains("rabbitmq_build_info{"))

                // Up again attaches to those that run, and starts the one that does not.
                let broker = stack.broker.processID
                try stack.database.kill()
                #expect(try Stack.status(directory: directory).databaseProcessID == nil)
                let again = try await Stack.up(directory: directory)
                #expect(again.broker.processID == broker)
                #expect(try await again.database.psql("select 1") == "1\n")

                try await Stack.down(directory: directory, remove: true)
                #expect(processes(under: directory).isEmpty)
                #expect(!FileManager.default.fileExists(atPath: directory))
                #expect(try !accepts(port(of: stack.broker.amqpURL)))
                #expect(try !accepts(port(of: stack.database.url)))
                // That there is none is no error.
                try await Stack.down(directory: directory, remove: true)
            }
        }

        @Test("lives beside another, and both end with their process, even when that is killed")
        func sideBySide() async throws {
            try await withStackDirectory { directory in
                await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
                    let stacks = [
                        try await Stack.up(directory: "\(directory)/one"),
                        try await Stack.up(directory: "\(directory)/two"),
                    ]
                    #expect(stacks[0].broker.amqpURL != stacks[1].broker.amqpURL)
                    for stack in stacks {
                        #expect(try await stack.database.psql("select 1") == "1\n")
                        _ = try await stack.broker.createVirtualHost("v")
                    }
                    #expect(processes(under: "\(directory)/one").count >= 4)
                    kill(getpid(), SIGKILL)
                }
                try await expectEventually("all processes end") { processes(under: directory).isEmpty }
            }
        }

        @Test("never signals a process whose id it remembers but that started at another time")
        func foreignProcess() async throws {
            try await withStackDirectory { directory in
                let database = try await PrivateDatabase.start(
                    PrivateDatabase.Options(directory: "\(directory)/database")
                )
                try await database.stop()
                let foreign = try ChildProcess.start(executable: "sleep", arguments: ["1000"], output: .null)
                let boot = try String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
                let record = """
                    [{"name": "server", "processID": \(foreign.processID), "startTime": 1,
                      "bootID": "\(boot.filter { !$0.isWhitespace })"}]
                    """
                let path = "\(directory)/database/processes.json"
                try record.write(toFile: path, atomically: true, encoding: .utf8)

                #expect(throws: StackError.self) { try PrivateDatabase.attach(directory: "\(directory)/database") }
                #expect(try Stack.status(directory: directory).databaseProcessID == nil)
                try await Stack.down(directory: directory)
                #expect(foreign.isRunning)
                try await foreign.stop()
            }
        }

        @Test("does not start twice in one directory when two start it at once")
        func twoAtOnce() async throws {
            try await withStackDirectory { directory in
                async let one = PrivateDatabase.start(PrivateDatabase.Options(directory: directory))
                async let two = PrivateDatabase.start(PrivateDatabase.Options(directory: directory))
                let (first, second) = try await (one, two)
                #expect(first.processID == second.processID)
                try await first.stop()
            }
        }
    }
}

@Suite("A stack that cannot be")
struct StackErrorTests {
    @Test("says which package to install")
    func missingPackages() async throws {
        try await withStackDirectory { directory in
            let broker = await #expect(throws: StackError.self) {
                try await PrivateBroker.start(PrivateBroker.Options(directory: directory, prefix: "/nowhere"))
            }
            #expect(broker?.kind == .missingPackage(apt: "rabbitmq-server"))
            #expect(broker?.description.contains("apt-get install rabbitmq-server") == true)
            let database = await #expect(throws: StackError.self) {
                try await PrivateDatabase.start(PrivateDatabase.Options(directory: directory, prefix: "/nowhere"))
            }
            #expect(database?.kind == .missingPackage(apt: "postgresql"))
            #expect(!FileManager.default.fileExists(atPath: directory))
        }
    }

    @Test("says which directory the servers' users cannot pass", .enabled(if: geteuid() == 0))
    func unreachable() async throws {
        try await withStackDirectory { directory in
            try FileManager.default.createDirectory(
                atPath: directory,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
            let error = await #expect(throws: StackError.self) {
                try await PrivateDatabase.start(PrivateDatabase.Options(directory: "\(directory)/database"))
            }
            #expect(error?.kind == .directory)
            #expect(error?.description.contains("cannot pass through \(directory)") == true)
        }
    }

    @Test("refuses a directory that others may write to")
    func notOurs() async throws {
        try await withStackDirectory { directory in
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: directory)
            let error = await #expect(throws: StackError.self) {
                try await PrivateDatabase.start(PrivateDatabase.Options(directory: directory))
            }
            #expect(error?.kind == .directory)
        }
    }

    @Test("does not remove a directory that never held one")
    func foreignDirectory() async throws {
        try await withStackDirectory { directory in
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            await #expect(throws: StackError.self) { try await Stack.down(directory: directory, remove: true) }
            #expect(FileManager.default.fileExists(atPath: directory))
        }
    }

    @Test("is not attached to where nothing runs")
    func nothingThere() throws {
        let error = #expect(throws: StackError.self) { try Stack.attach(directory: "/var/tmp/gaia-never-was") }
        #expect(error?.kind == .notRunning)
    }
}

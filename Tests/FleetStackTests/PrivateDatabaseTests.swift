import FleetStack
import Foundation
import Glibc
import Testing

extension ServerTests {
    @Suite("A private database")
    struct PrivateDatabaseTests {
        @Test("keeps its rows through a restart, an immediate stop and a kill")
        func dataIsKept() async throws {
            try await withStackDirectory { directory in
                let database = try await PrivateDatabase.start(PrivateDatabase.Options(directory: directory))
                let url = database.url
                _ = try await database.psql("create table kept (n int)")
                _ = try await database.psql("insert into kept values (1)")
                try await database.restart()
                _ = try await database.psql("insert into kept values (2)")
                try await database.stopImmediately()
                #expect(database.processID == 0)
                try await database.startAgain()
                _ = try await database.psql("insert into kept values (3)")
                try database.kill()
                #expect(!database.isRunning)
                try await database.startAgain()
                #expect(database.url == url)
                #expect(try await database.psql("select n from kept order by n") == "1\n2\n3\n")
                try await database.stop()
                #expect(processes(under: directory).isEmpty)
                #expect(try !accepts(port(of: url)))
            }
        }

        @Test("is durable, asks for a password, and listens on the loopback address only")
        func settings() async throws {
            try await withStackDirectory { directory in
                let database = try await PrivateDatabase.start(
                    PrivateDatabase.Options(directory: directory, settings: ["work_mem": "'7MB'"])
                )
                let shown = try await database.psql(
                    """
                    select string_agg(setting, ' ' order by name) from pg_settings
                    where name in ('fsync', 'full_page_writes', 'max_connections', 'synchronous_commit', 'work_mem')
                    """
                )
                #expect(shown == "on on 1000 on 7168\n")
                #expect(try isOnLoopbackOnly(port(of: database.url)))
                let stranger = try ChildProcess.start(
                    executable: "psql",
                    arguments: [database.url.replacing(database.password, with: "guess"), "-c", "select 1"],
                    output: .capture
                )
                #expect(await !stranger.exitStatus().isSuccess)
                #expect(stranger.standardError.contains("password authentication failed"))
                try await database.stop()
            }
        }

        @Test("makes and drops databases of any name")
        func databases() async throws {
            try await withStackDirectory { directory in
                let database = try await PrivateDatabase.start(PrivateDatabase.Options(directory: directory))
                let name = #"odd "name" 1"#
                let url = try await database.createDatabase(name)
                #expect(url.hasSuffix("/odd%20%22name%22%201"))
                #expect(try await database.psql("select current_database()", database: name) == name + "\n")
                try await database.dropDatabase(name)
                await #expect(throws: StackError.self) { try await database.psql("select 1", database: name) }
                try await database.stop()
            }
        }

        @Test("answers nothing while paused, on no connection, and goes on afterwards")
        func pausing() async throws {
            try await withStackDirectory { directory in
                let database = try await PrivateDatabase.start(PrivateDatabase.Options(directory: directory))
                try await database.pause()
                for process in processes(under: directory) {
                    // A session that was just ending has nobody to collect it now.
                    try await expectEventually("\(process) is stopped") {
                        ["T", "Z", nil].contains(state(of: process))
                    }
                }
                try database.resume()
                #expect(try await database.psql("select 1") == "1\n")

                // A paused one can be stopped all the same.
                try await database.pause()
                try await database.stop()
                #expect(processes(under: directory).isEmpty)
            }
        }

        @Test("ends with the process that started it, even when that is killed")
        func deathOfParent() async throws {
            try await withStackDirectory { directory in
                await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
                    _ = try await PrivateDatabase.start(PrivateDatabase.Options(directory: directory))
                    kill(getpid(), SIGKILL)
                }
                try await expectEventually("its processes end") { processes(under: directory).isEmpty }
                let again = try await PrivateDatabase.start(PrivateDatabase.Options(directory: directory))
                #expect(try await again.psql("select 1") == "1\n")
                try await again.stop()
            }
        }
    }
}

import FleetBroker
import FleetStore
import FleetTestKit
import PostgresClient
import Testing

/// `configs/postgresql/roles.sql` on a real database.
@Suite("Database roles with no more rights than they need", .timeLimit(.minutes(5)))
struct RolesTests {
    @Test("A dispatcher and a worker do their work with them, and a monitor sees it")
    func work() async throws {
        try await LedgerRoles.use { roles in
            let monitor = ["GAIA_DATABASE_URL": try roles.url(.monitor)]
            try await ProgramGroup.use(environment: roles.place.environment) { programs in
                let dispatcher = try await programs.serve(
                    "dispatcher", "dispatcher", ["GAIA_DATABASE_URL": try roles.url(.dispatcher)])
                let worker = try await programs.serve(
                    "worker", "worker", ["GAIA_DATABASE_URL": try roles.url(.worker), "GAIA_WORKER_SUBSYSTEMS": "gaia"])
                for arguments in [["--key", "now"], ["--key", "later", "--delay", "100"]] {
                    let run = try await Program.run(
                        try Program.gaia, ["enqueue", "--type", "gaia.noop.v1", "--wait"] + arguments,
                        environment: roles.place.environment)
                    #expect(run.status == .exited(0), "\(run.output)")
                }
                for arguments in [
                    ["status"], ["job", "show", "later"], ["job", "explain", "later"], ["dead", "list"],
                ] {
                    let run = try await Program.run(
                        try Program.gaia, arguments, environment: roles.place.environment.merging(monitor) { $1 })
                    #expect(run.status == .exited(0), "\(arguments): \(run.output)")
                }
                for child in [worker, dispatcher] { #expect(try await child.stop(grace: .seconds(30)) == .exited(0)) }
            }
        }
    }

    @Test("An operator pauses, limits and calls off; a monitor may not")
    func operators() async throws {
        try await LedgerRoles.use { roles in
            for (part, isAllowed) in [(LedgerRoles.Part.monitor, false), (.operator, true)] {
                let environment = roles.place.environment.merging(["GAIA_DATABASE_URL": try roles.url(part)]) { $1 }
                for arguments in [
                    ["pause", "api"], ["limit", "set", "api.host.*", "--rate", "5"],
                    ["job", "cancel", "k", "--subsystem", "api"],
                ] {
                    let run = try await Program.run(try Program.gaia, arguments, environment: environment)
                    #expect((run.status == .exited(0)) == isAllowed, "\(arguments) as \(part): \(run.output)")
                }
            }
        }
    }

    @Test(
        "Nobody but the owner changes the schema",
        arguments: LedgerRoles.Part.allCases.filter { ![.owner, .runtime, .reader].contains($0) })
    func noDDL(_ part: LedgerRoles.Part) async throws {
        try await LedgerRoles.use { roles in
            for sql in [
                "create table gaia.more (x int)", "create schema more", "drop table gaia.waiter",
                "alter table gaia.job add column more int", "truncate gaia.waiter",
                "create or replace function gaia.with_error(errors jsonb, error jsonb) returns jsonb language sql as 'select $1'",
            ] {
                #expect(try await isRefused(sql, roles.database(part)), "\(part): \(sql)")
            }
        }
    }

    @Test("A monitor writes to no table, even when it takes back that its transactions are read-only")
    func readOnly() async throws {
        try await LedgerRoles.use { roles in
            let monitor = try roles.database(.monitor)
            for sql in [
                "insert into gaia.pause (scope, reason) values ('api', '')", "delete from gaia.worker",
                "update gaia.leader set term = 1", "select gaia.cancel('api', 'k')",
                "select nextval('gaia.lock_number')",
            ] {
                #expect(
                    try await isRefused("set default_transaction_read_only = off; commit; \(sql)", monitor), "\(sql)")
            }
            try await withPool(monitor) { pool in try await pool.script("select count(*) from gaia.job") }
        }
    }

    @Test("What a later migration adds is theirs without running the file again, and running it again changes nothing")
    func later() async throws {
        try await LedgerRoles.use { roles in
            try await withPool(try roles.database(.owner)) { pool in
                try await pool.script(
                    """
                    create table gaia.later (x int generated always as identity, y int);
                    create function gaia.later() returns int language sql as 'select 1';
                    revoke execute on function gaia.later from public;
                    """)
            }
            let sql = "insert into gaia.later (y) values (gaia.later())"
            for _ in 1...2 {
                #expect(try await !isRefused(sql, roles.database(.worker)))
                #expect(
                    try await isRefused(
                        "set default_transaction_read_only = off; commit; \(sql)", roles.database(.monitor)))
                #expect(try await !isRefused("select * from gaia.later", roles.database(.monitor)))
                try await roles.run()
            }
        }
    }

    @Test("A fleet that was migrated by somebody else is handed over to the owner")
    func handedOver() async throws {
        try await LedgerRoles.use { roles in
            // Back to the superuser, as a fleet that ran without roles has it.
            try await roles.administer("reassign owned by \(roles[.owner]) to current_user")
            #expect(try await isRefused("alter table gaia.job add column more int", roles.database(.owner)))
            try await roles.run()
            try await withPool(try roles.database(.owner)) { pool in
                try await pool.script(
                    "alter table gaia.job add column more int; alter sequence gaia.lock_number cache 1")
                #expect(try await FleetStore(pool: pool).migrate() == [])
            }
        }
    }

    /// Whether PostgreSQL refuses it for want of a right.
    private func isRefused(_ sql: String, _ database: PostgresConfiguration) async throws -> Bool {
        try await withPool(database) { pool in
            do {
                try await pool.script(sql)
                return false
            } catch let error {
                guard error.sqlState == "42501" else { throw error }
                return true
            }
        }
    }
}

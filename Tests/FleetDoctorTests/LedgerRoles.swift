import FleetStack
import FleetStore
import FleetTestKit
import Foundation
import PostgresClient

/// The roles of `configs/postgresql/roles.sql` in a database of a test's own, under names of its own.
struct LedgerRoles: Sendable {
    enum Part: String, CaseIterable { case owner, runtime, reader, worker, dispatcher, `operator`, monitor }

    let place: Isolated
    private let password = UUID().uuidString

    /// A place whose schema belongs to its owner; the roles go with it.
    static func use<Value>(
        on stack: TestStack? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (LedgerRoles) async throws -> Value
    ) async throws -> Value {
        var name: String?
        let result: Result<Value, any Error>
        do {
            let value = try await Isolated.use(on: stack, migrated: false) { place in
                name = place.name
                let roles = LedgerRoles(place: place)
                try await roles.run()
                for part in Part.allCases {
                    try await place.stack.administer("alter role \(roles[part]) password '\(roles.password)'")
                }
                try await withPool(try roles.database(.owner)) { _ = try await FleetStore(pool: $0).migrate() }
                return try await body(roles)
            }
            result = .success(value)
        } catch {
            result = .failure(error)
        }
        if let name {
            // Only now: a role goes after all that hangs on it, which went with the database.
            let stack = if let stack { stack } else { try await TestStack.shared() }
            for part in Part.allCases { try await stack.administer("drop role if exists \(name)_\(part.rawValue)") }
        }
        return try result.get()
    }

    private init(place: Isolated) { self.place = place }

    /// A role's name.
    subscript(_ part: Part) -> String { "\(place.name)_\(part.rawValue)" }

    /// Runs the file, as its beginning says.
    func run() async throws {
        let file = "\(Program.root)/configs/postgresql/roles.sql"
        let run = try await Program.run(
            "/usr/bin/psql",
            ["--no-psqlrc", "--quiet", "--dbname", place.databaseURL, "--set", "prefix=\(place.name)", "--file", file])
        guard run.status == .exited(0) else { throw StackError(.refused, "roles.sql: \(run.output)") }
    }

    /// Where a role's sessions connect to.
    func url(_ part: Part) throws -> String {
        guard let at = place.databaseURL.lastIndex(of: "@") else {
            throw StackError(.refused, "The address of the test's database names no user.")
        }
        return "postgres://\(self[part]):\(password)\(place.databaseURL[at...])"
    }

    func database(_ part: Part) throws -> PostgresConfiguration {
        var configuration = try PostgresConfiguration(url: url(part))
        configuration.poolSize = 2
        return configuration
    }

    /// Statements of the superuser's in this database.
    func administer(_ sql: String) async throws {
        try await place.withPool { try await $0.script(sql) }
    }
}

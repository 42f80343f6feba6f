import AMQPClient
import FleetBroker
import FleetStack
import Foundation

/// A place at whose broker each part has a user of its own, with no more rights than it needs.
public struct Guarded: Sendable {
    public typealias Role = BrokerDefinitions.Role

    public let place: Isolated
    public let definitions: BrokerDefinitions
    public let passwords: [Role: String]

    /// Makes the users, under names of this place's own, and after `body` removes them.
    public static func use<Value>(
        _ place: Isolated, subsystems: [String], isolation: isolated (any Actor)? = #isolation,
        _ body: (Guarded) async throws -> Value
    ) async throws -> Value {
        let definitions = BrokerDefinitions(virtualHost: place.name, userPrefix: place.name, subsystems: subsystems)
        var passwords: [Role: String] = [:]
        for role in Role.allCases { passwords[role] = UUID().uuidString }
        let guarded = Guarded(place: place, definitions: definitions, passwords: passwords)
        let result: Result<Value, any Error>
        do {
            try await guarded.importing(definitions.users)
            for role in Role.allCases { try await guarded.tag(role, role.tags) }
            result = .success(try await body(guarded))
        } catch {
            result = .failure(error)
        }
        for role in Role.allCases {
            _ = try await place.stack.ask("DELETE", "/api/users/\(definitions.user(role))")
        }
        return try result.get()
    }

    /// Where a part's clients connect to.
    public func url(_ role: Role) throws -> String {
        guard let at = place.amqpURL.lastIndex(of: "@") else {
            throw StackError(.refused, "The address of the test's broker names no user.")
        }
        return "amqp://\(definitions.user(role)):\(passwords[role] ?? "")\(place.amqpURL[at...])"
    }

    public func amqp(_ role: Role) throws -> AMQPConfiguration { try AMQPConfiguration(url: url(role)) }

    /// Imports definitions.
    public func importing(_ text: String) async throws {
        _ = try await place.stack.ask("POST", "/api/definitions", body: text)
    }

    /// Gives a part's user other tags; its password stays.
    public func tag(_ role: Role, _ tags: [String]) async throws {
        let body = #"{"password": "\#(passwords[role] ?? "")", "tags": "\#(tags.joined(separator: ","))"}"#
        _ = try await place.stack.ask("PUT", "/api/users/\(definitions.user(role))", body: body)
    }

    /// Gives a part's user other rights.
    public func permit(_ role: Role, configure: String? = nil, write: String? = nil, read: String? = nil) async throws {
        let body = try JSONEncoder().encode([
            "configure": configure ?? role.configure, "write": write ?? role.write, "read": read ?? role.read,
        ])
        _ = try await place.stack.ask(
            "PUT", "/api/permissions/\(place.name)/\(definitions.user(role))",
            body: String(decoding: body, as: UTF8.self))
    }
}

import AMQPClient
import FleetBroker
import FleetModel
import FleetStack
import FleetTestKit
import FleetWorker
import Foundation
import TestPatience
import Testing

@testable import FleetDoctor

/// A deployment as it should be: users, roles, topology and limits from the shipped files, a dispatcher that leads, and a
/// worker that serves ``Work``. Its broker has queues of a second subsystem that nobody serves.
struct Ward: Sendable {
    let roles: LedgerRoles
    let guarded: Guarded
    let fleet: TestFleet
    let dispatcher: FleetMember
    let worker: FleetMember

    static let served = Work.type.subsystem
    static let unserved = "other"

    var place: Isolated { roles.place }

    static func use<Value: Sendable>(
        on stack: TestStack? = nil, isolation: isolated (any Actor)? = #isolation, _ body: (Ward) async throws -> Value
    ) async throws -> Value {
        try await LedgerRoles.use(on: stack) { roles in
            try await Guarded.use(roles.place, subsystems: [served, unserved]) { guarded in
                try await guarded.importing(guarded.definitions.topology)
                return try await TestFleet.use(roles.place, workers: 0) { fleet in
                    let ward = Ward(
                        roles: roles, guarded: guarded, fleet: fleet,
                        dispatcher: try await addDispatcher(fleet, guarded, roles),
                        worker: try await addWorker(fleet, guarded, roles))
                    try await ward.awaitConsumers()
                    return try await body(ward)
                }
            }
        }
    }

    private static func addWorker(
        _ fleet: TestFleet, _ guarded: Guarded, _ roles: LedgerRoles
    ) async throws -> FleetMember {
        let (amqp, database) = (try guarded.amqp(.worker), try roles.database(.worker))
        return try await fleet.addWorker([Work.definition(Recorder())]) { ($0.amqp, $0.database) = (amqp, database) }
    }

    /// - Parameters:
    ///   - user: whose broker user it has.
    ///   - part: whose database role it has.
    private static func addDispatcher(
        _ fleet: TestFleet, _ guarded: Guarded, _ roles: LedgerRoles, as user: Guarded.Role = .dispatcher,
        _ part: LedgerRoles.Part = .dispatcher
    ) async throws -> FleetMember {
        let (amqp, database) = (try guarded.amqp(user), try roles.database(part))
        return try await fleet.addDispatcher(subsystems: [served, unserved]) {
            ($0.amqp, $0.database) = (amqp, database)
        }
    }

    /// One more dispatcher, with the user or the role of another part.
    func addDispatcher(as user: Guarded.Role, _ part: LedgerRoles.Part) async throws {
        _ = try await Self.addDispatcher(fleet, guarded, roles, as: user, part)
    }

    /// The management plugin lists consumers some seconds late.
    private func awaitConsumers() async throws {
        let wanted = [
            FleetBroker.enqueueQueue, FleetBroker.jobsQueue(Self.served), FleetBroker.urgentQueue(Self.served),
        ]
        try await eventually("the management plugin to list the consumers") {
            let listed = try await place.stack.ask("GET", "/api/consumers/\(place.name)")
            return wanted.allSatisfy { listed.contains("\"name\":\"\($0)\"") }
        }
        try await eventually("a dispatcher to lead") { try await fleet.store.leader()?.leads == true }
    }

    // MARK: Looking

    /// The doctor as an administrator of the broker and a monitor of the ledger.
    func configuration(_ change: (inout DoctorConfiguration) -> Void = { _ in }) throws -> DoctorConfiguration {
        let amqp = try guarded.amqp(.monitor)
        var configuration = DoctorConfiguration(
            amqp: amqp, database: try roles.database(.monitor),
            management: try ManagementAddress(url: place.stack.managementURL, fallback: place.amqp),
            subsystems: [Self.served, Self.unserved])
        change(&configuration)
        return configuration
    }

    func examine(_ change: (inout DoctorConfiguration) -> Void = { _ in }) async throws -> Examination {
        await FleetDoctor(try configuration(change), logger: testLogger).examine()
    }

    /// Expects these faults and no other. Some show only when the plugin has counted anew.
    func expect(
        _ faults: Set<Fault>, sourceLocation: SourceLocation = #_sourceLocation,
        _ change: (inout DoctorConfiguration) -> Void = { _ in }
    ) async throws {
        var last: Examination?
        do {
            try await eventually("just the faults \(faults.map(\.code).sorted())") {
                let examination = try await examine(change)
                last = examination
                return examination.unreachable.isEmpty && Set(examination.findings.map(\.fault)) == faults
            }
        } catch let error as NotInTime {
            Issue.record("\(error); found \(String(describing: last))", sourceLocation: sourceLocation)
        }
        for finding in last?.findings ?? [] {
            #expect(!finding.remedy.isEmpty && finding.message.hasSuffix("."), sourceLocation: sourceLocation)
        }
    }

    // MARK: Changing

    /// Asks the management plugin, with names escaped that need it.
    func ask(_ method: String, _ path: String, _ body: String = "") async throws {
        _ = try await place.stack.ask(method, path, body: body)
    }

    /// Puts another exchange in the place of one.
    func replace(exchange name: String, kind: String, arguments: [String: AMQPValue] = [:]) async throws {
        let bindings = FleetBroker.topology(subsystems: [Self.served, Self.unserved]).bindings.filter {
            $0.exchange == name
        }
        try await place.withBroker { session in
            try await session.deleteExchange(name)
            try await session.declare(
                AMQPTopology(
                    exchanges: [AMQPExchange(name: name, kind: kind, arguments: arguments)], bindings: bindings))
        }
    }

    /// Puts another queue in the place of the one that nobody serves.
    ///
    /// - Parameter change: of its arguments.
    func replaceQueue(_ change: (inout [String: AMQPValue]) -> Void) async throws {
        let topology = FleetBroker.topology(subsystems: [Self.unserved])
        let name = FleetBroker.jobsQueue(Self.unserved)
        var queue = try #require(topology.queues.first { $0.name == name })
        change(&queue.arguments)
        try await place.withBroker { [queue] session in
            try await session.deleteQueue(name)
            try await session.declare(
                AMQPTopology(queues: [queue], bindings: topology.bindings.filter { $0.destination == .queue(name) }))
        }
    }

    func setPolicy(_ name: String, pattern: String, _ definition: String, priority: Int = 0) async throws {
        try await ask(
            "PUT", "/api/policies/\(place.name)/\(name)",
            #"{"pattern": "\#(pattern)", "definition": \#(definition), "apply-to": "queues", "priority": \#(priority)}"#
        )
    }

    /// Publishes a message as a foreign producer would.
    func publish(to exchange: String, _ routingKey: String, key: String) async throws {
        try await fleet.publish([
            AMQPMessage(
                exchange: exchange, routingKey: routingKey, properties: AMQPProperties(messageID: key),
                body: Array("{}".utf8))
        ])
    }
}

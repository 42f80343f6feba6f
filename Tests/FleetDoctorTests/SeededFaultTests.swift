import AMQPClient
import FleetBroker
import FleetModel
import FleetStore
import FleetTestKit
import PostgresClient
import TestPatience
import Testing

@testable import FleetDoctor

/// A fault that is made in a real deployment.
struct SeededFault: Sendable, CustomTestStringConvertible {
    let fault: Fault
    /// Makes it, and looks while it lasts.
    let seed: @Sendable (Ward, _ look: () async throws -> Void) async throws -> Void
    var change: @Sendable (inout DoctorConfiguration) -> Void = { _ in }

    var testDescription: String { fault.code }

    /// One that stays once it is made.
    init(
        _ fault: Fault, _ change: @escaping @Sendable (inout DoctorConfiguration) -> Void = { _ in },
        _ seed: @escaping @Sendable (Ward) async throws -> Void
    ) {
        self.fault = fault
        self.change = change
        self.seed = { ward, look in
            try await seed(ward)
            try await look()
        }
    }

    init(
        _ fault: Fault, _ change: @escaping @Sendable (inout DoctorConfiguration) -> Void = { _ in },
        while seed: @escaping @Sendable (Ward, _ look: () async throws -> Void) async throws -> Void
    ) {
        self.fault = fault
        self.change = change
        self.seed = seed
    }

    static let ofTopology: [SeededFault] = [
        SeededFault(.exchangeMissing) { ward in
            try await ward.place.withBroker { try await $0.deleteExchange(FleetBroker.controlExchange) }
        },
        SeededFault(.exchangeKind) { try await $0.replace(exchange: FleetBroker.controlExchange, kind: "fanout") },
        SeededFault(.alternateExchangeMissing) {
            try await $0.replace(exchange: FleetBroker.jobsExchange, kind: "topic")
        },
        SeededFault(.queueMissing) { ward in
            try await ward.place.withBroker { try await $0.deleteQueue(FleetBroker.jobsQueue(Ward.unserved)) }
        },
        SeededFault(.queueKind) { try await $0.replaceQueue { $0 = ["x-queue-type": .string("classic")] } },
        SeededFault(.bindingMissing) { ward in
            let queue = FleetBroker.jobsQueue(Ward.unserved)
            try await ward.ask(
                "DELETE", "/api/bindings/\(ward.place.name)/e/gaia.jobs/q/\(queue)/\(Ward.unserved).%23")
        },
        SeededFault(.deliveryLimitMissing) { try await $0.replaceQueue { $0["x-delivery-limit"] = nil } },
        SeededFault(.deliveryLimitLow) { ward in
            try await ward.setPolicy(
                "low", pattern: "^gaia[.]jobs[.]other$",
                #"{"delivery-limit": 5, "max-length": 1000, "overflow": "reject-publish"}"#, priority: 1)
        },
        SeededFault(.deadLetterExchange) { try await $0.replaceQueue { $0["x-dead-letter-exchange"] = nil } },
        SeededFault(.deadLetterStrategy) { try await $0.replaceQueue { $0["x-dead-letter-strategy"] = nil } },
        SeededFault(.overflowDrops) { ward in
            try await ward.setPolicy("gaia-intake", pattern: "^gaia[.](jobs[.].+|enqueue)$", #"{"max-length": 1000}"#)
            try await ward.replaceQueue { $0["x-overflow"] = nil }
        },
        SeededFault(.queueUnlimited) { try await $0.ask("DELETE", "/api/policies/\($0.place.name)/gaia-set-aside") },
    ]

    static let ofRights: [SeededFault] = [
        SeededFault(.userShared) { ward in
            try await ward.guarded.permit(
                .worker, configure: Guarded.Role.dispatcher.configure,
                write: "^(amq[.]default|gaia[.](jobs|results|events|dead))$",
                read: "^gaia[.](jobs[.].+|enqueue|wait[.].+)$")
            try await ward.addDispatcher(as: .worker, .dispatcher)
        },
        SeededFault(.permissionMissing) { ward in
            try await ward.guarded.permit(.worker, write: "^(amq[.]default|gaia[.](results|events))$")
        },
        SeededFault(.permissionWide) { try await $0.guarded.permit(.worker, configure: ".*") },
        SeededFault(.tagWide) { try await $0.guarded.tag(.worker, ["administrator"]) },
    ]

    static let ofTheFleet: [SeededFault] = [
        SeededFault(.workerAbsent) { try await $0.worker.stop() },
        SeededFault(.leaderAbsent) { try await $0.dispatcher.stop() },
        SeededFault(
            .consumerMissing,
            while: { ward, look in
                // A worker that lives by all that the ledger knows, and consumes nothing.
                try await withPool(try ward.roles.database(.worker)) { pool in
                    try await pool.withConnection { session in
                        try await session.script(
                            """
                            insert into gaia.worker (name, host, process_id, version, subsystems, slots, lease_until)
                            values ('deaf', 'test', 1, '0', '{\(Ward.unserved)}', 1, now() + interval '5 minutes');
                            select pg_advisory_lock(\(FleetStore.livenessLockClass), id::int4) from gaia.worker where name = 'deaf';
                            """)
                        try await look()
                    }
                }
            }),
        SeededFault(.queueUnserved) { ward in
            try await ward.publish(to: FleetBroker.jobsExchange, "\(Ward.unserved).x.v1", key: "k")
        },
        SeededFault(.deadMany, { $0.bounds.setAsideMax = 0 }) { ward in
            try await ward.publish(to: FleetBroker.deadExchange, "", key: "k")
        },
        SeededFault(.unroutableMany, { $0.bounds.setAsideMax = 0 }) { ward in
            try await ward.publish(to: FleetBroker.jobsExchange, "nobody.x.v1", key: "k")
        },
    ]

    static let ofTheDatabase: [SeededFault] = [
        SeededFault(.schemaBehind) { ward in
            try await ward.roles.administer(
                "delete from gaia.migration where version = (select max(version) from gaia.migration)")
        },
        SeededFault(.schemaAhead) { ward in
            try await ward.roles.administer("insert into gaia.migration (version, name) values (1000, 'later')")
        },
        SeededFault(.synchronousCommitOff) { ward in
            try await ward.roles.administer("alter database \(ward.place.name) set synchronous_commit = off")
        },
        SeededFault(.synchronousCommitOff) { ward in
            try await ward.roles.administer(
                "alter role \(ward.roles[.worker]) in database \(ward.place.name) set synchronous_commit = off")
        },
        // Some that are there now may be gone when it is looked at.
        SeededFault(.connectionsNearLimit, { $0.bounds.connectionShareMax = 0.6 }) { ward in
            try await ward.roles.administer(
                """
                do $$ begin
                    execute (
                        select format('alter database %I connection limit %s', datname, numbackends + 1)
                        from pg_stat_database where datname = current_database());
                end $$
                """)
        },
        SeededFault(
            .transactionOld, { $0.bounds.transactionAgeMax = .milliseconds(500) },
            while: { ward, look in
                try await ward.place.withPool { pool in
                    try await pool.withTransaction { session in
                        try await session.script("select 1")
                        try await look()
                    }
                }
            }),
        SeededFault(.databaseRoleShared) { ward in
            try await ward.dispatcher.stop()
            try await ward.addDispatcher(as: .dispatcher, .worker)
            try await eventually("it to lead") { try await ward.fleet.store.leader()?.leads == true }
        },
        SeededFault(.databaseRoleWide) { ward in
            try await ward.roles.administer("grant create on schema gaia to \(ward.roles[.worker])")
        },
        SeededFault(.grantMissing) { ward in
            try await ward.roles.administer("revoke delete on gaia.limit_closed from \(ward.roles[.runtime])")
        },
    ]
}

@Suite("Faults made for real", .timeLimit(.minutes(5)))
struct SeededFaultTests {
    private func find(_ seeded: SeededFault) async throws {
        try await Ward.use { ward in
            try await ward.expect([], seeded.change)
            try await seeded.seed(ward) { try await ward.expect([seeded.fault], seeded.change) }
        }
    }

    @Test("Of exchanges and queues, each is found and nothing else is", arguments: SeededFault.ofTopology)
    func topology(_ seeded: SeededFault) async throws { try await find(seeded) }

    @Test("Of users and rights, each is found and nothing else is", arguments: SeededFault.ofRights)
    func rights(_ seeded: SeededFault) async throws { try await find(seeded) }

    @Test("Of the fleet at work, each is found and nothing else is", arguments: SeededFault.ofTheFleet)
    func fleet(_ seeded: SeededFault) async throws { try await find(seeded) }

    @Test("Of the database, each is found and nothing else is", arguments: SeededFault.ofTheDatabase)
    func database(_ seeded: SeededFault) async throws { try await find(seeded) }
}

import FleetStack
import FleetTestKit
import Testing

@testable import FleetDoctor

/// Faults of whole servers, which every test would see that shares them: on servers of this suite's own.
@Suite("Faults of servers made for real", .serialized, .timeLimit(.minutes(5)))
struct SeededServerTests {
    /// By RabbitMQ's own value a job may take half an hour.
    private static let starting = Task {
        try await TestStack.start("doctor", brokerSettings: ["consumer_timeout": "60000"])
    }

    static let faults: [Fault] = [
        .guestPassword, .memoryAlarm, .diskAlarm, .consumerTimeoutShort, .consumerTimeoutTight, .fsyncOff,
        .fullPageWritesOff, .autovacuumOff,
    ]

    @Test("Each is found and nothing else is, and nothing any more when it is mended", arguments: faults)
    func find(_ fault: Fault) async throws {
        let stack = try await Self.starting.value
        try await Ward.use(on: stack) { ward in
            try await ward.expect([])
            let (seed, mend) = try #require(Self.actions[fault])
            try await seed(stack)
            let result: Result<Void, any Error>
            do { result = .success(try await ward.expect([fault]) { Self.change(fault, &$0) }) } catch {
                result = .failure(error)
            }
            try await mend(stack)
            try result.get()
            try await ward.expect([])
        }
    }

    private static func change(_ fault: Fault, _ configuration: inout DoctorConfiguration) {
        switch fault {
        case .consumerTimeoutShort:
            configuration.longestRuns = [Ward.served: .seconds(61), Ward.unserved: .seconds(600)]
        case .consumerTimeoutTight: configuration.longestRuns = [Ward.served: .seconds(40)]
        default: break
        }
    }

    private typealias Action = @Sendable (TestStack) async throws -> Void

    private static let actions: [Fault: (seed: Action, mend: Action)] = [
        .guestPassword: (
            { _ = try await $0.ask("PUT", "/api/users/guest", body: #"{"password": "guest", "tags": "monitoring"}"#) },
            { _ = try await $0.ask("DELETE", "/api/users/guest") }
        ),
        .memoryAlarm: (
            { try await control($0, ["set_vm_memory_high_watermark", "absolute", "1MB"]) },
            { try await control($0, ["set_vm_memory_high_watermark", "0.6"]) }
        ),
        .diskAlarm: (
            { try await control($0, ["set_disk_free_limit", "900000GB"]) },
            { try await control($0, ["set_disk_free_limit", "50MB"]) }
        ),
        // The broker has had it since it started; what is made is a job that may run for longer.
        .consumerTimeoutShort: ({ _ in }, { _ in }),
        .consumerTimeoutTight: ({ _ in }, { _ in }),
        .fsyncOff: ({ try await set("fsync", $0) }, { try await reset("fsync", $0) }),
        .fullPageWritesOff: ({ try await set("full_page_writes", $0) }, { try await reset("full_page_writes", $0) }),
        .autovacuumOff: ({ try await set("autovacuum", $0) }, { try await reset("autovacuum", $0) }),
    ]

    private static func control(_ stack: TestStack, _ arguments: [String]) async throws {
        _ = try await stack.own?.broker.control(arguments)
    }

    private static func set(_ name: String, _ stack: TestStack) async throws {
        // Not in a transaction, so each by itself.
        try await stack.administer("alter system set \(name) = off")
        try await stack.administer("select pg_reload_conf()")
    }

    private static func reset(_ name: String, _ stack: TestStack) async throws {
        try await stack.administer("alter system reset \(name)")
        try await stack.administer("select pg_reload_conf()")
    }
}

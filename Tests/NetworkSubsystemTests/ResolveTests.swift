import FleetModel
import FleetStack
import Foundation
import NetworkClient
import Testing

@testable import NetworkSubsystem

/// dnsmasq, as the authority for `zone.test`, or with one address for all names below `many.test`.
final class NameService: Sendable {
    let endpoint: Endpoint
    private let server: PrivateNameServer

    static let shared = Task { try await NameService(isAuthority: true) }

    init(isAuthority: Bool) async throws {
        var options = ["--local-ttl=600", "--address=/many.test/192.0.2.7"]
        if isAuthority {
            options += [
                "--auth-server=ns.zone.test,lo", "--auth-zone=zone.test", "--auth-ttl=600",
                "--host-record=a.zone.test,192.0.2.1,2001:db8::1", "--host-record=rebound.zone.test,127.0.0.1",
                "--cname=alias.zone.test,a.zone.test",
            ]
        }
        server = try await PrivateNameServer(options)
        guard let endpoint = Endpoint(address: "127.0.0.1", port: server.port) else {
            throw Failure("the name server's address is none")
        }
        self.endpoint = endpoint
    }

    func stop() async throws { try await server.stop() }
}

@Suite("Names looked up by jobs", .timeLimit(.minutes(2)))
struct ResolveTests {
    private func withDesk<Value>(_ body: (Desk) async throws -> Value) async throws -> Value {
        let names = try await NameService.shared.value
        return try await Desk.with({ $0.nameservers = [names.endpoint] }, body)
    }

    @Test("Both kinds of address come, with aliases, TTLs, and whether the cache knew")
    func addresses() async throws {
        try await withDesk { desk in
            for isCached in [false, true] {
                let output = try await desk.run(ResolveParameters(name: "alias.zone.test"), ResolveOutput.self)
                #expect(output.answers.map(\.type) == ["A", "AAAA"])
                #expect(output.answers.map(\.status) == ["found", "found"])
                #expect(output.answers.allSatisfy { $0.cached == isCached })
                #expect(output.answers.allSatisfy { $0.canonicalName == "a.zone.test" })
                #expect(output.answers.allSatisfy { (590...600).contains($0.remainingSeconds) })
                #expect(output.answers[0].records.map(\.value) == ["a.zone.test", "192.0.2.1"])
                #expect(output.answers[1].records.map(\.value) == ["a.zone.test", "2001:db8::1"])
            }
            let fresh = try await desk.run(
                ResolveParameters(name: "alias.zone.test", types: ["A"], fresh: true), ResolveOutput.self)
            #expect(!fresh.answers[0].cached)
            #expect(try desk.count("name_questions", [("source", "hit")]) == 2)
            #expect(try desk.count("name_questions", [("source", "miss")]) == 3)
            #expect(desk.subsystem.metrics.cacheHitRatio == 0.4)
            #expect(try desk.metrics.expectGauge("gaia_network_name_cache_entries").lastValue == 2)
        }
    }

    @Test("That there is nothing is an answer, and kept too")
    func nothing() async throws {
        try await withDesk { desk in
            for isCached in [false, true] {
                let gone = try await desk.run(
                    ResolveParameters(name: "nope.zone.test", types: ["A"]), ResolveOutput.self)
                #expect(gone.answers[0].status == "no_name")
                #expect(gone.answers[0].cached == isCached)
                let empty = try await desk.run(
                    ResolveParameters(name: "a.zone.test", types: ["MX"]), ResolveOutput.self)
                #expect(empty.answers[0].status == "no_data")
            }
            #expect(try desk.count("name_questions", [("source", "negative_hit")]) == 2)
        }
    }

    @Test("A server that refuses is no answer, and the job comes again")
    func refused() async throws {
        try await withDesk { desk in
            do {
                _ = try await desk.run(ResolveParameters(name: "elsewhere.org"), ResolveOutput.self)
                Issue.record("answered")
            } catch let failure as JobFailure {
                #expect((failure.kind, failure.code) == (.transient, "network.no-answer"))
            }
        }
    }
}

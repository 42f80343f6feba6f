import AddressPolicy
import FleetModel
import Foundation
import Testing

@testable import NetworkSubsystem

@Suite("Probes", .timeLimit(.minutes(2)))
struct ProbeTests {
    private func withDesk<Value>(_ body: (Desk, TLSServers) async throws -> Value) async throws -> Value {
        try await TLSServers.with { servers in
            try await Desk.with({ $0.caFile = servers.authority }) { desk in try await body(desk, servers) }
        }
    }

    @Test("A connection is timed, and without TLS that is all")
    func plain() async throws {
        try await withDesk { desk, servers in
            let output = try await desk.probe(ProbeParameters(host: "127.0.0.1", port: servers.silent))
            #expect((output.reachable, output.address) == (true, "127.0.0.1:\(servers.silent)"))
            #expect(output.error == nil)
            #expect(output.tls == nil)
            let connect = try #require(output.connectMilliseconds)
            #expect(connect > 0 && connect < 1_000)
            #expect(try desk.count("probes", [("outcome", "connected")]) == 1)
        }
    }

    @Test("A good certificate proves the name and the address, and says who it is")
    func good() async throws {
        try await withDesk { desk, servers in
            for (host, serverName) in [("localhost", nil), ("127.0.0.1", nil), ("127.0.0.1", "good.test.")] {
                let output = try await desk.probe(
                    ProbeParameters(
                        host: host, port: servers.good, tls: true, serverName: serverName, require: .verified))
                let tls = try #require(output.tls)
                #expect((tls.verified, tls.flaw) == (true, nil))
                #expect(tls.version == "TLSv1.3")
                #expect(try #require(tls.handshakeMilliseconds) > 0)
                let certificate = try #require(tls.certificate)
                #expect(certificate.subject == "CN=good,O=Gaia")
                #expect(certificate.issuer == "CN=Test authority")
                #expect(certificate.names == ["localhost", "good.test", "127.0.0.1"])
                #expect(certificate.daysLeft == 29)
                #expect(certificate.fingerprint.count == 64)
                #expect(certificate.notAfter?.hasSuffix("Z") == true)
            }
        }
    }

    @Test("What is wrong with a certificate is told, and fails the job only if it asks for proof")
    func bad() async throws {
        try await withDesk { desk, servers in
            for (port, name, flaw) in [
                (servers.expired, nil, "expired"), (servers.selfSigned, nil, "self-signed"),
                (servers.wrongName, nil, "IP address mismatch"), (servers.good, "other.test", "hostname mismatch"),
            ] {
                var parameters = ProbeParameters(
                    host: "127.0.0.1", port: port, tls: true, serverName: name, require: .connected)
                let tls = try #require(try await desk.probe(parameters).tls)
                #expect(!tls.verified)
                #expect(tls.flaw?.contains(flaw) == true, "\(tls.flaw ?? "none")")
                #expect(tls.certificate != nil)
                parameters.require = .verified
                do {
                    _ = try await desk.probe(parameters)
                    Issue.record("taken for proof")
                } catch let failure as JobFailure {
                    #expect(failure.code == "network.not-verified")
                }
            }
            let expired = try await desk.probe(ProbeParameters(host: "127.0.0.1", port: servers.expired, tls: true))
            #expect(try #require(expired.tls?.certificate?.daysLeft) < 0)
        }
    }

    @Test("A server that speaks no TLS, or nothing, is reached and not verified")
    func noTLS() async throws {
        try await withDesk { desk, servers in
            for (port, flaw, milliseconds) in [
                (servers.nonsense, "no TLS handshake", 30_000), (servers.silent, "time was up", 500),
            ] {
                let begin = ContinuousClock.now
                let output = try await desk.probe(
                    ProbeParameters(host: "127.0.0.1", port: port, tls: true, timeoutMilliseconds: milliseconds))
                #expect(ContinuousClock.now - begin < .seconds(30))
                #expect(output.reachable)
                #expect(output.tls?.verified == false)
                #expect(output.tls?.flaw?.contains(flaw) == true, "\(output.tls?.flaw ?? "none")")
            }
        }
    }

    @Test("That nobody listens is what the probe learned; a failure only for a job that needs the connection")
    func closed() async throws {
        let server = try await FileServer()
        try await server.stop()
        try await withDesk { desk, _ in
            let output = try await desk.probe(ProbeParameters(host: "127.0.0.1", port: server.port))
            #expect((output.reachable, output.address) == (false, "127.0.0.1:\(server.port)"))
            #expect(output.error?.contains("refused") == true)
            do {
                _ = try await desk.probe(ProbeParameters(host: "127.0.0.1", port: server.port, require: .connected))
                Issue.record("taken for a connection")
            } catch let failure as JobFailure {
                #expect((failure.kind, failure.code) == (.transient, "network.unreachable"))
            }
            #expect(try desk.count("probes", [("outcome", "unreachable")]) == 2)
        }
    }

    @Test(
        "Addresses that are not allowed are not connected to, however they are written",
        arguments: [
            "127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254",
            "fd00::1", "0.0.0.0",
        ])
    func refused(_ host: String) async throws {
        let port = try await FileServer.shared.value.port
        try await Desk.with({ $0.addresses = .globalOnly }) { desk in
            do {
                let output = try await desk.probe(ProbeParameters(host: host, port: port))
                Issue.record("probed: \(output)")
            } catch let failure as JobFailure {
                #expect((failure.kind, failure.code) == (.permanent, "network.address-refused"))
            }
            #expect(try desk.count("probes", [("outcome", "refused")]) == 1)
        }
    }

    @Test("A name is judged by the addresses that it has, whatever it is called")
    func rebinding() async throws {
        let names = try await NameService.shared.value
        let port = try await FileServer.shared.value.port
        try await Desk.with({ settings in
            settings.addresses = .globalOnly
            settings.nameservers = [names.endpoint]
        }) { desk in
            do {
                _ = try await desk.probe(ProbeParameters(host: "rebound.zone.test", port: port))
                Issue.record("a name that leads to loopback was probed")
            } catch let failure as JobFailure {
                #expect(failure.code == "network.address-refused")
            }
        }
        try await Desk.with({ settings in
            settings.addresses = try AddressPolicy(allowing: ["rebound.zone.test"])
            settings.nameservers = [names.endpoint]
        }) { desk in
            let output = try await desk.probe(ProbeParameters(host: "rebound.zone.test", port: port))
            #expect(output.reachable)
        }
    }

    @Test("A name that does not exist is what the probe learned")
    func noName() async throws {
        let names = try await NameService.shared.value
        try await Desk.with({ $0.nameservers = [names.endpoint] }) { desk in
            let output = try await desk.probe(ProbeParameters(host: "nope.zone.test", port: 80))
            #expect((output.reachable, output.address) == (false, nil))
            #expect(output.error?.contains("no address") == true)
        }
    }
}

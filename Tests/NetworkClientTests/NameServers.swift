import FleetStack
import Foundation
import Glibc
import Synchronization
import TestPatience

@testable import NetworkClient

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A name server process on a loopback port, and what it was asked.
final class NameServer: Sendable {
    let endpoint: Endpoint
    private let process: ChildProcess
    /// What a line of its log says of a query for this name.
    private let mark: @Sendable (String) -> String

    private init(_ process: ChildProcess, port: UInt16, mark: @escaping @Sendable (String) -> String) throws {
        guard let endpoint = Endpoint(address: "127.0.0.1", port: port) else { throw Failure("no endpoint") }
        self.endpoint = endpoint
        self.process = process
        self.mark = mark
    }

    /// dnsmasq, as the authority for `zone.test` (TTL 2 for all, SOA records with negative answers, aliases not followed), or
    /// as a forwarder without a server to forward to (TTLs as they are set, aliases followed).
    static func dnsmasq(isAuthority: Bool) async throws -> NameServer {
        var arguments = [
            "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--listen-address=127.0.0.1",
            "--bind-interfaces", "--log-queries", "--log-facility=-", "--cache-size=0",
            "--local-ttl=60",
            "--host-record=a.zone.test,192.0.2.1,2001:db8::1,300", "--host-record=short.zone.test,192.0.2.9,1",
            "--cname=alias.zone.test,a.zone.test", "--cname=alias2.zone.test,alias.zone.test",
            "--mx-host=zone.test,mail.zone.test,10", "--txt-record=zone.test,v=spf1 -all",
            "--ptr-record=1.2.0.192.in-addr.arpa,a.zone.test",
        ]
        if isAuthority { arguments += ["--auth-server=ns.zone.test,lo", "--auth-zone=zone.test", "--auth-ttl=2"] }
        // Another may take the port in between.
        for _ in 0..<20 {
            let port = UInt16.random(in: 20_000...32_000)
            let process = try ChildProcess.start(
                executable: "/usr/sbin/dnsmasq", arguments: arguments + ["--port=\(port)"], output: .capture)
            if try await process.awaitOutput(containing: "started", within: patienceOfTests) {
                let word = isAuthority ? "auth[" : "query["
                return try NameServer(process, port: port) { name in "\(word)\u{1}] \(name) from" }
            }
        }
        throw Failure("dnsmasq does not start")
    }

    /// Resources/hostile_dns.py: the first label of a name says how its answer is wrong.
    static func hostile() async throws -> NameServer {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "Resources/hostile_dns.py"
        ).path
        let process = try ChildProcess.start(executable: "python3", arguments: [script], output: .capture)
        _ = try await process.awaitOutput(containing: "\n", within: patienceOfTests)
        guard let port = process.standardOutput.split(whereSeparator: \.isNewline).first.flatMap({ UInt16($0) }) else {
            throw Failure("the server named no port: \(process.capturedOutput)")
        }
        return try NameServer(process, port: port) { name in " \(name) \u{1}" }
    }

    static let shared = Task { try await NameServer.hostile() }

    /// How often it was asked for a name.
    ///
    /// - Parameter type: as the log writes it: a name for dnsmasq, a number for the other.
    func queries(_ name: String, _ type: String, transport: String = "") -> Int {
        let mark = (transport + mark(name).replacing("\u{1}", with: type)).lowercased()
        // Names come in the case in which they were asked for.
        return process.capturedOutput.lowercased().split(whereSeparator: \.isNewline).count { $0.contains(mark) }
    }

    func stop() async throws { try await process.stop() }
}

/// A clock that stands until it is moved.
final class HandClock: Sendable {
    private let instant = Mutex(ContinuousClock.now)
    var now: ContinuousClock.Instant { instant.withLock { $0 } }
    func move(by duration: Duration) { instant.withLock { $0 += duration } }
}

/// What a resolver reported.
final class EventLog: Sendable {
    private let events = Mutex<[ResolverEvent]>([])
    func add(_ event: ResolverEvent) { events.withLock { $0.append(event) } }
    var all: [ResolverEvent] { events.withLock { $0 } }
    func count(_ event: ResolverEvent) -> Int { all.count { $0 == event } }
}

/// A resolver whose thread ends with `body`.
func withResolver<Value>(
    _ servers: [Endpoint], tryTimeout: Duration = .seconds(5), tries: Int = 2, cache: DNSCache.Limits = .init(),
    exchangesMax: Int = 256, clock: HandClock = HandClock(), log: EventLog = EventLog(),
    _ body: (Resolver) async throws -> Value
) async throws -> Value {
    let readiness = Readiness()
    let resolver = Resolver(
        ResolverConfiguration(
            servers: servers, tryTimeout: tryTimeout, tries: tries, exchangesMax: exchangesMax, cache: cache,
            now: { clock.now }, observe: { log.add($0) }), readiness)
    do {
        let value = try await body(resolver)
        await readiness.close()
        return value
    } catch {
        await readiness.close()
        throw error
    }
}

extension Resolver {
    func ask(_ name: String, _ type: DNSRecordType = .a, fresh: Bool = false) async throws -> Resolution {
        try await resolve(DNSQuestion(try DNSName(name), type), fresh: fresh)
    }
}

import TestPatience
import Testing

@testable import NetworkClient

@Suite("Resolver before dnsmasq", .timeLimit(.minutes(2)))
struct ResolverTests {
    @Test("A, AAAA, MX, TXT and PTR records are found, with their TTLs")
    func types() async throws {
        let server = try await NameServer.dnsmasq(isAuthority: false)
        try await withResolver([server.endpoint]) { resolver in
            let a = try await resolver.ask("A.zone.test")
            #expect(a.answer.records.map(\.text) == ["192.0.2.1"])
            #expect(a.answer.ttl == 300)
            #expect(a.remaining == .seconds(300))
            #expect(try await resolver.ask("a.zone.test", .aaaa).answer.records.map(\.text) == ["2001:db8::1"])
            #expect(try await resolver.ask("zone.test", .mx).answer.records.map(\.text) == ["10 mail.zone.test"])
            #expect(try await resolver.ask("zone.test", .txt).answer.records.map(\.text) == ["v=spf1 -all"])
            #expect(
                try await resolver.ask("1.2.0.192.in-addr.arpa", .ptr).answer.records.map(\.text) == ["a.zone.test"])
        }
        try await server.stop()
    }

    @Test("A chain of aliases is one answer, whether the server follows it or leaves it to the client")
    func aliases() async throws {
        for isAuthority in [true, false] {
            let server = try await NameServer.dnsmasq(isAuthority: isAuthority)
            try await withResolver([server.endpoint]) { resolver in
                let found = try await resolver.ask("alias2.zone.test")
                #expect(found.answer.aliases.map(\.text) == ["alias.zone.test", "a.zone.test"])
                #expect(found.answer.records.map(\.text) == ["192.0.2.1"])
                #expect(found.answer.canonicalName(of: found.question).description == "a.zone.test")
                #expect(try await resolver.ask("alias2.zone.test").source == .cache)
            }
            if isAuthority {
                try await eventually("the target is asked for") { server.queries("alias.zone.test", "A") == 1 }
            }
            try await server.stop()
        }
    }

    @Test("The server is asked again when the TTL is over, and not before")
    func ttl() async throws {
        let server = try await NameServer.dnsmasq(isAuthority: false)
        let clock = HandClock()
        try await withResolver([server.endpoint], clock: clock) { resolver in
            #expect(try await resolver.ask("a.zone.test").source == .server)
            clock.move(by: .seconds(299))
            let held = try await resolver.ask("a.zone.test")
            #expect((held.source, held.remaining) == (.cache, .seconds(1)))
            clock.move(by: .seconds(1))
            #expect(try await resolver.ask("a.zone.test").source == .server)
            #expect(try await resolver.ask("a.zone.test", fresh: true).source == .server)
        }
        try await eventually("three queries are logged") { server.queries("a.zone.test", "A") == 3 }
        try await server.stop()
    }

    @Test("That there is no name, or no such record, is kept for the minimum of the zone's SOA record")
    func negative() async throws {
        let server = try await NameServer.dnsmasq(isAuthority: true)
        let clock = HandClock()
        let log = EventLog()
        try await withResolver([server.endpoint], clock: clock, log: log) { resolver in
            for (name, type, status) in [
                ("nope.zone.test", .a, .noName), ("a.zone.test", .txt, .noData),
            ] as [(String, DNSRecordType, DNSAnswer.Status)] {
                let first = try await resolver.ask(name, type)
                #expect((first.answer.status, first.source, first.answer.ttl) == (status, .server, 2))
                #expect(try await resolver.ask(name, type).source == .cache)
            }
            clock.move(by: .seconds(2))
            #expect(try await resolver.ask("nope.zone.test").source == .server)
        }
        try await eventually("the queries are logged") {
            server.queries("nope.zone.test", "A") == 2 && server.queries("a.zone.test", "TXT") == 1
        }
        #expect(log.count(.hit(isNegative: true)) == 2)
        try await server.stop()
    }

    @Test("A hundred who ask the same at once are one query, and all are told")
    func coalescing() async throws {
        let server = try await NameServer.shared.value
        let log = EventLog()
        try await withResolver([server.endpoint], log: log) { resolver in
            let texts = try await withThrowingTaskGroup(of: [String].self) { group in
                for _ in 0..<100 {
                    group.addTask { try await resolver.ask("slow.coalesced.test").answer.records.map(\.text) }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(texts == Array(repeating: ["192.0.2.1"], count: 100))
        }
        try await eventually("the query is logged") { server.queries("slow.coalesced.test", "1") > 0 }
        #expect(server.queries("slow.coalesced.test", "1") == 1)
        #expect(log.count(.missed) == 1)
        #expect(log.count(.joined) + log.count(.hit(isNegative: false)) == 99)
    }

    @Test("When the one who asked gives up, the next in line asks in its place")
    func handOver() async throws {
        let server = try await NameServer.shared.value
        let log = EventLog()
        try await withResolver([server.endpoint], tryTimeout: .seconds(60), log: log) { resolver in
            let first = Task { try await resolver.ask("held.handover.test") }
            try await eventually("the first asks") { log.count(.missed) == 1 }
            let second = Task { try await resolver.ask("held.handover.test") }
            try await eventually("the second waits") { resolver.waiting == 1 }
            first.cancel()
            try await eventually("the second asks") { log.count(.missed) == 2 }
            try await release("handover.test", at: server)
            #expect(try await second.value.answer.records.map(\.text) == ["192.0.2.1"])
            await #expect(throws: NetworkError.self) { try await first.value }
        }
    }

    /// Has the server answer what it holds.
    private func release(_ name: String, at server: NameServer) async throws {
        _ = try await withResolver([server.endpoint]) { try await $0.ask("free.\(name)") }
    }

    @Test("One who waits for another's answer can give up alone")
    func cancelledWaiter() async throws {
        let server = try await NameServer.shared.value
        try await withResolver([server.endpoint], tryTimeout: .seconds(60)) { resolver in
            let first = Task { try await resolver.ask("held.waiter.test") }
            try await eventually("the first asks") { server.queries("held.waiter.test", "1") == 1 }
            let second = Task { try await resolver.ask("held.waiter.test") }
            try await eventually("the second waits") { resolver.waiting == 1 }
            second.cancel()
            await #expect(throws: NetworkError.self) { try await second.value }
            try await release("waiter.test", at: server)
            #expect(try await first.value.source == .server)
            #expect(resolver.waiting == 0)
        }
    }

    @Test("The cache keeps its bound, and tells what it let go")
    func bound() async throws {
        let server = try await NameServer.shared.value
        let log = EventLog()
        try await withResolver([server.endpoint], cache: .init(entries: 10), log: log) { resolver in
            for number in 0..<25 { _ = try await resolver.ask("n\(number).bound.test") }
            #expect(resolver.cached.answers == 10)
        }
        #expect(log.count(.evicted(1)) == 15)
    }

    @Test("A server that is down is passed over for the next")
    func nextServer() async throws {
        let down = try await NameServer.hostile()
        try await down.stop()
        let up = try await NameServer.shared.value
        try await withResolver([down.endpoint, up.endpoint]) { resolver in
            let found = try await resolver.ask("next.test")
            #expect(found.answer.records.map(\.text) == ["192.0.2.1"])
        }
    }

    @Test("Hosts are literal addresses, this machine, or names that are asked for")
    func addresses() async throws {
        let server = try await NameServer.dnsmasq(isAuthority: false)
        try await withResolver([server.endpoint]) { resolver in
            for (host, expected) in [
                ("192.0.2.77", ["192.0.2.77:1"]), ("::1", ["[::1]:1"]), ("LocalHost.", ["127.0.0.1:1", "[::1]:1"]),
                ("a.zone.test", ["192.0.2.1:1", "[2001:db8::1]:1"]),
            ] {
                let found = try await resolver.addresses(of: host, port: 1)
                #expect(found.map(\.description) == expected)
            }
        }
        try await server.stop()
    }

    @Test("After close nothing is asked any more")
    func closed() async throws {
        let server = try await NameServer.shared.value
        let readiness = Readiness()
        let resolver = Resolver(ResolverConfiguration(servers: [server.endpoint]), readiness)
        let silent = Task { try await resolver.ask("silent.close.test") }
        try await eventually("it asks") { server.queries("silent.close.test", "1") == 1 }
        await readiness.close()
        await readiness.close()
        for attempt in [silent, Task { try await resolver.ask("later.test") }] {
            do {
                _ = try await attempt.value
                Issue.record("answered")
            } catch let error as NetworkError {
                #expect(error.kind == .closed || error.kind == .noAnswer && error.message.contains("closed"))
            }
        }
    }
}

@Suite("Resolver before a hostile server", .timeLimit(.minutes(2)))
struct HostileServerTests {
    @Test(
        "What answers nothing is ignored, and the true answer behind it is taken",
        arguments: [
            "wrongid", "wrongname", "wrongtype", "noquestion", "echo", "othersource", "short", "giant", "bailiwick",
        ])
    func ignored(_ how: String) async throws {
        let server = try await NameServer.shared.value
        let log = EventLog()
        try await withResolver([server.endpoint], log: log) { resolver in
            let found = try await resolver.ask("\(how).test")
            #expect(found.answer.records.map(\.text) == ["192.0.2.1"])
        }
        #expect(log.all.count { if case .asked = $0 { true } else { false } } == 1, "not by a second try")
    }

    @Test(
        "An answer that did not fit, or lost the case of its letters, is asked for by TCP",
        arguments: ["truncated", "big", "case"])
    func byStream(_ how: String) async throws {
        let server = try await NameServer.shared.value
        try await withResolver([server.endpoint]) { resolver in
            let found = try await resolver.ask("\(how).stream.test")
            #expect(found.answer.records.map(\.text) == ["192.0.2.1"])
        }
        try await eventually("it is asked by TCP") {
            server.queries("\(how).stream.test", "1", transport: "tcp") == 1
        }
    }

    @Test(
        "What is malformed, incomplete or a refusal is no answer, and the reason is told",
        arguments: [
            ("loop", "malformed"), ("cut", "malformed"), ("liar", "malformed"), ("circle", "circle"),
            ("step", "circle"), ("servfail", "SERVFAIL"), ("refused", "REFUSED"), ("half", "ended before"),
            ("flood", "datagrams that answer nothing"),
        ])
    func refused(_ how: String, _ why: String) async throws {
        let server = try await NameServer.shared.value
        try await withResolver([server.endpoint]) { resolver in
            do {
                let found = try await resolver.ask("\(how).test")
                Issue.record("answered: \(found.answer)")
            } catch let error as NetworkError {
                #expect(error.kind == .noAnswer)
                #expect(error.message.contains(why), "\(error.message)")
            }
            #expect(resolver.cached.answers == 0)
        }
    }

    @Test("A server that is silent costs its tries and no more")
    func silent() async throws {
        let server = try await NameServer.hostile()
        try await withResolver([server.endpoint], tryTimeout: .milliseconds(100), tries: 3) { resolver in
            let error = await #expect(throws: NetworkError.self) { try await resolver.ask("silent.test") }
            #expect(error?.kind == .noAnswer)
        }
        try await eventually("three tries") { server.queries("silent.test", "1") == 3 }
        try await server.stop()
    }

    @Test("A server that does not know the offer of a size is asked in plain words")
    func old() async throws {
        let server = try await NameServer.shared.value
        try await withResolver([server.endpoint]) { resolver in
            let found = try await resolver.ask("old.test")
            #expect(found.answer.records.map(\.text) == ["192.0.2.1"])
        }
    }

    @Test("Of nothing that is told without a zone's word, or by another zone, nothing is kept")
    func negative() async throws {
        let server = try await NameServer.shared.value
        try await withResolver([server.endpoint]) { resolver in
            for how in ["gonequiet", "foreignsoa", "strangeronly", "zero"] {
                let found = try await resolver.ask("\(how).test")
                #expect(found.remaining == .zero, "\(how)")
                #expect(found.answer.status != .found || how == "zero", "\(how)")
            }
            #expect(resolver.cached.answers == 0)
            #expect(try await resolver.ask("gone.test").remaining == .seconds(30))
        }
    }
}

import FleetModel
import Foundation
import Synchronization
import TestSockets
import Testing

@testable import APISubsystem

@Suite("A circuit breaker")
struct CircuitBreakerTests {
    private let begin = ContinuousClock.now
    private static let rules: BreakerRules = {
        var rules = BreakerRules()
        (rules.window, rules.failurePercent, rules.callsMin) = (.seconds(10), 50, 4)
        (rules.coolDown, rules.probes) = (.seconds(5), 2)
        return rules
    }()

    private func at(_ seconds: Double) -> ContinuousClock.Instant { begin + .seconds(seconds) }

    /// Makes a call that ends so.
    private func call(
        _ breaker: inout CircuitBreaker, _ end: CircuitBreaker.CallEnd, _ seconds: Double
    ) -> CircuitBreaker.Change? {
        guard let pass = pass(&breaker, seconds) else { return nil }
        return breaker.end(pass, end, at(seconds))
    }

    private func pass(_ breaker: inout CircuitBreaker, _ seconds: Double) -> CircuitBreaker.Pass? {
        guard case .go(let pass) = breaker.admit(at(seconds)) else { return nil }
        return pass
    }

    private func wait(_ breaker: inout CircuitBreaker, _ seconds: Double) -> Duration? {
        guard case .wait(let pause) = breaker.admit(at(seconds)) else { return nil }
        return pause
    }

    private func opened() -> CircuitBreaker {
        var breaker = CircuitBreaker(Self.rules, now: begin)
        for _ in 0..<4 { _ = call(&breaker, .failure, 0) }
        return breaker
    }

    @Test("opens when enough calls failed, not before there were enough")
    func opens() {
        var breaker = CircuitBreaker(Self.rules, now: begin)
        for _ in 0..<3 { #expect(call(&breaker, .failure, 0) == nil) }
        #expect(breaker.state(at(0)) == .closed)
        #expect(call(&breaker, .failure, 1) == .opened)
        #expect(breaker.state(at(1)) == .open)
        #expect(wait(&breaker, 2) == .seconds(4))
        #expect(breaker.pause(at(2)) == .seconds(4))
    }

    @Test("stays closed below the share, whatever was called off")
    func share() {
        var breaker = CircuitBreaker(Self.rules, now: begin)
        for number in 0..<100 {
            #expect(call(&breaker, number % 3 == 2 ? .failure : .success, Double(number) / 100) == nil)
            #expect(call(&breaker, .nothing, 0) == nil)
        }
        #expect(breaker.state(at(1)) == .closed)
        #expect(breaker.isProvenWell(at(1)))
        #expect(breaker.counts(at(1)) == .init(calls: 100, failures: 33))
    }

    @Test("forgets what is older than its window")
    func window() {
        var breaker = CircuitBreaker(Self.rules, now: begin)
        for _ in 0..<3 { _ = call(&breaker, .failure, 0) }
        #expect(breaker.counts(at(8.9)).failures == 3)
        #expect(breaker.counts(at(10)).failures == 0)
        #expect(call(&breaker, .failure, 10) == nil)
        for second in stride(from: 20.0, to: 2_000, by: 7.3) {
            #expect(call(&breaker, .failure, second) == nil)
            #expect(breaker.counts(at(second)).calls <= 2)
        }
        #expect(!breaker.isProvenWell(at(2_000)))
    }

    @Test("lets a few probes out after its cool-down, and closes when all succeed")
    func probes() {
        var breaker = opened()
        #expect(wait(&breaker, 4.9) != nil)
        let (first, second) = (pass(&breaker, 5), pass(&breaker, 5))
        #expect(first?.isProbe == true && second?.isProbe == true)
        #expect(breaker.state(at(5)) == .halfOpen)
        #expect(wait(&breaker, 5) == .seconds(1))
        guard let first, let second else { return }
        #expect(breaker.end(first, .success, at(6)) == nil)
        #expect(wait(&breaker, 6) != nil, "as many were sent as are needed")
        #expect(breaker.end(second, .success, at(6)) == .closed)
        #expect(breaker.state(at(6)) == .closed)
        #expect(call(&breaker, .failure, 6) == nil, "it counts anew")
    }

    @Test("opens again for as long when a probe fails, and sends another for one that was called off")
    func failedProbe() {
        var breaker = opened()
        #expect(call(&breaker, .nothing, 5) == nil)
        #expect(call(&breaker, .nothing, 5) == nil)
        #expect(call(&breaker, .failure, 6) == .opened)
        #expect(wait(&breaker, 10.9) != nil)
        #expect(pass(&breaker, 11)?.isProbe == true)
    }

    @Test("hears nothing of calls from before its last change")
    func late() throws {
        var breaker = CircuitBreaker(Self.rules, now: begin)
        let late = try #require(pass(&breaker, 0))
        for _ in 0..<4 { _ = call(&breaker, .failure, 0) }
        #expect(breaker.end(late, .success, at(1)) == nil)
        let probe = try #require(pass(&breaker, 5))
        #expect(breaker.end(late, .failure, at(5)) == nil)
        #expect(breaker.state(at(5)) == .halfOpen)
        #expect(breaker.end(probe, .failure, at(5)) == .opened)
        #expect(breaker.end(probe, .failure, at(5)) == nil)
    }

    @Test("never opens when it is switched off")
    func off() {
        var rules = Self.rules
        rules.failurePercent = 0
        var breaker = CircuitBreaker(rules, now: begin)
        for _ in 0..<100 { #expect(call(&breaker, .failure, 0) == nil) }
    }

    @Test("of more hosts than are remembered is forgotten, the least used first")
    func bounded() throws {
        let table = BreakerTable(Self.rules, hostsMax: 100)
        for number in 0..<1_000 {
            let now = at(Double(number) / 1_000)
            for host in ["often:80", "host-\(number):80"] {
                guard case .go(let pass) = table.admit(host, now) else { continue }
                _ = table.end(host, pass, .failure, now)
            }
        }
        #expect(table.counts(at(1)).values.reduce(0, +) <= 100)
        #expect(table.statuses(atMost: 5, at(1)).first?.host == "often:80")
        #expect(table.statuses(atMost: 5, at(1)).count == 5)
    }
}

extension ServerTests {
    @Suite("Hosts that fail", .timeLimit(.minutes(2)))
    struct BreakerCallTests {
        private func settings() throws -> APISettings {
            try localSettings { settings in
                settings.breaker.callsMin = 5
                settings.breaker.window = .seconds(600)
                settings.breaker.coolDown = .seconds(2)
                settings.breaker.probes = 1
            }
        }

        @Test("A host that only fails is left alone, tried again after the cool-down, and used again when it is well")
        func cycle() async throws {
            try await WebService.with { service async throws in
                try await withAPI(try settings()) { api async throws in
                    for _ in 0..<5 {
                        #expect(
                            try await api.failure(RequestParameters(url: "\(service.url)/status/500")).code
                                == "api.500")
                    }
                    let end = try await api.failure(RequestParameters(url: "\(service.url)/echo"))
                    #expect(end.code == "api.circuit-open")
                    guard case .throttled(let pause) = end.kind else { throw end }
                    #expect(pause <= .milliseconds(2_500))
                    #expect(try await service.counts().requests == 5)
                    let status = try #require(api.status.breakers.first)
                    #expect((status.state, "http://\(status.host)") == ("open", service.url))

                    // Asked again and again, as its jobs are.
                    var answered: RequestOutput?
                    while answered == nil {
                        do { answered = try await api.call(RequestParameters(url: "\(service.url)/echo")) } catch {
                            #expect(JobFailure(error).code == "api.circuit-open")
                        }
                    }
                    #expect(api.status.breakers.isEmpty)
                }
            }
        }

        @Test("What a host answers for the caller's mistakes does not count against it", arguments: [404, 401, 429])
        func clientErrors(_ status: Int) async throws {
            let url = try await WebService.shared.value.url
            try await withAPI(try settings()) { api async throws in
                for _ in 0..<20 {
                    #expect(
                        try await api.failure(RequestParameters(url: "\(url)/status/\(status)")).code
                            == "api.\(status)")
                }
            }
        }

        @Test("A port on which nobody listens counts, a call that gave it no time does not")
        func connections() async throws {
            let port = try LoopbackSocket.bound()
            let url = try await WebService.shared.value.url
            try await withAPI(try settings()) { api async throws in
                let calls = RequestParameters(url: "http://127.0.0.1:\(port.port)/")
                for _ in 0..<5 { #expect(try await api.failure(calls).code == "api.connect") }
                #expect(try await api.failure(calls).code == "api.circuit-open")
                let hasty = RequestParameters(url: "\(url)/silence", timeoutMilliseconds: 5)
                for _ in 0..<10 { #expect(try await api.failure(hasty).code == "api.timeout") }
            }
            withExtendedLifetime(port) {}
        }

        @Test("Another worker heeds the hint, unless its own calls show the host to be well")
        func hint() async throws {
            let url = try await WebService.shared.value.url
            let limits = UnsharedLimits()
            var settings = try settings()
            settings.breaker.coolDown = .seconds(60)
            try await withAPI(settings) { sick async throws in
                try await withAPI(settings) { well async throws in
                    try await withAPI(settings) { fresh async throws in
                        for _ in 0..<5 {
                            _ = try await well.call(RequestParameters(url: "\(url)/echo"), context(limits: limits))
                        }
                        for _ in 0..<5 {
                            _ = try await sick.failure(
                                RequestParameters(url: "\(url)/status/500"), context(limits: limits))
                        }
                        let ask = RequestParameters(url: "\(url)/echo")
                        #expect(try await fresh.failure(ask, context(limits: limits)).code == "api.circuit-open")
                        #expect(try await well.call(ask, context(limits: limits)).status == 200)
                        // It is no limit of the host itself.
                        #expect(limits.closed.keys.allSatisfy { $0.hasPrefix("api.breaker.") })
                    }
                }
            }
        }
    }
}

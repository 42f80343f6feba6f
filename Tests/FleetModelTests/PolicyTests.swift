import FleetModel
import Testing

@Suite("Retry policy")
struct RetryPolicyTests {
    @Test("A pause is drawn evenly between nothing and the doubled base, at most the cap", arguments: 1...12)
    func jitter(attempt: Int) {
        let policy = RetryPolicy(backoff: .exponentialFullJitter(base: .milliseconds(100), cap: .seconds(60)))
        let ceiling = min(100 << (attempt - 1), 60_000)
        var random = SplitMix64(seed: UInt64(attempt))
        let pauses = (0..<2_000).map { _ in policy.delay(afterAttempt: attempt, using: &random).milliseconds }
        #expect(pauses.allSatisfy { (0...Int64(ceiling)).contains($0) })
        let mean = Double(pauses.reduce(0, +)) / Double(pauses.count)
        #expect((Double(ceiling) * 0.46...Double(ceiling) * 0.54).contains(mean), "the mean of \(ceiling) is \(mean)")
        #expect(pauses.contains { $0 < ceiling / 10 } && pauses.contains { $0 > ceiling * 9 / 10 })
    }

    @Test("The thousandth attempt and the longest base overflow nothing")
    func extremes() {
        var random = SplitMix64(seed: 1)
        for attempt in [-5, 0, 1, 41, 42, 63, 64, 65, 1_000, Int.max] {
            for base in [Duration.zero, .milliseconds(1), .seconds(86_400), .seconds(Int64.max / 2)] {
                let policy = RetryPolicy(backoff: .exponentialFullJitter(base: base, cap: .seconds(600)))
                let pause = policy.delay(afterAttempt: attempt, using: &random)
                #expect((.zero ... .seconds(600)).contains(pause))
            }
        }
    }

    @Test("A fixed pause stays what it is")
    func fixed() {
        var random = SplitMix64(seed: 1)
        let policy = RetryPolicy(backoff: .fixed(.seconds(7)))
        #expect([1, 2, 1_000].allSatisfy { policy.delay(afterAttempt: $0, using: &random) == .seconds(7) })
    }

    @Test("Milliseconds are whole, rounded toward zero, and end where 64 bits end")
    func milliseconds() {
        #expect(Duration.microseconds(1_999).milliseconds == 1)
        #expect(Duration.seconds(-2).milliseconds == -2_000)
        #expect(Duration.seconds(Int64.max / 2).milliseconds == .max)
        #expect(Duration.seconds(Int64.min / 2).milliseconds == .min)
        #expect(Duration.milliseconds(1_500).inSeconds == 1.5)
    }
}

@Suite("Settlement")
struct SettlementTests {
    private func settle(_ outcome: Outcome, attempt: Int = 1, attemptsMax: Int = 3) -> Settlement {
        var random = SplitMix64(seed: 1)
        return Settlement(
            outcome, attempt: attempt, attemptsMax: attemptsMax, policy: RetryPolicy(backoff: .fixed(.seconds(2))),
            using: &random)
    }

    private func failure(_ kind: JobFailure.Kind) -> JobFailure { JobFailure(kind, code: "c", message: "m") }

    @Test("Success succeeds, at the last attempt too")
    func success() {
        #expect(settle(.succeeded(output: "1"), attempt: 3) == .succeed(output: "1"))
        #expect(settle(.succeeded(output: "1")).state == .succeeded)
    }

    @Test("A transient failure is tried again until the attempts are spent")
    func transient() {
        let failure = failure(.transient)
        for attempt in 1...2 {
            #expect(
                settle(.failed(failure), attempt: attempt) == .retry(failure, delay: .seconds(2), spendsAttempt: true))
        }
        for attempt in 3...4 { #expect(settle(.failed(failure), attempt: attempt) == .discard(failure)) }
        #expect(settle(.failed(failure), attempt: 1, attemptsMax: 1).state == .discarded)
        #expect(settle(.failed(failure)).state == .retrying)
    }

    @Test("A permanent failure is given up at once")
    func permanent() { #expect(settle(.failed(failure(.permanent))) == .discard(failure(.permanent))) }

    @Test("An unsafe failure is left to an operator")
    func unsafe() {
        #expect(settle(.failed(failure(.unsafe))) == .doubt(failure(.unsafe)))
        #expect(settle(.failed(failure(.unsafe))).state == .indeterminate)
    }

    @Test("A throttled job waits as long as it was told to, within a day, and spends nothing even at its last attempt")
    func throttled() {
        for (asked, given) in [
            (Duration.seconds(5), Duration.seconds(5)), (.zero, .zero), (.seconds(-9), .zero),
            (.seconds(1_000_000), .seconds(86_400)),
        ] {
            let failure = failure(.throttled(retryAfter: asked))
            #expect(settle(.failed(failure), attempt: 3) == .retry(failure, delay: given, spendsAttempt: false))
        }
    }

    @Test("What is handed back is queued again")
    func handBack() {
        #expect(settle(.handedBack) == .handBack)
        #expect(settle(.handedBack).state == .queued)
    }

    @Test("Any error is a transient failure, and a failure stays what it is")
    func anyError() {
        struct Odd: Error {}
        #expect(JobFailure(Odd()).kind == .transient)
        #expect(JobFailure(Odd()).code == "Odd")
        #expect(JobFailure(CancellationError()).code == "cancelled")
        #expect(JobFailure(failure(.unsafe)) == failure(.unsafe))
        #expect(JobFailure(.permanent, code: "c", message: String(repeating: "x", count: 3_000)).message.count == 2_000)
        #expect(!JobFailure(.permanent, code: "c", message: "a\0b").message.unicodeScalars.contains("\0"))
    }
}

@Suite("Patience")
struct PatienceTests {
    private struct Flaw: Error, Equatable { var number: Int }
    private let quick = Patience(initial: .milliseconds(1), cap: .milliseconds(2))

    @Test("It tries until the body succeeds, and tells of each failure")
    func success() async throws {
        var calls = 0
        var told: [Int] = []
        let value = try await quick(
            onFailure: { _, count, _ in told.append(count) },
            {
                calls += 1
                if calls < 4 { throw Flaw(number: calls) }
                return "done"
            })
        #expect(value == "done")
        #expect(calls == 4)
        #expect(told == [1, 2, 3])
    }

    @Test("What is hopeless ends it at once, with its own error")
    func hopeless() async {
        var calls = 0
        await #expect(throws: Flaw(number: 2)) {
            try await quick(
                isHopeless: { ($0 as? Flaw)?.number == 2 },
                {
                    calls += 1
                    throw Flaw(number: calls)
                })
        }
        #expect(calls == 2)
    }

    @Test("It gives up rather than wait past its limit, with the last error")
    func limit() async {
        var calls = 0
        var patience = quick
        patience.limit = .zero
        await #expect(throws: Flaw(number: 1)) {
            try await patience {
                calls += 1
                throw Flaw(number: calls)
            }
        }
        #expect(calls == 1)
    }

    @Test("Cancellation ends it while it pauses", .timeLimit(.minutes(1)))
    func cancellation() async {
        let (failed, signal) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            try await Patience(initial: .seconds(3_600), cap: .seconds(3_600))(onFailure: { _, _, _ in signal.yield() })
            {
                throw Flaw(number: 1)
            }
        }
        for await _ in failed { break }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test("Pauses grow to the cap and are never nothing")
    func pauses() {
        let patience = Patience(initial: .milliseconds(50), cap: .seconds(2))
        for count in [0, 1, 2, 5, 10, 100, Int.max] {
            let ceiling = min(50 << min(max(count - 1, 0), 20), 2_000)
            for _ in 0..<200 {
                let pause = patience.pause(afterFailure: count).milliseconds
                #expect((Int64(ceiling / 2)...Int64(ceiling)).contains(pause))
            }
        }
        #expect(Patience(initial: .zero, cap: .zero).pause(afterFailure: 1) == .milliseconds(1))
    }
}

import FleetModel
import Testing

@Suite("Cron expressions")
struct CronTests {
    @Test(
        "The next fitting minute is found",
        arguments: [
            ("* * * * *", "2024-01-01 00:00", "2024-01-01 00:01"),
            ("0 * * * *", "2024-12-31 23:30", "2025-01-01 00:00"),
            ("*/15 9-17 * * mon-fri", "2024-03-01 17:45", "2024-03-04 09:00"),
            ("30 7 * * 1-5", "2024-03-01 07:30", "2024-03-04 07:30"),
            ("0 0 31 * *", "2024-01-31 00:00", "2024-03-31 00:00"),
            ("0 0 29 2 *", "2024-02-29 00:00", "2028-02-29 00:00"),
            ("0 12 13 * fri", "2024-09-01 00:00", "2024-09-06 12:00"),
            ("0 12 */2 * *", "2024-02-28 12:00", "2024-02-29 12:00"),
            ("0 0 * * 7", "2024-03-02 00:00", "2024-03-03 00:00"),
            ("5,35 22-23 1 jan,JUL *", "2024-01-01 23:35", "2024-07-01 22:05"),
            ("10/20 * * * *", "2024-01-01 00:10", "2024-01-01 00:30"),
            ("@monthly", "2024-02-15 10:00", "2024-03-01 00:00"),
            ("0 0 1 1 *", "2099-12-31 23:59", "2100-01-01 00:00"),
            ("0 0 29 2 *", "2096-02-29 00:00", "2104-02-29 00:00"),
        ])
    func next(_ text: String, _ after: String, _ expected: String) throws {
        let start = try #require(CivilMinute(after))
        #expect(try CronExpression(text).next(after: start)?.description == expected)
    }

    @Test(
        "What is no schedule is refused with the part that is wrong",
        arguments: [
            ("", "0 fields"), ("* * * *", "4 fields"), ("60 * * * *", "minute '60'"), ("* 24 * * *", "hour '24'"),
            ("* * 0 * *", "day of the month '0'"), ("* * * 13 *", "month '13'"), ("* * * * 8", "day of the week '8'"),
            ("*/0 * * * *", "minute '*/0'"), ("5-1 * * * *", "minute '5-1'"), ("1,,2 * * * *", "minute '1,,2'"),
            ("* * * foo *", "month 'foo'"), ("0 0 30 2 *", "no day ever fits"), ("@often", "1 fields"),
        ])
    func refused(_ text: String, _ part: String) {
        #expect(throws: InvalidCronExpression.self) { try CronExpression(text) }
        do { _ = try CronExpression(text) } catch { #expect("\(error)".contains(part)) }
    }

    @Test("Weekdays are those of the calendar")
    func weekdays() throws {
        for (day, weekday) in [("2024-02-29 00:00", 4), ("2000-01-01 00:00", 6), ("2026-11-21 00:00", 6)] {
            #expect(try #require(CivilMinute(day)).weekday == weekday)
        }
    }
}

@Suite("Backoffs")
struct BackoffTests {
    @Test(
        "The text form is read and written",
        arguments: [
            ("fixed 5s", Backoff.fixed(.seconds(5))), ("fixed 0ms", .fixed(.zero)),
            ("linear 30s 10m", .linear(step: .seconds(30), cap: .seconds(600))),
            ("exponential 500ms 24h", .exponentialFullJitter(base: .milliseconds(500), cap: .seconds(86_400))),
            ("schedule 1s 30s 5m", .schedule([.seconds(1), .seconds(30), .seconds(300)])),
        ])
    func text(_ text: String, _ backoff: Backoff) throws {
        #expect(try Backoff(parsing: text) == backoff)
        #expect(try Backoff(parsing: backoff.description) == backoff)
    }

    @Test(
        "What is none, or pauses longer than a day, is refused",
        arguments: [
            "", "fixed", "fixed 5", "fixed -5s", "fixed 5s 6s", "linear 5s", "sometimes 5s", "fixed 25h",
            "schedule", "fixed 99999999999999999999s",
            "schedule " + Array(repeating: "1s", count: 51).joined(separator: " "),
        ])
    func refused(_ text: String) {
        #expect(throws: InvalidBackoff.self) { try Backoff(parsing: text) }
    }

    @Test("Pauses follow the form")
    func pauses() {
        var random = SystemRandomNumberGenerator()
        func pauses(_ backoff: Backoff) -> [Int64] {
            [1, 2, 3, 4, 1_000_000].map { backoff.delay(afterAttempt: $0, using: &random).milliseconds }
        }
        #expect(pauses(.fixed(.seconds(5))) == [5_000, 5_000, 5_000, 5_000, 5_000])
        #expect(pauses(.linear(step: .seconds(2), cap: .seconds(7))) == [2_000, 4_000, 6_000, 7_000, 7_000])
        #expect(pauses(.schedule([.seconds(1), .seconds(9)])) == [1_000, 9_000, 9_000, 9_000, 9_000])
        let jittered = (0..<200).map { _ in
            Backoff.exponentialFullJitter(base: .seconds(1), cap: .seconds(10)).delay(afterAttempt: 9, using: &random)
        }
        #expect(jittered.allSatisfy { (.zero ... .seconds(10)).contains($0) })
        #expect(Set(jittered).count > 100)
    }
}

@Suite("Age and snoozing")
struct AgeTests {
    private func settle(_ outcome: Outcome, age: Duration) -> Settlement {
        var random = SystemRandomNumberGenerator()
        return Settlement(
            outcome, attempt: 1, attemptsMax: 5, age: age,
            policy: RetryPolicy(backoff: .fixed(.seconds(10)), ageMax: .seconds(60)), using: &random)
    }

    @Test("A job is retried, throttled or snoozed only as long as it is young enough")
    func age() {
        let failures: [Outcome] = [
            .failed(JobFailure(.transient, code: "t", message: "")),
            .failed(JobFailure(.throttled(retryAfter: .seconds(10)), code: "t", message: "")),
            .snoozed(JobSnooze(for: .seconds(10))),
        ]
        for outcome in failures {
            #expect(!settle(outcome, age: .seconds(50)).state.isFinal)
            #expect(settle(outcome, age: .seconds(51)).state == .discarded)
        }
    }

    @Test("A handler that must not be repeated is believed only when it says itself what happened")
    func unrepeatable() throws {
        struct Odd: Error {}
        let definition = JobDefinition(NoopParameters.self, isRepeatable: false) {
            (_: NoopParameters, _: JobContext) -> Void in
        }
        let prepared = try definition.prepare(Array("{}".utf8))
        #expect(!prepared.isRepeatable)
        #expect(prepared.failure(of: Odd()).kind == .unsafe)
        #expect(prepared.failure(of: CancellationError()).kind == .unsafe)
        let own = JobFailure(.transient, code: "busy", message: "nothing was sent")
        #expect(prepared.failure(of: own) == own)
        let noop = try NoopParameters.definition.prepare(Array("{}".utf8))
        #expect(noop.failure(of: Odd()).kind == .transient)
    }

    @Test("Parameters can say of a single job that it must not be repeated")
    func unrepeatableJob() throws {
        struct Order: JobParameters {
            static let type: JobType = "test.order.v1"
            var once: Bool
            var isRepeatable: Bool { !once }
        }
        let definition = JobDefinition(Order.self) { (_: Order, _: JobContext) -> Void in }
        #expect(try definition.prepare(Array(#"{"once": false}"#.utf8)).isRepeatable)
        let once = try definition.prepare(Array(#"{"once": true}"#.utf8))
        #expect(!once.isRepeatable)
        #expect(once.failure(of: CancellationError()).kind == .unsafe)
    }
}

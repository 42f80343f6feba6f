import PostgresClient
import Testing

@Suite("Expected results")
struct ExpectedResultsTests {
    private func feed(_ expected: inout ExpectedResults, _ arrivals: [ExpectedResults.Arrival]) -> [ExpectedResults
        .Action]
    {
        arrivals.map { expected.accept($0) }
    }

    @Test("A unit that succeeds keeps a result per statement and ends at its sync")
    func success() {
        var expected = ExpectedResults()
        expected.push([.prepare(statement: "a"), .execute(statement: "a"), .execute(statement: nil)])
        #expect(
            feed(&expected, [.success, .end, .success, .end, .success, .end, .sync]) == [
                .prepared(statement: "a"), .proceed, .keep(statement: "a"), .proceed, .keep(statement: nil), .proceed,
                .unitEnded,
            ])
        #expect(expected.state == .idle)
        #expect(!expected.isWaiting)
    }

    @Test("A failure skips to the sync of its own unit, and the next unit is untouched")
    func failureStaysInItsUnit() {
        var expected = ExpectedResults()
        expected.push([.execute(statement: "bad"), .execute(statement: "skipped")])
        expected.push([.execute(statement: "good")])
        #expect(
            feed(&expected, [.failure, .end, .aborted, .end, .sync, .success, .end, .sync]) == [
                .failed(.execute(statement: "bad")), .proceed, .skipped(.execute(statement: "skipped")), .proceed,
                .unitEnded,
                .keep(statement: "good"), .proceed, .unitEnded,
            ])
        #expect(expected.state == .idle)
    }

    @Test("A commit that fails at the sync fails the unit, which still ends at the sync")
    func failureAtSync() {
        var expected = ExpectedResults()
        expected.push([.execute(statement: "a")])
        #expect(!expected.isAtSync)
        _ = feed(&expected, [.success, .end])
        #expect(expected.isAtSync)
        #expect(feed(&expected, [.failure, .end, .sync]) == [.failed(.sync), .proceed, .unitEnded])
    }

    @Test("A failed preparation names its statement, so that it is prepared anew")
    func failedPreparation() {
        var expected = ExpectedResults()
        expected.push([.prepare(statement: "a"), .execute(statement: "a")])
        #expect(
            feed(&expected, [.failure, .end, .aborted, .end, .sync]) == [
                .failed(.prepare(statement: "a")), .proceed, .skipped(.execute(statement: "a")), .proceed, .unitEnded,
            ])
    }

    @Test("An empty unit is only its sync")
    func emptyUnit() {
        var expected = ExpectedResults()
        expected.push([])
        #expect(expected.accept(.sync) == .unitEnded)
        #expect(expected.state == .idle)
    }

    @Test(
        "What comes out of order breaks the connection for good",
        arguments: [ExpectedResults.Arrival.sync, .end])
    func violation(arrival: ExpectedResults.Arrival) {
        var expected = ExpectedResults()
        expected.push([.execute(statement: "a")])
        guard case .violation = expected.accept(arrival) else {
            Issue.record("\(arrival) was accepted")
            return
        }
        #expect(expected.state == .broken)
        #expect(!expected.isWaiting)
        #expect(expected.accept(.sync) == .proceed)
    }

    @Test("COPY ends the connection's use, with an answer of its own")
    func copy() {
        var expected = ExpectedResults()
        expected.push([.execute(statement: "a")])
        #expect(expected.accept(.copy) == .copyBegun)
        #expect(expected.isBroken)
    }

    @Test("Silence where a sync is due is a violation, not something to wait through")
    func silenceAtSync() {
        var expected = ExpectedResults()
        expected.push([])
        guard case .violation = expected.accept(.end) else {
            Issue.record("accepted")
            return
        }
    }

    @Test("A result where a sync is due is a violation")
    func resultInsteadOfSync() {
        var expected = ExpectedResults()
        expected.push([])
        guard case .violation = expected.accept(.success) else {
            Issue.record("accepted")
            return
        }
    }
}

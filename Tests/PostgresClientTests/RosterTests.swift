import PostgresClient
import Testing

@Suite("Roster, waiting line and backoff")
struct RosterTests {
    private let start = Moment(nanoseconds: 1_000_000_000)
    private let unreachable = PostgresError(kind: .unavailable, message: "nobody there")
    private let refused = PostgresError(kind: .server(sqlState: "28P01"), message: "wrong password")

    @Test("While nothing is up one attempt probes; once it succeeds the rest follow at once")
    func oneProbe() {
        var roster = Roster(size: 4, backoff: PostgresBackoff())
        #expect(roster.attemptsToBegin(start) == 1)
        #expect(roster.attemptsToBegin(start) == 0)
        roster.succeeded()
        #expect(roster.attemptsToBegin(start) == 3)
        #expect(roster.attemptsToBegin(start) == 0)
    }

    @Test("A failure puts the next attempt off by at most the ceiling, which doubles up to its maximum")
    func backoff() {
        let backoff = PostgresBackoff(initial: .milliseconds(100), max: .milliseconds(350))
        #expect(
            (1...4).map { backoff.ceiling(failures: $0) } == [
                .milliseconds(100), .milliseconds(200), .milliseconds(350), .milliseconds(350),
            ])
        var roster = Roster(size: 1, backoff: backoff)
        #expect(roster.attemptsToBegin(start) == 1)
        #expect(roster.failed(unreachable, start, random: { 0.5 }) == .retry(at: start + .milliseconds(50)))
        #expect(roster.attemptsToBegin(start + .milliseconds(49)) == 0)
        #expect(roster.nextDeadline == start + .milliseconds(50))
        #expect(roster.attemptsToBegin(start + .milliseconds(50)) == 1)
    }

    @Test("A refused password is final only if no connection has ever succeeded")
    func permanent() {
        var roster = Roster(size: 1, backoff: PostgresBackoff())
        _ = roster.attemptsToBegin(start)
        #expect(roster.failed(refused, start, random: { 0 }) == .giveUp)

        var other = Roster(size: 1, backoff: PostgresBackoff())
        _ = other.attemptsToBegin(start)
        other.succeeded()
        other.lost()
        _ = other.attemptsToBegin(start)
        #expect(other.failed(refused, start, random: { 0 }) == .retry(at: start))
    }

    @Test("The line is first come, first served, has a limit, and gives up the oldest first")
    func line() {
        var line = WaitingLine<Int>(limit: 3)
        for number in 1...3 { #expect(line.append(number, deadline: start + .seconds(number)) == true) }
        #expect(line.append(4, deadline: start) == false)
        #expect(line.remove { $0 == 2 } == 2)
        #expect(line.popExpired(start) == nil)
        #expect(line.popExpired(start + .seconds(1)) == 1)
        #expect(line.popFirst() == 3)
        #expect(line.popFirst() == nil)
    }

    @Test("A queue keeps its order through many turns, returns to the front included")
    func queue() {
        var queue = FIFO<Int>()
        var model: [Int] = []
        for number in 0..<1000 {
            queue.append(number)
            model.append(number)
            if number % 3 == 0 {
                queue.prepend(-number)
                model.insert(-number, at: 0)
            }
            if number % 2 == 0 { #expect(queue.popFirst() == model.removeFirst()) }
            if number % 7 == 0, let middle = model.dropFirst(model.count / 2).first {
                #expect(queue.remove { $0 == middle } == model.remove(at: model.firstIndex(of: middle) ?? 0))
            }
            #expect(queue.count == model.count)
            #expect(queue.first == model.first)
        }
        #expect(queue.removeAll() == model)
        #expect(queue.isEmpty)
    }

    @Test("Errors that time mends are transient, others are not")
    func transience() {
        func server(_ state: String) -> Bool { PostgresError(kind: .server(sqlState: state), message: "").isTransient }
        for state in ["40001", "40P01", "55P03", "57P01", "57P03", "08006", "53300"] {
            #expect(server(state), "\(state)")
        }
        for state in ["23505", "42601", "28P01", "22P02"] { #expect(!server(state), "\(state)") }
        for kind in [PostgresError.Kind.connectionLost, .outcomeUnknown, .unavailable, .acquireTimeout, .timeout] {
            #expect(PostgresError(kind: kind, message: "").isTransient)
        }
        for kind in [PostgresError.Kind.decoding, .invalidConfiguration, .closed, .cancelled] {
            #expect(!PostgresError(kind: kind, message: "").isTransient)
        }
    }
}

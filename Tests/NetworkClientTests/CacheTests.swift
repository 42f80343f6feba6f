import Testing

@testable import NetworkClient

@Suite("The cache of answers")
struct CacheTests {
    private let begin = ContinuousClock.now

    private func question(_ number: Int) throws -> DNSQuestion { DNSQuestion(try DNSName("n\(number).org"), .a) }

    private func answer(_ ttl: UInt32?, status: DNSAnswer.Status = .found) -> DNSAnswer {
        DNSAnswer(status: status, aliases: [], records: [], ttl: ttl)
    }

    private func after(_ seconds: Double) -> ContinuousClock.Instant { begin + .seconds(seconds) }

    @Test("An answer holds for its TTL, and what remains of it is told")
    func ttl() throws {
        var cache = DNSCache(limits: .init())
        cache.store(answer(10), for: try question(1), now: begin)
        #expect(cache.lookup(try question(1), now: after(4))?.remaining == .seconds(6))
        #expect(cache.lookup(try question(1), now: after(9.999)) != nil)
        #expect(cache.lookup(try question(1), now: after(10)) == nil)
        #expect((cache.count, cache.bytes) == (0, 0))
    }

    @Test("An answer of another type is another answer")
    func types() throws {
        var cache = DNSCache(limits: .init())
        cache.store(answer(10), for: try question(1), now: begin)
        #expect(cache.lookup(DNSQuestion(try DNSName("n1.org"), .aaaa), now: begin) == nil)
        #expect(cache.lookup(DNSQuestion(try DNSName("N1.ORG"), .a), now: begin) != nil)
    }

    @Test("A TTL of 0, or none, is not kept, whatever the least is")
    func notKept() throws {
        var cache = DNSCache(limits: .init(ttlMin: .seconds(5)))
        #expect(cache.store(answer(0), for: try question(1), now: begin) == .zero)
        #expect(cache.store(answer(nil, status: .noName), for: try question(2), now: begin) == .zero)
        #expect(cache.count == 0)
    }

    @Test("A TTL is kept within its bounds, and that of nothing within its own")
    func clamps() throws {
        var cache = DNSCache(
            limits: .init(ttlMin: .seconds(5), ttlMax: .seconds(100), negativeTTLMax: .seconds(20)))
        #expect(cache.store(answer(1), for: try question(1), now: begin) == .seconds(5))
        #expect(cache.store(answer(1_000), for: try question(1), now: begin) == .seconds(100))
        #expect(cache.store(answer(1_000, status: .noData), for: try question(1), now: begin) == .seconds(20))
        #expect(cache.count == 1)
    }

    @Test("At the greatest size the answer that was not asked for the longest goes")
    func eviction() throws {
        var cache = DNSCache(limits: .init(entries: 3))
        for number in 1...3 { cache.store(answer(10), for: try question(number), now: begin) }
        #expect(cache.lookup(try question(1), now: begin) != nil)
        cache.store(answer(10), for: try question(4), now: begin)
        #expect(cache.lookup(try question(2), now: begin) == nil)
        for number in [1, 3, 4] { #expect(cache.lookup(try question(number), now: begin) != nil) }
        #expect((cache.count, cache.evictions) == (3, 1))
    }

    @Test("Few large answers take the room of many small ones")
    func bytes() throws {
        let large = DNSAnswer(
            status: .found, aliases: [],
            records: [
                DNSRecord(
                    name: try DNSName("a.org"), type: .txt, ttl: 10,
                    data: .text([UInt8](repeating: 0, count: 4_000)))
            ], ttl: 10)
        var cache = DNSCache(limits: .init(entries: 1_000, bytes: 10_000))
        for number in 1...5 { cache.store(large, for: try question(number), now: begin) }
        #expect(cache.count == 2)
        #expect(cache.bytes <= 10_000)
        cache = DNSCache(limits: .init(entries: 1_000, bytes: 1_000))
        cache.store(large, for: try question(1), now: begin)
        #expect(cache.count == 0)
    }

    @Test("After any use the bookkeeping is that of a plain list")
    func model() throws {
        var cache = DNSCache(limits: .init(entries: 8))
        /// The same, oldest first, the slow way; in milliseconds.
        var model: [(DNSQuestion, expires: Int)] = []
        var random = SystemRandomNumberGenerator()
        for step in 0..<4_000 {
            let now = step * 100
            let question = try question(Int.random(in: 0..<14, using: &random))
            if Bool.random(using: &random) {
                let ttl = UInt32.random(in: 0...3, using: &random)
                cache.store(answer(ttl), for: question, now: begin + .milliseconds(now))
                model.removeAll { $0.0 == question }
                if ttl > 0 {
                    if model.count == 8 { model.removeFirst() }
                    model.append((question, now + Int(ttl) * 1_000))
                }
            } else {
                let found = cache.lookup(question, now: begin + .milliseconds(now)) != nil
                let place = model.firstIndex { $0.0 == question }
                let isExpected = place.map { model[$0].expires > now } ?? false
                #expect(found == isExpected)
                if let place {
                    let entry = model.remove(at: place)
                    if isExpected { model.append(entry) }
                }
            }
            #expect(cache.count == model.count)
        }
    }
}

@Suite("Deadlines")
struct DeadlineTests {
    @Test("They come due in the order of their time, not of their coming")
    func order() {
        let begin = ContinuousClock.now
        var deadlines = Deadlines()
        for (id, seconds) in [(1, 5), (2, 1), (3, 9), (4, 5), (5, 0)] as [(UInt64, Int)] {
            deadlines.add(id, at: begin + .seconds(seconds))
        }
        #expect(deadlines.soonest == begin)
        var due: [UInt64] = []
        while let id = deadlines.popDue(begin + .seconds(5)) { due.append(id) }
        #expect(due == [5, 2, 1, 4])
        #expect(deadlines.count == 1)
    }

    @Test("Those of waits that are over do not pile up")
    func compact() {
        let begin = ContinuousClock.now
        var deadlines = Deadlines()
        for id in 0..<10_000 as Range<UInt64> {
            deadlines.add(id, at: begin + .seconds(Double(id)))
            deadlines.compact(live: 1) { $0 == 9_999 || $0 % 5_000 == 0 }
        }
        #expect(deadlines.count <= 1_026)
        #expect(deadlines.popDue(begin) == 0)
    }
}

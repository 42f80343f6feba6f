import Testing

@testable import NetworkClient

/// The same numbers each time.
private struct Dice: RandomNumberGenerator {
    var state: UInt64 = 42
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state
    }
}

private func wire(_ name: String) -> [UInt8] {
    name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
}

private func number(_ value: Int, bytes: Int) -> [UInt8] {
    (0..<bytes).reversed().map { UInt8(value >> (8 * $0) & 0xFF) }
}

/// A record in the form that messages have.
private func record(_ name: [UInt8], _ type: DNSRecordType, ttl: Int = 60, _ data: [UInt8]) -> [UInt8] {
    name + number(Int(type.code), bytes: 2) + [0, 1] + number(ttl, bytes: 4) + number(data.count, bytes: 2) + data
}

/// Points to the question's name.
private let pointer: [UInt8] = [0xC0, 12]

@Suite("Answers of name servers, judged")
struct ReplyTests {
    private let query: DNSQuery

    init() throws {
        var dice = Dice()
        query = DNSQuery(
            DNSQuestion(try DNSName("www.example.org"), .a), offersSize: true, randomisesCase: true, using: &dice)
    }

    private func message(
        flags: Int = 0x8180, answers: [[UInt8]] = [], authorities: [[UInt8]] = [], question: [UInt8]? = nil
    ) -> [UInt8] {
        number(Int(query.id), bytes: 2) + number(flags, bytes: 2) + [0, 1] + number(answers.count, bytes: 2)
            + number(authorities.count, bytes: 2) + [0, 0] + (question ?? query.nameBytes + [0, 1, 0, 1])
            + (answers + authorities).flatMap { $0 }
    }

    private func answer(_ message: [UInt8]) throws -> DNSAnswer {
        guard case .answer(let answer) = DNSReply.judge(message, query) else {
            throw NetworkError(.noAnswer, "\(DNSReply.judge(message, query))")
        }
        return answer
    }

    private func soa(_ zone: String, ttl: Int, minimum: Int) -> [UInt8] {
        record(
            wire(zone), .soa, ttl: ttl,
            wire("ns") + wire("admin") + [UInt8](repeating: 0, count: 16)
                + number(minimum, bytes: 4))
    }

    @Test("A query has the letters of its name in random case, and offers a size")
    func written() throws {
        #expect(query.nameBytes != query.question.name.wire)
        #expect(query.nameBytes.map(DNSName.lowercased) == query.question.name.wire)
        #expect(Array(query.bytes.suffix(11)) == [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0])
        #expect(Array(query.bytes[2..<12]) == [1, 0, 0, 1, 0, 0, 0, 0, 0, 1])
    }

    @Test("Addresses are read, with the least TTL of them")
    func addresses() throws {
        let answer = try answer(
            message(answers: [
                record(pointer, .a, ttl: 300, [192, 0, 2, 1]), record(pointer, .a, ttl: 20, [192, 0, 2, 2]),
            ]))
        #expect(answer.records.map(\.text) == ["192.0.2.1", "192.0.2.2"])
        #expect((answer.status, answer.ttl) == (.found, 20))
    }

    @Test("Aliases are followed in the order of the names, whatever the order of the records")
    func aliases() throws {
        let answer = try answer(
            message(answers: [
                record(wire("c.net"), .a, ttl: 300, [192, 0, 2, 1]),
                record(wire("B.net"), .cname, ttl: 7, wire("C.NET")),
                record(pointer, .cname, ttl: 100, wire("b.net")),
            ]))
        #expect(answer.aliases.map(\.text) == ["b.net", "c.net"])
        #expect(answer.records.map(\.text) == ["192.0.2.1"])
        #expect(answer.ttl == 7)
        #expect(answer.canonicalName(of: query.question).description == "c.net")
    }

    @Test("Records of names that the question does not lead to are passed over")
    func strangers() throws {
        let stranger = record(wire("bank.org"), .a, [203, 0, 113, 66])
        let answer = try answer(message(answers: [stranger, record(pointer, .a, [192, 0, 2, 1]), stranger]))
        #expect(answer.records.map(\.text) == ["192.0.2.1"])
        #expect(try self.answer(message(answers: [stranger])).status == .noData)
    }

    @Test("What is of another class or an unknown type is passed over")
    func unknown() throws {
        var chaos = record(pointer, .a, [203, 0, 113, 66])
        chaos[5] = 3
        let odd = pointer + [0xFF, 0xFE, 0, 1, 0, 0, 0, 60, 0, 2, 1, 2]
        #expect(
            try answer(message(answers: [chaos, odd, record(pointer, .a, [192, 0, 2, 1])])).records.map(\.text)
                == ["192.0.2.1"])
    }

    @Test("That there is no name holds for the lesser of the SOA record's TTL and minimum")
    func negative() throws {
        let flags = 0x8183
        let gone = try answer(message(flags: flags, authorities: [soa("example.org", ttl: 60, minimum: 30)]))
        #expect((gone.status, gone.ttl) == (.noName, 30))
        #expect(
            try answer(message(flags: flags, authorities: [soa("example.org", ttl: 10, minimum: 30)])).ttl == 10)
        #expect(try answer(message(authorities: [soa("", ttl: 60, minimum: 30)])).status == .noData)
    }

    @Test("Without the SOA record of a zone that holds the name, nobody knows how long that is")
    func negativeWithoutZone() throws {
        #expect(try answer(message(flags: 0x8183)).ttl == nil)
        let foreign = soa("elsewhere.net", ttl: 60, minimum: 60)
        #expect(try answer(message(flags: 0x8183, authorities: [foreign])).ttl == nil)
    }

    @Test("An alias without its target is to be asked on, unless a zone says that there is nothing")
    func openAlias() throws {
        let alias = record(pointer, .cname, wire("b.net"))
        guard case .alias(let open) = DNSReply.judge(message(answers: [alias]), query) else {
            Issue.record("taken for an answer")
            return
        }
        #expect(open.canonicalName(of: query.question).description == "b.net")
        let closed = try answer(message(answers: [alias], authorities: [soa("net", ttl: 9, minimum: 9)]))
        #expect((closed.status, closed.ttl) == (.noData, 9))
    }

    @Test("What does not answer the query is ignored")
    func ignored() throws {
        let good = message(answers: [record(pointer, .a, [192, 0, 2, 1])])
        func isIgnored(_ bytes: [UInt8]) -> Bool {
            if case .ignored = DNSReply.judge(bytes, query) { true } else { false }
        }
        var otherID = good
        otherID[0] ^= 1
        #expect(isIgnored(otherID))
        var isQuery = good
        isQuery[2] &= 0x7F
        #expect(isIgnored(isQuery))
        #expect(isIgnored(message(question: wire("other.org") + [0, 1, 0, 1])))
        #expect(isIgnored(message(question: query.nameBytes + [0, 28, 0, 1])))
        #expect(isIgnored(message(question: query.nameBytes + [0, 1, 0, 3])))
        for length in 0..<12 { #expect(isIgnored(Array(good.prefix(length)))) }
        #expect(!isIgnored(good))
    }

    @Test("An answer whose letters lost their case, or that did not fit, is asked for by TCP")
    func byStream() {
        let lower = query.question.name.wire + [0, 1, 0, 1]
        #expect(DNSReply.judge(message(question: lower), query) == .caseLost)
        #expect(DNSReply.judge(message(flags: 0x8380), query) == .truncated)
    }

    @Test("A message that is cut anywhere is no answer, and reads nothing past its end")
    func cut() {
        let good = message(
            answers: [record(pointer, .cname, wire("b.net")), record(wire("b.net"), .a, [192, 0, 2, 1])])
        for length in 12..<good.count {
            #expect(!DNSReply.judge(Array(good.prefix(length)), query).isFinal, "\(length)")
        }
    }

    @Test(
        "Pointers that lead nowhere, forwards, to themselves or in a circle are malformed",
        arguments: [[0xC0, 0xFF], [0xC0, 33], [0xC0, 35], [0xC1, 0x00], [0x40, 0x00], [0x80, 1]] as [[UInt8]])
    func pointers(_ name: [UInt8]) {
        // The record begins at byte 33: the header's 12, the name's 17, type and class.
        guard
            case .refused(let why) = DNSReply.judge(
                message(answers: [record(name, .a, [192, 0, 2, 1])]), query)
        else {
            Issue.record("not malformed")
            return
        }
        #expect(why.contains("malformed"))
    }

    @Test("A name that many pointers make longer than 255 bytes is malformed")
    func longName() {
        // Each label points back to the one before it, so that few bytes would unfold to a long name.
        var bytes: [UInt8] = [0]
        var last = 0
        for _ in 0..<200 {
            let at = bytes.count
            bytes += [3, 97, 98, 99, 0xC0 | UInt8(last >> 8), UInt8(last & 0xFF)]
            last = at
        }
        var reader = DNSReader(bytes, at: last)
        #expect(throws: DNSReader.Malformed.self) { try reader.nameBytes() }
    }

    @Test("Aliases in a circle are malformed")
    func circle() {
        let reply = DNSReply.judge(
            message(answers: [
                record(pointer, .cname, wire("b.net")), record(wire("b.net"), .cname, query.nameBytes),
            ]), query)
        guard case .refused(let why) = reply else {
            Issue.record("\(reply)")
            return
        }
        #expect(why.contains("circle"))
    }

    @Test("Records whose data is shorter or longer than they say are malformed")
    func lengths() {
        for data in [[1, 2, 3], [1, 2, 3, 4, 5]] as [[UInt8]] {
            #expect(!DNSReply.judge(message(answers: [record(pointer, .a, data)]), query).isFinal)
        }
        #expect(!DNSReply.judge(message(answers: [record(pointer, .cname, wire("b.net") + [0])]), query).isFinal)
    }

    @Test("A TTL with the highest bit set counts as none")
    func negativeTTL() throws {
        #expect(try answer(message(answers: [record(pointer, .a, ttl: 0x8000_0001, [1, 2, 3, 4])])).ttl == 0)
    }

    @Test("Random bytes after a true header end in a verdict")
    func noise() {
        var dice = Dice()
        let head = message()
        for _ in 0..<20_000 {
            var bytes = head
            bytes[7] = UInt8.random(in: 0...3, using: &dice)
            bytes[9] = UInt8.random(in: 0...3, using: &dice)
            for _ in 0..<Int.random(in: 0...60, using: &dice) { bytes.append(UInt8.random(in: 0...255, using: &dice)) }
            _ = DNSReply.judge(bytes, query)
        }
    }

    @Test("Mail, text, service and zone records are read")
    func others() throws {
        var dice = Dice()
        let cases: [(DNSRecordType, [UInt8], String)] = [
            (.mx, [0, 10] + wire("mail.org"), "10 mail.org"), (.txt, [2, 97, 98, 1, 99], "abc"),
            (.srv, [0, 1, 0, 2, 0, 80] + wire("h.org"), "1 2 80 h.org"), (.ptr, wire("h.org"), "h.org"),
            (.ns, wire("ns.org"), "ns.org"), (.aaaa, [0x20, 1] + [UInt8](repeating: 0, count: 13) + [1], "2001::1"),
            (.soa, wire("ns") + wire("admin") + number(7, bytes: 4) + [UInt8](repeating: 0, count: 16), "ns admin 7 0"),
        ]
        for (type, data, text) in cases {
            let query = DNSQuery(
                DNSQuestion(try DNSName("x.org"), type), offersSize: false, randomisesCase: true, using: &dice)
            let bytes =
                number(Int(query.id), bytes: 2) + [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0] + query.nameBytes
                + number(Int(type.code), bytes: 2) + [0, 1] + record(pointer, type, data)
            guard case .answer(let answer) = DNSReply.judge(bytes, query) else {
                Issue.record("\(type): \(DNSReply.judge(bytes, query))")
                continue
            }
            #expect(answer.records.map(\.text) == [text])
        }
    }
}

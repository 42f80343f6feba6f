/// What a name server said.
public struct DNSAnswer: Sendable, Equatable {
    public enum Status: Sendable, Equatable {
        case found
        /// The name exists, and has no record of this type.
        case noData
        /// There is no such name.
        case noName
    }

    public internal(set) var status: Status
    /// The CNAME records that led from the question's name to the last one, in order.
    public internal(set) var aliases: [DNSRecord]
    /// Records of the type asked for, of the name at the end of the aliases.
    public internal(set) var records: [DNSRecord]
    /// Seconds for which it may be kept; nil when a server says that there is nothing and not for how long.
    public internal(set) var ttl: UInt32?

    /// The name at the end of the aliases.
    public func canonicalName(of question: DNSQuestion) -> DNSName {
        if case .name(let target)? = aliases.last?.data { target } else { question.name }
    }

    /// Bytes that it holds on to, about.
    var cost: Int { (aliases + records).reduce(128) { $0 + $1.cost } }
}

/// Judges what came in answer to a query: pure, and the only place that decides what is believed.
///
/// Believed is what the question leads to: records of its name, of the names that its CNAME records name in turn, and the
/// SOA record of a zone that holds the last of them. Whatever else a message holds is passed over.
enum DNSReply: Equatable {
    /// Not an answer to this query, and perhaps forged: wait on for the true one.
    case ignored(String)
    /// The letters came back in another case: forged, or by a server that does not keep it. TCP tells.
    case caseLost
    /// It did not fit: ask by TCP.
    case truncated
    /// The server does not know the size offer, or takes the whole query for malformed.
    case offerRefused
    /// The server cannot or will not tell: ask another.
    case refused(String)
    case answer(DNSAnswer)
    /// The name is an alias, and its target is yet to be asked for.
    case alias(DNSAnswer)

    static let aliasesMax = 16
    /// Of those that are believed; a message holds at most 64 KiB.
    static let recordsMax = 1_000

    static func judge(_ bytes: [UInt8], _ query: DNSQuery) -> DNSReply {
        var reader = DNSReader(bytes)
        do {
            guard try reader.u16() == query.id else { return .ignored("another id") }
            let flags = try reader.u16()
            // A response (bit 15), to a standard query (bits 14 to 11).
            guard flags & 0xF800 == 0x8000 else { return .ignored("no response") }
            let counts = (try reader.u16(), try reader.u16(), try reader.u16(), try reader.u16())
            let code = flags & 0xF
            // Such a server may leave out what it could not read.
            if counts.0 == 0, code == 1 || code == 4 { return .offerRefused }
            guard counts.0 == 1 else { return .ignored("not one question") }
            let name = try reader.nameBytes()
            guard name.map(DNSName.lowercased) == query.question.name.wire,
                try reader.u16() == query.question.type.code,
                try reader.u16() == 1
            else { return .ignored("another question") }
            guard name == query.nameBytes else { return .caseLost }
            switch code {
            case 0, 3: break
            case 1, 4: return .offerRefused
            case 2: return .refused("it failed (SERVFAIL)")
            case 5: return .refused("it refuses to answer (REFUSED)")
            default: return .refused("it answered with code \(code)")
            }
            if flags & 0x0200 != 0 { return .truncated }
            return try read(&reader, query.question, isNoName: code == 3, answers: counts.1, authorities: counts.2)
        } catch {
            return reader.at < 12 ? .ignored("no message") : .refused("its answer is malformed: \(error.reason)")
        }
    }

    private static func read(
        _ reader: inout DNSReader, _ question: DNSQuestion, isNoName: Bool, answers: UInt16, authorities: UInt16
    ) throws(DNSReader.Malformed) -> DNSReply {
        var byName: [DNSName: [DNSRecord]] = [:]
        for _ in 0..<answers {
            guard let record = try reader.record(), record.type == question.type || record.type == .cname else {
                continue
            }
            byName[record.name, default: []].append(record)
        }
        var answer = DNSAnswer(status: .found, aliases: [], records: [], ttl: nil)
        var name = question.name
        var seen: Set<DNSName> = [name]
        while true {
            let here = byName[name] ?? []
            answer.records = here.filter { $0.type == question.type }
            if !answer.records.isEmpty { break }
            guard let alias = here.first(where: { $0.type == .cname }), case .name(let target) = alias.data else {
                break
            }
            answer.aliases.append(alias)
            guard seen.insert(target).inserted else {
                throw DNSReader.Malformed(reason: "its aliases lead in a circle")
            }
            guard answer.aliases.count <= aliasesMax else { throw DNSReader.Malformed(reason: "too many aliases") }
            name = target
        }
        guard answer.records.count <= recordsMax else { throw DNSReader.Malformed(reason: "too many records") }
        let ttl = (answer.aliases + answer.records).map(\.ttl).min()
        if !answer.records.isEmpty {
            answer.ttl = ttl
            return .answer(answer)
        }
        var negative: UInt32?
        for _ in 0..<authorities {
            guard let record = try reader.record(), case .authority(let soa) = record.data, name.isWithin(record.name)
            else { continue }
            negative = min(record.ttl, soa.minimum)
            break
        }
        if !isNoName, negative == nil, !answer.aliases.isEmpty {
            answer.ttl = ttl
            return .alias(answer)
        }
        answer.status = isNoName ? .noName : .noData
        answer.ttl = negative.map { min($0, ttl ?? $0) }
        return .answer(answer)
    }
}

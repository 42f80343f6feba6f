/// Reads the wire format of RFC 1035. Every byte comes from a stranger: nothing is read past the end, a compression pointer
/// leads only backwards, and a name has at most 255 bytes, so that every message is read in a bounded time.
struct DNSReader {
    /// It is no DNS message, or none that ends where it should.
    struct Malformed: Error, Equatable {
        let reason: String
    }

    private let bytes: [UInt8]
    private(set) var at: Int

    init(_ bytes: [UInt8], at: Int = 0) {
        self.bytes = bytes
        self.at = at
    }

    mutating func u8() throws(Malformed) -> UInt8 {
        guard at < bytes.count else { throw Malformed(reason: "it ends in the middle") }
        defer { at += 1 }
        return bytes[at]
    }

    mutating func u16() throws(Malformed) -> UInt16 { UInt16(try u8()) << 8 | UInt16(try u8()) }
    mutating func u32() throws(Malformed) -> UInt32 { UInt32(try u16()) << 16 | UInt32(try u16()) }

    mutating func take(_ count: Int) throws(Malformed) -> [UInt8] {
        guard count <= bytes.count - at else { throw Malformed(reason: "it ends in the middle") }
        defer { at += count }
        return Array(bytes[at..<(at + count)])
    }

    /// A name's bytes as they stand, in the case that they have.
    mutating func nameBytes() throws(Malformed) -> [UInt8] {
        var wire: [UInt8] = []
        var place = at
        /// Where the reading goes on once a pointer was followed.
        var after: Int?
        /// A pointer must lead to before where its own part of the name began: so there is no way round.
        var bound = at
        while true {
            guard place < bytes.count else { throw Malformed(reason: "a name goes past the end") }
            let length = bytes[place]
            switch length & 0xC0 {
            case 0x00:
                guard place + 1 + Int(length) <= bytes.count else {
                    throw Malformed(reason: "a name goes past the end")
                }
                wire += bytes[place...(place + Int(length))]
                guard wire.count + (length == 0 ? 0 : 1) <= DNSName.bytesMax else {
                    throw Malformed(reason: "a name is longer than \(DNSName.bytesMax) bytes")
                }
                place += 1 + Int(length)
                if length == 0 {
                    at = after ?? place
                    return wire
                }
            case 0xC0:
                guard place + 1 < bytes.count else { throw Malformed(reason: "a name goes past the end") }
                let target = Int(length & 0x3F) << 8 | Int(bytes[place + 1])
                guard target < bound else { throw Malformed(reason: "a pointer in a name does not lead backwards") }
                after = after ?? place + 2
                bound = target
                place = target
            default: throw Malformed(reason: "a name has a label of an unknown kind")
            }
        }
    }

    mutating func name() throws(Malformed) -> DNSName { DNSName(checkedWire: try nameBytes()) }

    /// - Returns: nil for a record of a class or type that is not known here.
    mutating func record() throws(Malformed) -> DNSRecord? {
        let name = try name()
        let type = DNSRecordType(code: try u16())
        let isInternet = try u16() == 1
        let ttl = try u32()
        let length = Int(try u16())
        let end = at + length
        guard end <= bytes.count else { throw Malformed(reason: "a record goes past the end") }
        guard let type, isInternet else {
            at = end
            return nil
        }
        let data = try data(type, end)
        guard at == end else { throw Malformed(reason: "a record is not as long as it says") }
        // RFC 2181: a TTL with the highest bit set counts as none.
        return DNSRecord(name: name, type: type, ttl: ttl > UInt32(Int32.max) ? 0 : ttl, data: data)
    }

    private mutating func data(_ type: DNSRecordType, _ end: Int) throws(Malformed) -> DNSRecord.Data {
        switch type {
        case .a: return .address(try take(4))
        case .aaaa: return .address(try take(16))
        case .cname, .ns, .ptr: return .name(try name())
        case .mx: return .mail(preference: try u16(), exchange: try name())
        case .srv: return .service(priority: try u16(), weight: try u16(), port: try u16(), target: try name())
        case .txt:
            var text: [UInt8] = []
            while at < end { text += try take(Int(try u8())) }
            return .text(text)
        case .soa:
            let server = try name()
            let mailbox = try name()
            let serial = try u32()
            // Refresh, retry and expire concern secondary servers.
            _ = try take(12)
            return .authority(DNSAuthority(server: server, mailbox: mailbox, serial: serial, minimum: try u32()))
        }
    }
}

/// The kinds of record that can be asked for. The name in text is that of the RFCs.
public enum DNSRecordType: String, Sendable, Hashable, CaseIterable, Codable {
    case a = "A"
    case ns = "NS"
    case cname = "CNAME"
    case soa = "SOA"
    case ptr = "PTR"
    case mx = "MX"
    case txt = "TXT"
    case aaaa = "AAAA"
    case srv = "SRV"

    package var code: UInt16 {
        switch self {
        case .a: 1
        case .ns: 2
        case .cname: 5
        case .soa: 6
        case .ptr: 12
        case .mx: 15
        case .txt: 16
        case .aaaa: 28
        case .srv: 33
        }
    }

    private static let byCode = Dictionary(uniqueKeysWithValues: allCases.map { ($0.code, $0) })

    init?(code: UInt16) {
        guard let type = Self.byCode[code] else { return nil }
        self = type
    }
}

/// What is asked: all records of a type that a name has.
public struct DNSQuestion: Sendable, Hashable, CustomStringConvertible {
    public let name: DNSName
    public let type: DNSRecordType

    public init(_ name: DNSName, _ type: DNSRecordType) {
        self.name = name
        self.type = type
    }

    public var description: String { "\(name) \(type.rawValue)" }
}

/// One record of an answer.
public struct DNSRecord: Sendable, Hashable {
    public enum Data: Sendable, Hashable {
        /// A and AAAA: 4 or 16 bytes.
        case address([UInt8])
        /// CNAME, NS and PTR.
        case name(DNSName)
        case mail(preference: UInt16, exchange: DNSName)
        /// The strings of a TXT record, put together as those who write long ones mean them.
        case text([UInt8])
        case service(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName)
        case authority(DNSAuthority)
    }

    public let name: DNSName
    public let type: DNSRecordType
    /// Seconds for which it may be kept.
    public let ttl: UInt32
    public let data: Data

    /// The data as zone files have it: `192.0.2.1`, `10 mail.example.org`, a text without quotes.
    public var text: String {
        switch data {
        case .address(let bytes): Endpoint(bytes: bytes, port: 0)?.address ?? ""
        case .name(let name): "\(name)"
        case .mail(let preference, let exchange): "\(preference) \(exchange)"
        case .text(let bytes): String(decoding: bytes, as: UTF8.self)
        case .service(let priority, let weight, let port, let target): "\(priority) \(weight) \(port) \(target)"
        case .authority(let soa): "\(soa.server) \(soa.mailbox) \(soa.serial) \(soa.minimum)"
        }
    }

    /// Bytes that it holds on to, about.
    var cost: Int {
        96 + name.wire.count
            + {
                switch data {
                case .address(let bytes), .text(let bytes): bytes.count
                case .name(let name), .mail(_, let name), .service(_, _, _, let name): name.wire.count
                case .authority(let soa): soa.server.wire.count + soa.mailbox.wire.count
                }
            }()
    }
}

/// What a zone says of itself.
public struct DNSAuthority: Sendable, Hashable {
    public let server: DNSName
    public let mailbox: DNSName
    public let serial: UInt32
    /// Seconds for which it may be kept in mind that something does not exist (RFC 2308).
    public let minimum: UInt32
}

/// # AddressPolicy
///
/// Which addresses a worker may connect to on behalf of jobs. A URL in a job is a stranger's choice, and a worker stands
/// where strangers do not: inside the network, beside the cloud's metadata service. So by default it connects only to where
/// anybody could (server-side request forgery, CWE-918).
///
/// ```
///  name in a URL ──resolver──▶ address ──▶ AddressPolicy.judge ──▶ connect, or refuse with the address's kind
///                                            1. host or address is in the allow-list: yes
///                                            2. address is global: yes
///                                            3. no
/// ```
///
/// It judges the address that is about to be connected to, never the text of a URL: names that change their mind between
/// check and use (DNS rebinding), odd spellings (`2130706433`, `0177.1`) and redirects all end up here. Ask it for every
/// connection; a pooled one was judged when it was opened.
public struct AddressPolicy: Sendable, Hashable {
    public enum Verdict: Sendable, Hashable {
        case allowed
        case refused(AddressKind)
    }

    /// Allowed whatever their kind.
    public let blocks: [AddressBlock]
    /// Host names, in lower case, of which every address is allowed.
    public let hosts: Set<String>

    /// Nothing but global addresses.
    public static let globalOnly = AddressPolicy(blocks: [], hosts: [])

    /// - Parameter entries: addresses (`192.0.2.1`), ranges of them (`10.0.0.0/8`, `fd00::/8`) and host names
    ///   (`intranet.example`). A name is trusted wherever it points, so let it be one whose addresses you decide.
    public init(allowing entries: [String]) throws(InvalidAddress) {
        var blocks: [AddressBlock] = []
        var hosts: Set<String> = []
        for entry in entries {
            if let host = Self.hostName(entry) { hosts.insert(host) } else { blocks.append(try AddressBlock(entry)) }
        }
        self.init(blocks: blocks, hosts: hosts)
    }

    private init(blocks: [AddressBlock], hosts: Set<String>) {
        self.blocks = blocks
        self.hosts = hosts
    }

    /// - Parameters:
    ///   - address: about to be connected to.
    ///   - host: as the URL names it, when it does.
    public func judge(_ address: IPAddress, host: String? = nil) -> Verdict {
        let reached = address.unmapped
        if let host, hosts.contains(Self.normal(host)) { return .allowed }
        if blocks.contains(where: { $0.contains(reached) || $0.contains(address) }) { return .allowed }
        let kind = reached.kind
        return kind == .global ? .allowed : .refused(kind)
    }

    /// The entry as a host name; nil when it is none. What a parser may take for a number (`127.1`, `0x7f.1`) is an address
    /// that is written wrongly: the last label of a name is never a number.
    private static func hostName(_ entry: String) -> String? {
        let name = normal(entry)
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        guard let last = labels.last, name.utf8.count <= 253, labels.allSatisfy(isLabel) else { return nil }
        let isNumber = last.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } || last.hasPrefix("0x")
        return isNumber ? nil : name
    }

    private static func isLabel(_ label: Substring) -> Bool {
        (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
            && label.utf8.allSatisfy {
                ($0 >= 0x61 && $0 <= 0x7a) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2d || $0 == 0x5f
            }
    }

    /// Lower case, without the dot that ends a complete name.
    private static func normal(_ host: String) -> String {
        let lower = host.lowercased()
        return lower.hasSuffix(".") ? String(lower.dropLast()) : lower
    }
}

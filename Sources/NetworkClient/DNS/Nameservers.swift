internal import Glibc

/// Which name servers to ask.
public enum Nameservers {
    public static let port: UInt16 = 53
    /// More are not asked, as glibc has it.
    public static let countMax = 3

    /// Those of this machine, as they are set now.
    public static func system() -> [Endpoint] {
        let descriptor = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC)
        // Without the file it is the machine itself.
        guard descriptor >= 0 else { return parse(resolvConf: "") }
        defer { close(descriptor) }
        let bytes = [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, filled in
            filled = max(0, read(descriptor, buffer.baseAddress, buffer.count))
        }
        return parse(resolvConf: String(decoding: bytes, as: UTF8.self))
    }

    /// The `nameserver` lines of a resolv.conf. Its search list and options are not used: names are absolute here.
    ///
    /// Without any the server is the machine itself, as resolv.conf(5) has it.
    public static func parse(resolvConf text: String) -> [Endpoint] {
        let found = text.split(whereSeparator: \.isNewline).compactMap { line -> Endpoint? in
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count >= 2, words[0] == "nameserver" else { return nil }
            // An interface after '%' would need a scope that our sockets do not have.
            return Endpoint(address: String(words[1]), port: port)
        }
        let servers = Array(found.prefix(countMax))
        guard servers.isEmpty, let local = Endpoint(bytes: [127, 0, 0, 1], port: port) else { return servers }
        return [local]
    }

    /// One of a setting: `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`.
    public static func parse(server text: String) -> Endpoint? {
        if let plain = Endpoint(address: text, port: port) { return plain }
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            return nil
        }
        let host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            return Endpoint(address: String(host.dropFirst().dropLast()), port: port)
        }
        return host.contains(":") ? nil : Endpoint(address: String(host), port: port)
    }
}

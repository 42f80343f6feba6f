extension AMQPConfiguration {
    /// Reads `amqp://user:password@host:port,host2:port/vhost?name=value`, with the meanings of RabbitMQ's own URIs.
    ///
    /// User, password and virtual host may be percent-encoded; no virtual host, or an empty one, means `/`. Default ports
    /// are 5672 and, for `amqps`, 5671. Parameters: `heartbeat` (seconds), `connection_timeout` (milliseconds),
    /// `frame_max` (bytes), `name` (connection name), `cacertfile`, `certfile`, `keyfile`, `verify` (`verify_peer` or
    /// `verify_none`).
    ///
    /// - Throws: kind ``AMQPError/Kind/invalidURL``, saying what is wrong without repeating user or password.
    public init(url: String) throws(AMQPError) {
        guard let schemeEnd = url.firstRange(ofText: "://") else {
            throw Self.invalid("it does not begin with amqp:// or amqps://")
        }
        let tls: Bool
        switch url[..<schemeEnd.lowerBound].lowercased() {
        case "amqp": tls = false
        case "amqps": tls = true
        default: throw Self.invalid("its scheme is neither amqp nor amqps")
        }
        var rest = url[schemeEnd.upperBound...]

        var query: Substring = ""
        if let mark = rest.firstIndex(of: "?") {
            query = rest[rest.index(after: mark)...]
            rest = rest[..<mark]
        }
        var path: Substring = ""
        // A password may hold an unencoded slash only before the last "@", so the path begins after that.
        let authorityStart = rest.lastIndex(of: "@") ?? rest.startIndex
        if let slash = rest[authorityStart...].firstIndex(of: "/") {
            path = rest[rest.index(after: slash)...]
            rest = rest[..<slash]
        }
        var user = "guest"
        var password = "guest"
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at]
            rest = rest[rest.index(after: at)...]
            let parts = credentials.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            user = try Self.decoded(parts[0], "the user")
            if parts.count == 2 { password = try Self.decoded(parts[1], "the password") }
        }
        let virtualHost = try Self.decoded(path, "the virtual host")
        self.init(
            endpoints: try Self.endpoints(rest, tls: tls), user: user, password: password,
            virtualHost: virtualHost.isEmpty ? "/" : virtualHost)
        for pair in query.split(separator: "&") { try apply(pair) }
        if (self.tls.certificateFile == nil) != (self.tls.keyFile == nil) {
            throw Self.invalid("certfile and keyfile belong together; give both or neither")
        }
    }

    private mutating func apply(_ pair: Substring) throws(AMQPError) {
        let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        guard parts.count == 2 else { throw Self.invalid("parameter \(name) has no value; write \(name)=value") }
        let value = try Self.decoded(parts[1], "parameter \(name)")
        switch name {
        case "heartbeat": heartbeat = .seconds(try Self.number(value, name, 0...65_535))
        case "connection_timeout": connectTimeout = .milliseconds(try Self.number(value, name, 1...3_600_000))
        case "frame_max": frameMax = try Self.number(value, name, 8_192...(16 << 20))
        case "name": connectionName = value
        case "cacertfile": tls.caFile = value
        case "certfile": tls.certificateFile = value
        case "keyfile": tls.keyFile = value
        case "verify":
            switch value {
            case "verify_peer": tls.verifyPeer = true
            case "verify_none": tls.verifyPeer = false
            default: throw Self.invalid("parameter verify is verify_peer or verify_none")
            }
        default:
            throw Self.invalid(
                "parameter \(name) is unknown; known are heartbeat, connection_timeout, frame_max, name, cacertfile, "
                    + "certfile, keyfile and verify")
        }
    }

    private static func endpoints(_ text: Substring, tls: Bool) throws(AMQPError) -> [AMQPEndpoint] {
        var found: [AMQPEndpoint] = []
        for entry in text.split(separator: ",", omittingEmptySubsequences: false) {
            var host = entry
            var portText: Substring?
            if entry.first == "[" {
                guard let bracket = entry.firstIndex(of: "]") else {
                    throw invalid("an IPv6 address lacks its closing bracket")
                }
                host = entry[entry.index(after: entry.startIndex)..<bracket]
                let after = entry[entry.index(after: bracket)...]
                if !after.isEmpty {
                    guard after.first == ":" else { throw invalid("after an IPv6 address comes a colon and the port") }
                    portText = after.dropFirst()
                }
            } else if let colon = entry.firstIndex(of: ":") {
                host = entry[..<colon]
                portText = entry[entry.index(after: colon)...]
            }
            guard !host.isEmpty else { throw invalid("a host name is empty") }
            let port = if let portText { try number(String(portText), "port", 1...65_535) } else { tls ? 5671 : 5672 }
            found.append(AMQPEndpoint(host: String(host), port: port, tls: tls))
        }
        return found
    }

    private static func number(
        _ text: String, _ name: String, _ range: ClosedRange<Int>
    ) throws(AMQPError) -> Int {
        guard let value = Int(text), range.contains(value) else {
            throw invalid("\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// Undoes percent-encoding. `what` names the part in the error, since its text may be secret.
    private static func decoded(_ text: Substring, _ what: String) throws(AMQPError) -> String {
        var bytes: [UInt8] = []
        var source = text.utf8.makeIterator()
        while let byte = source.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = source.next().flatMap(hexDigit), let low = source.next().flatMap(hexDigit) else {
                throw invalid(
                    "\(what) has a % that is not followed by two hexadecimal digits; write a literal % as %25")
            }
            bytes.append(high << 4 | low)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw invalid("\(what) is not valid UTF-8 or holds a zero byte once decoded")
        }
        return decoded
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func invalid(_ why: String) -> AMQPError {
        AMQPError(
            .invalidURL, "The AMQP URL cannot be used: \(why). The form is amqp://user:password@host:port/vhost.")
    }
}

extension String {
    /// Foundation's `range(of:)` without Foundation.
    fileprivate func firstRange(ofText text: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}

internal import CCurl

/// A URL that a request may go to, read by the same parser that libcurl connects by: with two parsers there is always some
/// string which they read differently, and a check by the one guards nothing against the other.
package struct CurlURL: Sendable, Equatable {
    /// Normalised, with its credentials if these were allowed.
    package let text: String
    /// The same without credentials, for whoever keeps it.
    package let publicText: String
    /// `https://host:443`, lower case, the port always there: what limits and redirect rules compare.
    package let origin: String
    /// Lower case, without the brackets of an IPv6 address.
    package let host: String
    /// Host and port, `host:443`: one service, whatever is asked of it.
    package var authority: String { String(origin.drop { $0 != "/" }.drop { $0 == "/" }) }
    package let isHTTPS: Bool
    /// Whether the host has to be looked up. libcurl answers literal addresses and `localhost` on the spot.
    package let needsLookup: Bool

    package struct Rules: Sendable {
        package var protocols: CurlProtocols
        package var credentials: Bool

        package init(protocols: CurlProtocols, credentials: Bool) {
            self.protocols = protocols
            self.credentials = credentials
        }
    }

    package init(_ text: String, rules: Rules) throws(CurlError) {
        try self.init(text, relativeTo: nil, rules: rules, what: "the URL")
    }

    /// Where a `Location` leads to.
    package func redirected(to location: String, rules: Rules) throws(CurlError) -> CurlURL {
        try CurlURL(location, relativeTo: self.text, rules: rules, what: "the redirect's URL")
    }

    private init(_ text: String, relativeTo base: String?, rules: Rules, what: String) throws(CurlError) {
        guard text.utf8.count <= CurlRequest.maxURLBytes else {
            throw CurlError(.badURL, "\(what) is longer than \(CurlRequest.maxURLBytes) bytes")
        }
        // A NUL would end the string for C and not for Swift.
        guard !text.utf8.contains(0) else { throw CurlError(.badURL, "\(what) has a NUL in it") }
        let handle = try URLHandle()
        // Any scheme is read, so that file: can be refused for what it is and not as unreadable.
        var flags = UInt32(CURLU_NON_SUPPORT_SCHEME)
        if let base {
            try handle.set(base, flags: flags, what: what)
            // Servers write spaces and UTF-8 into Location; encoding them is what every client does.
            flags |= UInt32(CURLU_URLENCODE)
        }
        try handle.set(text, flags: flags, what: what)

        let scheme = handle.part(CURLUPART_SCHEME) ?? ""
        let used: CurlProtocols = scheme == "https" ? .https : scheme == "http" ? .http : []
        guard !used.isEmpty, rules.protocols.contains(used) else {
            let known = [
                "http", "https", "file", "ftp", "ftps", "gopher", "dict", "ldap", "smb", "data", "javascript", "ws",
                "wss",
            ]
            throw CurlError(
                .protocolNotAllowed,
                "\(what) is of the protocol \(known.contains(scheme) ? scheme : "it names"), which this request does not allow"
            )
        }
        guard let host = handle.part(CURLUPART_HOST), !host.isEmpty else {
            throw CurlError(.badURL, "\(what) names no host")
        }
        guard rules.credentials || (handle.part(CURLUPART_USER) == nil && handle.part(CURLUPART_PASSWORD) == nil) else {
            throw CurlError(.badURL, "\(what) has credentials in it, which this request does not allow")
        }
        guard let port = handle.part(CURLUPART_PORT, flags: UInt32(CURLU_DEFAULT_PORT)), let number = UInt16(port),
            number > 0
        else {
            throw CurlError(.badURL, "\(what) has a port outside 1 to 65535")
        }
        guard let normal = handle.part(CURLUPART_URL) else {
            throw CurlError(.badURL, "\(what) cannot be written back")
        }

        self.text = normal
        publicText =
            handle.part(CURLUPART_USER) == nil && handle.part(CURLUPART_PASSWORD) == nil
            ? normal : try handle.withoutCredentials()
        isHTTPS = used == .https
        let lower = host.lowercased()
        origin = "\(scheme)://\(lower):\(number)"
        self.host = lower.hasPrefix("[") ? String(lower.dropFirst().dropLast()) : lower
        let isAddress = lower.hasPrefix("[") || lower.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2e }
        needsLookup = !isAddress && lower != "localhost"
    }
}

/// Owns a CURLU.
private struct URLHandle: ~Copyable {
    private let raw: OpaquePointer

    init() throws(CurlError) {
        guard let raw = curl_url() else { throw CurlError(.interrupted, "out of memory reading a URL") }
        self.raw = raw
    }

    deinit { curl_url_cleanup(raw) }

    func set(_ text: String, flags: UInt32, what: String) throws(CurlError) {
        let code = curl_url_set(raw, CURLUPART_URL, text, flags)
        guard code == CURLUE_OK else {
            throw CurlError(.badURL, "\(what) cannot be read: \(String(cString: curl_url_strerror(code)))")
        }
    }

    /// The last thing asked of a handle.
    func withoutCredentials() throws(CurlError) -> String {
        curl_url_set(raw, CURLUPART_USER, nil, 0)
        curl_url_set(raw, CURLUPART_PASSWORD, nil, 0)
        guard let text = part(CURLUPART_URL) else { throw CurlError(.badURL, "the URL cannot be written back") }
        return text
    }

    func part(_ part: CURLUPart, flags: UInt32 = 0) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_get(raw, part, &text, flags) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }
}

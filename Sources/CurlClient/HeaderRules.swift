/// What may stand in a request line and in headers. Checked before anything is handed to libcurl, which passes on what it is
/// given: a line break in a value would be a header, or a request, of somebody else's choice.
enum HeaderRules {
    /// Headers that decide where a message ends. libcurl writes them; a second opinion on the wire is request smuggling.
    private static let framing = [
        "transfer-encoding", "content-length", "expect", "upgrade", "trailer", "te", "http2-settings",
        "proxy-connection", "keep-alive",
    ]

    /// Not taken along to another origin: they prove to the first one who asks. Those after `Proxy-Authorization` are no
    /// standard, but what services use for keys.
    private static let credentials = [
        "authorization", "cookie", "proxy-authorization", "x-api-key", "api-key", "apikey", "x-auth-token",
        "x-access-token", "x-csrf-token",
        "x-amz-security-token",
    ]

    /// Describe a body; pointless, and confusing, once a redirect has turned the request into a GET.
    private static let content = [
        "content-type", "content-encoding", "content-language", "content-location", "content-md5", "digest",
        "content-digest", "repr-digest",
    ]

    static func check(method: String) throws(CurlError) {
        guard !method.isEmpty, method.utf8.count <= maxMethodBytes, method.utf8.allSatisfy(isTokenByte) else {
            throw CurlError(.badRequest, "the method is no token of RFC 9110")
        }
        guard method != "CONNECT" else {
            throw CurlError(.badRequest, "CONNECT asks for a tunnel, which this client does not open")
        }
    }

    private static let maxMethodBytes = 32

    static func check(headers: [(name: String, value: String)]) throws(CurlError) {
        guard headers.count <= CurlRequest.maxHeaders else {
            throw CurlError(.badRequest, "\(headers.count) headers; at most \(CurlRequest.maxHeaders) are sent")
        }
        var bytes = 0
        for (index, header) in headers.enumerated() {
            let (name, value) = header
            guard !name.isEmpty, name.utf8.allSatisfy(isTokenByte) else {
                // The name itself is not repeated: it may be the attack.
                throw CurlError(.badRequest, "the name of header \(index) is no token of RFC 9110")
            }
            guard value.utf8.allSatisfy(isValueByte) else {
                throw CurlError(
                    .badRequest, "the value of header \(name) has a control character in it, a line break for one")
            }
            guard !isIn(framing, name) else {
                throw CurlError(
                    .badRequest, "header \(name) belongs to the message's framing, which the client writes itself")
            }
            if equalIgnoringCase(name, "Connection"), !equalIgnoringCase(trimmed(value), "close"),
                !equalIgnoringCase(trimmed(value), "keep-alive")
            {
                throw CurlError(.badRequest, "header Connection may only say close or keep-alive")
            }
            bytes += name.utf8.count + value.utf8.count
        }
        guard bytes <= CurlRequest.maxHeaderBytes else {
            throw CurlError(.badRequest, "\(bytes) bytes of headers; at most \(CurlRequest.maxHeaderBytes) are sent")
        }
    }

    /// Whether a header must stay behind when a redirect leads to another origin. `Host` would name the wrong server there.
    static func staysWithOrigin(_ name: String) -> Bool { isIn(credentials, name) || equalIgnoringCase(name, "Host") }

    static func describesBody(_ name: String) -> Bool { isIn(content, name) }

    static func isRepeatable(method: String, headers: [(name: String, value: String)]) -> Bool {
        switch method {
        case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE": true
        default: headers.contains { equalIgnoringCase($0.name, "Idempotency-Key") }
        }
    }

    /// As libcurl's list wants it: an empty value is written `Name;`, since `Name:` alone would take the header away.
    static func line(_ name: String, _ value: String) -> String {
        let value = trimmed(value)
        return value.isEmpty ? "\(name);" : "\(name): \(value)"
    }

    private static func isIn(_ names: [String], _ name: String) -> Bool {
        names.contains { equalIgnoringCase($0, name) }
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"),
            UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"),
            UInt8(ascii: "`"), UInt8(ascii: "|"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }

    /// Visible characters, space, tab, and the bytes above ASCII that UTF-8 needs.
    private static func isValueByte(_ byte: UInt8) -> Bool { (byte >= 0x20 && byte != 0x7f) || byte == 0x09 }
}

/// Header names and tokens are ASCII and compare so; nothing here depends on a locale.
func equalIgnoringCase(_ a: String, _ b: String) -> Bool {
    guard a.utf8.count == b.utf8.count else { return false }
    return zip(a.utf8, b.utf8).allSatisfy { lowercased($0) == lowercased($1) }
}

func lowercased(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte }

/// Without the optional whitespace (space and tab) around a header value.
func trimmed(_ text: String) -> String {
    let utf8 = text.utf8
    func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
    guard let first = utf8.firstIndex(where: { !isBlank($0) }), let last = utf8.lastIndex(where: { !isBlank($0) })
    else { return "" }
    return String(text[first...last])
}

import FleetModel

/// A URL that a page may have: the check of its text. Where it leads is judged when the browser connects.
enum PageURL {
    static let bytesMax = 32 << 10

    /// - Parameter name: of the member that holds it, for the message.
    static func check(_ text: String, _ name: String) throws(InvalidParameters) {
        guard isWeb(text) else {
            throw InvalidParameters(
                "'\(name)' must begin with http:// or https://, it is '\(text.prefix(80))'; other schemes are not opened"
            )
        }
        guard text.utf8.count <= bytesMax else {
            throw InvalidParameters("'\(name)' has \(text.utf8.count) bytes, at most \(bytesMax)")
        }
        guard text.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value != 0x7f }) else {
            throw InvalidParameters("'\(name)' holds a blank or a control character; write it percent-encoded")
        }
        guard let authority = authority(text), !authority.isEmpty, authority != ":", !authority.hasPrefix(":") else {
            throw InvalidParameters("'\(name)' names no host; write it as http://host/path")
        }
        guard !authority.contains("@") else {
            throw InvalidParameters(
                "'\(name)' holds a user or a password, which ends up in logs; put them into 'page.headers'")
        }
    }

    /// Whether it is opened at all: `file:`, `chrome:`, `data:` and the rest are not.
    static func isWeb(_ text: String) -> Bool {
        let lower = text.prefix(8).lowercased()
        return lower.hasPrefix("http://") || lower == "https://"
    }

    /// Scheme, host and port as browsers compare them: `http://example.org`. Nil for what is no web page.
    static func origin(_ text: String) -> String? {
        guard isWeb(text), let authority = authority(text)?.lowercased() else { return nil }
        let isSecure = text.prefix(8).lowercased() == "https://"
        let host = authority.split(separator: "@").last.map(String.init) ?? authority
        let own = isSecure ? ":443" : ":80"
        return (isSecure ? "https://" : "http://") + (host.hasSuffix(own) ? String(host.dropLast(own.count)) : host)
    }

    /// The host alone, without port and brackets.
    static func host(_ text: String) -> String? {
        guard let origin = origin(text), let start = origin.firstRange(of: "://")?.upperBound else { return nil }
        let rest = origin[start...]
        if rest.hasPrefix("[") { return String(rest.dropFirst().prefix { $0 != "]" }) }
        return String(rest.prefix { $0 != ":" })
    }

    /// Browsers take a backslash for a slash.
    private static func authority(_ text: String) -> String? {
        guard let start = text.firstRange(of: "://")?.upperBound else { return nil }
        return String(text[start...].prefix { !"/\\?#".contains($0) })
    }
}

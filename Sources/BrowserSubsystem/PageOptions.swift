import FleetModel
import FoundationEssentials

/// How a page is shown and asked for: `page` of both kinds of job.
public struct PageOptions: Codable, Sendable, Hashable {
    public var viewport: Viewport?
    /// Chromium's own when absent.
    public var userAgent: String?
    /// A BCP 47 tag such as `de-DE`: the language that the page is asked for in, and that its scripts see.
    public var locale: String?
    /// A name of the time zone database, such as `Europe/Berlin`; the worker's when absent.
    public var timezone: String?
    /// Sent with requests to the origins that the job names, and to no other.
    public var headers: [String: String]?
    public var cookies: [Cookie]?
    /// How `alert`, `confirm` and `prompt` are answered; `dismiss` when absent. "Leave this page?" is always answered with yes.
    public var dialogs: DialogAnswer?
    /// What becomes of files that the page wants saved; `deny` when absent.
    public var downloads: Downloads?

    enum CodingKeys: String, CodingKey {
        case viewport, locale, timezone, headers, cookies, dialogs, downloads
        case userAgent = "user_agent"
    }

    public struct Viewport: Codable, Sendable, Hashable {
        /// CSS pixels.
        public var width: Int
        public var height: Int
        /// Device pixels to a CSS pixel, 0.1 to 4; 1 when absent.
        public var scale: Double?
        /// Whether the page is laid out as on a telephone, with touch.
        public var mobile: Bool?

        public init(width: Int, height: Int, scale: Double? = nil, mobile: Bool? = nil) {
            (self.width, self.height, self.scale, self.mobile) = (width, height, scale, mobile)
        }

        public static let `default` = Viewport(width: 1_280, height: 720)
        static let sideMax = 10_000
    }

    public struct Cookie: Codable, Sendable, Hashable {
        public var name: String
        public var value: String
        /// Whose it is: a URL, or a domain with a path.
        public var url: String?
        public var domain: String?
        public var path: String?
        public var secure: Bool?
        public var httpOnly: Bool?
        public var sameSite: SameSite?

        public enum SameSite: String, Codable, Sendable, CaseIterable {
            case strict = "Strict"
            case lax = "Lax"
            case none = "None"
        }

        enum CodingKeys: String, CodingKey {
            case name, value, url, domain, path, secure
            case httpOnly = "http_only"
            case sameSite = "same_site"
        }

        public init(name: String, value: String, url: String? = nil, domain: String? = nil, path: String? = nil) {
            (self.name, self.value, self.url, self.domain, self.path) = (name, value, url, domain, path)
        }
    }

    public enum DialogAnswer: String, Codable, Sendable, CaseIterable { case accept, dismiss }

    public enum Downloads: String, Codable, Sendable, CaseIterable {
        /// None is begun; they are counted.
        case deny
        /// Into files under a root, which the output names.
        case save
    }

    public init() {}

    static let headersMax = 100
    static let cookiesMax = 300
    static let textBytesMax = 8 << 10

    static let schema = JSONSchema.object(
        [
            "viewport": .object(
                [
                    "width": .integer(description: "CSS pixels", min: 1, max: Viewport.sideMax),
                    "height": .integer(description: "CSS pixels", min: 1, max: Viewport.sideMax),
                    "scale": .number(description: "device pixels to a CSS pixel; 1 when absent", min: 0.1, max: 4),
                    "mobile": .boolean(description: "laid out as on a telephone, with touch"),
                ], required: ["width", "height"],
                description: "\(Viewport.default.width) × \(Viewport.default.height) when absent"),
            "user_agent": .string(description: "Chromium's own when absent", lengthMax: textBytesMax),
            "locale": .string(description: "a BCP 47 tag such as de-DE"),
            "timezone": .string(description: "a name of the time zone database, such as Europe/Berlin"),
            "headers": .map(
                of: .string(), description: "sent with requests to the origins that the job names, and to no other"),
            "cookies": .array(
                of: .object(
                    [
                        "name": .string(), "value": .string(),
                        "url": .string(description: "whose it is; or a domain", format: "uri"),
                        "domain": .string(), "path": .string(), "secure": .boolean(), "http_only": .boolean(),
                        "same_site": .string(values: Cookie.SameSite.allCases.map(\.rawValue)),
                    ], required: ["name", "value"]), description: "set before the first request"),
            "dialogs": .string(
                description: "the answer to alert, confirm and prompt; dismiss when absent",
                values: DialogAnswer.allCases.map(\.rawValue)),
            "downloads": .string(
                description: "what becomes of files that the page wants saved; deny when absent",
                values: Downloads.allCases.map(\.rawValue)),
        ], description: "how the page is shown and asked for")

    func validate() throws(InvalidParameters) {
        if let viewport {
            let sides = 1...Viewport.sideMax
            guard sides.contains(viewport.width), sides.contains(viewport.height) else {
                throw InvalidParameters(
                    "'page.viewport' must be from 1 × 1 to \(Viewport.sideMax) × \(Viewport.sideMax)")
            }
            if let scale = viewport.scale, !(0.1...4).contains(scale) {
                throw InvalidParameters("'page.viewport.scale' must be from 0.1 to 4")
            }
        }
        if let userAgent { try Self.checkLine(userAgent, "page.user_agent") }
        if let locale, !Self.isLanguageTag(locale) {
            throw InvalidParameters(
                "'page.locale' must be a language tag such as de or de-DE, it is '\(locale.prefix(40))'")
        }
        if let timezone, !Self.isTimezoneName(timezone) {
            throw InvalidParameters(
                "'page.timezone' must be a name such as Europe/Berlin or UTC, it is '\(timezone.prefix(60))'")
        }
        try validateHeaders()
        try validateCookies()
    }

    private func validateHeaders() throws(InvalidParameters) {
        guard let headers else { return }
        if headers.count > Self.headersMax {
            throw InvalidParameters("'page.headers' has \(headers.count) members, at most \(Self.headersMax)")
        }
        for (name, value) in headers {
            guard !name.isEmpty, name.utf8.allSatisfy(Self.isTokenByte) else {
                throw InvalidParameters("'page.headers': '\(name.prefix(80))' is no name of a header")
            }
            guard !Self.reservedHeaders.contains(name.lowercased()) else {
                throw InvalidParameters("'page.headers': '\(name)' is the browser's own; leave it out")
            }
            try Self.checkLine(value, "page.headers.\(name)")
        }
    }

    private func validateCookies() throws(InvalidParameters) {
        guard let cookies else { return }
        if cookies.count > Self.cookiesMax {
            throw InvalidParameters("'page.cookies' has \(cookies.count) members, at most \(Self.cookiesMax)")
        }
        for cookie in cookies {
            guard !cookie.name.isEmpty, !cookie.name.contains(where: { "=; \t\r\n".contains($0) }) else {
                throw InvalidParameters("'page.cookies': '\(cookie.name.prefix(80))' is no name of a cookie")
            }
            try Self.checkLine(cookie.value, "page.cookies.\(cookie.name)")
            guard (cookie.url == nil) != (cookie.domain == nil) else {
                throw InvalidParameters(
                    "'page.cookies': '\(cookie.name)' needs either 'url' or 'domain', to say whose it is")
            }
            if let url = cookie.url { try PageURL.check(url, "page.cookies.url") }
        }
    }

    /// One line of a header, since what follows a line break would be a header of its own.
    private static func checkLine(_ text: String, _ name: String) throws(InvalidParameters) {
        guard text.utf8.count <= textBytesMax else {
            throw InvalidParameters("'\(name)' has \(text.utf8.count) bytes, at most \(textBytesMax)")
        }
        guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
            throw InvalidParameters("'\(name)' holds a control character; write it in one line")
        }
    }

    /// What the browser must decide, or the message on the wire would be another than the one that was judged.
    private static let reservedHeaders: Set<String> = [
        "host", "content-length", "transfer-encoding", "connection", "upgrade", "proxy-authorization", "te", "trailer",
        "keep-alive", "cookie",
    ]

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        isAlphanumeric(byte) || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
    }

    private static func isLanguageTag(_ text: String) -> Bool {
        text.utf8.count <= 35
            && text.split(separator: "-", omittingEmptySubsequences: false).allSatisfy {
                (1...8).contains($0.utf8.count) && $0.utf8.allSatisfy(isAlphanumeric)
            }
    }

    private static func isTimezoneName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { isAlphanumeric($0) || "/_+-".utf8.contains($0) }
    }
}

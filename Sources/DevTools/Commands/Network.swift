/// What a page requests. To be sent to a page's session.
public enum Network {
    public struct Enable: DevToolsCommand {
        public static let method = "Network.enable"
        public typealias Answer = NoAnswer
        /// Bytes of bodies that the browser keeps for later questions.
        public var maxTotalBufferSize: Int?
        public var maxResourceBufferSize: Int?
        public init(maxTotalBufferSize: Int? = nil, maxResourceBufferSize: Int? = nil) {
            self.maxTotalBufferSize = maxTotalBufferSize
            self.maxResourceBufferSize = maxResourceBufferSize
        }
    }

    public struct SetExtraHTTPHeaders: DevToolsCommand {
        public static let method = "Network.setExtraHTTPHeaders"
        public typealias Answer = NoAnswer
        public var headers: [String: String]
        public init(headers: [String: String]) { self.headers = headers }
    }

    public struct SetCookies: DevToolsCommand {
        public static let method = "Network.setCookies"
        public typealias Answer = NoAnswer
        public struct Cookie: Encodable, Sendable {
            public var name: String
            public var value: String
            public var url: String?
            public var domain: String?
            public var path: String?
            public var secure: Bool?
            public var httpOnly: Bool?
            /// `Strict`, `Lax` or `None`.
            public var sameSite: String?
            /// Seconds since 1970; a session's cookie when nil.
            public var expires: Double?
            public init(name: String, value: String) {
                self.name = name
                self.value = value
            }
        }
        public var cookies: [Cookie]
        public init(cookies: [Cookie]) { self.cookies = cookies }
    }

    public struct RequestWillBeSent: DevToolsEvent {
        public static let method = "Network.requestWillBeSent"
        public var requestId: String
        public var loaderId: String
        public var documentURL: String
        public var request: Request
        public var timestamp: Double
        /// Of the request that was redirected to this one.
        public var redirectResponse: Response?
        public var type: String?
        public var frameId: String?
    }

    public struct Request: Decodable, Sendable {
        public var url: String
        public var method: String
    }

    public struct ResponseReceived: DevToolsEvent {
        public static let method = "Network.responseReceived"
        public var requestId: String
        public var loaderId: String
        public var timestamp: Double
        public var type: String
        public var response: Response
        public var frameId: String?
    }

    public struct Response: Decodable, Sendable {
        public var url: String
        public var status: Int
        public var statusText: String
        public var headers: [String: String]
        public var mimeType: String
        public var fromDiskCache: Bool?
        public var fromServiceWorker: Bool?
        public var encodedDataLength: Double
        public var `protocol`: String?
    }

    public struct LoadingFinished: DevToolsEvent {
        public static let method = "Network.loadingFinished"
        public var requestId: String
        public var timestamp: Double
        public var encodedDataLength: Double
    }

    public struct LoadingFailed: DevToolsEvent {
        public static let method = "Network.loadingFailed"
        public var requestId: String
        public var timestamp: Double
        public var type: String
        /// Such as `net::ERR_SOCKS_CONNECTION_FAILED`.
        public var errorText: String
        public var canceled: Bool?
        public var blockedReason: String?
    }
}

/// Requests held before they are made. To be sent to a page's session.
public enum Fetch {
    public struct Enable: DevToolsCommand {
        public static let method = "Fetch.enable"
        public typealias Answer = NoAnswer
        public struct Pattern: Encodable, Sendable {
            /// With `*` and `?`.
            public var urlPattern: String
            public init(_ urlPattern: String) { self.urlPattern = urlPattern }
        }
        public var patterns: [Pattern]
        public init(patterns: [Pattern]) { self.patterns = patterns }
    }

    public struct FailRequest: DevToolsCommand {
        public static let method = "Fetch.failRequest"
        public typealias Answer = NoAnswer
        public var requestId: String
        /// Such as `BlockedByClient`.
        public var errorReason: String
        public init(requestId: String, errorReason: String) {
            self.requestId = requestId
            self.errorReason = errorReason
        }
    }

    public struct ContinueRequest: DevToolsCommand {
        public static let method = "Fetch.continueRequest"
        public typealias Answer = NoAnswer
        public var requestId: String
        public init(requestId: String) { self.requestId = requestId }
    }

    public struct RequestPaused: DevToolsEvent {
        public static let method = "Fetch.requestPaused"
        public var requestId: String
        public var request: Network.Request
        public var resourceType: String
    }
}

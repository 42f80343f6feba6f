import DevTools

/// How a page is shown: https://chromedevtools.github.io/devtools-protocol/tot/Emulation/.
enum EmulationDomain {
    struct SetDeviceMetrics: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Emulation.setDeviceMetricsOverride"
        var width: Int
        var height: Int
        var deviceScaleFactor: Double
        var mobile: Bool

        init(_ viewport: PageOptions.Viewport) {
            (width, height) = (viewport.width, viewport.height)
            deviceScaleFactor = viewport.scale ?? 1
            mobile = viewport.mobile ?? false
        }
    }

    struct SetTouch: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Emulation.setTouchEmulationEnabled"
        var enabled = true
    }

    struct SetUserAgent: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Emulation.setUserAgentOverride"
        var userAgent: String
        var acceptLanguage: String?
    }

    struct SetLocale: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Emulation.setLocaleOverride"
        /// As ICU writes it: `de_DE`.
        var locale: String
    }

    struct SetTimezone: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Emulation.setTimezoneOverride"
        var timezoneId: String
    }
}

/// Cookies and requests: https://chromedevtools.github.io/devtools-protocol/tot/Network/.
enum NetworkDomain {
    struct Enable: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Network.enable"
        /// No body is kept for us: we never ask for one.
        var maxTotalBufferSize = 0
        var maxResourceBufferSize = 0
    }

    struct SetCookies: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Network.setCookies"
        var cookies: [Cookie]

        struct Cookie: Encodable, Sendable {
            var name: String
            var value: String
            var url: String?
            var domain: String?
            var path: String?
            var secure: Bool?
            var httpOnly: Bool?
            var sameSite: String?

            init(_ cookie: PageOptions.Cookie) {
                (name, value, url) = (cookie.name, cookie.value, cookie.url)
                (domain, path, secure, httpOnly) = (cookie.domain, cookie.path, cookie.secure, cookie.httpOnly)
                sameSite = cookie.sameSite?.rawValue
            }
        }
    }

    struct RequestWillBeSent: DevToolsEvent {
        static let method = "Network.requestWillBeSent"
        var requestId: String
        /// Such as `Document`, `Fetch`, `EventSource`.
        var type: String?
    }

    struct LoadingFinished: DevToolsEvent {
        static let method = "Network.loadingFinished"
        var requestId: String
    }

    struct LoadingFailed: DevToolsEvent {
        static let method = "Network.loadingFailed"
        var requestId: String
    }
}

/// Requests that stop on their way out, so that headers are added to those that they are meant for:
/// https://chromedevtools.github.io/devtools-protocol/tot/Fetch/.
enum FetchDomain {
    struct Enable: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Fetch.enable"
        var patterns: [Pattern] = [Pattern()]

        struct Pattern: Encodable, Sendable { var urlPattern = "*" }
    }

    struct ContinueRequest: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Fetch.continueRequest"
        var requestId: String
        /// All that are sent; as they were when nil.
        var headers: [Header]?

        struct Header: Encodable, Sendable {
            var name: String
            var value: String
        }
    }

    struct RequestPaused: DevToolsEvent {
        static let method = "Fetch.requestPaused"
        var requestId: String
        var request: Request

        struct Request: Decodable, Sendable {
            var url: String
            var headers: [String: String]
        }
    }
}

enum DOMDomain {
    struct DescribeNode: DevToolsCommand {
        static let method = "DOM.describeNode"
        var objectId: String

        struct Answer: DevToolsAnswer, Decodable {
            var node: Node

            struct Node: Decodable {
                /// Of the frame that the element holds.
                var frameId: String?
            }
        }
    }

    struct SetFileInputFiles: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "DOM.setFileInputFiles"
        var files: [String]
        var objectId: String
    }
}

/// Streams of the browser's.
enum IODomain {
    struct Read: DevToolsCommand {
        static let method = "IO.read"
        var handle: String
        var size: Int

        struct Answer: DevToolsAnswer {
            let isEnd: Bool
            let bytes: [UInt8]

            init(json: JSONSlice) throws {
                isEnd = try json["eof"]?.decode(Bool.self) ?? true
                guard let data = json["data"] else {
                    bytes = []
                    return
                }
                let isBase64 = try json["base64Encoded"]?.decode(Bool.self) ?? false
                bytes = isBase64 ? Array(try data.base64Decoded()) : Array(try data.decode(String.self).utf8)
            }
        }
    }

    struct Close: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "IO.close"
        var handle: String
    }
}

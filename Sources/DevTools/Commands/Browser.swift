/// The browser as a whole. To be sent to ``DevToolsConnection/browser``.
public enum Browser {
    public struct GetVersion: DevToolsCommand {
        public static let method = "Browser.getVersion"
        public struct Answer: DevToolsAnswer, Decodable {
            /// Such as `HeadlessChrome/156.0.8078.108`.
            public var product: String
            public var userAgent: String
            public var protocolVersion: String
        }
        public init() {}
    }

    /// Ends the browser. Its answer may be lost with it.
    public struct Close: DevToolsCommand {
        public static let method = "Browser.close"
        public typealias Answer = NoAnswer
        public init() {}
    }

    /// What becomes of downloads of a browser context.
    public struct SetDownloadBehavior: DevToolsCommand {
        public static let method = "Browser.setDownloadBehavior"
        public typealias Answer = NoAnswer
        public enum Behavior: String, Encodable, Sendable {
            case deny
            /// Files get the download's id as their name, so a page cannot choose it.
            case allowAndName
        }
        public var behavior: Behavior
        public var browserContextId: String?
        public var downloadPath: String?
        public var eventsEnabled: Bool

        public init(_ behavior: Behavior, browserContextId: String?, downloadPath: String? = nil, eventsEnabled: Bool) {
            self.behavior = behavior
            self.browserContextId = browserContextId
            self.downloadPath = downloadPath
            self.eventsEnabled = eventsEnabled
        }
    }

    public struct DownloadWillBegin: DevToolsEvent {
        public static let method = "Browser.downloadWillBegin"
        public var frameId: String
        public var guid: String
        public var url: String
        public var suggestedFilename: String
    }

    public struct DownloadProgress: DevToolsEvent {
        public static let method = "Browser.downloadProgress"
        public var guid: String
        public var totalBytes: Double
        public var receivedBytes: Double
        /// `inProgress`, `completed` or `canceled`.
        public var state: String
        public var filePath: String?
    }
}

/// The processes of a browser. To be sent to ``DevToolsConnection/browser``.
public enum SystemInfo {
    public struct GetProcessInfo: DevToolsCommand {
        public static let method = "SystemInfo.getProcessInfo"
        public struct Answer: DevToolsAnswer, Decodable {
            public var processInfo: [Process]
        }
        public struct Process: Decodable, Sendable {
            /// `browser`, `renderer`, `GPU`, or the name of a service.
            public var type: String
            public var id: Int32
            /// Seconds since its start.
            public var cpuTime: Double
        }
        public init() {}
    }
}

/// Extensions that are loaded by the pipe. To be sent to ``DevToolsConnection/browser``.
public enum Extensions {
    public struct LoadUnpacked: DevToolsCommand {
        public static let method = "Extensions.loadUnpacked"
        public struct Answer: DevToolsAnswer, Decodable {
            public var id: String
        }
        public var path: String
        /// Whether it works in browser contexts of their own as well.
        public var enableInIncognito: Bool?
        public init(path: String, enableInIncognito: Bool? = nil) {
            self.path = path
            self.enableInIncognito = enableInIncognito
        }
    }
}

/// Pages, workers and the contexts in which they live. To be sent to ``DevToolsConnection/browser``.
public enum Target {
    /// Makes a browser context: cookies, storage, cache and permissions of its own, in memory only, gone with it.
    public struct CreateBrowserContext: DevToolsCommand {
        public static let method = "Target.createBrowserContext"
        public struct Answer: DevToolsAnswer, Decodable {
            public var browserContextId: String
        }
        public var disposeOnDetach: Bool
        /// In the form of `--proxy-server`.
        public var proxyServer: String?
        /// In the form of `--proxy-bypass-list`.
        public var proxyBypassList: String?
        public init(disposeOnDetach: Bool = true, proxyServer: String? = nil, proxyBypassList: String? = nil) {
            self.disposeOnDetach = disposeOnDetach
            self.proxyServer = proxyServer
            self.proxyBypassList = proxyBypassList
        }
    }

    /// Closes all pages of a context, without asking them, and forgets what it held.
    public struct DisposeBrowserContext: DevToolsCommand {
        public static let method = "Target.disposeBrowserContext"
        public typealias Answer = NoAnswer
        public var browserContextId: String
        public init(browserContextId: String) { self.browserContextId = browserContextId }
    }

    public struct CreateTarget: DevToolsCommand {
        public static let method = "Target.createTarget"
        public struct Answer: DevToolsAnswer, Decodable {
            public var targetId: String
        }
        public var url: String
        public var browserContextId: String?
        /// In CSS pixels.
        public var width: Int?
        public var height: Int?
        public init(url: String, browserContextId: String?, width: Int? = nil, height: Int? = nil) {
            self.url = url
            self.browserContextId = browserContextId
            self.width = width
            self.height = height
        }
    }

    public struct AttachToTarget: DevToolsCommand {
        public static let method = "Target.attachToTarget"
        public struct Answer: DevToolsAnswer, Decodable {
            public var sessionId: String
        }
        public var targetId: String
        public var flatten = true
        public init(targetId: String) { self.targetId = targetId }
    }

    public struct DetachFromTarget: DevToolsCommand {
        public static let method = "Target.detachFromTarget"
        public typealias Answer = NoAnswer
        public var sessionId: String
        public init(sessionId: String) { self.sessionId = sessionId }
    }

    public struct CloseTarget: DevToolsCommand {
        public static let method = "Target.closeTarget"
        public typealias Answer = NoAnswer
        public var targetId: String
        public init(targetId: String) { self.targetId = targetId }
    }

    /// Attaches to what a page brings forth: frames in processes of their own, workers. Each is told by ``AttachedToTarget`` on
    /// the session to which this is sent.
    public struct SetAutoAttach: DevToolsCommand {
        public static let method = "Target.setAutoAttach"
        public typealias Answer = NoAnswer
        public var autoAttach: Bool
        public var waitForDebuggerOnStart: Bool
        public var flatten = true
        public init(autoAttach: Bool, waitForDebuggerOnStart: Bool) {
            self.autoAttach = autoAttach
            self.waitForDebuggerOnStart = waitForDebuggerOnStart
        }
    }

    /// Has targets told when they appear, change and go.
    public struct SetDiscoverTargets: DevToolsCommand {
        public static let method = "Target.setDiscoverTargets"
        public typealias Answer = NoAnswer
        public var discover: Bool
        public init(discover: Bool) { self.discover = discover }
    }

    public struct GetTargets: DevToolsCommand {
        public static let method = "Target.getTargets"
        public struct Answer: DevToolsAnswer, Decodable {
            public var targetInfos: [Info]
        }
        public init() {}
    }

    public struct Info: Decodable, Sendable {
        public var targetId: String
        /// `page`, `iframe`, `worker`, `service_worker` and others.
        public var type: String
        public var title: String
        public var url: String
        public var attached: Bool
        /// The target whose page opened it.
        public var openerId: String?
        public var browserContextId: String?
    }

    public struct TargetCreated: DevToolsEvent {
        public static let method = "Target.targetCreated"
        public var targetInfo: Info
    }

    public struct TargetDestroyed: DevToolsEvent {
        public static let method = "Target.targetDestroyed"
        public var targetId: String
    }

    public struct TargetCrashed: DevToolsEvent {
        public static let method = "Target.targetCrashed"
        public var targetId: String
        public var status: String
        public var errorCode: Int
    }

    public struct AttachedToTarget: DevToolsEvent {
        public static let method = "Target.attachedToTarget"
        public var sessionId: String
        public var targetInfo: Info
        public var waitingForDebugger: Bool
    }

    public struct DetachedFromTarget: DevToolsEvent {
        public static let method = "Target.detachedFromTarget"
        public var sessionId: String
    }
}

/// What a page's session tells of its process.
public enum Inspector {
    public struct TargetCrashed: DevToolsEvent {
        public static let method = "Inspector.targetCrashed"
    }
}

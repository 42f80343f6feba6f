/// What a page shows, and where it goes. To be sent to a page's session.
public enum Page {
    public struct Enable: DevToolsCommand {
        public static let method = "Page.enable"
        public typealias Answer = NoAnswer
        public init() {}
    }

    /// Goes to an address, whatever its scheme. In a pool's tab use the tab's own `navigate`, which refuses local ones.
    public struct Navigate: DevToolsCommand {
        public static let method = "Page.navigate"
        public struct Answer: DevToolsAnswer, Decodable {
            public var frameId: String
            /// Nil when only the fragment changed.
            public var loaderId: String?
            /// Such as `net::ERR_NAME_NOT_RESOLVED`; then an error page is shown.
            public var errorText: String?
        }
        public var url: String
        public var referrer: String?
        public init(url: String, referrer: String? = nil) {
            self.url = url
            self.referrer = referrer
        }
    }

    public struct StopLoading: DevToolsCommand {
        public static let method = "Page.stopLoading"
        public typealias Answer = NoAnswer
        public init() {}
    }

    public struct SetLifecycleEventsEnabled: DevToolsCommand {
        public static let method = "Page.setLifecycleEventsEnabled"
        public typealias Answer = NoAnswer
        public var enabled: Bool
        public init(enabled: Bool) { self.enabled = enabled }
    }

    public struct AddScriptToEvaluateOnNewDocument: DevToolsCommand {
        public static let method = "Page.addScriptToEvaluateOnNewDocument"
        public struct Answer: DevToolsAnswer, Decodable {
            public var identifier: String
        }
        public var source: String
        public init(source: String) { self.source = source }
    }

    public struct GetFrameTree: DevToolsCommand {
        public static let method = "Page.getFrameTree"
        public struct Answer: DevToolsAnswer, Decodable {
            public var frameTree: FrameTree
        }
        public init() {}
    }

    public struct FrameTree: Decodable, Sendable {
        public var frame: Frame
        public var childFrames: [FrameTree]?
    }

    public struct Frame: Decodable, Sendable {
        public var id: String
        /// Nil for the page's own frame.
        public var parentId: String?
        public var loaderId: String
        public var url: String
        public var mimeType: String
        /// Where it wanted to go, when an error page is shown instead.
        public var unreachableUrl: String?
    }

    /// In CSS pixels.
    public struct GetLayoutMetrics: DevToolsCommand {
        public static let method = "Page.getLayoutMetrics"
        public struct Answer: DevToolsAnswer, Decodable {
            public var cssLayoutViewport: Viewport
            public var cssContentSize: Rectangle
        }
        public struct Viewport: Decodable, Sendable {
            public var pageX: Int
            public var pageY: Int
            public var clientWidth: Int
            public var clientHeight: Int
        }
        public init() {}
    }

    public struct Rectangle: Codable, Sendable, Hashable {
        public var x: Double
        public var y: Double
        public var width: Double
        public var height: Double
        public init(x: Double, y: Double, width: Double, height: Double) {
            self.x = x
            self.y = y
            self.width = width
            self.height = height
        }
    }

    /// A dialog that a script has opened waits for this; until then the page stands still.
    public struct HandleJavaScriptDialog: DevToolsCommand {
        public static let method = "Page.handleJavaScriptDialog"
        public typealias Answer = NoAnswer
        public var accept: Bool
        public var promptText: String?
        public init(accept: Bool, promptText: String? = nil) {
            self.accept = accept
            self.promptText = promptText
        }
    }

    /// Has choosers of files told by ``FileChooserOpened`` instead of opened.
    public struct SetInterceptFileChooserDialog: DevToolsCommand {
        public static let method = "Page.setInterceptFileChooserDialog"
        public typealias Answer = NoAnswer
        public var enabled: Bool
        public init(enabled: Bool) { self.enabled = enabled }
    }

    /// Crashes the page's process, for tests.
    public struct Crash: DevToolsCommand {
        public static let method = "Page.crash"
        public typealias Answer = NoAnswer
        public init() {}
    }

    public struct LoadEventFired: DevToolsEvent {
        public static let method = "Page.loadEventFired"
        public var timestamp: Double
    }

    public struct DOMContentEventFired: DevToolsEvent {
        public static let method = "Page.domContentEventFired"
        public var timestamp: Double
    }

    public struct LifecycleEvent: DevToolsEvent {
        public static let method = "Page.lifecycleEvent"
        public var frameId: String
        public var loaderId: String
        /// `init`, `commit`, `DOMContentLoaded`, `load`, `networkAlmostIdle`, `networkIdle` and others.
        public var name: String
        public var timestamp: Double
    }

    public struct FrameNavigated: DevToolsEvent {
        public static let method = "Page.frameNavigated"
        public var frame: Frame
    }

    public struct NavigatedWithinDocument: DevToolsEvent {
        public static let method = "Page.navigatedWithinDocument"
        public var frameId: String
        public var url: String
    }

    public struct JavaScriptDialogOpening: DevToolsEvent {
        public static let method = "Page.javascriptDialogOpening"
        public var url: String
        public var message: String
        /// `alert`, `confirm`, `prompt` or `beforeunload`.
        public var type: String
        public var defaultPrompt: String?
    }

    public struct FileChooserOpened: DevToolsEvent {
        public static let method = "Page.fileChooserOpened"
        public var frameId: String
        /// `selectSingle` or `selectMultiple`.
        public var mode: String
        public var backendNodeId: Int?
    }
}

import DevTools

/// What is asked of a page, and told by it: https://chromedevtools.github.io/devtools-protocol/tot/Page/.
enum PageDomain {
    struct Enable: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Page.enable"
    }

    struct SetLifecycleEventsEnabled: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Page.setLifecycleEventsEnabled"
        var enabled = true
    }

    struct Navigate: DevToolsCommand {
        static let method = "Page.navigate"
        var url: String

        struct Answer: DevToolsAnswer, Decodable {
            /// Absent when the page stays, as for a fragment.
            var loaderId: String?
            /// Such as `net::ERR_CONNECTION_REFUSED`.
            var errorText: String?
            var isDownload: Bool?
        }
    }

    struct CreateIsolatedWorld: DevToolsCommand {
        static let method = "Page.createIsolatedWorld"
        var frameId: String
        var worldName = PageScript.world

        struct Answer: DevToolsAnswer, Decodable { var executionContextId: Int }
    }

    struct HandleDialog: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Page.handleJavaScriptDialog"
        var accept: Bool
        var promptText: String?
    }

    struct CaptureScreenshot: DevToolsCommand {
        static let method = "Page.captureScreenshot"
        var format = "png"
        var captureBeyondViewport: Bool
        var clip: Clip?

        struct Clip: Encodable, Sendable {
            var x = 0.0
            var y = 0.0
            var width: Double
            var height: Double
            var scale = 1.0
        }

        /// Left as it came: it may be tens of megabytes.
        struct Answer: DevToolsAnswer {
            let data: JSONSlice

            init(json: JSONSlice) throws {
                guard let data = json["data"] else { throw DevToolsError(.malformed, "a screenshot without data") }
                self.data = data
            }
        }
    }

    struct PrintToPDF: DevToolsCommand {
        static let method = "Page.printToPDF"
        var landscape: Bool
        var printBackground: Bool
        var paperWidth: Double
        var paperHeight: Double
        var preferCSSPageSize = true
        /// Fetched in pieces, since a document can be larger than a message.
        var transferMode = "ReturnAsStream"

        struct Answer: DevToolsAnswer, Decodable { var stream: String }
    }

    // MARK: Events

    struct FrameNavigated: DevToolsEvent {
        static let method = "Page.frameNavigated"
        var frame: Frame

        struct Frame: Decodable, Sendable {
            var id: String
            var loaderId: String
        }
    }

    /// A script, a link or a form has asked for a navigation.
    struct FrameRequestedNavigation: DevToolsEvent {
        static let method = "Page.frameRequestedNavigation"
        var frameId: String
        var disposition: String
    }

    struct FrameStartedNavigating: DevToolsEvent {
        static let method = "Page.frameStartedNavigating"
        var frameId: String
        var navigationType: String
    }

    struct FrameStoppedLoading: DevToolsEvent {
        static let method = "Page.frameStoppedLoading"
        var frameId: String
    }

    struct LifecycleEvent: DevToolsEvent {
        static let method = "Page.lifecycleEvent"
        var frameId: String
        var loaderId: String
        var name: String
    }

    struct DialogOpening: DevToolsEvent {
        static let method = "Page.javascriptDialogOpening"
        var type: String
        var message: String
    }
}

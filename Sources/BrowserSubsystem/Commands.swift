import DevTools

/// A world of scripts beside the page's own: the same document, other globals.
struct CreateIsolatedWorld: DevToolsCommand {
    static let method = "Page.createIsolatedWorld"
    var frameId: String
    var worldName = PageScript.world

    struct Answer: DevToolsAnswer, Decodable { var executionContextId: Int }
}

/// A function of the object that `Page.js` yields.
struct CallPageScript: DevToolsCommand {
    typealias Answer = Runtime.Evaluation
    static let method = "Runtime.callFunctionOn"

    enum Argument: Encodable, Sendable {
        case text(String)
        case integer(Int)
        case texts([String])
        case flags([String: Bool])

        private enum Keys: CodingKey { case value }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            switch self {
            case .text(let value): try container.encode(value, forKey: .value)
            case .integer(let value): try container.encode(value, forKey: .value)
            case .texts(let value): try container.encode(value, forKey: .value)
            case .flags(let value): try container.encode(value, forKey: .value)
            }
        }
    }

    let functionDeclaration: String
    let objectId: String
    let arguments: [Argument]
    let returnByValue: Bool
    let awaitPromise = true

    init(_ function: String, of object: String, _ arguments: [Argument], returnByValue: Bool) {
        functionDeclaration = "function(...all) { return this.\(function)(...all) }"
        objectId = object
        self.arguments = arguments
        self.returnByValue = returnByValue
    }
}

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

struct SetTouchEmulation: DevToolsCommand {
    typealias Answer = NoAnswer
    static let method = "Emulation.setTouchEmulationEnabled"
    var enabled = true
}

/// Lets a request go that was stopped on its way out.
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

struct RequestStopped: DevToolsEvent {
    static let method = "Fetch.requestPaused"
    var requestId: String
    var request: Request

    struct Request: Decodable, Sendable {
        var url: String
        var headers: [String: String]
    }
}

/// A script, a link or a form has asked for a navigation.
struct FrameRequestedNavigation: DevToolsEvent {
    static let method = "Page.frameRequestedNavigation"
    var frameId: String
    /// `currentTab`, or what else is to become of it.
    var disposition: String
}

struct FrameStartedNavigating: DevToolsEvent {
    static let method = "Page.frameStartedNavigating"
    var frameId: String
    /// `sameDocument`, `historySameDocument`, or what leads to another document.
    var navigationType: String
}

struct FrameStoppedLoading: DevToolsEvent {
    static let method = "Page.frameStoppedLoading"
    var frameId: String
}

/// A world in which scripts run has come to be.
struct ExecutionContextCreated: DevToolsEvent {
    static let method = "Runtime.executionContextCreated"
    var context: Context

    struct Context: Decodable, Sendable {
        var id: Int
        var auxData: Details?
    }

    struct Details: Decodable, Sendable {
        /// Whether it is that of the frame's own scripts.
        var isDefault: Bool?
        var frameId: String?
    }
}

/// Scripts. To be sent to the session of a page or worker.
public enum Runtime {
    public struct Enable: DevToolsCommand {
        public static let method = "Runtime.enable"
        public typealias Answer = NoAnswer
        public init() {}
    }

    public struct RunIfWaitingForDebugger: DevToolsCommand {
        public static let method = "Runtime.runIfWaitingForDebugger"
        public typealias Answer = NoAnswer
        public init() {}
    }

    /// Ends the script that runs now. A page in an endless loop takes it, since it is the one thing looked at inside of loops.
    public struct TerminateExecution: DevToolsCommand {
        public static let method = "Runtime.terminateExecution"
        public typealias Answer = NoAnswer
        public init() {}
    }

    public struct Evaluate: DevToolsCommand {
        public static let method = "Runtime.evaluate"
        public typealias Answer = Evaluation
        public var expression: String
        /// The value itself as JSON, rather than a handle of it.
        public var returnByValue: Bool
        public var awaitPromise: Bool
        public var userGesture: Bool?
        /// In milliseconds; the script is ended then.
        public var timeout: Double?
        public var contextId: Int?
        public init(
            _ expression: String, returnByValue: Bool = true, awaitPromise: Bool = true, userGesture: Bool? = nil,
            timeout: Double? = nil, contextId: Int? = nil
        ) {
            self.expression = expression
            self.returnByValue = returnByValue
            self.awaitPromise = awaitPromise
            self.userGesture = userGesture
            self.timeout = timeout
            self.contextId = contextId
        }
    }

    public struct CallFunctionOn: DevToolsCommand {
        public static let method = "Runtime.callFunctionOn"
        public typealias Answer = Evaluation
        public struct Argument: Encodable, Sendable {
            public var value: String?
            public var objectId: String?
            public init(value: String) { self.value = value }
            public init(objectId: String) { self.objectId = objectId }
        }
        public var functionDeclaration: String
        public var objectId: String
        public var arguments: [Argument]?
        public var returnByValue: Bool
        public var awaitPromise: Bool
        public init(
            _ functionDeclaration: String, on objectId: String, arguments: [Argument]? = nil,
            returnByValue: Bool = true, awaitPromise: Bool = true
        ) {
            self.functionDeclaration = functionDeclaration
            self.objectId = objectId
            self.arguments = arguments
            self.returnByValue = returnByValue
            self.awaitPromise = awaitPromise
        }
    }

    /// What a script came to.
    public struct Evaluation: DevToolsAnswer {
        /// Its value as JSON, untouched, when it was asked for by value and is no `undefined`.
        public var value: JSONSlice?
        /// Such as `object`, `string`, `undefined`.
        public var type: String
        /// Such as `node`, `null`, `promise`.
        public var subtype: String?
        public var objectId: String?
        /// What it threw, when it did.
        public var exception: Exception?

        public init(json: JSONSlice) throws {
            struct Parts: Decodable {
                struct Result: Decodable {
                    var type: String
                    var subtype: String?
                    var objectId: String?
                }
                var result: Result
                var exceptionDetails: Exception?
            }
            let parts = try json.decode(Parts.self)
            type = parts.result.type
            subtype = parts.result.subtype
            objectId = parts.result.objectId
            exception = parts.exceptionDetails
            value = json["result"]?["value"]
        }
    }

    public struct Exception: Decodable, Sendable {
        struct Thrown: Decodable {
            var description: String?
            var value: ThrownText?
        }
        /// Such as `Uncaught`.
        public var text: String
        /// From 0.
        public var lineNumber: Int
        public var columnNumber: Int
        public var url: String?
        var exception: Thrown?

        /// Its own words, with its stack when it is an `Error`.
        public var message: String { exception?.description ?? exception?.value?.text ?? text }
    }

    /// A thrown string; anything else has a description.
    struct ThrownText: Decodable {
        var text: String?
        init(from decoder: any Decoder) throws { text = try? decoder.singleValueContainer().decode(String.self) }
        // `try?`: a thrown number or object is simply no string.
    }

    public struct ConsoleAPICalled: DevToolsEvent {
        public static let method = "Runtime.consoleAPICalled"
        /// `log`, `error`, `warning` and others.
        public var type: String
        public var args: [RemoteObject]
        public var timestamp: Double
    }

    public struct ExceptionThrown: DevToolsEvent {
        public static let method = "Runtime.exceptionThrown"
        public var timestamp: Double
        public var exceptionDetails: Exception
    }

    public struct RemoteObject: Decodable, Sendable {
        public var type: String
        public var subtype: String?
        public var description: String?
        /// The value, when it is text.
        public var text: String?

        private enum Keys: String, CodingKey { case type, subtype, description, value }

        public init(from decoder: any Decoder) throws {
            let members = try decoder.container(keyedBy: Keys.self)
            type = try members.decode(String.self, forKey: .type)
            subtype = try members.decodeIfPresent(String.self, forKey: .subtype)
            description = try members.decodeIfPresent(String.self, forKey: .description)
            text = type == "string" ? try members.decodeIfPresent(String.self, forKey: .value) : nil
        }
    }
}

/// What the browser itself says about a page.
public enum Log {
    public struct Enable: DevToolsCommand {
        public static let method = "Log.enable"
        public typealias Answer = NoAnswer
        public init() {}
    }

    public struct EntryAdded: DevToolsEvent {
        public static let method = "Log.entryAdded"
        public var entry: Entry
        public struct Entry: Decodable, Sendable {
            public var source: String
            /// `verbose`, `info`, `warning` or `error`.
            public var level: String
            public var text: String
            public var url: String?
            public var timestamp: Double
        }
    }
}

import DevTools

/// What is evaluated in a page: https://chromedevtools.github.io/devtools-protocol/tot/Runtime/.
enum RuntimeDomain {
    struct Enable: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Runtime.enable"
    }

    struct Evaluate: DevToolsCommand {
        typealias Answer = Evaluated
        static let method = "Runtime.evaluate"
        var expression: String
        /// The page's own world when nil.
        var contextId: Int?
        var returnByValue: Bool
        var awaitPromise = true
        /// As if a person had asked for it, which some of the browser's functions want.
        var userGesture = true
    }

    struct CallFunction: DevToolsCommand {
        typealias Answer = Evaluated
        static let method = "Runtime.callFunctionOn"
        var functionDeclaration: String
        /// What `this` is.
        var objectId: String
        var arguments: [Argument]
        var returnByValue: Bool
        var awaitPromise = true

        /// - Parameter function: of the object of `Page.js`.
        init(_ function: String, of object: String, _ arguments: [Argument], returnByValue: Bool) {
            functionDeclaration = "function(...all) { return this.\(function)(...all) }"
            objectId = object
            self.arguments = arguments
            self.returnByValue = returnByValue
        }
    }

    struct Argument: Encodable, Sendable {
        let value: Value

        enum Value: Encodable, Sendable {
            case text(String)
            case integer(Int)
            case boolean(Bool)
            case texts([String])
            case flags([String: Bool])

            func encode(to encoder: any Encoder) throws {
                var container = encoder.singleValueContainer()
                switch self {
                case .text(let value): try container.encode(value)
                case .integer(let value): try container.encode(value)
                case .boolean(let value): try container.encode(value)
                case .texts(let value): try container.encode(value)
                case .flags(let value): try container.encode(value)
                }
            }
        }

        static func text(_ value: String) -> Argument { Argument(value: .text(value)) }
        static func integer(_ value: Int) -> Argument { Argument(value: .integer(value)) }
        static func texts(_ value: [String]) -> Argument { Argument(value: .texts(value)) }
        static func flags(_ value: [String: Bool]) -> Argument { Argument(value: .flags(value)) }
    }

    /// A value, or the exception that came in its place.
    struct Evaluated: DevToolsAnswer {
        /// The value as it came; nil for `undefined`.
        let value: JSONSlice?
        /// What JSON has no way to write, such as `NaN`, `-0` or `12n`.
        let unserializable: String?
        let objectId: String?
        let exception: String?

        init(json: JSONSlice) throws {
            exception = try json["exceptionDetails"].map { try $0.decode(ExceptionDetails.self).words }
            let result = json["result"]
            value = result?["value"]
            unserializable = try result?["unserializableValue"]?.decode(String.self)
            objectId = try result?["objectId"]?.decode(String.self)
        }
    }

    struct ExceptionDetails: Decodable, Sendable {
        var text: String
        var exception: Thrown?

        struct Thrown: Decodable, Sendable {
            var description: String?
            var value: Scalar?
        }

        /// What may be thrown beside errors, as far as it is worth telling.
        enum Scalar: Decodable, Sendable {
            case text(String)
            case other

            init(from decoder: any Decoder) throws {
                // Whatever is no text is of no interest here.
                self = (try? decoder.singleValueContainer().decode(String.self)).map { .text($0) } ?? .other
            }
        }

        /// The first line, without the stack.
        var words: String {
            if let description = exception?.description {
                return String(description.prefix { !$0.isNewline }.prefix(PageReport.textCharactersMax))
            }
            if case .text(let thrown) = exception?.value {
                return "\(text) \(thrown.prefix(PageReport.textCharactersMax))"
            }
            return String(text.prefix(PageReport.textCharactersMax))
        }
    }

    // MARK: Events

    /// A world in which scripts run has come to be.
    struct ContextCreated: DevToolsEvent {
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

    struct ExceptionThrown: DevToolsEvent {
        static let method = "Runtime.exceptionThrown"
        var exceptionDetails: ExceptionDetails
    }

    struct ConsoleAPICalled: DevToolsEvent {
        static let method = "Runtime.consoleAPICalled"
        var type: String
        var args: [Argument]

        struct Argument: Decodable, Sendable {
            var description: String?
            var value: ExceptionDetails.Scalar?
        }

        var words: String {
            args.map { argument in
                if case .text(let text) = argument.value { return text }
                return argument.description ?? "…"
            }.joined(separator: " ")
        }
    }

    /// What the browser itself writes to the console, such as of a picture that cannot be loaded.
    struct LogEntryAdded: DevToolsEvent {
        static let method = "Log.entryAdded"
        var entry: Entry

        struct Entry: Decodable, Sendable {
            var level: String
            var text: String
            var url: String?
        }
    }
}

enum LogDomain {
    struct Enable: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Log.enable"
    }
}

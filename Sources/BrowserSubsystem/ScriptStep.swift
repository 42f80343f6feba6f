import FleetModel

/// One step of a script: `{"do": "click", "selector": "#send"}`.
public struct ScriptStep: Codable, Sendable, Hashable {
    public enum Action: Sendable, Hashable {
        /// Opens a page.
        case goto(url: String, until: VisitParameters.Moment, selector: String?)
        /// Moves the mouse onto the element's middle and presses; `count` 2 is a double click.
        case click(selector: String, count: Int)
        /// Clicks the element and types, key by key; a line break is the Enter key.
        case type(selector: String, text: String, clear: Bool)
        /// Presses a key, or keys together as in `Control+A`; at the element that has the focus, or at this one.
        case press(key: String, selector: String?)
        /// Chooses options of a `<select>`, by value or by what they show.
        case select(selector: String, values: [String])
        /// Brings the element into view, or turns the mouse's wheel by so many pixels.
        case scroll(Scroll)
        case wait(Wait)
        /// Evaluates JavaScript in the page.
        case evaluate(expression: String)
        case screenshot(ScreenshotWish)
        case pdf(PDFWish)
        /// Gives files from allowed roots to an `<input type=file>`.
        case upload(selector: String, files: [String])
    }

    public enum Scroll: Sendable, Hashable {
        case to(selector: String)
        case by(x: Int, y: Int)
    }

    public enum Wait: Sendable, Hashable {
        case selector(String, ElementState)
        /// Until the page shows this text.
        case text(String)
        case milliseconds(Int)
    }

    /// What is waited for.
    public enum ElementState: String, Codable, Sendable, CaseIterable {
        /// It takes up room and is not hidden.
        case visible
        /// It is in the document.
        case attached
        /// There is none, or it cannot be seen.
        case hidden
    }

    public var action: Action
    /// A CSS selector of the `<iframe>` that the step's selectors and expression are meant in; the page itself when absent.
    public var frame: String?
    /// As of the script when absent.
    public var timeoutMilliseconds: Int?

    public init(_ action: Action, frame: String? = nil, timeoutMilliseconds: Int? = nil) {
        self.action = action
        self.frame = frame
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    static let textBytesMax = 10_000
    static let filesMax = 100
    static let valuesMax = 1_000
    static let pixelsMax = 1_000_000
    static let waitMillisecondsMax = 600_000

    func validate(_ name: String) throws(InvalidParameters) {
        try PageScript.check(selector: frame, "\(name).frame")
        if let timeoutMilliseconds, !(1...ScriptParameters.timeoutMillisecondsMax).contains(timeoutMilliseconds) {
            throw InvalidParameters(
                "'\(name).timeout_ms' must be from 1 to \(ScriptParameters.timeoutMillisecondsMax)")
        }
        for selector in action.selectors { try PageScript.check(selector: selector, "\(name).selector") }
        switch action {
        case .goto(let url, let until, let selector):
            try PageURL.check(url, "\(name).url")
            if frame != nil { throw InvalidParameters("'\(name).frame' is not used by goto; leave it out") }
            if (until == .selector) != (selector != nil) {
                throw InvalidParameters("'\(name).selector' belongs to 'wait_until' selector, and that to it")
            }
        case .click(_, let count):
            if !(1...3).contains(count) { throw InvalidParameters("'\(name).count' must be from 1 to 3") }
        case .type(_, let text, _):
            if text.utf8.count > Self.textBytesMax {
                throw InvalidParameters("'\(name).text' has \(text.utf8.count) bytes, at most \(Self.textBytesMax)")
            }
        case .press(let key, _):
            if KeyStroke(key) == nil {
                throw InvalidParameters(
                    "'\(name).key' is '\(key.prefix(40))'; write a character, or a name as Enter, ArrowDown, Control+A")
            }
        case .select(_, let values):
            if values.count > Self.valuesMax {
                throw InvalidParameters("'\(name).values' has \(values.count) members, at most \(Self.valuesMax)")
            }
        case .scroll(.by(let x, let y)):
            let bounds = -Self.pixelsMax...Self.pixelsMax
            if !bounds.contains(x) || !bounds.contains(y) {
                throw InvalidParameters("'\(name)' scrolls by more than \(Self.pixelsMax) pixels")
            }
        case .scroll(.to), .wait(.selector): break
        case .wait(.text(let text)):
            if text.isEmpty || text.utf8.count > Self.textBytesMax {
                throw InvalidParameters("'\(name).text' must have 1 to \(Self.textBytesMax) bytes")
            }
        case .wait(.milliseconds(let milliseconds)):
            if !(0...Self.waitMillisecondsMax).contains(milliseconds) {
                throw InvalidParameters("'\(name).ms' must be from 0 to \(Self.waitMillisecondsMax)")
            }
        case .evaluate(let expression): try PageScript.check(expression: expression, "\(name).expression")
        case .screenshot(let wish): try wish.validate(name)
        case .pdf(let wish): try wish.validate(name)
        case .upload(_, let files):
            guard (1...Self.filesMax).contains(files.count) else {
                throw InvalidParameters("'\(name).files' must have 1 to \(Self.filesMax) members")
            }
            for file in files { try FilePlace.check(file, "\(name).files") }
        }
    }
}

extension ScriptStep.Action {
    /// Whether it may have changed something outside of the browser once it has begun. To open a page does not count, as
    /// it does not for a visit.
    var mayHaveEffect: Bool {
        switch self {
        case .click, .type, .press, .select, .evaluate, .upload: true
        case .goto, .scroll, .wait, .screenshot, .pdf: false
        }
    }

    var selectors: [String] {
        switch self {
        case .goto(_, _, let selector), .press(_, let selector): selector.map { [$0] } ?? []
        case .click(let selector, _), .type(let selector, _, _), .select(let selector, _), .upload(let selector, _),
            .scroll(.to(let selector)), .wait(.selector(let selector, _)):
            [selector]
        case .scroll(.by), .wait, .evaluate, .screenshot, .pdf: []
        }
    }

    /// The file that it writes, when the job names one.
    var file: String? {
        switch self {
        case .screenshot(let wish): wish.file
        case .pdf(let wish): wish.file
        default: nil
        }
    }

    /// For a person who wants to know which step it is. What is typed may be a secret, and is left out.
    var words: String {
        switch self {
        case .goto(let url, _, _): "goto \(url.prefix { $0 != "?" && $0 != "#" }.prefix(120))"
        case .scroll(.by(let x, let y)): "scroll by \(x), \(y)"
        case .wait(.text(let text)): "wait for '\(text.prefix(60))'"
        case .wait(.milliseconds(let milliseconds)): "wait \(milliseconds) ms"
        case .press(let key, let selector):
            key.count > 1 ? "press \(key)" + (selector.map { " at \($0.prefix(80))" } ?? "") : "press a key"
        default: ([kind.rawValue] + selectors.map { String($0.prefix(80)) }).joined(separator: " ")
        }
    }
}

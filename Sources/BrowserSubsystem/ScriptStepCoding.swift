import FleetModel

/// Steps as they are written: the member `do` names the action, and the others are that action's.
extension ScriptStep {
    enum Kind: String, Codable, CaseIterable {
        case goto, click, type, press, select, scroll, wait, evaluate, screenshot, pdf, upload
    }

    private enum CodingKeys: String, CodingKey {
        case kind = "do"
        case url, selector, count, text, clear, key, values, x, y, state, expression, files, file, paper, landscape
        case background, frame
        case milliseconds = "ms"
        case waitUntil = "wait_until"
        case fullPage = "full_page"
        case timeoutMilliseconds = "timeout_ms"
    }

    static let schema = JSONSchema.object(
        ScriptStep.members.merging(ScreenshotWish.members) { mine, _ in mine }.merging(PDFWish.members) { mine, _ in
            mine
        },
        required: ["do"])

    private static let members: [String: JSONSchema] = [
        "do": .string(
            description: "the action; it says which of the other members count", values: Kind.allCases.map(\.rawValue)),
        "frame": .string(description: "a CSS selector of the iframe in which the step is meant"),
        "timeout_ms": .integer(
            description: "for this step; step_timeout_ms when absent", min: 1,
            max: ScriptParameters.timeoutMillisecondsMax),
        "url": .string(description: "goto: http:// or https://", format: "uri", lengthMax: PageURL.bytesMax),
        "wait_until": .string(
            description: "goto: when the page counts as there; load when absent, selector when one is given",
            values: VisitParameters.Moment.allCases.map(\.rawValue)),
        "selector": .string(
            description: "a CSS selector of the element; press, scroll, wait and goto may do without",
            lengthMax: PageScript.selectorBytesMax),
        "count": .integer(description: "click: 2 for a double click; 1 when absent", min: 1, max: 3),
        "text": .string(
            description: "type: what is typed, key by key; wait: what the page must show", lengthMax: textBytesMax),
        "clear": .boolean(description: "type: whether what is there is removed first"),
        "key": .string(description: "press: a character, or a name as Enter, ArrowDown, Control+A"),
        "values": .array(of: .string(), description: "select: values of the options, or what they show"),
        "x": .integer(description: "scroll: pixels to the right", min: -pixelsMax, max: pixelsMax),
        "y": .integer(description: "scroll: pixels down", min: -pixelsMax, max: pixelsMax),
        "state": .string(
            description: "wait: what the element must be; visible when absent",
            values: ElementState.allCases.map(\.rawValue)),
        "ms": .integer(description: "wait: so long", min: 0, max: waitMillisecondsMax),
        "expression": .string(
            description: "evaluate: JavaScript; a promise is awaited, the value must be JSON",
            lengthMax: PageScript.expressionBytesMax),
        "files": .array(of: .string(), description: "upload: files beneath a root, as data:in/report.csv"),
    ]

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        func text(_ key: CodingKeys) throws -> String { try container.decode(String.self, forKey: key) }
        func maybe(_ key: CodingKeys) throws -> String? { try container.decodeIfPresent(String.self, forKey: key) }
        func number(_ key: CodingKeys) throws -> Int? { try container.decodeIfPresent(Int.self, forKey: key) }

        frame = try maybe(.frame)
        timeoutMilliseconds = try number(.timeoutMilliseconds)
        switch try container.decode(Kind.self, forKey: .kind) {
        case .goto:
            let selector = try maybe(.selector)
            let until = try container.decodeIfPresent(VisitParameters.Moment.self, forKey: .waitUntil)
            action = .goto(
                url: try text(.url), until: until ?? (selector == nil ? .load : .selector), selector: selector)
        case .click: action = .click(selector: try text(.selector), count: try number(.count) ?? 1)
        case .type:
            action = .type(
                selector: try text(.selector), text: try text(.text),
                clear: try container.decodeIfPresent(Bool.self, forKey: .clear) ?? false)
        case .press: action = .press(key: try text(.key), selector: try maybe(.selector))
        case .select:
            action = .select(
                selector: try text(.selector), values: try container.decode([String].self, forKey: .values))
        case .scroll:
            let (selector, x, y) = (try maybe(.selector), try number(.x), try number(.y))
            guard (selector == nil) != (x == nil && y == nil) else {
                throw InvalidParameters("'steps': a scroll needs either 'selector', or 'x' and 'y'")
            }
            action = .scroll(selector.map { .to(selector: $0) } ?? .by(x: x ?? 0, y: y ?? 0))
        case .wait:
            action = .wait(
                try Self.wait(
                    selector: try maybe(.selector),
                    state: try container.decodeIfPresent(ElementState.self, forKey: .state), text: try maybe(.text),
                    milliseconds: try number(.milliseconds)))
        case .evaluate: action = .evaluate(expression: try text(.expression))
        case .screenshot: action = .screenshot(try ScreenshotWish(from: decoder))
        case .pdf: action = .pdf(try PDFWish(from: decoder))
        case .upload:
            action = .upload(
                selector: try text(.selector), files: try container.decode([String].self, forKey: .files))
        }
    }

    private static func wait(
        selector: String?, state: ElementState?, text: String?, milliseconds: Int?
    ) throws(InvalidParameters) -> Wait {
        switch (selector, text, milliseconds) {
        case (let selector?, nil, nil): return .selector(selector, state ?? .visible)
        case (nil, let text?, nil) where state == nil: return .text(text)
        case (nil, nil, let milliseconds?) where state == nil: return .milliseconds(milliseconds)
        default:
            throw InvalidParameters(
                "'steps': a wait needs one of 'selector' (with or without 'state'), 'text' and 'ms'")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(action.kind, forKey: .kind)
        try container.encodeIfPresent(frame, forKey: .frame)
        try container.encodeIfPresent(timeoutMilliseconds, forKey: .timeoutMilliseconds)
        switch action {
        case .goto(let url, let until, let selector):
            try container.encode(url, forKey: .url)
            try container.encode(until, forKey: .waitUntil)
            try container.encodeIfPresent(selector, forKey: .selector)
        case .click(let selector, let count):
            try container.encode(selector, forKey: .selector)
            try container.encode(count, forKey: .count)
        case .type(let selector, let text, let clear):
            try container.encode(selector, forKey: .selector)
            try container.encode(text, forKey: .text)
            try container.encode(clear, forKey: .clear)
        case .press(let key, let selector):
            try container.encode(key, forKey: .key)
            try container.encodeIfPresent(selector, forKey: .selector)
        case .select(let selector, let values):
            try container.encode(selector, forKey: .selector)
            try container.encode(values, forKey: .values)
        case .scroll(.to(let selector)): try container.encode(selector, forKey: .selector)
        case .scroll(.by(let x, let y)):
            try container.encode(x, forKey: .x)
            try container.encode(y, forKey: .y)
        case .wait(.selector(let selector, let state)):
            try container.encode(selector, forKey: .selector)
            try container.encode(state, forKey: .state)
        case .wait(.text(let text)): try container.encode(text, forKey: .text)
        case .wait(.milliseconds(let milliseconds)): try container.encode(milliseconds, forKey: .milliseconds)
        case .evaluate(let expression): try container.encode(expression, forKey: .expression)
        case .screenshot(let wish): try wish.encode(to: encoder)
        case .pdf(let wish): try wish.encode(to: encoder)
        case .upload(let selector, let files):
            try container.encode(selector, forKey: .selector)
            try container.encode(files, forKey: .files)
        }
    }
}

extension ScriptStep.Action {
    var kind: ScriptStep.Kind {
        switch self {
        case .goto: .goto
        case .click: .click
        case .type: .type
        case .press: .press
        case .select: .select
        case .scroll: .scroll
        case .wait: .wait
        case .evaluate: .evaluate
        case .screenshot: .screenshot
        case .pdf: .pdf
        case .upload: .upload
        }
    }
}

import DevTools
import FleetModel

/// Elements of a page: waiting for them, and acting on them as a person would.
extension OpenPage {
    struct Point: Sendable {
        var x: Double
        var y: Double
        /// Whether a click there is to have a file saved.
        var saves = false
    }

    /// What an element must be before it is acted on.
    struct Need: Sendable {
        var isEnabled = true
        var isHit = true

        static let click = Need()
        static let input = Need(isHit: false)
        static let view = Need(isEnabled: false, isHit: false)
    }

    /// The answer of a function that waits: what it waited for, or why that did not come.
    private struct Readiness: Decodable {
        var x: Double?
        var y: Double?
        var saves: Bool?
        var why: String?
        var by: String?
    }

    /// Time that an answer of a page may take to get here, once the page itself has waited as long as it was to.
    private static let answerGrace = Duration.seconds(5)

    /// The frame that an `<iframe>` holds; the page itself when nil.
    func frame(_ selector: String?, _ deadline: Deadline) async throws -> Frame {
        guard let selector else { return top }
        try await wait(for: selector, .attached, in: top, deadline)
        guard let object = try await element(selector, in: top, deadline),
            let id = try await send(DescribeNode(objectId: object), deadline).node.frameId
        else {
            throw JobFailure(
                .permanent, code: "browser.no-frame", message: "'\(selector.prefix(80))' is no iframe; it holds no page"
            )
        }
        let frame = Frame(id: id, selector: selector)
        // Brought into view, since what cannot be seen in the page cannot be clicked in it.
        _ = try await origin(of: frame, scrolls: true, deadline)
        return frame
    }

    /// Where a frame's content begins in the viewport of the page, as it is now.
    private func origin(of frame: Frame, scrolls: Bool, _ deadline: Deadline) async throws -> Point {
        guard let selector = frame.selector else { return Point(x: 0, y: 0) }
        let offset = try await call(
            "frameOffset", [.text(selector), .flags(["scrolls": scrolls])], in: top, as: Offset.self, deadline)
        return Point(x: offset.x, y: offset.y)
    }

    private struct Offset: Decodable {
        var x: Double
        var y: Double
    }

    /// Waits until an element is as wanted.
    func wait(
        for selector: String, _ state: ScriptStep.ElementState, in frame: Frame, _ deadline: Deadline
    ) async throws {
        let answer = try await waiting("state", [.text(selector), .text(state.rawValue)], in: frame, deadline)
        if let why = answer.why { throw Self.failure(selector, why, answer.by, deadline) }
    }

    func wait(forText text: String, in frame: Frame, _ deadline: Deadline) async throws {
        let answer = try await waiting("shows", [.text(text)], in: frame, deadline)
        if answer.why != nil { throw deadline.timeout("the page does not show '\(text.prefix(80))'") }
    }

    /// Waits until an element can be acted on, brings it into view, and tells where its middle is.
    func ready(_ selector: String, _ need: Need, in frame: Frame, _ deadline: Deadline) async throws -> Point {
        let answer = try await waiting(
            "ready", [.text(selector), .flags(["enabled": need.isEnabled, "hit": need.isHit])], in: frame, deadline)
        guard let x = answer.x, let y = answer.y else {
            throw Self.failure(selector, answer.why ?? "missing", answer.by, deadline)
        }
        // Afterwards, since bringing an element into view may have moved its frame.
        let origin = try await origin(of: frame, scrolls: false, deadline)
        return Point(x: origin.x + x, y: origin.y + y, saves: answer.saves ?? false)
    }

    /// Calls a function that waits in the page for as long as there is time, across changes of the document.
    private func waiting(
        _ function: String, _ arguments: [CallPageScript.Argument], in frame: Frame, _ deadline: Deadline
    ) async throws -> Readiness {
        while true {
            // In pieces, so that a call that a change of the document ended is begun anew with the time that is left.
            let piece = min(try deadline.remaining(), .seconds(5))
            let answer = try await call(
                function, arguments + [.integer(Int(piece / .milliseconds(1)))], in: frame, as: Readiness.self,
                deadline.extended(by: Self.answerGrace))
            // What is left is too little to look again, and the reason would be lost.
            if answer.why == nil || deadline.instant - .now < .milliseconds(50) { return answer }
        }
    }

    private static func failure(_ selector: String, _ why: String, _ by: String?, _ deadline: Deadline) -> JobFailure {
        let name = "'\(selector.prefix(120))'"
        let words =
            switch why {
            case "missing": "there is no element \(name)"
            case "hidden": "\(name) cannot be seen"
            case "visible": "\(name) can still be seen"
            case "disabled": "\(name) takes no input (it is disabled)"
            case "moving": "\(name) does not come to rest"
            case "covered": "\(name) is covered by \(by ?? "something")"
            default: "\(name): \(why)"
            }
        return JobFailure(
            .transient, code: why == "missing" ? "browser.no-element" : "browser.not-ready",
            message: "\(words); waited \(deadline.limit)")
    }

    // MARK: Acting

    /// Clicks an element, and nothing else: when the page has put something in its place on the mouse's way there, the press
    /// comes to nothing, and the element is waited for once more.
    ///
    /// - Parameters:
    ///   - point: where ``ready(_:_:in:_:)`` has found it.
    ///   - count: 2 for a double click.
    func click(
        _ selector: String, at point: Point, count: Int = 1, in frame: Frame, _ deadline: Deadline
    ) async throws {
        var point = point
        var misses = 0
        do {
            while try await press(selector, at: point, in: frame, deadline) == .missed {
                misses += 1
                _ = try await call("endGuard", [], in: frame, as: Bool.self, deadline)
                point = try await ready(selector, .click, in: frame, deadline)
            }
        } catch  where misses > 0 && deadline.isOver {
            throw Self.failure(selector, "moving", nil, deadline)
        }
        for number in 1..<count {
            try await mouse(.mousePressed, at: point, count: number + 1, deadline)
            try await mouse(.mouseReleased, at: point, count: number + 1, deadline)
        }
    }

    private enum Press { case arrived, missed }

    /// Moves the mouse, presses and releases.
    private func press(
        _ selector: String, at point: Point, in frame: Frame, _ deadline: Deadline
    ) async throws -> Press {
        _ = try await call("guard", [.text(selector)], in: frame, as: Bool.self, deadline)
        try await mouse(.mouseMoved, at: point, count: 0, deadline)
        try await mouse(.mousePressed, at: point, count: 1, deadline)
        // Now, since the release may lead to another page.
        let isMissed = try await call("isMissed", [], in: frame, as: Bool.self, deadline)
        try await mouse(.mouseReleased, at: point, count: 1, deadline)
        return isMissed ? .missed : .arrived
    }

    private func mouse(
        _ kind: Input.DispatchMouseEvent.Kind, at point: Point, count: Int, _ deadline: Deadline
    ) async throws {
        let button: Input.DispatchMouseEvent.Button = kind == .mouseMoved ? .none : .left
        let event = Input.DispatchMouseEvent(kind, x: point.x, y: point.y, button: button, clickCount: count)
        try await send(event, deadline)
    }

    /// Removes what a field holds, as a person does who selects all of it.
    func clear(_ selector: String, in frame: Frame, _ deadline: Deadline) async throws {
        let hasContent = try await call(
            "selectAll", [.text(selector)], in: frame, as: Bool.self, isRepeatable: false, deadline)
        if hasContent, let stroke = KeyStroke("Delete") { try await press(stroke, deadline) }
    }

    /// Types into what has the focus, key by key.
    func type(_ text: String, _ deadline: Deadline) async throws {
        for character in text {
            if let stroke = KeyStroke(typing: character) {
                try await press(stroke, deadline)
            } else {
                try await send(Input.InsertText(text: String(character)), deadline)
            }
        }
    }

    func press(_ stroke: KeyStroke, _ deadline: Deadline) async throws {
        try await key(stroke.text == nil ? .rawKeyDown : .keyDown, stroke, stroke.text, deadline)
        try await key(.keyUp, stroke, nil, deadline)
    }

    private func key(
        _ kind: Input.DispatchKeyEvent.Kind, _ stroke: KeyStroke, _ text: String?, _ deadline: Deadline
    ) async throws {
        var event = Input.DispatchKeyEvent(
            kind, key: stroke.key, code: stroke.code, text: text, modifiers: stroke.modifiers.rawValue,
            windowsVirtualKeyCode: stroke.number)
        if kind != .keyUp { event.commands = stroke.commands }
        try await send(event, deadline)
    }

    func focus(_ selector: String, in frame: Frame, _ deadline: Deadline) async throws {
        let isFocused = try await call(
            "focus", [.text(selector)], in: frame, as: Bool.self, isRepeatable: false, deadline)
        guard isFocused else {
            throw JobFailure(
                .permanent, code: "browser.no-focus", message: "'\(selector.prefix(80))' cannot have the focus")
        }
    }

    private struct Choice: Decodable {
        var values: [String]?
        var why: String?
        var missing: String?
    }

    /// - Returns: the values of the options that are chosen now.
    func choose(
        _ values: [String], in selector: String, in frame: Frame, _ deadline: Deadline
    ) async throws -> [String] {
        let choice = try await call(
            "choose", [.text(selector), .texts(values)], in: frame, as: Choice.self, isRepeatable: false, deadline)
        if let values = choice.values { return values }
        let words =
            switch choice.why {
            case "no-select": "is no <select>"
            case "not-multiple": "takes exactly one option"
            default: "has no option '\(choice.missing?.prefix(80) ?? "")' that can be chosen"
            }
        throw JobFailure(
            .permanent, code: "browser.no-option", message: "'\(selector.prefix(80))' \(words)")
    }

    /// Turns the mouse's wheel, and waits until what it moves is at rest.
    func scroll(x: Int, y: Int, in frame: Frame, _ deadline: Deadline) async throws {
        let origin = try await origin(of: frame, scrolls: false, deadline)
        var wheel = Input.DispatchMouseEvent(.mouseWheel, x: origin.x + 1, y: origin.y + 1)
        (wheel.deltaX, wheel.deltaY) = (Double(x), Double(y))
        try await send(wheel, deadline)
        let patience = min(try deadline.remaining(), Self.scrollMax)
        let _: Readiness = try await call(
            "scrolled", [.integer(Int(patience / .milliseconds(1)))], in: frame, as: Readiness.self, deadline)
    }

    /// A page that scrolls by itself is not waited for any longer.
    private static let scrollMax = Duration.seconds(2)

    /// - Parameter files: absolute paths, which the browser reads.
    func upload(_ files: [String], to selector: String, in frame: Frame, _ deadline: Deadline) async throws {
        guard let object = try await element(selector, in: frame, deadline) else {
            throw Self.failure(selector, "missing", nil, deadline)
        }
        do {
            try await send(DOM.SetFileInputFiles(files: files, objectId: object), deadline)
        } catch let error as DevToolsError {
            guard case .refused(_, let message) = error.reason else { throw error }
            throw JobFailure(
                .permanent, code: "browser.no-file-input",
                message: "'\(selector.prefix(80))' takes no files: \(message)")
        }
    }
}

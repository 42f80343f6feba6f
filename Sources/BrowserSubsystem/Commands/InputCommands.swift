import DevTools

/// Input as a person gives it: https://chromedevtools.github.io/devtools-protocol/tot/Input/. Pages see it as trusted.
enum InputDomain {
    struct DispatchMouseEvent: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Input.dispatchMouseEvent"
        /// `mouseMoved`, `mousePressed`, `mouseReleased` or `mouseWheel`.
        var type: String
        /// CSS pixels in the viewport of the whole page.
        var x: Double
        var y: Double
        var button: String?
        /// Which buttons are down, as a sum: 1 is the left one.
        var buttons: Int?
        var clickCount: Int?
        var deltaX: Double?
        var deltaY: Double?
    }

    struct DispatchKeyEvent: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Input.dispatchKeyEvent"
        /// `keyDown` for a key that enters something, `rawKeyDown` for another, `keyUp`.
        var type: String
        var modifiers: Int
        var key: String
        var code: String
        var windowsVirtualKeyCode: Int
        var text: String?
        var commands: [String]?

        static func down(_ stroke: KeyStroke) -> DispatchKeyEvent {
            DispatchKeyEvent(
                type: stroke.text == nil ? "rawKeyDown" : "keyDown", modifiers: stroke.modifiers.rawValue,
                key: stroke.key, code: stroke.code, windowsVirtualKeyCode: stroke.number, text: stroke.text,
                commands: stroke.commands.isEmpty ? nil : stroke.commands)
        }

        static func up(_ stroke: KeyStroke) -> DispatchKeyEvent {
            DispatchKeyEvent(
                type: "keyUp", modifiers: stroke.modifiers.rawValue, key: stroke.key, code: stroke.code,
                windowsVirtualKeyCode: stroke.number)
        }
    }

    /// For characters that no key enters.
    struct InsertText: DevToolsCommand {
        typealias Answer = NoAnswer
        static let method = "Input.insertText"
        var text: String
    }
}

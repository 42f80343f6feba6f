/// Mouse and keyboard. To be sent to a page's session.
public enum Input {
    public struct DispatchMouseEvent: DevToolsCommand {
        public static let method = "Input.dispatchMouseEvent"
        public typealias Answer = NoAnswer
        public enum Kind: String, Encodable, Sendable { case mousePressed, mouseReleased, mouseMoved, mouseWheel }
        public enum Button: String, Encodable, Sendable { case none, left, middle, right }
        public var type: Kind
        /// In CSS pixels, from the viewport's upper left corner.
        public var x: Double
        public var y: Double
        public var button: Button?
        public var clickCount: Int?
        public var deltaX: Double?
        public var deltaY: Double?
        public init(_ type: Kind, x: Double, y: Double, button: Button? = nil, clickCount: Int? = nil) {
            self.type = type
            self.x = x
            self.y = y
            self.button = button
            self.clickCount = clickCount
        }
    }

    public struct DispatchKeyEvent: DevToolsCommand {
        public static let method = "Input.dispatchKeyEvent"
        public typealias Answer = NoAnswer
        public enum Kind: String, Encodable, Sendable { case keyDown, keyUp, rawKeyDown, char }
        public var type: Kind
        /// A sum of 1 (alt), 2 (control), 4 (meta) and 8 (shift).
        public var modifiers: Int?
        public var text: String?
        /// Such as `Enter`, `a`.
        public var key: String?
        /// The place on the keyboard, such as `KeyA`.
        public var code: String?
        public var windowsVirtualKeyCode: Int?
        /// What an editor is to do, such as `selectAll`, where that comes from the window system, not from the page.
        public var commands: [String]?
        public init(
            _ type: Kind, key: String? = nil, code: String? = nil, text: String? = nil, modifiers: Int? = nil,
            windowsVirtualKeyCode: Int? = nil
        ) {
            self.type = type
            self.key = key
            self.code = code
            self.text = text
            self.modifiers = modifiers
            self.windowsVirtualKeyCode = windowsVirtualKeyCode
        }
    }

    public struct InsertText: DevToolsCommand {
        public static let method = "Input.insertText"
        public typealias Answer = NoAnswer
        public var text: String
        public init(text: String) { self.text = text }
    }
}

/// The elements of a page. To be sent to a page's session.
public enum DOM {
    public struct SetFileInputFiles: DevToolsCommand {
        public static let method = "DOM.setFileInputFiles"
        public typealias Answer = NoAnswer
        public var files: [String]
        public var objectId: String
        public init(files: [String], objectId: String) {
            self.files = files
            self.objectId = objectId
        }
    }

    public struct ScrollIntoViewIfNeeded: DevToolsCommand {
        public static let method = "DOM.scrollIntoViewIfNeeded"
        public typealias Answer = NoAnswer
        public var objectId: String
        public init(objectId: String) { self.objectId = objectId }
    }

    public struct GetContentQuads: DevToolsCommand {
        public static let method = "DOM.getContentQuads"
        public struct Answer: DevToolsAnswer, Decodable {
            /// Each of four corners, x and y in turn, in CSS pixels of the viewport.
            public var quads: [[Double]]
        }
        public var objectId: String
        public init(objectId: String) { self.objectId = objectId }
    }
}

/// What a page is told of its surroundings. To be sent to a page's session.
public enum Emulation {
    public struct SetDeviceMetricsOverride: DevToolsCommand {
        public static let method = "Emulation.setDeviceMetricsOverride"
        public typealias Answer = NoAnswer
        public var width: Int
        public var height: Int
        public var deviceScaleFactor: Double
        public var mobile: Bool
        public init(width: Int, height: Int, deviceScaleFactor: Double = 1, mobile: Bool = false) {
            self.width = width
            self.height = height
            self.deviceScaleFactor = deviceScaleFactor
            self.mobile = mobile
        }
    }

    public struct SetUserAgentOverride: DevToolsCommand {
        public static let method = "Emulation.setUserAgentOverride"
        public typealias Answer = NoAnswer
        public var userAgent: String
        public var acceptLanguage: String?
        public init(userAgent: String, acceptLanguage: String? = nil) {
            self.userAgent = userAgent
            self.acceptLanguage = acceptLanguage
        }
    }

    public struct SetLocaleOverride: DevToolsCommand {
        public static let method = "Emulation.setLocaleOverride"
        public typealias Answer = NoAnswer
        public var locale: String
        public init(locale: String) { self.locale = locale }
    }

    public struct SetTimezoneOverride: DevToolsCommand {
        public static let method = "Emulation.setTimezoneOverride"
        public typealias Answer = NoAnswer
        public var timezoneId: String
        public init(timezoneId: String) { self.timezoneId = timezoneId }
    }
}

/// A key that is pressed, with those held meanwhile: `a`, `Enter`, `Control+Shift+Tab`.
///
/// Codes are those of a US keyboard, as browsers report them to pages (UI Events, `KeyboardEvent.code`).
struct KeyStroke: Sendable, Hashable {
    struct Modifiers: OptionSet, Sendable, Hashable {
        let rawValue: Int
        // As DevTools numbers them.
        static let alt = Modifiers(rawValue: 1)
        static let control = Modifiers(rawValue: 2)
        static let meta = Modifiers(rawValue: 4)
        static let shift = Modifiers(rawValue: 8)
    }

    /// What the page sees as `event.key`.
    let key: String
    /// What it sees as `event.code`; empty where no key of the keyboard yields the character.
    let code: String
    /// What it sees as `event.keyCode`.
    let number: Int
    /// What the key enters; nothing when nil.
    let text: String?
    let modifiers: Modifiers

    /// - Returns: nil for a name that no key has.
    init?(_ text: String) {
        var modifiers: Modifiers = []
        var rest = Substring(text)
        // A plus sign by itself, or behind another, is the key.
        while let plus = rest.dropFirst().firstIndex(of: "+"), rest.index(after: plus) < rest.endIndex {
            guard let modifier = Self.modifierNames[String(rest[..<plus])] else { return nil }
            modifiers.insert(modifier)
            rest = rest[rest.index(after: plus)...]
        }
        guard let stroke = Self.named(String(rest), modifiers) else { return nil }
        self = stroke
    }

    /// The key that enters a character; nil when no single key does, and it has to be inserted.
    init?(typing character: Character) {
        let name = character == "\n" || character == "\r\n" ? "Enter" : character == "\t" ? "Tab" : String(character)
        guard let stroke = Self.named(name, []), !stroke.code.isEmpty else { return nil }
        self = stroke
    }

    private init(_ key: String, _ code: String, _ number: Int, _ text: String?, _ modifiers: Modifiers) {
        (self.key, self.code, self.number, self.text, self.modifiers) = (key, code, number, text, modifiers)
    }

    private static func named(_ name: String, _ modifiers: Modifiers) -> KeyStroke? {
        if let (number, text) = keys[name] {
            return KeyStroke(name == "Space" ? " " : name, name, number, entered(text, modifiers), modifiers)
        }
        guard name.count == 1, let character = name.first else { return nil }
        guard let scalar = character.unicodeScalars.first, character.isASCII, (0x20..<0x7f).contains(scalar.value)
        else {
            return character.unicodeScalars.allSatisfy { $0.value >= 0x20 }
                ? KeyStroke(name, "", 0, entered(name, modifiers), modifiers) : nil
        }
        let text = entered(name, modifiers)
        switch character {
        case " ": return KeyStroke(" ", "Space", 32, text, modifiers)
        case "0"..."9": return KeyStroke(name, "Digit\(name)", Int(scalar.value), text, modifiers)
        case "a"..."z", "A"..."Z":
            let upper = name.uppercased()
            let number = Int(upper.unicodeScalars.first?.value ?? 0)
            // `Control+A` means the key, as everywhere else where people write so.
            if text == nil {
                let key = modifiers.contains(.shift) ? upper : name.lowercased()
                return KeyStroke(key, "Key\(upper)", number, nil, modifiers)
            }
            return KeyStroke(name, "Key\(upper)", number, text, name == upper ? modifiers.union(.shift) : modifiers)
        default:
            guard let (code, number, isShifted) = signs[character] else { return nil }
            return KeyStroke(name, code, number, text, isShifted ? modifiers.union(.shift) : modifiers)
        }
    }

    /// With Control, Alt or Meta held a key is a command, and enters nothing.
    private static func entered(_ text: String?, _ modifiers: Modifiers) -> String? {
        modifiers.isDisjoint(with: [.alt, .control, .meta]) ? text : nil
    }

    /// What an editor does about it: that comes from the window system, which is not there.
    var commands: [String]? { modifiers == .control ? Self.editing[code].map { [$0] } : nil }

    private static let editing = ["KeyA": "selectAll", "KeyZ": "undo", "KeyY": "redo"]

    private static let modifierNames: [String: Modifiers] = [
        "Alt": .alt, "Control": .control, "Meta": .meta, "Shift": .shift,
    ]

    private static let keys: [String: (number: Int, text: String?)] = [
        "Enter": (13, "\r"), "Tab": (9, nil), "Backspace": (8, nil), "Delete": (46, nil), "Escape": (27, nil),
        "Space": (32, " "), "Insert": (45, nil), "Home": (36, nil), "End": (35, nil), "PageUp": (33, nil),
        "PageDown": (34, nil), "ArrowLeft": (37, nil), "ArrowUp": (38, nil), "ArrowRight": (39, nil),
        "ArrowDown": (40, nil), "F1": (112, nil), "F2": (113, nil), "F3": (114, nil), "F4": (115, nil),
        "F5": (116, nil), "F6": (117, nil), "F7": (118, nil), "F8": (119, nil), "F9": (120, nil), "F10": (121, nil),
        "F11": (122, nil), "F12": (123, nil),
    ]

    private static let signs: [Character: (code: String, number: Int, isShifted: Bool)] = {
        var signs: [Character: (String, Int, Bool)] = [:]
        for (plain, shifted, code, number) in [
            ("`", "~", "Backquote", 192), ("-", "_", "Minus", 189), ("=", "+", "Equal", 187),
            ("[", "{", "BracketLeft", 219), ("]", "}", "BracketRight", 221), ("\\", "|", "Backslash", 220),
            (";", ":", "Semicolon", 186), ("'", "\"", "Quote", 222), (",", "<", "Comma", 188),
            (".", ">", "Period", 190), ("/", "?", "Slash", 191),
        ] as [(Character, Character, String, Int)] {
            signs[plain] = (code, number, false)
            signs[shifted] = (code, number, true)
        }
        for (digit, sign) in zip(0..., ")!@#$%^&*(") { signs[sign] = ("Digit\(digit)", 48 + digit, true) }
        return signs
    }()
}

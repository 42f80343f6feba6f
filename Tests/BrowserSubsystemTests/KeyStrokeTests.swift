import Testing

@testable import BrowserSubsystem

@Suite("Keys")
struct KeyStrokeTests {
    @Test(
        "Names are read with the keys that are held",
        arguments: [
            ("a", "a", "KeyA", 65, "a", 0), ("A", "A", "KeyA", 65, "A", 8), ("Enter", "Enter", "Enter", 13, "\r", 0),
            ("Control+A", "a", "KeyA", 65, nil, 2), ("Control+Shift+a", "A", "KeyA", 65, nil, 10),
            ("Control+Shift+Tab", "Tab", "Tab", 9, nil, 10), ("+", "+", "Equal", 187, "+", 8),
            ("Control++", "+", "Equal", 187, nil, 10), ("Space", " ", "Space", 32, " ", 0),
            ("!", "!", "Digit1", 49, "!", 8),
            ("é", "é", "", 0, "é", 0),
        ] as [(String, String, String, Int, String?, Int)])
    func named(_ name: String, _ key: String, _ code: String, _ number: Int, _ text: String?, _ modifiers: Int) throws {
        let stroke = try #require(KeyStroke(name))
        #expect(stroke.key == key)
        #expect(stroke.code == code)
        #expect(stroke.number == number)
        #expect(stroke.text == text)
        #expect(stroke.modifiers.rawValue == modifiers)
    }

    @Test("What is no key is refused", arguments: ["", "AnyKey", "Hyper+a", "Control+", "ab", "\u{7}", "enter"])
    func refused(_ name: String) { #expect(KeyStroke(name) == nil) }

    @Test("Every printable character of ASCII has a key, and no other needs one")
    func typed() {
        for value in UInt8(0x20)..<0x7f {
            let character = Character(Unicode.Scalar(value))
            #expect(KeyStroke(typing: character)?.text == String(character))
        }
        #expect(KeyStroke(typing: "\n")?.key == "Enter")
        #expect(KeyStroke(typing: "ü") == nil)
        #expect(KeyStroke(typing: "👩‍🔬") == nil)
    }
}

import FleetModel
import Testing

@Suite("Canonical JSON")
struct CanonicalJSONTests {
    @Test("Members come in ascending order of their names, at every level")
    func order() {
        #expect(canonical(#"{"b":1,"a":{"d":2,"c":[{"z":0,"y":1}]}}"#) == #"{"a":{"c":[{"y":1,"z":0}],"d":2},"b":1}"#)
        #expect(canonical(#"{"b":1,"B":2,"é":3,"":4}"#) == #"{"":4,"B":2,"b":1,"é":3}"#)
        #expect(canonical(#"{"a":1,"a b":2,"a!":3,"a.":4}"#) == canonical(#"{"a.":4,"a!":3,"a":1,"a b":2}"#))
    }

    @Test("Space between tokens goes, space in strings stays")
    func space() {
        #expect(canonical(" \r\n\t{ \"a b\" : [ 1 , \" x \\n\" , { } , [ ] ] } \n") == #"{"a b":[1," x \n",{},[]]}"#)
        #expect(flaw("\u{00A0}1") != "")
        #expect(flaw("\u{FEFF}1") != "", "a byte order mark is no space")
    }

    @Test("Strings and numbers stay as they were spelled", arguments: Sample.scalars)
    func spelling(_ scalar: String) { #expect(canonical(" \(scalar) ") == scalar) }

    @Test("A hundred levels are read, a hundred and one are not, and ten thousand do no harm")
    func depth() {
        func nested(_ depth: Int, _ open: String, _ close: String) -> String {
            String(repeating: open, count: depth) + "0" + String(repeating: close, count: depth)
        }
        for (open, close) in [("[", "]"), (#"{"a":"#, "}"), (#"[{"a":"#, "}]")] {
            let levels = open.utf8.filter { $0 == UInt8(ascii: "[") || $0 == UInt8(ascii: "{") }.count
            let full = nested(100 / levels, open, close)
            #expect(canonical(full) == full)
            #expect(flaw("[\(full)]").contains("nests deeper than 100 levels"))
            #expect(flaw(nested(10_000, open, close)).contains("nests deeper than 100 levels"))
            #expect(flaw(String(repeating: open, count: 10_000)).contains("nests deeper than 100 levels"))
        }
        #expect(
            canonical("[" + Array(repeating: "[]", count: 1_000).joined(separator: ",") + "]") != nil,
            "width is no depth")
    }

    @Test(
        "A name given twice in one object is refused, wherever the two stand",
        arguments: [
            #"{"a":1,"a":1}"#, #"{"a":1,"b":2,"a":3}"#, #"{"b":1,"a":2,"b":3}"#, #"{"z":{"b":[{"y":1,"x":2,"y":3}]}}"#,
            #"[0,{"":1,"":2}]"#, #"{"a":1,"\u0061":2}"#, #"{"é":1,"\u00E9":2}"#, #"{"x\/y":1,"x/y":2}"#,
            #"{"\ud83d\ude00":1,"😀":2}"#, #"{"\u00e9":1,"\u00E9":2}"#,
        ])
    func duplicates(_ text: String) { #expect(flaw(text).contains("stands twice in one object")) }

    @Test("The same name in different objects is no duplicate, nor are names that only look alike")
    func separateNames() {
        #expect(canonical(#"{"a":{"a":1},"b":{"a":1}}"#) == #"{"a":{"a":1},"b":{"a":1}}"#)
        // Different code points that Swift's String takes for equal: other languages tell them apart.
        #expect(canonical("{\"e\u{301}\":1,\"\u{E9}\":2}") != nil)
    }

    @Test(
        "What is no JSON is refused, with the place",
        arguments: [
            "", " ", "{", "}", "[", "]", "[1,]", "[,1]", "{,}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, #"{a:1}"#,
            #"{"a":1 "b":2}"#, "[1 2]", "1 2", "tru", "truex", "True", "nul", "NaN", "Infinity", "01", "-", "-01", "+1",
            "1.",
            ".5", "1e", "1e+", "0x10", "1_000", "'a'", #"""#, #""\x""#, #""\u12""#, #""\u12G4""#, #""\"#, "\"a\nb\"",
            "\"\u{1}\"",
            "// no\n1", "[1]]", "{}{}", "\u{0}",
        ])
    func refused(_ text: String) {
        #expect(flaw(text).contains("the payload"))
    }

    @Test("Bytes that are not UTF-8 are refused, in strings and between them")
    func encoding() {
        let cases: [[UInt8]] = [
            [0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
            [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], [0x80], [0x5B, 0x31, 0x2C, 0xFE, 0x5D], [0xFF, 0xFE, 0x31, 0x00],
        ]
        for bytes in cases { #expect(flaw(bytes).contains("not UTF-8"), "\(bytes)") }
    }

    @Test("A document cut off at any byte is refused")
    func truncated() {
        let whole = Array(#"{"name":"Ä\u00e9\n","list":[1,-2.5e3,true,null,{"x":[]}],"b":{"c":"😀"}}"#.utf8)
        #expect(flaw(whole) == "")
        for length in whole.indices { #expect(flaw(Array(whole[..<length])) != "", "\(length) bytes") }
    }

    @Test("However a document is written, its canonical form is one, and is its own canonical form", arguments: 1...20)
    func oneForm(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<50 {
            let sample = Sample.random(depth: 4, using: &random)
            let first = try CanonicalJSON.text(of: Array(sample.written(using: &random).utf8))
            let second = try CanonicalJSON.text(of: Array(sample.written(using: &random).utf8))
            #expect(first == second)
            #expect(canonical(first) == first)
            #expect(AnyJSON.accepts(Array(first.utf8)), "\(first)")
        }
    }

    @Test("It takes for JSON what the decoder takes, but for a comma before a closing bracket", arguments: 1...20)
    func agreement(seed: UInt64) {
        var random = SplitMix64(seed: seed &* 7_919)
        let inserts = Array(#"{}[]",:\/0123456789+-.eEutfnas "#.utf8)
        for _ in 0..<100 {
            var bytes = Array(Sample.random(depth: 3, using: &random).written(using: &random).utf8)
            let place = Int.random(in: 0..<bytes.count, using: &random)
            // A change within a character would make bytes that are no text, which is tested elsewhere.
            guard bytes[place] < 0x80 else { continue }
            switch Int.random(in: 0..<3, using: &random) {
            case 0: bytes.remove(at: place)
            case 1: bytes.insert(random.pick(inserts), at: place)
            default: bytes[place] = random.pick(inserts)
            }
            let flaw = flaw(bytes)
            // A duplicate is refused here on purpose; the decoder lets one of the two win.
            if flaw.contains("stands twice") { continue }
            // The decoder lets this pass, JSON does not.
            let tokens = bytes.filter { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
            let hasTrailingComma = zip(tokens, tokens.dropFirst()).contains {
                $0 == UInt8(ascii: ",") && ($1 == UInt8(ascii: "]") || $1 == UInt8(ascii: "}"))
            }
            if hasTrailingComma, flaw != "" { continue }
            #expect((flaw == "") == AnyJSON.accepts(bytes), "\(String(decoding: bytes, as: UTF8.self)): \(flaw)")
        }
    }
}

@Suite("JSON text")
struct JSONTextTests {
    @Test("Quotes, backslashes and control characters are escaped, everything else stays")
    func escapes() throws {
        var json = JSONText()
        json.beginObject()
        json.member("text", "\"\\/ \u{0}\u{1F}\n\t\u{7F}é😀\u{2028}")
        json.endObject()
        #expect(json.text == "{\"text\":\"\\\"\\\\/ \\u0000\\u001f\\u000a\\u0009\u{7F}é😀\u{2028}\"}")
        #expect(try CanonicalJSON.text(of: json.bytes) == json.text)
    }

    @Test("Members and objects are parted by commas, whatever comes before them")
    func commas() {
        var json = JSONText()
        json.beginObject()
        json.beginObject("empty")
        json.endObject()
        json.member("number", Int64.min)
        json.beginObject("inner")
        json.member("a", "1")
        json.member("b", json: "[1,2]")
        json.endObject()
        json.member("last", UInt8(7))
        json.endObject()
        #expect(json.text == #"{"empty":{},"number":-9223372036854775808,"inner":{"a":"1","b":[1,2]},"last":7}"#)
    }
}

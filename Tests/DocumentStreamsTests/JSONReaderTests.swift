import DocumentStreams
import Foundation
import Testing

/// Reads a document in pieces of a size.
func find(
    _ pointer: String, in document: [UInt8], pieces: Int = 64 << 10, bytesMax: Int = 1 << 20, depthMax: Int = 100,
    readsOn: Bool = true
) throws -> JSONFinding? {
    var reader = try JSONReader(JSONPointer(pointer), bytesMax: bytesMax, depthMax: depthMax, readsOn: readsOn)
    try inPieces(document, pieces) { try reader.feed($0) }
    return try reader.finish()
}

/// Calls `body` with pieces until it returns true.
func inPieces(_ document: [UInt8], _ size: Int, _ body: (UnsafeRawBufferPointer) throws -> Bool) throws {
    for start in stride(from: 0, to: document.count, by: size) {
        let isEnough = try document[start..<min(start + size, document.count)].withUnsafeBytes { try body($0) }
        if isEnough { return }
    }
}

func flaw(_ body: () throws -> Void) throws -> DocumentFlaw.Kind? {
    do {
        try body()
        return nil
    } catch let error as DocumentFlaw {
        return error.kind
    }
}

@Suite("A JSON document")
struct JSONReaderTests {
    /// The example of RFC 6901, and more.
    static let document = #"""
        { "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8,
          "n": {"x": [1, [2, 3], {"y": null}], "y" : -1.50e+3 }, "ä\u00e4\ud83d\ude00": "ö\n", "dup": 1, "dup": 2,
          "0": "zero", "array": [[], {}, true, false] }
        """#

    @Test(
        "gives what a pointer names, as compact JSON, wherever the pieces end",
        arguments: [
            ("/foo", #"["bar","baz"]"#), ("/foo/0", #""bar""#), ("/", "0"), ("/a~1b", "1"), ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"), ("/i\\j", "5"), ("/k\"l", "6"), ("/ ", "7"), ("/m~0n", "8"),
            ("/n", #"{"x":[1,[2,3],{"y":null}],"y":-1.50e+3}"#), ("/n/x/1/1", "3"), ("/n/x/2/y", "null"),
            ("/n/y", "-1.50e+3"),
            ("/ää😀", #""ö\n""#), ("/dup", "1"), ("/0", #""zero""#), ("/array/0", "[]"), ("/array/1", "{}"),
            ("/array/3", "false"),
        ])
    func found(_ pointer: String, _ expected: String) throws {
        for pieces in [1, 2, 3, 7, 64 << 10] {
            #expect(try find(pointer, in: Array(Self.document.utf8), pieces: pieces)?.json == expected, "\(pieces)")
        }
    }

    @Test(
        "has no value where a pointer leads nowhere",
        arguments: [
            "/none", "/foo/2", "/foo/-", "/foo/00", "/foo/bar", "/n/x/1/2", "/foo/0/1", "/n/x/1/1/0", "/y", "/x",
            "/array/0/0",
        ])
    func missing(_ pointer: String) throws {
        for pieces in [1, 64 << 10] { #expect(try find(pointer, in: Array(Self.document.utf8), pieces: pieces) == nil) }
    }

    @Test(
        "can be any value",
        arguments: ["1", "-0.0", "\"\"", "true", "null", "[]", "{}", " 1 ", "\u{FEFF}[1]", "1e999999"])
    func roots(_ text: String) throws {
        let expected = text.trimmingCharacters(in: CharacterSet(charactersIn: " \u{FEFF}"))
        for pieces in [4, 64 << 10] { #expect(try find("", in: Array(text.utf8), pieces: pieces)?.json == expected) }
    }

    @Test(
        "that is none is refused",
        arguments: [
            "", " ", "{", "[", "\"", "[1", "[1,", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}",
            "[1}", "{\"a\":1]", "]", "01", "1.", ".5", "-", "+1", "1e", "1e+", "0x1", "tru", "truex", "nul", "NaN",
            "Infinity",
            "'a'", "\"\n\"", "\"\\x\"", "\"\\u12g4\"", "\"\\", "1 2", "[1] []", "{\"a\":1}}", "[1]x", "/*c*/1", "--1",
            "1-",
        ])
    func malformed(_ text: String) throws {
        for pieces in [1, 64 << 10] {
            #expect(try flaw { _ = try find("", in: Array(text.utf8), pieces: pieces) } == .malformed)
        }
    }

    @Test(
        "must be UTF-8",
        arguments: [
            [0xFF], [0xC0, 0x80], [0x80], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF8], [0xC3],
            [0xE0, 0x80, 0x80], [0xF0, 0x80, 0x80, 0x80],
        ] as [[UInt8]])
    func invalidUTF8(_ bytes: [UInt8]) throws {
        let document = Array("[\"".utf8) + bytes + Array("\"]".utf8)
        for pieces in [1, 64 << 10] {
            #expect(try flaw { _ = try find("", in: document, pieces: pieces) } == .malformed)
        }
    }

    @Test("of UTF-16 is refused with a word about that")
    func utf16() throws {
        let document = "[1]".utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
        let error = try #require(throws: DocumentFlaw.self) { _ = try find("", in: document) }
        #expect(error.description.contains("not UTF-8"))
    }

    @Test("may nest so deep and no deeper, and depth costs a bit")
    func depth() throws {
        let deep = Array(String(repeating: "[", count: 100).utf8) + Array(String(repeating: "]", count: 100).utf8)
        #expect(try find("", in: deep, depthMax: 100) != nil)
        #expect(try flaw { _ = try find("", in: deep, depthMax: 99) } == .tooDeep)
        let endless = [UInt8](repeating: UInt8(ascii: "["), count: 10_000_000)
        #expect(try flaw { _ = try find("", in: endless) } == .tooDeep)
    }

    @Test("gives no more than asked for, and is not held in memory for it")
    func bound() throws {
        let document = Array("[\"\(String(repeating: "x", count: 1_000))\"]".utf8)
        #expect(try flaw { _ = try find("/0", in: document, bytesMax: 1_001) } == .tooLarge)
        #expect(try find("/0", in: document, bytesMax: 1_002)?.json.utf8.count == 1_002)
        // A name of any length, and a number of any length, pass by.
        let names = Array(
            "{\"\(String(repeating: "n", count: 1_000_000))\":\(String(repeating: "9", count: 1_000_000)),\"a\":1}".utf8
        )
        #expect(try find("/a", in: names, bytesMax: 10)?.json == "1")
    }

    @Test("is read no further than needed, unless it is to be checked")
    func early() throws {
        let document = Array(#"{"a": 1, "b": broken"#.utf8)
        #expect(try find("/a", in: document, readsOn: false)?.json == "1")
        #expect(try flaw { _ = try find("/a", in: document, readsOn: true) } == .malformed)
    }

    @Test("Pointers are written as RFC 6901 says", arguments: ["a", "a/b", "/~", "/a~2", "/~a", "#/a"])
    func pointers(_ text: String) throws {
        #expect(try flaw { _ = try JSONPointer(text) } == .malformed)
    }

    @Test("Real documents are read as Foundation reads them")
    func real() throws {
        var count = 0
        for path in try realDocuments("json", atMost: 60) {
            let bytes = Array(try Data(contentsOf: URL(filePath: path)))
            guard let expected = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed) else {
                continue
            }
            let finding = try #require(
                try find("", in: bytes, pieces: 4_093, bytesMax: 64 << 20, depthMax: 1_000), "\(path)")
            let read = try JSONSerialization.jsonObject(with: Data(finding.json.utf8), options: .fragmentsAllowed)
            #expect((read as? NSObject) == (expected as? NSObject), "\(path)")
            count += 1
        }
        // Python alone, which other tests need, brings some.
        #expect(count > 0)
    }
}

/// Documents that this machine has anyway.
func realDocuments(_ suffix: String, atMost limit: Int) throws -> [String] {
    var paths: [String] = []
    for root in ["/usr/share", "/usr/lib/python3", "/etc"] {
        guard let files = FileManager.default.enumerator(atPath: root) else { continue }
        for case let file as String in files where file.hasSuffix("." + suffix) {
            var isDirectory: ObjCBool = false
            let path = "\(root)/\(file)"
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), !isDirectory.boolValue,
                FileManager.default.isReadableFile(atPath: path)
            else { continue }
            paths.append(path)
            if paths.count == limit { return paths }
        }
    }
    return paths
}

import DocumentStreams
import FleetStack
import Foundation
import Testing

@Suite("An XML document")
struct XMLReaderTests {
    static let document = """
        <?xml version="1.0" encoding="UTF-8"?>
        <!DOCTYPE library [<!ELEMENT library ANY>]>
        <library x:note="n">
          <shelf id="a"><book lang="de" year="1999">Ein <b>Buch</b> &amp; mehr</book><book lang="en">Two</book></shelf>
          <shelf id="b"><book>Three<![CDATA[<3>]]></book><box><book lang="de">Four</book></box></shelf>
          <book>loose</book>
        </library>
        """

    static func read(
        _ path: String, in document: [UInt8], pieces: Int = 64 << 10, limit: Int = 1_000, skip: Int = 0,
        bytesMax: Int = 1 << 20, depthMax: Int = 100, markup: Bool = false, readsOn: Bool = true,
        parserBytesMax: Int = 8 << 20
    ) throws -> XMLReader {
        var reader = try XMLReader(
            XPath(path),
            XMLReader.Bounds(
                findingsMax: limit, skip: skip, bytesMax: bytesMax, depthMax: depthMax, wantsMarkup: markup,
                readsOn: readsOn, parserBytesMax: parserBytesMax))
        var isEnough = false
        try inPieces(document, pieces) { piece in
            isEnough = try reader.feed(piece)
            return isEnough
        }
        if !isEnough { try reader.finish() }
        return reader
    }

    static func texts(_ path: String, in text: String = document, pieces: Int = 64 << 10) throws -> [String] {
        try read(path, in: Array(text.utf8), pieces: pieces).findings.map(\.text)
    }

    @Test(
        "gives what a path names, in document order, wherever the pieces end",
        arguments: [
            ("/library/book", ["loose"]),
            ("/library/shelf/book", ["Ein Buch & mehr", "Two", "Three<3>"]),
            ("//book", ["Ein Buch & mehr", "Two", "Three<3>", "Four", "loose"]),
            ("/library//book[1]", ["Ein Buch & mehr", "Three<3>", "Four", "loose"]),
            ("//shelf[2]/book", ["Three<3>"]), ("/*/shelf[@id='b']/box/book", ["Four"]),
            ("//book[@lang='de']", ["Ein Buch & mehr", "Four"]), ("//book[@lang!='de']", ["Two"]),
            ("//book[@lang][2]", ["Two"]), ("//book[2][@lang='de']", []),
            ("//book[@year][@lang='de']", ["Ein Buch & mehr"]),
            ("/library/shelf/@id", ["a", "b"]), ("//book/@*", ["de", "1999", "en", "de"]), ("/library/@x:note", ["n"]),
            ("/library/shelf/book/text()", ["Ein  & mehr", "Two", "Three<3>"]), ("//book/*", ["Buch"]), ("/book", []),
            ("//box//book", ["Four"]), ("//*//*[@lang=\"en\"]", ["Two"]),
        ])
    func found(_ path: String, _ expected: [String]) throws {
        for pieces in [1, 3, 64 << 10] { #expect(try Self.texts(path, pieces: pieces) == expected, "\(pieces)") }
    }

    @Test("gives elements with their attributes, and as markup when asked")
    func markup() throws {
        let finding = try #require(
            try Self.read("//shelf[1]", in: Array(Self.document.utf8), markup: true).findings.first)
        #expect(finding.name == "shelf")
        #expect(finding.attributes == ["id": "a"])
        #expect(
            finding.xml
                == #"<shelf id="a"><book lang="de" year="1999">Ein <b>Buch</b> &amp; mehr</book><book lang="en">Two</book></shelf>"#
        )
        let tricky = "<a b=\"&lt;&quot;&#10;\">&gt;&amp;</a>"
        #expect(
            try Self.read("/a", in: Array(tricky.utf8), markup: true).findings.first?.xml
                == "<a b=\"&lt;&quot;&#10;\">&gt;&amp;</a>")
    }

    @Test("gives elements within elements, each whole")
    func nested() throws {
        #expect(try Self.texts("//d", in: "<d>1<d>2<d>3</d></d>4</d>") == ["1234", "23", "3"])
    }

    @Test("comes in pages, and is read no further than needed unless it is to be checked")
    func pages() throws {
        let text = "<l>" + (1...10).map { "<i>\($0)</i>" }.joined() + "</l>"
        let page = try Self.read("/l/i", in: Array(text.utf8), limit: 3, skip: 4, readsOn: true)
        #expect(page.findings.map(\.text) == ["5", "6", "7"])
        #expect(page.matches == 10)
        let broken = Array("<l><i>1</i><i>2</i></wrong>".utf8)
        #expect(try Self.read("//i", in: broken, limit: 1, readsOn: false).findings.map(\.text) == ["1"])
        #expect(try flaw { _ = try Self.read("//i", in: broken, limit: 1, readsOn: true) } == .malformed)
    }

    @Test("comes in the encodings that it declares")
    func encodings() throws {
        let latin = Array("<?xml version='1.0' encoding='ISO-8859-1'?><a>".utf8) + [0xE4] + Array("</a>".utf8)
        #expect(try Self.read("/a", in: latin).findings.map(\.text) == ["ä"])
        let windows =
            Array("<?xml version='1.0' encoding='windows-1252'?><a>".utf8) + [0x80, 0xE4] + Array("</a>".utf8)
        #expect(try Self.read("/a", in: windows).findings.map(\.text) == ["€ä"])
        let utf16: [UInt8] = [0xFF, 0xFE] + "<a>ä😀</a>".utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
        #expect(try Self.read("/a", in: utf16).findings.map(\.text) == ["ä😀"])
        let unknown = Array("<?xml version='1.0' encoding='x-unknown'?><a/>".utf8)
        #expect(try flaw { _ = try Self.read("/a", in: unknown) } == .malformed)
    }

    @Test(
        "that is none is refused",
        arguments: [
            "", "text", "<a>", "<a></b>", "<a><b></a></b>", "<a/><b/>", "<a b=1/>", "<a b='1' b='2'/>", "<a>&none;</a>",
            "<a>\u{1}</a>",
        ])
    func malformed(_ text: String) throws {
        #expect(try flaw { _ = try Self.texts("/a", in: text) } != nil)
    }

    @Test("must be of its encoding")
    func invalidUTF8() throws {
        let document = Array("<a>".utf8) + [0xC3, 0x28] + Array("</a>".utf8)
        #expect(try flaw { _ = try Self.read("/a", in: document) } == .malformed)
    }

    @Test(
        "with entities of its own is refused before any is expanded",
        arguments: [
            // A billion laughs.
            """
            <!DOCTYPE a [<!ENTITY l "lol"><!ENTITY m "&l;&l;&l;&l;&l;&l;&l;&l;&l;&l;"><!ENTITY n "&m;&m;&m;&m;&m;&m;&m;">]>
            <a>&n;</a>
            """,
            // One long entity, often.
            "<!DOCTYPE a [<!ENTITY l \"\(String(repeating: "x", count: 10_000))\">]><a>&l;&l;&l;</a>",
            "<!DOCTYPE a [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><a>&f;</a>",
            "<!DOCTYPE a [<!ENTITY % p SYSTEM \"http://127.0.0.1/dtd\"> %p;]><a/>",
            "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a>&f;</a>",
            "<!DOCTYPE a [<!ENTITY f SYSTEM \"pic\" NDATA gif>]><a/>",
        ])
    func entities(_ text: String) throws {
        #expect(try flaw { _ = try Self.texts("/a", in: text) } == .refused)
    }

    @Test("may nest so deep and no deeper")
    func depth() throws {
        func deep(_ count: Int) -> [UInt8] {
            Array((String(repeating: "<a>", count: count) + String(repeating: "</a>", count: count)).utf8)
        }
        #expect(try Self.read("/a", in: deep(100)).matches == 1)
        #expect(try flaw { _ = try Self.read("/a", in: deep(101)) } == .tooDeep)
        #expect(try flaw { _ = try Self.read("/a", in: deep(1_000_000)) } == .tooDeep)
    }

    @Test("may not fill the memory by its names, by one tag, or by its type")
    func memory() throws {
        let names = Array(("<a>" + (0..<100_000).map { "<name\($0) attribute\($0)=''/>" }.joined() + "</a>").utf8)
        #expect(try flaw { _ = try Self.read("/b", in: names, parserBytesMax: 2 << 20) } == .refused)
        #expect(try Self.read("/b", in: names, parserBytesMax: 64 << 20).matches == 0)
        let tag = Array("<a b='\(String(repeating: "x", count: 4 << 20))'/>".utf8)
        #expect(try flaw { _ = try Self.read("/b", in: tag, parserBytesMax: 2 << 20) } == .refused)
        let doctype = "<!DOCTYPE a [" + (0..<20_000).map { "<!ELEMENT e\($0) ANY>" }.joined() + "]><a/>"
        #expect(try flaw { _ = try Self.read("/b", in: Array(doctype.utf8)) } == .refused)
    }

    @Test("gives no more than asked for")
    func bound() throws {
        let document = Array("<a><b>\(String(repeating: "x", count: 1_000))</b></a>".utf8)
        #expect(try flaw { _ = try Self.read("//b", in: document, bytesMax: 999) } == .tooLarge)
        #expect(try Self.read("//b", in: document, bytesMax: 1_000).findings.count == 1)
        // Open elements within each other all keep the text, and all count.
        let nested = Array(
            (String(repeating: "<b>", count: 50) + "0123456789" + String(repeating: "</b>", count: 50)).utf8)
        #expect(try flaw { _ = try Self.read("//b", in: nested, bytesMax: 499) } == .tooLarge)
    }

    @Test(
        "Paths outside the subset are refused with a word about it",
        arguments: [
            "", "a", "/", "//", "/a/", "/a[", "/a[0]", "/a[last()]", "/a[b]", "/a[b='c']", "/a[@b=c]", "/a/..", "/a/.",
            "//@b",
            "/a/@b/c", "/a/text()/b", "/child::a", "/a|/b", "/a[position()=1]", "/@a", "//text()", "/a[@b='c]", "/1a",
            "/" + Array(repeating: "a", count: 33).joined(separator: "/"),
        ])
    func paths(_ text: String) throws {
        #expect(try flaw { _ = try XPath(text) } == .malformed)
    }

    @Test("Real documents have as many elements and as much text as Python's reader finds")
    func real() async throws {
        var count = 0
        for path in try realDocuments("xml", atMost: 25) {
            let document = Array(try Data(contentsOf: URL(filePath: path)))
            let python = try ChildProcess.start(
                executable: "python3",
                arguments: [
                    "-c",
                    """
                    import sys, xml.etree.ElementTree as tree
                    root = tree.parse(sys.argv[1]).getroot()
                    print(sum(1 for _ in root.iter()), len(''.join(root.itertext()).encode()))
                    """, path,
                ], output: .capture)
            let isRead = await python.exitStatus().isSuccess
            let text = String(decoding: document.prefix(100_000), as: UTF8.self)
            if !isRead || text.contains("<!ENTITY") { continue }
            let numbers = python.standardOutput.split { !$0.isNumber }.compactMap { Int($0) }
            let elements = try Self.read("//*", in: document, pieces: 4_093, limit: 0).matches
            let root = try #require(
                try Self.read("/*", in: document, pieces: 4_093, bytesMax: 64 << 20).findings.first, "\(path)")
            #expect([elements, root.text.utf8.count] == numbers, "\(path)")
            count += 1
        }
        print("\(count) real XML documents read")
    }
}

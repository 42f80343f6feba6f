import Foundation
import FoundationXML
import Testing

@testable import ProfileReports

/// The boxes of a graph, as an XML parser finds them.
private final class Boxes: NSObject, XMLParserDelegate {
    struct Box { let start, width, depth: Int }
    private(set) var boxes: [Box] = []
    private(set) var texts = ""
    private(set) var samples = 0

    init(_ svg: String) throws {
        super.init()
        let parser = XMLParser(data: Data(svg.utf8))
        parser.delegate = self
        try #require(parser.parse(), "\(String(describing: parser.parserError))")
    }

    func parser(
        _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
        attributes: [String: String]
    ) {
        if name == "svg" { samples = attributes["data-samples"].flatMap { Int($0) } ?? -1 }
        guard let start = attributes["data-x"].flatMap({ Int($0) }),
            let width = attributes["data-w"].flatMap({ Int($0) }),
            let depth = attributes["data-d"].flatMap({ Int($0) })
        else { return }
        boxes.append(Box(start: start, width: width, depth: depth))
    }

    func parser(_ parser: XMLParser, foundCharacters text: String) { texts += text }
}

@Suite("Flame graphs and tables of profiles")
struct FlameGraphTests {
    private let text = """
        main;A.f();A.g() 30
        main;A.f() 10
        main;A.f();A.g();A.f() 20
        pool;B.h() 40

        """

    @Test("Boxes are well-formed and add up: a row never holds more than the one above it")
    func sums() throws {
        let svg = FlameGraph(try FoldedStacks(parsing: text), title: "a <b> & \"c\"").svg
        let graph = try Boxes(svg)
        #expect(graph.samples == 100)
        let rows = Dictionary(grouping: graph.boxes, by: \.depth).mapValues { $0.reduce(0) { $0 + $1.width } }
        #expect(rows == [0: 100, 1: 100, 2: 100, 3: 50, 4: 20])
        for box in graph.boxes where box.depth > 0 {
            #expect(
                graph.boxes.contains {
                    $0.depth == box.depth - 1 && $0.start <= box.start && $0.start + $0.width >= box.start + box.width
                })
        }
        #expect(graph.texts.contains("a <b> & \"c\"") && graph.texts.contains("A.g(): 50 samples, 50 %"))
    }

    @Test("Names that would be markup, or are no characters of XML, do no harm")
    func hostile() throws {
        let names = ["<script>alert(1)</script>", "]]>", "a\u{1}b", "\"'&amp;", "日本 ↻3"]
        let svg = FlameGraph(FoldedStacks([.init(["t"] + names, 1)]), title: "</svg>").svg
        let graph = try Boxes(svg)
        #expect(graph.boxes.count == 2 + names.count)
        #expect(graph.texts.contains("日本 ↻3: 1 samples") && graph.texts.contains("a?b"))
        #expect(svg.ranges(of: "<script>").count == 1)
    }

    @Test("An empty profile and one of many thousand stacks are drawn")
    func extremes() throws {
        #expect(try Boxes(FlameGraph(FoldedStacks([]), title: "").svg).boxes.count == 1)
        let many = FoldedStacks((0..<20_000).map { .init(["t", "f\($0)"], 1) } + [.init(["t", "g"], 20_000)])
        let graph = try Boxes(FlameGraph(many, title: "").svg)
        #expect(graph.samples == 40_000)
        // Those that would not be seen are left out.
        #expect(graph.boxes.count == 3)
    }

    @Test("A function counts once for a stack, however often it is on it")
    func functions() throws {
        let functions = try FoldedStacks(parsing: text).functions
        #expect(
            functions == [
                .init(name: "B.h()", own: 40, total: 40), .init(name: "A.f()", own: 30, total: 60),
                .init(name: "A.g()", own: 30, total: 50),
            ])
    }

    @Test(
        "What is no folded text is an error with its line",
        arguments: [
            ("a;b", 1), ("a;b 1\nc;d x", 2), ("a;b 0", 1), ("a;b -3", 1), (";b 1", 1), ("a;;b 1", 1),
            ("a 9223372036854775807\nb 1", 2),
        ])
    func malformed(text: String, line: Int) throws {
        let error = try #require(throws: FoldedError.self) { try FoldedStacks(parsing: text) }
        #expect(error.line == line)
    }

    @Test("Names may hold blanks")
    func blanks() throws {
        #expect(try FoldedStacks(parsing: "t;a b (c d) 12").stacks == [.init(["t", "a b (c d)"], 12)])
    }
}

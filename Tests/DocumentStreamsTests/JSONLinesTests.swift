import DocumentStreams
import Testing

@Suite("One JSON document a line")
struct JSONLinesTests {
    private func read(
        _ text: String, _ pointer: String = "", from offset: Int = 0, valuesMax: Int = 100, bytesMax: Int = 1_000,
        skipsMalformed: Bool = false, pieces: Int = 64 << 10
    ) throws -> JSONLines {
        var lines = JSONLines(
            try JSONPointer(pointer),
            JSONLines.Bounds(
                valuesMax: valuesMax, bytesMax: bytesMax, depthMax: 10, skipsMalformed: skipsMalformed))
        var isEnough = false
        try inPieces(Array(text.utf8.dropFirst(offset)), pieces) { piece in
            isEnough = try lines.feed(piece)
            return isEnough
        }
        if !isEnough { try lines.finish() }
        return lines
    }

    @Test("gives what the pointer names in each, and counts those without it")
    func values() throws {
        let text = "{\"a\": 1}\r\n\n{\"b\": 2}\n  \n{\"a\": [3]}"
        for pieces in [1, 2, 5, 1_000] {
            let lines = try read(text, "/a", pieces: pieces)
            #expect(lines.values == ["1", "[3]"])
            #expect(lines.lines == 3)
            #expect(lines.missing == 1)
            #expect(lines.nextOffset == text.utf8.count)
        }
    }

    @Test("comes in pages that end between lines")
    func pages() throws {
        let text = (1...25).map { "{\"n\":\($0)}\n" }.joined()
        for pieces in [1, 16, 1_000] {
            var (offset, values) = (0, [String]())
            for expected in [10, 10, 5] {
                let page = try read(text, "/n", from: offset, valuesMax: 10, pieces: pieces)
                #expect(page.values.count == expected)
                values += page.values
                offset += page.nextOffset
            }
            #expect(values == (1...25).map { "\($0)" })
            #expect(offset == text.utf8.count)
        }
    }

    @Test("ends a page before it grows too large, and a value that fits no page ends the reading")
    func bytes() throws {
        let text = "\"aaaa\"\n\"bbbb\"\n\"cccc\"\n"
        let first = try read(text, bytesMax: 13)
        #expect(first.values == ["\"aaaa\"", "\"bbbb\""])
        #expect(try read(text, from: first.nextOffset, bytesMax: 13).values == ["\"cccc\""])
        #expect(try flaw { _ = try read(text, bytesMax: 5) } == .tooLarge)
    }

    @Test("names the line that is none, or passes it over and counts it")
    func malformed() throws {
        let text = "1\n{\n[[[[[[[[[[[[\n2\n{\"a\":\n3"
        let error = try #require(throws: DocumentFlaw.self) { try read(text) }
        #expect(error.description.hasPrefix("line 2 read, at byte 2: "), "\(error)")
        for pieces in [1, 1_000] {
            let lines = try read(text, skipsMalformed: true, pieces: pieces)
            #expect(lines.values == ["1", "2", "3"])
            #expect(lines.malformed == 3)
            #expect(lines.lines == 6)
        }
    }
}

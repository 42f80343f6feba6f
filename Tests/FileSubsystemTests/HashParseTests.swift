import FleetModel
import Foundation
import RootedFiles
import Testing

@testable import FileSubsystem

@Suite("file.hash.v1")
struct HashTests {
    @Test("gives the checksums that the system's own tools give", arguments: FileDigest.Algorithm.allCases)
    func known(_ algorithm: FileDigest.Algorithm) async throws {
        let workplace = try Workplace()
        let content = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        try workplace.write(content, to: "root/file")
        let expected = try FileDigest.hexadecimal(algorithm, of: content)
        let output: HashOutput = try await workplace.run(
            HashParameters(path: "data:file", algorithm: algorithm, expected: expected.uppercased()))
        #expect(output.digest == expected)
        #expect(output.bytes == 3_000_000)
        let other = String(repeating: "0", count: expected.utf8.count)
        #expect(
            try await workplace.failure(HashParameters(path: "data:file", algorithm: algorithm, expected: other))
                == "file.checksum-mismatch")
    }
}

@Suite("file.parse-json.v1")
struct ParseJSONTests {
    let workplace: Workplace

    init() throws { workplace = try Workplace { $0.selectionBytesMax = 10_000 } }

    @Test("gives what the pointer names as it stands in the document")
    func found() async throws {
        try workplace.write(#"{"a": [1, {"b": 123456789012345678901234567890.10, "c": "\u0000ä"}]}"#, to: "root/d.json")
        #expect(
            try await workplace.text(ParseJSONParameters(path: "data:d.json", pointer: "/a/1"))
                == #"{"path":"data:d.json","found":true,"kind":"object","value":{"b":123456789012345678901234567890.10,"c":"\u0000ä"},"bytes_read":67}"#
        )
        #expect(
            try await workplace.text(ParseJSONParameters(path: "data:d.json", pointer: "/b"))
                .hasPrefix(#"{"path":"data:d.json","found":false,"#))
    }

    @Test("fails with a word for each kind of flaw")
    func flaws() async throws {
        try workplace.write("{\"a\": ", to: "root/cut.json")
        try workplace.write(String(repeating: "[", count: 1_000), to: "root/deep.json")
        try workplace.write("\"\(String(repeating: "x", count: 20_000))\"", to: "root/large.json")
        #expect(try await workplace.failure(ParseJSONParameters(path: "data:cut.json")) == "file.document-malformed")
        #expect(try await workplace.failure(ParseJSONParameters(path: "data:deep.json")) == "file.document-too-deep")
        #expect(try await workplace.failure(ParseJSONParameters(path: "data:large.json")) == "file.document-too-large")
        #expect(try await workplace.failure(ParseJSONParameters(path: "data:none.json")) == "file.not-found")
        let small = try Workplace { $0.documentBytesMax = 5 }
        try small.write("[1,2,3]", to: "root/d.json")
        #expect(try await small.failure(ParseJSONParameters(path: "data:d.json")) == "file.too-large")
    }

    private struct Page: Decodable {
        var values: [Int]
        var lines, missing, malformed, bytesRead: Int
        var nextOffset: Int64?

        enum CodingKeys: String, CodingKey {
            case values, lines, missing, malformed
            case bytesRead = "bytes_read"
            case nextOffset = "next_offset"
        }
    }

    @Test("reads NDJSON in pages")
    func lines() async throws {
        let text = (0..<50_000).map { "{\"n\": \($0)}\n" }.joined()
        try workplace.write(text, to: "root/d.ndjson")
        var (offset, values) = (Int64?.none, [Int]())
        repeat {
            let page: Page = try await workplace.run(
                ParseJSONParameters(path: "data:d.ndjson", pointer: "/n", format: .ndjson, offset: offset))
            #expect(page.values.count <= 1_000)
            values += page.values
            offset = page.nextOffset
        } while offset != nil
        #expect(values == Array(0..<50_000))
    }
}

@Suite("file.parse-xml.v1")
struct ParseXMLTests {
    @Test("gives what the path names, in pages")
    func found() async throws {
        let workplace = try Workplace()
        try workplace.write(
            "<l>" + (1...2_500).map { "<i n='\($0)'>text \($0)</i>" }.joined() + "</l>", to: "root/d.xml")
        var (skip, texts) = (0, [String]())
        while true {
            let page: ParseXMLOutput = try await workplace.run(
                ParseXMLParameters(path: "data:d.xml", xpath: "/l/i", skip: skip))
            texts += page.findings.map(\.text)
            skip += page.findings.count
            if !page.more { break }
        }
        #expect(texts == (1...2_500).map { "text \($0)" })
        let whole: ParseXMLOutput = try await workplace.run(
            ParseXMLParameters(path: "data:d.xml", xpath: "//i[@n='7']", limit: 1, markup: true, whole: true))
        #expect(whole.findings.first?.xml == #"<i n="7">text 7</i>"#)
        #expect(whole.matches == 1)
        #expect(!whole.more)
    }

    @Test("refuses hostile documents with a word for it")
    func hostile() async throws {
        let workplace = try Workplace()
        try workplace.write(
            "<!DOCTYPE a [<!ENTITY f SYSTEM \"\(workplace.at("outside/secret"))\">]><a>&f;</a>", to: "root/x.xml")
        try workplace.write(String(repeating: "<a>", count: 10_000), to: "root/deep.xml")
        let parameters = ParseXMLParameters(path: "data:x.xml", xpath: "/a")
        #expect(try await workplace.failure(parameters) == "file.document-refused")
        #expect(
            try await workplace.failure(ParseXMLParameters(path: "data:deep.xml", xpath: "/a"))
                == "file.document-too-deep")
    }
}

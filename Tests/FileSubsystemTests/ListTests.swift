import FleetModel
import Foundation
import RootedFiles
import Testing

@testable import FileSubsystem

@Suite("file.list.v1")
struct ListTests {
    let workplace: Workplace

    init() throws {
        workplace = try Workplace()
        for name in ["a/x.json", "a/b/y.json", "a/b/z.txt", "a-b", "c.json", "ä.txt", "d/e/f/g"] {
            try workplace.write("x", to: "root/\(name)")
        }
        try FileManager.default.createSymbolicLink(
            atPath: workplace.at("root/link"), withDestinationPath: workplace.at("outside"))
    }

    private func list(_ parameters: ListParameters) async throws -> ListOutput { try await workplace.run(parameters) }

    private func paths(_ parameters: ListParameters) async throws -> [String] {
        try await list(parameters).entries.map(\.path)
    }

    @Test("gives a directory's entries in order, with what is known of them")
    func plain() async throws {
        let output = try await list(ListParameters(path: "data:"))
        #expect(
            output.entries.map(\.path) == ["data:a", "data:a-b", "data:c.json", "data:d", "data:link", "data:ä.txt"])
        #expect(output.entries.map(\.type) == [.directory, .file, .file, .directory, .symlink, .file])
        #expect(output.entries[2].bytes == 1)
        #expect(output.nextCursor == nil)
    }

    @Test("goes as deep as told, a directory before what is in it, and follows no link")
    func depth() async throws {
        #expect(
            try await paths(ListParameters(path: "data:", depth: 3)) == [
                "data:a", "data:a/b", "data:a/b/y.json", "data:a/b/z.txt", "data:a/x.json", "data:a-b", "data:c.json",
                "data:d", "data:d/e", "data:d/e/f", "data:link", "data:ä.txt",
            ])
        #expect(try await paths(ListParameters(path: "data:a", depth: 1)) == ["data:a/b", "data:a/x.json"])
        #expect(try await workplace.failure(ListParameters(path: "data:", depth: 33)) == "file.too-deep")
        #expect(try await workplace.failure(ListParameters(path: "data:link")) != nil)
        #expect(try await workplace.failure(ListParameters(path: "data:c.json")) == "file.not-a-directory")
    }

    @Test("keeps to a pattern and to kinds")
    func patterns() async throws {
        #expect(
            try await paths(ListParameters(path: "data:", glob: "*.json", depth: 9)) == [
                "data:a/b/y.json", "data:a/x.json", "data:c.json",
            ])
        #expect(try await paths(ListParameters(path: "data:", glob: "a/*.json", depth: 9)) == ["data:a/x.json"])
        #expect(
            try await paths(ListParameters(path: "data:", glob: "a/**/*.json", depth: 9)) == [
                "data:a/b/y.json", "data:a/x.json",
            ])
        #expect(
            try await paths(ListParameters(path: "data:", depth: 9, types: [.directory])) == [
                "data:a", "data:a/b", "data:d", "data:d/e", "data:d/e/f",
            ])
    }

    @Test("comes in pages of any size that together are the whole, whatever vanishes between them")
    func pages() async throws {
        let whole = try await paths(ListParameters(path: "data:", depth: 9))
        for limit in 1...whole.count {
            var (cursor, together) = (String?.none, [String]())
            repeat {
                let page = try await list(ListParameters(path: "data:", depth: 9, limit: limit, cursor: cursor))
                together += page.entries.map(\.path)
                cursor = page.nextCursor
            } while cursor != nil
            #expect(together == whole)
        }
        let page = try await list(ListParameters(path: "data:", depth: 9, limit: 3))
        #expect(page.nextCursor == "a/b/y.json")
        try FileManager.default.removeItem(atPath: workplace.at("root/a/b"))
        #expect(
            try await paths(ListParameters(path: "data:", depth: 9, limit: 2, cursor: page.nextCursor)) == [
                "data:a/x.json", "data:a-b",
            ])
    }

    @Test("looks at no more entries than it may, and goes on with the next page")
    func bounds() async throws {
        let workplace = try Workplace {
            $0.entriesExaminedMax = 40
            $0.entriesMax = 10
        }
        for index in 0..<100 { try workplace.write("", to: "root/\(100 + index)") }
        var (cursor, found, pages) = (String?.none, [String](), 0)
        repeat {
            let page: ListOutput = try await workplace.run(
                ListParameters(path: "data:", glob: "*9", limit: 1_000, cursor: cursor))
            #expect(page.entries.count <= 10)
            found += page.entries.map(\.path)
            cursor = page.nextCursor
            pages += 1
        } while cursor != nil
        #expect(found == stride(from: 109, to: 200, by: 10).map { "data:\($0)" })
        #expect(pages == 3)
    }

    @Test("reads a directory that has more names than are held at a time")
    func large() async throws {
        let workplace = try Workplace { $0.namesHeldMax = 20 }
        let count = 150
        for index in 0..<count { try workplace.write("", to: "root/large/\(100_000 + index)") }
        var (cursor, found) = (String?.none, [String]())
        repeat {
            let page: ListOutput = try await workplace.run(
                ListParameters(path: "data:large", limit: 70, cursor: cursor))
            found += page.entries.map(\.path)
            cursor = page.nextCursor
        } while cursor != nil
        #expect(found == (0..<count).map { "data:large/\(100_000 + $0)" })
    }

    @Test("hides the fleet's own files")
    func reserved() async throws {
        _ = try await workplace.text(AppendParameters(path: "data:d/log", content: "x"))
        #expect(try await paths(ListParameters(path: "data:d")) == ["data:d/e", "data:d/log"])
    }
}

@Suite("A glob")
struct GlobTests {
    @Test(
        "matches",
        arguments: [
            ("*", "abc"), ("*", ""), ("a*c", "ac"), ("a*c", "abbc"), ("?", "ä"), ("[a-c]x", "bx"), ("[!a-c]", "d"),
            ("[]]", "]"), ("[a-]", "-"), ("**", "a/b/c"), ("**/c", "a/b/c"), ("**/c", "c"), ("a/**/c", "a/c"),
            ("a/**/c", "a/x/y/c"), ("a/*", "a/b"), ("*.tar.*", "x.tar.gz"), ("a**", "a/b"),
        ])
    func matches(_ pattern: String, _ text: String) throws { #expect(try #require(Glob(pattern)).matches(text)) }

    @Test(
        "does not match",
        arguments: [
            ("*", "a/b"), ("a*c", "acb"), ("?", ""), ("?", "/"), ("?", "ab"), ("[a-c]", "d"), ("[!a-c]", "a"),
            ("[!a]", "/"), ("a/*", "a/b/c"), ("**/c", "a/bc"), ("a", "A"), ("", "a"),
        ].filter { !$0.0.isEmpty })
    func matchesNot(_ pattern: String, _ text: String) throws { #expect(try !#require(Glob(pattern)).matches(text)) }

    @Test("takes no longer for a pattern that is made to")
    func hostile() throws {
        let glob = try #require(Glob(String(repeating: "*a", count: 100) + "b"))
        let begin = ContinuousClock.now
        #expect(!glob.matches(String(repeating: "a", count: 255)))
        #expect(ContinuousClock.now - begin < .seconds(60))
    }
}

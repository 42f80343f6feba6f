import RootedFiles
import Testing

@Suite("A path as jobs write it")
struct RootedPathTests {
    @Test(
        "has one spelling",
        arguments: [
            ("data:a/b.txt", "data:a/b.txt"), ("data:a//b", "data:a/b"), ("data:./a/./b/", "data:a/b"),
            ("data:", "data:"),
            ("data:.", "data:"), ("my-root-2:Übung 1/ä", "my-root-2:Übung 1/ä"), ("data:a:b", "data:a:b"),
            ("data:...", "data:..."), ("data:a/..b", "data:a/..b"),
        ])
    func spelling(_ text: String, _ expected: String) throws {
        #expect(try "\(RootedPath(text))" == expected)
        #expect(try RootedPath(text) == RootedPath(expected))
    }

    @Test(
        "is refused with what to write instead",
        arguments: [
            ("", "names no root"), ("a/b", "names no root"), ("/etc/passwd", "names no root"), (":a", "names no root"),
            ("Data:a", "names no root"), ("da ta:a", "names no root"), ("data:/etc/passwd", "is absolute"),
            ("data:../a", "has '..'"), ("data:a/../b", "has '..'"), ("data:a/..", "has '..'"),
            ("data:a\0b", "holds U+0000"),
            ("data:.gaia-x", "begins with .gaia-"), ("data:a/.gaia-x/b", "begins with .gaia-"),
            ("data:" + String(repeating: "n", count: 256), "over 255 bytes"),
            ("data:" + String(repeating: "a/", count: 129), "deeper than 128"),
            ("data:" + String(repeating: "a", count: 4_000), "longer than 4000"),
        ])
    func refused(_ text: String, _ expected: String) throws {
        let error = try #require(throws: FileError.self) { try RootedPath(text) }
        #expect(error.reason == .invalidPath)
        #expect(error.detail.contains(expected), "\(error)")
    }

    @Test("has a parent, a name, and a root above all")
    func parts() throws {
        let path = try RootedPath("data:a/b")
        #expect(path.name == "b")
        #expect(try path.parent == RootedPath("data:a"))
        #expect(try RootedPath("data:a").parent == RootedPath("data:"))
        #expect(try RootedPath("data:").parent == nil)
    }

    @Test("Roots are listed in one setting")
    func roots() throws {
        let roots = try FileRoot.list("data=/srv/data, media=/srv/a=b:ro")
        #expect(roots.map(\.name) == ["data", "media"])
        #expect(roots.map(\.directory) == ["/srv/data", "/srv/a=b"])
        #expect(roots.map(\.isWritable) == [true, false])
        #expect(try FileRoot.list("").isEmpty)
        for flaw in ["data", "data=relative", "Data=/srv", "=/srv"] {
            #expect(throws: FileError.self, "\(flaw)") { try FileRoot.list(flaw) }
        }
    }
}

import Foundation
import Glibc
import RootedFiles
import Testing

@Suite("A file that is written whole or not at all")
struct AtomicFileTests {
    let sandbox: Sandbox
    let roots: FileRoots

    init() throws {
        sandbox = try Sandbox()
        roots = try sandbox.roots()
    }

    private func open(_ name: String = "file", key: String = "job", token: Int64 = 1) throws -> AtomicFile {
        try AtomicFile.open(
            name, in: roots.directory(RootedPath("data:"), for: .writing), writer: FileWriter(key: key, token: token))
    }

    private func write(
        _ text: String, _ placement: AtomicFile.Placement = .any, name: String = "file", key: String = "job",
        token: Int64 = 1
    ) throws {
        var file = try open(name, key: key, token: token)
        try Array(text.utf8).withUnsafeBytes { try file.write($0) }
        try file.sync()
        try file.place(placement)
    }

    @Test("appears with its content and nothing beside it, and replaces what was there")
    func replaces() throws {
        try write("one")
        try write("two")
        #expect(try sandbox.text("root/file") == "two")
        #expect(try sandbox.names() == ["file"])
    }

    @Test("leaves the old content and no temporary when it is let go")
    func letGo() throws {
        try sandbox.write("old", to: "root/file")
        do {
            var file = try open()
            try Array("new".utf8).withUnsafeBytes { try file.write($0) }
            #expect(try sandbox.names().count == 2)
        }
        #expect(try sandbox.names() == ["file"])
        #expect(try sandbox.text("root/file") == "old")
    }

    @Test("stands only where it may")
    func placements() throws {
        #expect(try reason { try write("a", .present) } == .notFound)
        try write("a", .absent)
        #expect(try reason { try write("b", .absent) } == .exists)
        try write("c", .present)
        #expect(try sandbox.text("root/file") == "c")
        try sandbox.makeDirectory("root/directory")
        try sandbox.link("root/link", to: "../outside/secret")
        try #require(mkfifo(sandbox.at("root/fifo"), 0o600) == 0)
        #expect(try reason { try write("x", name: "directory") } == .isDirectory)
        #expect(try reason { try write("x", name: "link") } == .symlink)
        #expect(try reason { try write("x", name: "fifo") } == .notRegular)
        #expect(try sandbox.text("outside/secret") == "secret")
        #expect(try sandbox.names() == ["directory", "fifo", "file", "link"])
    }

    @Test("keeps the permissions of the file that gives way")
    func mode() throws {
        try write("a")
        #expect(try roots.status(RootedPath("data:file"))?.mode == 0o640)
        try #require(chmod(sandbox.at("root/file"), 0o604) == 0)
        try write("b")
        #expect(try roots.status(RootedPath("data:file"))?.mode == 0o604)
    }

    @Test("is found and removed by the job's next attempt when its writer is gone, and other jobs' are left alone")
    func stale() throws {
        let first = try open(token: 1)
        let other = try open(key: "other", token: 1)
        #expect(try sandbox.names().count == 2)
        var third = try open(token: 3)
        #expect(try sandbox.names().count == 2)
        try third.place(.any)
        #expect(try sandbox.names().count == 2)
        withExtendedLifetime(first) {}
        withExtendedLifetime(other) {}
    }

    @Test("is not placed by an attempt that another has overtaken")
    func overtaken() throws {
        var first = try open(token: 1)
        try Array("stale".utf8).withUnsafeBytes { try first.write($0) }
        var second = try open(token: 2)
        try Array("fre".utf8).withUnsafeBytes { try second.write($0) }
        // What the other has written so far is not taken for its own.
        #expect(try reason { try first.place(.any) } == .busy)
        try Array("sh".utf8).withUnsafeBytes { try second.write($0) }
        try second.place(.any)
        #expect(try reason { try first.place(.any) } == .busy)
        #expect(try sandbox.text("root/file") == "fresh")
    }

    @Test("says which job put it there")
    func mark() throws {
        let mark = try FileMark(key: "job", effect: "write data:file")
        var file = try open()
        let isKept = try file.setMark(mark)
        try file.place(.any)
        let placed = try roots.file(RootedPath("data:file"))
        #expect(placed.hasMark(mark) == isKept)
        #expect(try !placed.hasMark(FileMark(key: "job", effect: "write data:other")))
        #expect(try !placed.hasMark(FileMark(key: "other", effect: "write data:file")))
    }

    @Test("takes stretches of another file")
    func copies() throws {
        let content = String(repeating: "0123456789", count: 20_000)
        try sandbox.write(content, to: "root/source")
        let source = try roots.file(RootedPath("data:source"))
        var file = try open()
        #expect(try file.append(from: source, at: 0, count: 150_000) == 150_000)
        #expect(try file.append(from: source, at: 150_000, count: 150_000) == 50_000)
        #expect(try file.append(from: source, at: 200_000, count: 150_000) == 0)
        try file.place(.absent)
        #expect(try sandbox.text("root/file") == content)
    }
}

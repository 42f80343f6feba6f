import FleetModel
import Foundation
import Glibc
import RootedFiles
import Testing

@testable import FileSubsystem

@Suite("file.copy.v1")
struct CopyTests {
    let workplace: Workplace

    init() throws { workplace = try Workplace() }

    @Test("copies a file of many pieces, and says so once for a job")
    func copies() async throws {
        let content = String(repeating: "0123456789abcdef", count: 200_000)
        try workplace.write(content, to: "root/a")
        let output: CopyOutput = try await workplace.run(CopyParameters(from: "data:a", to: "data:b/c", parents: true))
        #expect(output.bytes == Int64(content.utf8.count))
        #expect(!output.repeated)
        #expect(try workplace.text("root/b/c") == content)
        let again: CopyOutput = try await workplace.run(
            CopyParameters(from: "data:a", to: "data:b/c", when: .absent), token: 2)
        #expect(again.repeated)
        #expect(
            try await workplace.failure(CopyParameters(from: "data:a", to: "data:b/c", when: .absent), key: "other")
                == "file.exists")
        // A source that has changed since is another effect.
        try workplace.write("changed", to: "root/a")
        let changed: CopyOutput = try await workplace.run(CopyParameters(from: "data:a", to: "data:b/c"), token: 3)
        #expect(!changed.repeated)
        #expect(try workplace.text("root/b/c") == "changed")
    }

    @Test("copies an empty file, and none that is too large")
    func bounds() async throws {
        let workplace = try Workplace { $0.fileBytesMax = 10 }
        try workplace.write("", to: "root/empty")
        try workplace.write("0123456789a", to: "root/large")
        _ = try await workplace.text(CopyParameters(from: "data:empty", to: "data:e"))
        #expect(try workplace.text("root/e") == "")
        #expect(try await workplace.failure(CopyParameters(from: "data:large", to: "data:l")) == "file.too-large")
    }

    @Test("leaves nothing when the claim is lost")
    func fenced() async throws {
        try workplace.write("a", to: "root/a")
        #expect(
            try await workplace.failure(CopyParameters(from: "data:a", to: "data:b"), confirm: lost) == "claim.lost")
        #expect(try workplace.names() == ["a"])
    }
}

/// A directory on another file system than temporary files, when the machine has one.
private let otherFileSystemDirectory: String? = {
    var (here, there) = (stat(), stat())
    guard stat(NSTemporaryDirectory(), &here) == 0, stat("/dev/shm", &there) == 0, access("/dev/shm", W_OK) == 0 else {
        return nil
    }
    return here.st_dev == there.st_dev ? nil : "/dev/shm"
}()

@Suite("file.move.v1")
struct MoveTests {
    let workplace: Workplace

    init() throws { workplace = try Workplace() }

    @Test("moves a file, and is done already for a later attempt")
    func moves() async throws {
        try workplace.write("x", to: "root/a")
        let parameters = MoveParameters(from: "data:a", to: "data:b/c", when: .absent, parents: true)
        let output: MoveOutput = try await workplace.run(parameters)
        #expect(!output.repeated && !output.copied)
        #expect(try workplace.names() == ["b", "b/c"])
        let again: MoveOutput = try await workplace.run(parameters, token: 2)
        #expect(again.repeated)
        // Another job finds no source, nor does a first attempt.
        #expect(try await workplace.failure(parameters, key: "other", token: 2) == "file.not-found")
        #expect(try await workplace.failure(parameters, token: 1) == "file.not-found")
    }

    @Test("moves a source that has come again since, when its job runs again")
    func comeAgain() async throws {
        try workplace.write("one", to: "root/a")
        _ = try await workplace.text(MoveParameters(from: "data:a", to: "data:b"))
        try workplace.write("two", to: "root/a")
        let again: MoveOutput = try await workplace.run(MoveParameters(from: "data:a", to: "data:b"), token: 2)
        #expect(!again.repeated)
        #expect(try workplace.text("root/b") == "two")
    }

    @Test("moves only where it may, and only what is a file")
    func places() async throws {
        try workplace.write("a", to: "root/a")
        try workplace.write("b", to: "root/b")
        try workplace.write("c", to: "root/d/c")
        #expect(
            try await workplace.failure(MoveParameters(from: "data:a", to: "data:b", when: .absent)) == "file.exists")
        #expect(
            try await workplace.failure(MoveParameters(from: "data:a", to: "data:x", when: .present))
                == "file.not-found")
        #expect(try await workplace.failure(MoveParameters(from: "data:a", to: "data:d")) == "file.is-directory")
        #expect(try await workplace.failure(MoveParameters(from: "data:d", to: "data:e")) == "file.is-directory")
        #expect(
            try await workplace.failure(MoveParameters(from: "data:a", to: "data:e"), confirm: lost) == "claim.lost")
        #expect(try workplace.names() == ["a", "b", "d", "d/c"])
    }

    @Test("goes to another file system by a copy, once", .enabled(if: otherFileSystemDirectory != nil))
    func otherFileSystem() async throws {
        let place = try #require(otherFileSystemDirectory) + "/files-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        defer { #expect(throws: Never.self) { try FileManager.default.removeItem(atPath: place) } }
        let workplace = try Workplace { $0.roots.append(try FileRoot(name: "other", directory: place)) }
        try workplace.write("x", to: "root/a")
        let parameters = MoveParameters(from: "data:a", to: "other:b")
        let output: MoveOutput = try await workplace.run(parameters)
        #expect(output.copied && !output.repeated)
        #expect(try workplace.names() == [])
        #expect(try String(contentsOfFile: "\(place)/b", encoding: .utf8) == "x")
        let file = try workplace.subsystem.roots.file(RootedPath("other:b"))
        // Where the file system keeps marks a repeat is known.
        if try file.hasMark(FileMark(key: "job", effect: "move data:a other:b")) {
            let again: MoveOutput = try await workplace.run(parameters, token: 2)
            #expect(again.repeated)
        }
    }
}

@Suite("file.delete.v1")
struct DeleteTests {
    let workplace: Workplace

    init() throws { workplace = try Workplace() }

    private func delete(_ path: String, recursive: Bool? = nil) async throws -> Int {
        try await workplace.run(DeleteParameters(path: path, recursive: recursive), as: DeleteOutput.self).removed
    }

    @Test("removes a file, its journal with it, and finds that done the next time")
    func file() async throws {
        _ = try await workplace.text(AppendParameters(path: "data:log", content: "x"))
        #expect(try workplace.names().count == 2)
        #expect(try await delete("data:log") == 1)
        #expect(try workplace.names() == [])
        #expect(try await delete("data:log") == 0)
        #expect(try await delete("data:none/none") == 0)
        #expect(try await workplace.failure(DeleteParameters(path: "data:log", missing: .error)) == "file.not-found")
    }

    @Test("removes a directory with what is in it only when told to, and follows no link")
    func directory() async throws {
        for index in 0..<600 { try workplace.write("x", to: "root/d/\(index % 7)/\(index)") }
        try FileManager.default.createSymbolicLink(
            atPath: workplace.at("root/d/link"), withDestinationPath: workplace.at("outside"))
        _ = try await workplace.text(AppendParameters(path: "data:d/log", content: "x"))
        #expect(try await workplace.failure(DeleteParameters(path: "data:d")) == "file.not-empty")
        #expect(try await delete("data:d", recursive: true) == 600 + 7 + 1 + 1 + 2)
        #expect(try workplace.names() == [])
        #expect(try workplace.names("outside") == ["secret"])
    }

    @Test("removes no more than it may at a time, and no deeper")
    func bounds() async throws {
        let workplace = try Workplace {
            $0.entriesExaminedMax = 10
            $0.depthMax = 2
        }
        for index in 0..<15 { try workplace.write("x", to: "root/d/\(index)") }
        #expect(try await workplace.failure(DeleteParameters(path: "data:d", recursive: true)) == "file.too-large")
        #expect(try workplace.names().count == 6)
        try workplace.write("x", to: "root/a/b/c/d/e")
        #expect(try await workplace.failure(DeleteParameters(path: "data:a", recursive: true)) == "file.too-large")
        #expect(try workplace.text("root/a/b/c/d/e") == "x")
    }

    @Test("removes nothing when the claim is lost")
    func fenced() async throws {
        try workplace.write("x", to: "root/a")
        #expect(try await workplace.failure(DeleteParameters(path: "data:a"), confirm: lost) == "claim.lost")
        #expect(try workplace.names() == ["a"])
    }
}

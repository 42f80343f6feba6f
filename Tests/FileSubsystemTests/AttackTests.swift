import FleetModel
import FleetStack
import Foundation
import Glibc
import RootedFiles
import TestPatience
import Testing

@testable import FileSubsystem

@Suite("No file job leaves its root")
struct AttackTests {
    let workplace: Workplace

    init() throws {
        workplace = try Workplace()
        try workplace.write("inside", to: "root/file")
        try FileManager.default.createSymbolicLink(
            atPath: workplace.at("root/link"), withDestinationPath: "../outside/secret")
        try FileManager.default.createSymbolicLink(
            atPath: workplace.at("root/directory"), withDestinationPath: workplace.at("outside"))
        try #require(link(workplace.at("outside/secret"), workplace.at("root/hard")) == 0)
        try #require(mkfifo(workplace.at("root/fifo"), 0o600) == 0)
    }

    /// What each type that reads content ends with on a path.
    private func readers(_ path: String) async throws -> [String?] {
        [
            try await workplace.failure(ReadParameters(path: path)),
            try await workplace.failure(HashParameters(path: path)),
            try await workplace.failure(ParseJSONParameters(path: path)),
            try await workplace.failure(ParseXMLParameters(path: path, xpath: "/a")),
            try await workplace.failure(CopyParameters(from: path, to: "data:copied")),
            try await workplace.failure(MoveParameters(from: path, to: "data:moved")),
        ]
    }

    @Test(
        "Nothing is read through a link, of a file with another name, or from what is no file",
        arguments: [
            ("data:link", "file.symlink"), ("data:directory/secret", "file.symlink"), ("data:hard", "file.hard-linked"),
            ("data:fifo", "file.not-regular"),
        ])
    func reading(_ path: String, _ code: String) async throws {
        for failure in try await readers(path) {
            // The way to the target's directory is said to be none, where that is looked at first.
            #expect(
                failure == code || (path.contains("/") && failure == "file.not-a-directory"), "\(failure ?? "done")")
        }
        #expect(try workplace.names() == ["directory", "fifo", "file", "hard", "link"])
    }

    @Test("Nothing is written through a link, or over what is no file")
    func writing() async throws {
        for path in ["data:link", "data:directory/secret", "data:directory/made", "data:fifo"] {
            #expect(
                try await workplace.failure(WriteParameters(path: path, content: "x", parents: true)) != nil, "\(path)")
            #expect(
                try await workplace.failure(AppendParameters(path: path, content: "x", parents: true)) != nil, "\(path)"
            )
            #expect(
                try await workplace.failure(CopyParameters(from: "data:file", to: path, parents: true)) != nil,
                "\(path)")
            #expect(
                try await workplace.failure(MoveParameters(from: "data:file", to: path, parents: true)) != nil,
                "\(path)")
        }
        #expect(try await workplace.failure(AppendParameters(path: "data:hard", content: "x")) == "file.hard-linked")
        #expect(try workplace.text("outside/secret") == "secret")
        #expect(try workplace.names("outside") == ["secret"])
        #expect(try workplace.text("root/file") == "inside")
    }

    @Test("Deleting takes away a link, never what it leads to")
    func deleting() async throws {
        _ = try await workplace.text(DeleteParameters(path: "data:link"))
        _ = try await workplace.text(DeleteParameters(path: "data:directory", recursive: true))
        _ = try await workplace.text(DeleteParameters(path: "data:hard"))
        #expect(try workplace.text("outside/secret") == "secret")
        #expect(try await workplace.failure(DeleteParameters(path: "data:x/secret")) == nil)
        try FileManager.default.createSymbolicLink(
            atPath: workplace.at("root/directory"), withDestinationPath: workplace.at("outside"))
        #expect(try await workplace.failure(DeleteParameters(path: "data:directory/secret")) != nil)
        #expect(try workplace.names("outside") == ["secret"])
    }

    @Test("A listing shows a link and does not go through it")
    func listing() async throws {
        let output: ListOutput = try await workplace.run(ListParameters(path: "data:", depth: 5))
        #expect(!output.entries.contains { $0.path.contains("secret") })
        #expect(try await workplace.failure(ListParameters(path: "data:directory")) != nil)
    }

    @Test("A root to read only stays as it is")
    func readOnly() async throws {
        let workplace = try Workplace {
            $0.roots = [try FileRoot(name: "data", directory: $0.roots[0].directory, isWritable: false)]
        }
        try workplace.write("x", to: "root/a")
        for failure in [
            try await workplace.failure(WriteParameters(path: "data:a", content: "y")),
            try await workplace.failure(AppendParameters(path: "data:a", content: "y")),
            try await workplace.failure(CopyParameters(from: "data:a", to: "data:b")),
            try await workplace.failure(MoveParameters(from: "data:a", to: "data:b")),
            try await workplace.failure(DeleteParameters(path: "data:a")),
        ] { #expect(failure == "file.read-only") }
        #expect(try workplace.names() == ["a"])
        #expect(try await workplace.failure(ReadParameters(path: "data:a")) == nil)
    }
}

@Suite("A writer that is killed")
struct KilledWriterTests {
    /// The program beside the tests that needs a process of its own.
    static func program() throws -> String {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(filePath: own).deletingLastPathComponent().appending(path: "file-work").path
    }

    @Test("leaves the old content, and its temporary goes with the job's next attempt")
    func killed() async throws {
        let workplace = try Workplace()
        try workplace.write("old", to: "root/file")
        let writer = try ChildProcess.start(
            executable: Self.program(), arguments: ["half", workplace.at("root"), "file", "1"], output: .capture)
        try #require(try await writer.awaitOutput(containing: "half written", within: patienceOfTests))
        #expect(try workplace.names().count == 2)
        try writer.signal(SIGKILL)
        #expect(await writer.exitStatus() == .signalled(SIGKILL))
        #expect(try workplace.text("root/file") == "old")
        #expect(try workplace.names().count == 2)
        // Another job's write leaves it alone.
        _ = try await workplace.text(WriteParameters(path: "data:file", content: "other"), key: "other")
        #expect(try workplace.names().count == 2)
        _ = try await workplace.text(WriteParameters(path: "data:file", content: "new"), token: 2)
        #expect(try workplace.text("root/file") == "new")
        #expect(try workplace.names() == ["file"])
    }

    @Test("A file many times larger than what is used for it is copied, hashed and parsed")
    func weight() async throws {
        let workplace = try Workplace()
        let bytes = 96 << 20
        let worker = try ChildProcess.start(
            executable: Self.program(), arguments: ["weigh", workplace.at("root"), "\(bytes)"], output: .capture)
        #expect(await worker.exitStatus().isSuccess, "\(worker.capturedOutput)")
        let figures = worker.standardOutput.split(separator: " ").compactMap { Int($0.filter(\.isNumber)) }
        try #require(figures.count == 2)
        #expect(figures[0] < 24 << 20, "grew by \(figures[0]) bytes")
        #expect(figures[1] < 100_000_000, "\(figures[1]) bytes at the most")
    }
}

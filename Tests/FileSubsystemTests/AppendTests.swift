import FleetModel
import Foundation
import Glibc
import RootedFiles
import Testing

@testable import FileSubsystem

@Suite("file.append.v1")
struct AppendTests {
    let workplace: Workplace

    init() throws { workplace = try Workplace() }

    private func append(
        _ content: String, key: String, token: Int64 = 1, confirm: @escaping @Sendable () async throws -> Void = {}
    ) async throws -> AppendOutput {
        try await workplace.run(
            AppendParameters(path: "data:log", content: content), key: key, token: token, confirm: confirm)
    }

    private var text: String { get throws { try workplace.text("root/log") } }

    @Test("adds once for each key, however often its job runs")
    func once() async throws {
        #expect(try await append("one\n", key: "1").offset == 0)
        #expect(try await append("two\n", key: "2").offset == 4)
        let again = try await append("one\n", key: "1", token: 2)
        #expect(again.repeated)
        #expect(again.offset == 0)
        #expect(again.bytes == 8)
        #expect(try await append("two\n", key: "2", token: 2).repeated)
        #expect(try text == "one\ntwo\n")
    }

    @Test("takes a file that is there, and makes none unless it may")
    func create() async throws {
        #expect(
            try await workplace.failure(AppendParameters(path: "data:log", content: "x", create: false))
                == "file.not-found")
        try workplace.write("before\n", to: "root/log")
        #expect(try await append("x", key: "1").offset == 7)
        #expect(try await workplace.failure(AppendParameters(path: "data:a/b", content: "x")) == "file.not-found")
        _ = try await workplace.text(AppendParameters(path: "data:a/b", content: "x", parents: true))
        #expect(try workplace.text("root/a/b") == "x")
    }

    @Test("writes nothing when the claim is lost, and the next attempt does")
    func fenced() async throws {
        try workplace.write("before\n", to: "root/log")
        await #expect(throws: ClaimLost.self) { try await append("x", key: "1", confirm: lost) }
        #expect(try text == "before\n")
        #expect(try await !append("x", key: "1", token: 2).repeated)
        #expect(try text == "before\nx")
    }

    @Test("cuts off what a dead writer left half written, and lets its job try again")
    func repair() async throws {
        _ = try await append("one\n", key: "1")
        _ = try await append("two\n", key: "2")
        // As if the machine had stopped in the middle of the second.
        try #require(truncate(workplace.at("root/log"), 6) == 0)
        #expect(try await append("three\n", key: "3").offset == 4)
        #expect(try text == "one\nthree\n")
        #expect(try await !append("two\n", key: "2", token: 2).repeated)
        #expect(try await append("three\n", key: "3", token: 2).repeated)
        #expect(try text == "one\nthree\ntwo\n")
    }

    @Test("knows nothing any more of a file that was replaced")
    func replaced() async throws {
        _ = try await append("one\n", key: "1")
        _ = try await workplace.text(WriteParameters(path: "data:log", content: "new\n"), key: "w")
        #expect(try await !append("one\n", key: "1", token: 2).repeated)
        #expect(try text == "new\none\n")
    }

    @Test("of many at once loses none and doubles none")
    func concurrent() async throws {
        let lines = (0..<60).map { "line \($0)\n" }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 1...2 {
                for (index, line) in lines.enumerated() {
                    group.addTask { _ = try await append(line, key: "\(index)", token: 1) }
                }
            }
            try await group.waitForAll()
        }
        #expect(try text.split(separator: "\n").map { "\($0)\n" }.sorted() == lines.sorted())
    }

    @Test("remembers as many jobs as its journal has notes for")
    func ring() async throws {
        let workplace = try Workplace { $0.appendNotesMax = 50 }
        func append(_ key: Int, token: Int64 = 1) async throws -> AppendOutput {
            try await workplace.run(AppendParameters(path: "data:log", content: "x"), key: "\(key)", token: token)
        }
        for key in 0...50 { _ = try await append(key) }
        #expect(try await append(1, token: 2).repeated)
        #expect(try await !append(0, token: 2).repeated)
        let journal = try #require(try workplace.names().first { $0.hasPrefix(".gaia-append-") })
        let bytes = try Data(contentsOf: URL(filePath: workplace.at("root/\(journal)"))).count
        #expect(bytes == 50 * AppendJournal.noteBytes)
    }

    @Test("makes no file larger than it may")
    func bound() async throws {
        let workplace = try Workplace { $0.fileBytesMax = 10 }
        _ = try await workplace.text(AppendParameters(path: "data:log", content: "0123456789"), key: "1")
        #expect(
            try await workplace.failure(AppendParameters(path: "data:log", content: "x"), key: "2") == "file.too-large")
        #expect(try workplace.text("root/log") == "0123456789")
    }

    @Test("leaves the line when its task is cancelled, and the others go on")
    func cancelled() async throws {
        let turns = Turns()
        try await turns.inTurn("a") {
            let waiting = Task { try await turns.inTurn("a") { Issue.record("it had no turn") } }
            waiting.cancel()
            await #expect(throws: CancellationError.self) { try await waiting.value }
            // Another path's line is another.
            try await turns.inTurn("b") {}
        }
        #expect(try await turns.inTurn("a") { 1 } == 1)
    }
}

import Dispatch
import FleetModel
import Foundation
import RootedFiles
import Synchronization
import Testing

@testable import FileSubsystem

@Suite("Large documents and small files", .timeLimit(.minutes(2)))
struct IsolationTests {
    @Test("While the parse threads are taken, reads go on and parse jobs wait")
    func threadsOfTheirOwn() async throws {
        let workplace = try Workplace {
            $0.threads = 1
            $0.parseThreads = 1
        }
        try workplace.write("[1]", to: "root/file")
        let parseThreads = workplace.subsystem.access.parseThreads
        let block = DispatchSemaphore(value: 0)
        let holder = Task { try await parseThreads.run { block.wait() } }
        while parseThreads.load.active == 0 { await Task.yield() }
        let parse = Task { try await workplace.text(ParseJSONParameters(path: "data:file")) }
        while parseThreads.load.queued == 0 { await Task.yield() }
        for _ in 1...20 { _ = try await workplace.text(ReadParameters(path: "data:file")) }
        #expect(parseThreads.load.queued == 1)
        block.signal()
        try await holder.value
        #expect(try await parse.value.contains("\"value\":[1]"))
    }

    @Test("Small reads pass by a large document, which ends within a step once its job is cancelled")
    func largeDocument() async throws {
        let workplace = try Workplace {
            $0.threads = 1
            $0.parseThreads = 1
        }
        let bytes = try workplace.writeLargeDocument("root/large", bytesMin: 64 << 20)
        try workplace.write("small", to: "root/small")
        let seen = Progress()
        // Holds the document in its first step, on the thread that parses it, however fast the machine is.
        let hold = DispatchSemaphore(value: 0)
        defer { hold.signal() }
        let parse = Task {
            defer { seen.end() }
            return try await workplace.text(
                ParseJSONParameters(path: "data:large", pointer: "/items/0", whole: true),
                report: { if seen.note($0) { hold.wait() } })
        }
        while seen.fraction == 0 && !seen.isOver {
            try Task.checkCancellation()
            await Task.yield()
        }
        for _ in 1...50 { _ = try await workplace.text(ReadParameters(path: "data:small")) }

        let atCancellation = seen.fraction
        parse.cancel()
        hold.signal()
        await #expect(throws: CancellationError.self) { try await parse.value }
        // A step may have been under way, and its report.
        #expect((seen.fraction - atCancellation) * Double(bytes) <= Double(2 * FileAccess.stepBytes))
        #expect(seen.fraction < 1)
        // The one thread is free again.
        #expect(workplace.subsystem.access.parseThreads.load.queued == 0)
        try workplace.write("[2]", to: "root/other")
        #expect(try await workplace.text(ParseJSONParameters(path: "data:other")).contains("[2]"))
    }

    @Test("A job that is cancelled while it waits for its turn ends at once, and the turn goes to the next")
    func turns() async throws {
        let workplace = try Workplace()
        let turns = workplace.subsystem.access.turns
        let (holds, release) = (Occasion(), Occasion())
        func append(_ text: String, confirm: @escaping @Sendable () async throws -> Void = {}) -> Task<
            String, any Error
        > {
            Task {
                try await workplace.text(
                    AppendParameters(path: "data:log", content: text), key: text, confirm: confirm)
            }
        }
        func wait(for count: Int) async throws {
            while turns.waiting(for: "data:log") != count {
                try Task.checkCancellation()
                await Task.yield()
            }
        }
        let first = append("first ") {
            holds.happen()
            await release.wait()
        }
        await holds.wait()
        let second = append("second ")
        try await wait(for: 1)
        let third = append("third ")
        try await wait(for: 2)
        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        #expect(turns.waiting(for: "data:log") == 1)
        release.happen()
        _ = try await (first.value, third.value)
        #expect(try workplace.text("root/log") == "first third ")
        // Nobody holds it any more, and one who comes cancelled does not take it.
        let late = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await turns.inTurn("data:log") {}
        }
        await #expect(throws: CancellationError.self) { try await late.value }
        try await turns.inTurn("data:log") {}
    }

    @Test("A worker that has no file job has no thread for them")
    func threads() async throws {
        let subsystem = try FileSubsystem(FileSettings())
        #expect(subsystem.access.threads.load.running == 0 && subsystem.access.parseThreads.load.running == 0)
        await subsystem.close()
    }
}

/// How far a job says that it is.
private final class Progress: Sendable {
    private let state = Mutex((fraction: 0.0, isOver: false))

    /// - Returns: whether it is the first.
    func note(_ progress: JobProgress) -> Bool {
        state.withLock { state in
            defer { state.fraction = progress.fraction }
            return state.fraction == 0
        }
    }

    var fraction: Double { state.withLock { $0.fraction } }
    var isOver: Bool { state.withLock { $0.isOver } }
    func end() { state.withLock { $0.isOver = true } }
}

/// Something that happens once, and one who waits for it.
private final class Occasion: Sendable {
    private let (stream, continuation) = AsyncStream.makeStream(of: Void.self)

    func happen() { continuation.finish() }
    func wait() async { for await _ in stream {} }
}

extension Workplace {
    /// A JSON document of many small objects; its size in bytes.
    fileprivate func writeLargeDocument(_ place: String, bytesMin: Int) throws -> Int {
        try Data().write(to: URL(filePath: at(place)))
        let file = try FileHandle(forWritingTo: URL(filePath: at(place)))
        let item = #"{"id":1234567,"name":"a name of some length","tags":["one","two"],"price":12.5},"#
        let piece = Data(String(repeating: item, count: 10_000).utf8)
        try file.write(contentsOf: Data(#"{"items":["#.utf8))
        var bytes = 0
        while bytes < bytesMin {
            try file.write(contentsOf: piece)
            bytes += piece.count
        }
        try file.write(contentsOf: Data("0]}".utf8))
        try file.close()
        return bytes
    }
}

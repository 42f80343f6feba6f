import Dispatch
import Foundation
import RootedFiles
import Synchronization
import Testing

@Suite("Threads for blocking calls")
struct FileThreadsTests {
    /// Holds a thread until it is let go.
    private final class Gate: Sendable {
        private let threads = FileThreads(named: "gate", count: 1)
        private let state = Mutex((isOpen: false, entered: 0))

        func open() { state.withLock { $0.isOpen = true } }
        var entered: Int { state.withLock { $0.entered } }
        /// A step that goes on until the gate opens.
        func step() -> FileThreads.Step<Int> {
            state.withLock { state in
                state.entered += 1
                return state.isOpen ? .done(state.entered) : .more
            }
        }
        /// Waits until someone stands in the gate.
        func waitUntilEntered() async { while entered == 0 { await Task.yield() } }
    }

    private final class Count: Sendable {
        private let count = Mutex(0)
        var value: Int { count.withLock { $0 } }
        func add() { count.withLock { $0 += 1 } }
    }

    @Test("give back what the work returns and throws")
    func results() async throws {
        let threads = FileThreads(named: "files", count: 2)
        #expect(try await threads.run { 7 } == 7)
        await #expect(throws: FileError.self) { try await threads.run { throw FileError(.exists, "a", "b") } }
        var left = 1_000
        let sum = try await threads.inSteps {
            left -= 1
            return left == 0 ? .done(1_000) : .more
        }
        #expect(sum == 1_000)
        await threads.close()
        let error = await #expect(throws: FileError.self) { try await threads.run {} }
        #expect(error?.reason == .busy)
    }

    @Test("let small work pass by long work")
    func turns() async throws {
        let threads = FileThreads(named: "files", count: 1)
        let gate = Gate()
        let long = Task { try await threads.inSteps { gate.step() } }
        await gate.waitUntilEntered()
        for number in 1...100 { #expect(try await threads.run { number } == number) }
        gate.open()
        #expect(try await long.value > 100)
        await threads.close()
    }

    @Test("notice a cancelled task between two steps, and before the first")
    func cancellation() async throws {
        let threads = FileThreads(named: "files", count: 1)
        let gate = Gate()
        let long = Task { try await threads.inSteps { gate.step() } }
        await gate.waitUntilEntered()
        long.cancel()
        await #expect(throws: CancellationError.self) { try await long.value }
        let runs = Count()
        let never = Task {
            // Cancelled by now or not, the call sees it.
            while !Task.isCancelled { await Task.yield() }
            try await threads.run { runs.add() }
        }
        never.cancel()
        await #expect(throws: CancellationError.self) { try await never.value }
        #expect(runs.value == 0)
        await threads.close()
    }

    @Test("refuse what their queue has no room for")
    func full() async throws {
        let threads = FileThreads(named: "files", count: 1, queueMax: 3)
        let block = DispatchSemaphore(value: 0)
        let holder = Task { try await threads.run { block.wait() } }
        while threads.load.active == 0 { await Task.yield() }
        let waiting = (1...3).map { number in Task { try await threads.run { number } } }
        while threads.load.queued < 3 { await Task.yield() }
        let error = await #expect(throws: FileError.self) { try await threads.run {} }
        #expect(error?.reason == .busy)
        block.signal()
        try await holder.value
        for (index, task) in waiting.enumerated() { #expect(try await task.value == index + 1) }
        #expect(threads.load.queued == 0)
        await threads.close()
    }

    @Test("are started when there is work for them, never more than that, and end when they are closed")
    func lazily() async throws {
        // A name of its own, by which the kernel's list of threads tells them from all others.
        let name = "lazy-\(UInt16.random(in: .min ... .max))"
        let threads = FileThreads(named: name, count: 3)
        #expect(try living(name) == 0 && threads.load.running == 0)
        for _ in 0..<10 { try await threads.run {} }
        #expect(try (1...3).contains(living(name)), "one, and another when it was still at the end of its step")
        let block = DispatchSemaphore(value: 0)
        let holders = (0..<5).map { _ in Task { try await threads.run { block.wait() } } }
        while threads.load.active < 3 || threads.load.active + threads.load.queued < 5 { await Task.yield() }
        #expect(try living(name) == 3 && threads.load.running == 3)
        for _ in holders { block.signal() }
        for holder in holders { try await holder.value }
        await threads.close()
        #expect(threads.load.running == 0)

        let unused = FileThreads(named: name, count: 3)
        await unused.close()
        await #expect(throws: FileError.self) { try await unused.run {} }
        #expect(unused.load.running == 0)
    }

    /// How many threads of this process have a name.
    private func living(_ name: String) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count { thread in
            let named = FileManager.default.contents(atPath: "/proc/self/task/\(thread)/comm")
            return named.map { String(decoding: $0, as: UTF8.self) } == "\(name)\n"
        }
    }

    @Test("finish what is queued before they close")
    func closing() async throws {
        let threads = FileThreads(named: "files", count: 2)
        let count = Count()
        let all = (0..<500).map { _ in Task { try await threads.run { count.add() } } }
        for task in all { try await task.value }
        await threads.close()
        await threads.close()
        #expect(count.value == 500)
    }
}

import CFiles
import Dispatch
import Glibc
import Synchronization
import SystemThreads

/// A few threads for calls that block, with a bounded queue: the cooperative pool must never wait for a disk.
///
/// Long work goes in steps. After each step it stands at the end of the queue again, so that a file of a gigabyte takes
/// turns with small ones instead of holding a thread, and its task's cancellation is seen between two steps.
///
/// A thread is started when there is work and all that there are have some: whoever does nothing has none.
public final class FileThreads: Sendable {
    /// What a step says.
    public enum Step<Value: Sendable>: Sendable {
        case more
        case done(Value)
    }

    /// How busy the threads are.
    public struct Load: Sendable, Hashable {
        /// Threads that there may be, and threads that there are.
        public var threads: Int
        public var running: Int
        /// Threads that run a step now.
        public var active: Int
        /// Work that waits for a thread.
        public var queued: Int
    }

    private struct State {
        var queue = Ring()
        var active = 0
        /// Threads that were started and have not ended.
        var running = 0
        var isClosed = false
        var closers: [CheckedContinuation<Void, Never>] = []
    }

    /// What the threads hold, so that they do not keep their owner alive.
    private final class Shared: Sendable {
        let state = Mutex(State())
        /// One count for each work in the queue, and one for each thread at the end.
        let signal = DispatchSemaphore(value: 0)
    }

    private let shared = Shared()
    private let name: String
    private let threads: Int
    private let queueMax: Int

    /// - Parameters:
    ///   - name: as ps and top show the threads, at most 15 bytes.
    ///   - count: threads at most.
    ///   - queueMax: how much work may wait; more is refused as busy.
    public init(named name: String, count: Int, queueMax: Int = 10_000) {
        precondition(count > 0 && queueMax > 0, "threads and queue need a size")
        self.name = name
        threads = count
        self.queueMax = queueMax
    }

    deinit { end() }

    public var load: Load {
        shared.state.withLock {
            Load(threads: threads, running: $0.running, active: $0.active, queued: $0.queue.count)
        }
    }

    /// Runs `body` on a thread. A task that is cancelled while it waits in the queue does not run it; once begun it runs to
    /// its end.
    ///
    /// - Throws: what `body` throws, `CancellationError`, or ``FileError/Reason/busy`` when too much waits already.
    public func run<Value: Sendable>(_ body: sending @escaping () throws -> Value) async throws -> Value {
        try await inSteps { .done(try body()) }
    }

    /// Calls `step` on a thread until it says that it is done; never two at a time, in turns with other work.
    ///
    /// - Throws: what `step` throws, `CancellationError` between two steps, or ``FileError/Reason/busy`` at the start.
    public func inSteps<Value: Sendable>(_ step: sending @escaping () throws -> Step<Value>) async throws -> Value {
        let cancelled = Flag()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Value, any Error>) in
                let work = Work { isRefused in
                    do {
                        if isRefused { throw FileError(.busy, "file", "operations queue up; try again later") }
                        if cancelled.isSet { throw CancellationError() }
                        switch try step() {
                        case .more: return true
                        case .done(let value): continuation.resume(returning: value)
                        }
                    } catch {
                        continuation.resume(throwing: error)
                    }
                    return false
                }
                enqueue(work)
            }
        } onCancel: {
            cancelled.set()
        }
    }

    /// Finishes what is queued, and returns when the threads have ended. What comes later is refused as busy.
    public func close() async {
        end()
        await withCheckedContinuation { continuation in
            let isOver = shared.state.withLock { state in
                if state.running > 0 { state.closers.append(continuation) }
                return state.running == 0
            }
            if isOver { continuation.resume() }
        }
    }

    private func end() {
        let ending = shared.state.withLock { state in
            defer { state.isClosed = true }
            return state.isClosed ? 0 : state.running
        }
        for _ in 0..<ending { shared.signal.signal() }
    }

    private func enqueue(_ work: Work) {
        let (isTaken, needsThread) = shared.state.withLock { state in
            guard !state.isClosed, state.queue.count < queueMax else { return (false, false) }
            state.queue.append(work)
            guard state.running < threads, state.queue.count + state.active > state.running else {
                return (true, false)
            }
            state.running += 1
            return (true, true)
        }
        guard isTaken else {
            _ = work.step(true)
            return
        }
        if needsThread {
            do { try SystemThread.start(name) { [shared] in Self.serve(shared) } } catch {
                preconditionFailure("for files \(error)")
            }
        }
        shared.signal.signal()
    }

    private static func serve(_ shared: Shared) {
        while true {
            shared.signal.wait()
            let work = shared.state.withLock { state -> Work? in
                let work = state.queue.popFirst()
                if work != nil { state.active += 1 }
                return work
            }
            // A count without work is the sign to end; it comes after all work that was taken.
            guard let work else { break }
            let isUnfinished = work.step(false)
            let isAgain = shared.state.withLock { state in
                state.active -= 1
                if isUnfinished { state.queue.append(work) }
                return isUnfinished
            }
            if isAgain { shared.signal.signal() }
        }
        let closers = shared.state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.running -= 1
            if state.running > 0 { return [] }
            defer { state.closers = [] }
            return state.closers
        }
        for closer in closers { closer.resume() }
    }
}

extension FileThreads {
    /// Something to be called until it says that it is finished.
    private final class Work: @unchecked Sendable {
        // Sendable: the queue hands it to one thread at a time, by way of a lock.
        /// The argument is whether it is refused; the result, whether there is more.
        let step: (Bool) -> Bool
        init(step: @escaping (Bool) -> Bool) { self.step = step }
    }

    private final class Flag: Sendable {
        private let value = Atomic(false)
        var isSet: Bool { value.load(ordering: .acquiring) }
        func set() { value.store(true, ordering: .releasing) }
    }

    /// A queue whose ends both cost the same however long it is.
    private struct Ring {
        private var slots: [Work?] = Array(repeating: nil, count: 64)
        private var head = 0
        private(set) var count = 0

        mutating func append(_ work: Work) {
            if count == slots.count {
                slots = Array(slots[head...] + slots[..<head]) + Array(repeating: nil, count: count)
                head = 0
            }
            slots[(head + count) % slots.count] = work
            count += 1
        }

        mutating func popFirst() -> Work? {
            guard count > 0 else { return nil }
            defer {
                slots[head] = nil
                head = (head + 1) % slots.count
                count -= 1
            }
            return slots[head]
        }
    }
}

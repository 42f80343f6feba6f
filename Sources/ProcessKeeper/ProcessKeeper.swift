import CSpawn
import Glibc
import Synchronization
import SystemThreads

/// # ProcessKeeper
///
/// Programs run with limits, as trees of processes that end with their run and with this process, however it ends. It
/// knows no jobs.
///
/// ```
///  run(command) ──▶ Inbox ──▶ EventLoop (one thread, epoll) ──order: descriptors, limits──▶ keeper ──▶ supervisor ──▶ program
///                                │  ▲                                                          │            │
///     CapturedOutput, stream ◀───┘  └──────── line: terminate, kill ▶  ◀ report ───────────────┼────────────┘
///                                └─────────────────── pipes of output and error ◀──────────────┘
/// ```
///
/// How keeper and supervisors find every process of a tree stands in `CKeeper.h`. One thread serves any number of runs:
/// it reads their pipes, their lines and their clocks.
public final class ProcessKeeper: Sendable {
    private let inbox: Inbox
    private let tickets = Atomic<UInt64>(0)

    /// - Parameter watch: how often, at last, memory and number of a tree's processes are looked at. A young process is
    ///   looked at sooner.
    public init(watch: Duration = .milliseconds(100)) {
        let inbox = Inbox()
        self.inbox = inbox
        do { try SystemThread.start("gaia-processes") { EventLoop(inbox, watch: watch).run() } } catch {
            preconditionFailure("for processes \(error)")
        }
    }

    deinit { inbox.send(.close(nil)) }

    /// Runs a program to its end, and to the end of everything that it started. When the task is cancelled the tree is told
    /// to end, killed after its grace, and the run returns with that as its cause.
    ///
    /// - Throws: ``ProcessError``, or what a stream of its output threw.
    public func run(_ command: ProcessCommand) async throws -> ProcessEnd {
        let ticket = tickets.add(1, ordering: .relaxed).newValue
        let end = Promise()
        inbox.send(.start(ticket, command, end))
        return try await withTaskCancellationHandler {
            async let output = pump(command.output, ticket, .output)
            async let error = pump(command.error, ticket, .error)
            let result = await end.value
            let flaws = await (output, error)
            if let flaw = flaws.0 ?? flaws.1 { throw flaw }
            return try result.get()
        } onCancel: {
            inbox.send(.stop(ticket, .cancelled))
        }
    }

    /// Kills what runs, and returns when the keeper and its thread have ended. Later runs are refused.
    public func close() async {
        await withCheckedContinuation { inbox.send(.close($0)) }
    }

    /// The process id of the keeper; nil when none runs. For tests, and for `ps`.
    package func keeperProcessID() async -> Int32? {
        await withCheckedContinuation { inbox.send(.identify($0)) }
    }

    /// Hands on what comes by a pipe, piece after piece. Nil, or why it could not.
    private func pump(_ plan: OutputPlan, _ ticket: UInt64, _ pipe: OutputPipe) async -> (any Error)? {
        guard case .stream(let take) = plan else { return nil }
        do {
            while let piece = await withCheckedContinuation({ inbox.send(.pull(ticket, pipe, $0)) }) {
                try await take(piece)
            }
            return nil
        } catch {
            // What comes now is for nobody; but a process that cannot write cannot end either.
            inbox.send(.discard(ticket, pipe))
            inbox.send(.stop(ticket, .cancelled))
            return error
        }
    }
}

/// Which of a process's two.
enum OutputPipe: Sendable {
    case output, error
}

/// What the thread is asked for.
enum Message: Sendable {
    case start(UInt64, ProcessCommand, Promise)
    case stop(UInt64, ProcessEnd.Cause)
    /// Answered with the next piece of a stream, or nil at its end.
    case pull(UInt64, OutputPipe, CheckedContinuation<[UInt8]?, Never>)
    case discard(UInt64, OutputPipe)
    case identify(CheckedContinuation<Int32?, Never>)
    case close(CheckedContinuation<Void, Never>?)
}

/// Messages for the thread, in order. Their number is bounded by that of the runs: each has but a few under way.
final class Inbox: Sendable {
    private struct State {
        var messages: [Message] = []
        var isEnded = false
    }

    private let state = Mutex(State())
    /// Readable when there are messages.
    let bell: Descriptor

    init() {
        let number = gaia_bell()
        precondition(number >= 0, "no descriptor is left for the thread that runs processes")
        bell = Descriptor(number)
    }

    func send(_ message: Message) {
        let (isFirst, isRefused) = state.withLock { state in
            if state.isEnded { return (false, true) }
            state.messages.append(message)
            return (state.messages.count == 1, false)
        }
        if isFirst { gaia_bell_ring(bell.number) }
        if isRefused { Self.refuse(message) }
    }

    func take() -> [Message] {
        // Before the look: what comes after it rings anew.
        gaia_bell_still(bell.number)
        return state.withLock { state in
            defer { state.messages = [] }
            return state.messages
        }
    }

    /// From here on everything is refused, what waits first.
    func end() {
        let rest = state.withLock { state in
            state.isEnded = true
            defer { state.messages = [] }
            return state.messages
        }
        for message in rest { Self.refuse(message) }
    }

    private static func refuse(_ message: Message) {
        switch message {
        case .start(_, _, let end): end.fulfil(.failure(ProcessError(.closed, "the keeper of processes is closed")))
        case .pull(_, _, let continuation): continuation.resume(returning: nil)
        case .identify(let continuation): continuation.resume(returning: nil)
        case .close(let continuation): continuation?.resume()
        case .stop, .discard: break
        }
    }
}

/// A value that comes once, and one who waits for it.
final class Promise: Sendable {
    typealias Value = Result<ProcessEnd, ProcessError>

    private enum State {
        case open
        case awaited(CheckedContinuation<Value, Never>)
        case fulfilled(Value)
    }

    private let state = Mutex(State.open)

    var value: Value {
        get async {
            await withCheckedContinuation { continuation in
                let value = state.withLock { state -> Value? in
                    if case .fulfilled(let value) = state { return value }
                    state = .awaited(continuation)
                    return nil
                }
                if let value { continuation.resume(returning: value) }
            }
        }
    }

    func fulfil(_ value: Value) {
        let waiter = state.withLock { state -> CheckedContinuation<Value, Never>? in
            guard case .awaited(let waiter) = state else {
                state = .fulfilled(value)
                return nil
            }
            state = .fulfilled(value)
            return waiter
        }
        waiter?.resume(returning: value)
    }
}

/// The system's words for an error number.
func errorText(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

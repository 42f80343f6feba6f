import Synchronization
import TestPatience

/// A value that tells those who wait of each change.
public final class Watched<Value: Sendable>: Sendable {
    private struct Waiter {
        let condition: @Sendable (Value) -> Bool
        let continuation: CheckedContinuation<Value?, Never>
    }

    private struct State {
        var value: Value
        var waiters: [Int: Waiter] = [:]
        var tickets = 0
    }

    private let state: Mutex<State>

    public init(_ value: Value) { state = Mutex(State(value: value)) }

    public var value: Value { state.withLock { $0.value } }

    public func update(_ change: (inout Value) -> Void) {
        let (woken, value) = state.withLock { state -> ([Waiter], Value) in
            change(&state.value)
            let value = state.value
            let tickets = state.waiters.filter { $0.value.condition(value) }.map(\.key)
            return (tickets.compactMap { state.waiters.removeValue(forKey: $0) }, value)
        }
        for waiter in woken { waiter.continuation.resume(returning: value) }
    }

    /// Waits until the condition holds.
    ///
    /// - Returns: the value that made it true.
    /// - Throws: ``NotInTime`` with the value as it was then, or `CancellationError`.
    @discardableResult
    public func wait(
        for what: String, within limit: Duration = patienceOfTests, _ condition: @escaping @Sendable (Value) -> Bool
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { await self.wait(condition) }
            group.addTask {
                try await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            if let value = try await group.next() ?? nil { return value }
            try Task.checkCancellation()
            throw NotInTime("waited \(limit) for \(what); it was \(self.value)")
        }
    }

    /// Nil when cancelled.
    private func wait(_ condition: @escaping @Sendable (Value) -> Bool) async -> Value? {
        let ticket = state.withLock { state in
            state.tickets += 1
            return state.tickets
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = state.withLock { state -> Value?? in
                    if condition(state.value) { return state.value }
                    if Task.isCancelled { return .some(nil) }
                    state.waiters[ticket] = Waiter(condition: condition, continuation: continuation)
                    return .none
                }
                if let now { continuation.resume(returning: now) }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: ticket) }?.continuation.resume(returning: nil)
        }
    }
}

/// A door that stays open once it was opened.
public final class Gate: Sendable {
    private let isOpen = Watched(false)

    public init() {}

    public func open() { isOpen.update { $0 = true } }

    /// - Throws: `CancellationError` when the waiting task is cancelled.
    public func pass(within limit: Duration = .seconds(120)) async throws {
        try await isOpen.wait(for: "a gate to be opened", within: limit) { $0 }
    }

    /// Waits deaf to cancellation.
    public func passStubbornly() async {
        let passing = Task { try await self.pass() }
        _ = await passing.result
    }
}

/// Lets so many in at once; the others wait in line.
final class Turnstile: Sendable {
    private struct State {
        var free: Int
        var line: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    init(_ places: Int) { state = Mutex(State(free: places)) }

    func enter() async {
        await withCheckedContinuation { continuation in
            let isIn = state.withLock { state in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                state.line.append(continuation)
                return false
            }
            if isIn { continuation.resume() }
        }
    }

    func leave() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            if state.line.isEmpty {
                state.free += 1
                return nil
            }
            return state.line.removeFirst()
        }
        next?.resume()
    }
}

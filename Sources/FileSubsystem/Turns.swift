import Synchronization

/// Lets those of one process who want the same path come one after the other, in the order in which they asked. Other
/// processes are kept out by the kernel's lock, for which nobody can stand in line.
final class Turns: Sendable {
    private struct Waiter {
        let number: UInt64
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        /// Those who wait for each path that somebody has.
        var lines: [String: [Waiter]] = [:]
        var number: UInt64 = 0
    }

    private let state = Mutex(State())

    /// How many wait for a path, besides the one who has it.
    func waiting(for path: String) -> Int { state.withLock { $0.lines[path]?.count ?? 0 } }

    /// Runs `body` when it is this task's turn.
    ///
    /// - Throws: what `body` throws; `CancellationError` when the task is cancelled while it waits.
    func inTurn<Value>(
        _ path: String, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
    ) async throws -> Value {
        guard await take(path) else { throw CancellationError() }
        defer { giveBack(path) }
        return try await body()
    }

    private func take(_ path: String) async -> Bool {
        let number = state.withLock { state in
            state.number += 1
            return state.number
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isMine = state.withLock { state -> Bool? in
                    // Cancelled before the handler could find a waiter here.
                    if Task.isCancelled { return false }
                    if state.lines[path] == nil {
                        state.lines[path] = []
                        return true
                    }
                    state.lines[path]?.append(Waiter(number: number, continuation: continuation))
                    return nil
                }
                if let isMine { continuation.resume(returning: isMine) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> Waiter? in
                guard let index = state.lines[path]?.firstIndex(where: { $0.number == number }) else { return nil }
                return state.lines[path]?.remove(at: index)
            }
            waiter?.continuation.resume(returning: false)
        }
    }

    private func giveBack(_ path: String) {
        let next = state.withLock { state -> Waiter? in
            guard var line = state.lines[path], !line.isEmpty else {
                state.lines[path] = nil
                return nil
            }
            let next = line.removeFirst()
            state.lines[path] = line
            return next
        }
        next?.continuation.resume(returning: true)
    }
}

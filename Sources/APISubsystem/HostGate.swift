import CurlClient
import FleetModel
import Synchronization

/// The turns of calls, in all and by host, taken before a call asks whether it may go out.
///
/// The client below has the same limits; but a call that waited there would have asked before it waited, and a host that
/// was closed to the fleet meanwhile would still get it.
final class HostGate: Sendable {
    private struct State {
        var admission: Admission
        var waiters: [UInt64: CheckedContinuation<Bool, Never>] = [:]
        /// Given a turn before they began to wait for it.
        var early: Set<UInt64> = []
        var lastID: UInt64 = 0
    }

    private let state: Mutex<State>
    private let waitingMax: Int

    init(calls: Int, callsPerHost: Int, waitingMax: Int = 16_384) {
        state = Mutex(State(admission: Admission(limits: .init(inFlight: calls, perHost: callsPerHost))))
        self.waitingMax = waitingMax
    }

    var load: (active: Int, waiting: Int) { state.withLock { ($0.admission.inFlight, $0.admission.waiting) } }

    /// Waits for a turn; give it back with ``leave(_:)``.
    ///
    /// - Throws: `CancellationError`, or a transient failure when too many wait already.
    func enter(_ host: String) async throws -> UInt64 {
        let (id, isIn): (UInt64, Bool) = try state.withLock { state in
            guard state.admission.waiting < waitingMax else {
                throw JobFailure(
                    .transient, code: "api.overloaded", message: "\(waitingMax) calls of this worker wait already")
            }
            state.lastID += 1
            let id = state.lastID
            state.admission.arrive(id, host: host, needsLookup: false)
            wake(&state)
            return (id, state.early.remove(id) != nil)
        }
        if isIn { return id }
        let hasTurn = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isIn = state.withLock { state in
                    if state.early.remove(id) != nil { return true }
                    state.waiters[id] = continuation
                    return false
                }
                if isIn { return continuation.resume(returning: true) }
                // The handler may have run just before there was anything to cancel.
                if Task.isCancelled { cancel(id) }
            }
        } onCancel: {
            cancel(id)
        }
        guard hasTurn else { throw CancellationError() }
        return id
    }

    func leave(_ id: UInt64) {
        state.withLock { state in
            state.admission.leave(id)
            wake(&state)
        }
    }

    private func cancel(_ id: UInt64) {
        let waiter = state.withLock { state in
            guard let waiter = state.waiters.removeValue(forKey: id) else {
                return nil as CheckedContinuation<Bool, Never>?
            }
            state.admission.leave(id)
            wake(&state)
            return waiter
        }
        waiter?.resume(returning: false)
    }

    private func wake(_ state: inout State) {
        while let id = state.admission.startNext() {
            if let waiter = state.waiters.removeValue(forKey: id) {
                waiter.resume(returning: true)
            } else {
                state.early.insert(id)
            }
        }
    }
}

import Synchronization

/// What the steps of one piece of work hand on: several threads come to it, one after the other. The lock is never waited
/// for; it carries the state from thread to thread, and would show a mistake.
public final class StepState<Value: ~Copyable & Sendable>: Sendable {
    private let state: Mutex<Value>

    public init(_ value: consuming Value) { state = Mutex(value) }

    public func use<Result: Sendable>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        try state.withLock { try body(&$0) }
    }
}

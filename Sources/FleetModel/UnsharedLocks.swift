import Synchronization

/// Locks that nobody else knows: for handlers under test. They are free at once, their tokens rise, and a name taken twice
/// is the same error as in a worker.
public final class UnsharedLocks: JobLocks {
    private struct State {
        var held: Set<String> = []
        var token: Int64 = 0
    }

    private let state = Mutex(State())

    public init() {}

    /// What is held at the moment.
    public var held: Set<String> { state.withLock { $0.held } }

    public func acquire(_ name: String, within limit: Duration) async throws -> LockGrant {
        try state.withLock { state in
            guard state.held.insert(name).inserted else { throw LockError.nested(name: name) }
            state.token += 1
            return LockGrant(name: name, token: state.token)
        }
    }

    public func release(_ grant: LockGrant) async { state.withLock { _ = $0.held.remove(grant.name) } }
}

/// The proof that a lock is held.
public struct LockGrant: Sendable, Hashable {
    public let name: String
    /// The fencing token: higher than that of every holder of this name before. Pass it to each write that the lock
    /// guards, which must refuse a lower one than it has seen; in the fleet's own database `gaia.lock_check` does that.
    public let token: Int64

    public init(name: String, token: Int64) {
        self.name = name
        self.token = token
    }
}

/// Why a lock was not had. A handler that lets it pass gives its job back for another try; see ``failure``.
public enum LockError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Others had it for the whole time.
    case busy(name: String, waited: Duration)
    /// As many wait for it as may.
    case crowded(name: String)
    /// The database did not answer in time.
    case unavailable(name: String, reason: String)
    /// The worker's epoch has ended: the job is another's.
    case fenced(name: String)
    /// This job has it, or waits for it, already: it would wait for itself.
    case nested(name: String)
    /// A name has 1 to 200 bytes in UTF-8, and no U+0000.
    case invalidName(String)

    public var description: String {
        switch self {
        case .busy(let name, let waited): "the lock '\(name)' was held by others for \(waited)"
        case .crowded(let name): "too many wait for the lock '\(name)'"
        case .unavailable(let name, let reason): "the lock '\(name)' could not be asked for: \(reason)"
        case .fenced(let name): "the lock '\(name)' is not to be had, since the worker's epoch has ended"
        case .nested(let name): "this job has the lock '\(name)' already, or waits for it; take it once"
        case .invalidName(let name):
            "a lock's name has 1 to \(LockLimit.nameBytesMax) bytes and no U+0000; this one has \(name.utf8.count)"
        }
    }

    /// What it means for an attempt that ends with it. That others were at work is no fault of the job: it is tried again
    /// after a pause and no attempt is spent. A name that cannot be taken never can.
    public var failure: JobFailure {
        switch self {
        case .busy(_, let waited):
            // As patient as the handler was, and not all at once.
            let pause = max(.seconds(1), min(waited, .seconds(60)))
            return JobFailure(
                .throttled(retryAfter: pause * Double.random(in: 0.5...1.5)), code: "lock.busy", message: description)
        case .crowded:
            return JobFailure(
                .throttled(retryAfter: .seconds(Double.random(in: 5...15))), code: "lock.crowded", message: description)
        case .unavailable:
            return JobFailure(
                .throttled(retryAfter: .seconds(Double.random(in: 0.5...1.5))), code: "lock.unavailable",
                message: description)
        case .fenced:
            return JobFailure(.throttled(retryAfter: .zero), code: "lock.fenced", message: description)
        case .nested: return JobFailure(.permanent, code: "lock.nested", message: description)
        case .invalidName: return JobFailure(.permanent, code: "lock.name", message: description)
        }
    }
}

/// The bounds of locks.
public enum LockLimit {
    /// The longest name in bytes.
    public static let nameBytesMax = 200
    /// How long a handler waits when it does not say.
    public static let waitDefault: Duration = .seconds(10)
    /// The longest wait; a longer one is cut to it.
    public static let waitMax: Duration = .seconds(3_600)

    static func check(_ name: String) throws(LockError) {
        guard (1...nameBytesMax).contains(name.utf8.count), !name.utf8.contains(0) else {
            throw LockError.invalidName(name)
        }
    }
}

/// Where the locks of one attempt come from. A worker brings those of the fleet; a context that a test makes has
/// ``UnsharedLocks``.
public protocol JobLocks: Sendable {
    /// Waits for its turn, at most `limit`; zero takes the lock now or not at all.
    ///
    /// - Throws: ``LockError``, or `CancellationError` when the task is cancelled; nothing is held or waited for then.
    func acquire(_ name: String, within limit: Duration) async throws -> LockGrant

    /// Gives a lock back. It works in a cancelled task too, and is done over until it has taken effect.
    func release(_ grant: LockGrant) async
}

extension JobContext {
    /// Runs `body` while this job holds the fleet's lock of that name, and gives the lock back when it ends, however it
    /// ends.
    ///
    /// ```swift
    /// try await context.withLock("invoice/\(invoice)") { lock in
    ///     try await write(invoice, fencingToken: lock.token)
    /// }
    /// ```
    ///
    /// Those who wait are served in the order in which they asked. The lock lasts as long as `body` and as long as the
    /// worker's epoch: when that is lost, `body` is cancelled, and another may hold the lock before it has noticed. So a
    /// write that matters must name the token.
    ///
    /// Several locks are taken by nesting calls. Jobs that take the same two in different order can wait for each other,
    /// until `limit` ends it; always take them in one order.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes. All services of one database share the names.
    ///   - limit: how long to wait for the lock, at most an hour; zero takes it now or not at all.
    /// - Throws: what `body` throws; ``LockError`` when the lock was not had. Uncaught, that is no failed attempt: the job
    ///   is tried again later and nothing is spent, except for `nested` and `invalidName`, which discard it.
    public func withLock<Value>(
        _ name: String, within limit: Duration = LockLimit.waitDefault, isolation: isolated (any Actor)? = #isolation,
        _ body: (LockGrant) async throws -> Value
    ) async throws -> Value {
        try LockLimit.check(name)
        let grant = try await locks.acquire(name, within: max(.zero, min(limit, LockLimit.waitMax)))
        let result: Result<Value, any Error>
        do { result = .success(try await body(grant)) } catch { result = .failure(error) }
        await locks.release(grant)
        return try result.get()
    }
}

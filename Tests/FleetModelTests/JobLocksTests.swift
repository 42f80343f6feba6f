import FleetModel
import Testing

@Suite("Locks of a handler")
struct JobLocksTests {
    private let locks = UnsharedLocks()
    private var context: JobContext {
        JobContext(type: "a.do.v1", key: "k", attempt: 1, token: 1, subject: nil, traceparent: nil, locks: locks)
    }

    private struct Broken: Error {}

    @Test("The lock is held while the body runs, and given back when it returns or throws; its token rises")
    func scope() async throws {
        let first = try await context.withLock("n") { lock in
            #expect(locks.held == ["n"])
            #expect(lock.name == "n")
            return lock.token
        }
        #expect(locks.held.isEmpty)
        await #expect(throws: Broken.self) { try await context.withLock("n") { _ in throw Broken() } }
        #expect(locks.held.isEmpty)
        #expect(try await context.withLock("n") { $0.token } > first)
    }

    @Test("A context without locks of a worker's has its own, for tests of handlers")
    func alone() async throws {
        let context = JobContext(type: "a.do.v1", key: "k", attempt: 1, token: 1, subject: nil, traceparent: nil)
        #expect(try await context.withLock("n") { $0.token } == 1)
    }

    @Test("A job that takes a name twice gets an error instead of waiting for itself; another name is no matter")
    func nested() async throws {
        try await context.withLock("n") { _ in
            await #expect(throws: LockError.nested(name: "n")) { try await context.withLock("n") { _ in } }
            try await context.withLock("m") { _ in #expect(locks.held == ["n", "m"]) }
            #expect(locks.held == ["n"])
        }
    }

    @Test("A name has 1 to 200 bytes and no U+0000", arguments: ["", String(repeating: "é", count: 101), "a\0b"])
    func names(_ name: String) async throws {
        await #expect(throws: LockError.invalidName(name)) { try await context.withLock(name) { _ in } }
        #expect(locks.held.isEmpty)
        #expect(JobFailure(LockError.invalidName(name)).kind == .permanent)
    }

    @Test("A lock that was not had spends no attempt; a lock that cannot be had discards the job")
    func failures() throws {
        for error in [
            LockError.busy(name: "n", waited: .seconds(10)), .crowded(name: "n"), .fenced(name: "n"),
            .unavailable(name: "n", reason: "x"),
        ] {
            guard case .throttled = JobFailure(error).kind else {
                Issue.record("\(error) is \(JobFailure(error).kind)")
                continue
            }
        }
        for waited in [Duration.zero, .seconds(10), .seconds(3_600)] {
            guard case .throttled(let pause) = LockError.busy(name: "n", waited: waited).failure.kind else { continue }
            #expect(pause >= .milliseconds(500) && pause <= .seconds(90))
        }
        #expect(JobFailure(LockError.nested(name: "n")).kind == .permanent)
        #expect(JobFailure(LockError.busy(name: "n", waited: .seconds(1))).code == "lock.busy")
    }
}

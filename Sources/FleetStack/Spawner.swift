import CSpawn
import Dispatch
import Glibc
import Synchronization

/// What a child shall be, in Swift's terms; see `gaia_spawn_request`.
struct ChildDescription: Sendable {
    var executable: String
    var arguments: [String]
    var environment: [String: String]
    var directory: String?
    var input: Int32 = -1
    var output: Int32 = -1
    var error: Int32 = -1
    var ownSession: Bool
    var parentDeathSignal: Int32
    var account: Account?
}

/// The one thread that all children are spawned from.
///
/// The parent-death signal of Linux is sent when the *thread* that forked ends, not the process. A child spawned from
/// a thread of Dispatch or of Swift's pool would die at some later moment, when that pool shrinks. This thread lives
/// as long as the process does.
final class Spawner: Sendable {
    static let shared = Spawner()

    private final class Order: Sendable {
        let child: ChildDescription
        let answer = Mutex<Result<Int32, StackError>?>(nil)
        let answered = DispatchSemaphore(value: 0)
        init(_ child: ChildDescription) { self.child = child }
    }

    private struct State {
        var isRunning = false
        var orders: [Order] = []
    }

    private let state = Mutex(State())
    private let ordered = DispatchSemaphore(value: 0)

    /// Starts a child and returns its process id. Blocks for the fork and exec, about a millisecond.
    func spawn(_ child: ChildDescription) throws -> Int32 {
        let order = Order(child)
        try state.withLock { state in
            if !state.isRunning {
                try startThread("spawner") { self.serve() }
                state.isRunning = true
            }
            state.orders.append(order)
        }
        ordered.signal()
        order.answered.wait()
        guard let answer = order.answer.withLock({ $0 }) else { preconditionFailure("signalled without an answer") }
        return try answer.get()
    }

    private func serve() {
        while true {
            ordered.wait()
            let order = state.withLock { $0.orders.removeFirst() }
            let answer = Self.spawnHere(order.child)
            order.answer.withLock { $0 = answer }
            order.answered.signal()
        }
    }

    private static func spawnHere(_ child: ChildDescription) -> Result<Int32, StackError> {
        withCStrings([child.executable] + child.arguments) { arguments in
            withCStrings(child.environment.map { "\($0.key)=\($0.value)" }) { environment in
                withOptionalCString(child.directory) { directory in
                    (child.account?.groups ?? []).withUnsafeBufferPointer { groups in
                        child.executable.withCString { executable in
                            var request = gaia_spawn_request(
                                executable: executable,
                                executable_descriptor: -1,
                                is_script: false,
                                arguments: arguments,
                                environment: environment,
                                directory: directory,
                                directory_descriptor: -1,
                                standard_input: child.input,
                                standard_output: child.output,
                                standard_error: child.error,
                                own_session: child.ownSession,
                                parent_death_signal: child.parentDeathSignal,
                                switch_user: child.account != nil,
                                user: child.account?.user ?? 0,
                                group: child.account?.group ?? 0,
                                groups: groups.baseAddress,
                                group_count: groups.count,
                                limits: nil,
                                no_new_privileges: false,
                                niceness: 0,
                                oom_score_adjustment: 0
                            )
                            var failure = gaia_spawn_failure()
                            let process = gaia_spawn(&request, &failure)
                            return process > 0 ? .success(process) : .failure(error(child, failure))
                        }
                    }
                }
            }
        }
    }

    private static func error(_ child: ChildDescription, _ failure: gaia_spawn_failure) -> StackError {
        let step =
            switch gaia_spawn_step(rawValue: UInt32(failure.step)) {
            case GAIA_SPAWN_STEP_PREPARE: "making a pipe to it"
            case GAIA_SPAWN_STEP_FORK: "forking"
            case GAIA_SPAWN_STEP_SESSION: "opening its session"
            case GAIA_SPAWN_STEP_DESCRIPTORS: "laying out its descriptors"
            case GAIA_SPAWN_STEP_USER: "becoming user \(child.account?.name ?? "")"
            case GAIA_SPAWN_STEP_PARENT_DEATH: "binding its life to ours"
            case GAIA_SPAWN_STEP_DIRECTORY: "entering \(child.directory ?? "")"
            default: "executing it"
            }
        return StackError(
            .startFailed,
            "Cannot start \(child.executable): \(errorText(failure.error)) (errno \(failure.error)) when \(step)."
        )
    }
}

/// Lends strings as a NULL-ended array of C strings.
private func withCStrings<Result>(
    _ strings: [String],
    _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { preconditionFailure("holds the closing NULL at least") }
        return body(base)
    }
}

private func withOptionalCString<Result>(_ string: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    guard let string else { return body(nil) }
    return string.withCString { body($0) }
}

import Logging
import Synchronization
import SystemThreads

/// Connections of one owner and the thread that serves them, as seen from outside: messages go in, answers come out.
final class Engine: Sendable {
    enum Message: Sendable {
        /// Begin to connect.
        case start
        case submit(WorkUnit, on: Lease?)
        case release(Lease)
        case cancel(WorkUnit)
        case attempted(number: UInt64, ConnectAttempt.Outcome)
        case cancelEnded(connection: UInt64)
        case close
        /// Like close, without waiting for what runs.
        case cut
    }

    /// What the owner wants to hear; called on the IO thread.
    struct Hooks: Sendable {
        var onUp: (@Sendable () -> Void)?
        var onDown: (@Sendable (PostgresError) -> Void)?
        var onNotification: (@Sendable (_ channel: String, _ payload: String) -> Void)?
    }

    struct Plan: Sendable {
        var size: Int
        /// Without, the engine ends when its connection does.
        var reconnects = true
        /// Run on each connection before it is given to anybody.
        var greeting: [String] = []
        /// Ask for a sign of life after so long a silence.
        var probeInterval: Duration?
        var hooks = Hooks()
    }

    struct Counts: Sendable {
        var connected = 0
        var busy = 0
        var waiting = 0
    }

    let configuration: PostgresConfiguration
    let plan: Plan
    let logger: Logger
    let inbox = Inbox<Message>()
    /// How the engine ended: nil if it was closed.
    let end = OneShot<PostgresError?>()
    /// The same for what comes too late to be taken. It is known before the inbox is closed; the end, only when everybody has
    /// an answer.
    private let endReason = Mutex<PostgresError?>(nil)
    let counts = Mutex(Counts())
    private let threadStarted = Mutex(false)
    private let onAnswer: (@Sendable (Duration, PostgresError?) -> Void)?

    init(
        configuration: PostgresConfiguration, plan: Plan, logger: Logger,
        onAnswer: (@Sendable (Duration, PostgresError?) -> Void)? = nil
    ) {
        self.configuration = configuration
        self.plan = plan
        self.logger = logger
        self.onAnswer = onAnswer
    }

    func post(_ message: Message) {
        ensureThread()
        if !inbox.post(message) { refuse(message) }
    }

    func close() async {
        post(.close)
        _ = await end.waitUncancelled()
    }

    /// For an owner that goes away without closing.
    func closeWithoutWaiting() {
        if threadStarted.withLock({ $0 }) { _ = inbox.post(.close) }
    }

    /// Runs a unit and waits for its answer; a cancelled task has it cancelled on the server too.
    func run(
        _ content: WorkUnit.Content, on lease: Lease? = nil, setting: WorkUnit.Setting = .alone, begin: String? = nil,
        cancellable: Bool = true
    ) async -> WorkUnit.Answer {
        let ticket = Ticket()
        let began = ContinuousClock.now
        let answer: WorkUnit.Answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let unit = WorkUnit(content, setting: setting, begin: begin) { continuation.resume(returning: $0) }
                if cancellable, ticket.register(unit) { return unit.fail(.cancelled) }
                post(.submit(unit, on: lease))
            }
        } onCancel: {
            if let unit = ticket.cancel() {
                unit.markCancelled()
                post(.cancel(unit))
            }
        }
        if let onAnswer {
            var error: PostgresError?
            if case .failure(let failure) = answer { error = failure }
            onAnswer(.now - began, error)
        }
        return answer
    }

    /// Nothing is taken any more: what came in meanwhile is answered, then those hear of it who wait for the end.
    func finish(because error: PostgresError?) {
        endReason.withLock { $0 = error }
        for message in inbox.close() { refuse(message) }
        end.set(error)
    }

    private func refuse(_ message: Message) {
        if case .submit(let unit, _) = message { unit.fail(endReason.withLock { $0 } ?? .poolClosed) }
    }

    private func ensureThread() {
        let mustStart = threadStarted.withLock { started in
            defer { started = true }
            return !started
        }
        guard mustStart else { return }
        do {
            try SystemThread.start("pg-io") { [self] in
                let loop = EngineLoop(self)
                loop.run()
            }
        } catch {
            finish(because: PostgresError(kind: .unavailable, message: "\(error)"))
        }
    }

    /// Where a task's cancellation meets its unit, whichever comes first.
    private final class Ticket: Sendable {
        private enum State {
            case empty
            case holds(WorkUnit)
            case cancelled
        }
        private let state = Mutex(State.empty)

        /// - Returns: whether cancellation came first.
        func register(_ unit: WorkUnit) -> Bool {
            state.withLock { state in
                if case .cancelled = state { return true }
                state = .holds(unit)
                return false
            }
        }

        func cancel() -> WorkUnit? {
            state.withLock { state in
                defer { state = .cancelled }
                if case .holds(let unit) = state { return unit }
                return nil
            }
        }
    }
}

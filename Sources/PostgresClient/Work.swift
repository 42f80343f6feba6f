import Synchronization

/// What one caller wants of a connection: statements up to one sync, a script, or the connection itself.
///
/// A unit is in one place at a time (inbox, waiting line, connection), and whoever has it there answers it; so it is
/// answered exactly once.
final class WorkUnit: Sendable {
    struct Call: Sendable {
        let sql: String
        /// Nil for a statement sent once and not worth preparing.
        let statement: String?
        let parameters: EncodedParameters

        init(sql: String, statement: String? = nil, parameters: EncodedParameters = .none) {
            self.sql = sql
            self.statement = statement
            self.parameters = parameters
        }
    }

    enum Content: Sendable {
        case calls([Call])
        /// Any number of statements by the simple protocol.
        case script(String)
        case lease(Lease)
    }

    /// What becomes of the work when the link is lost after sending.
    enum Setting: Sendable {
        /// It commits by itself.
        case alone
        /// Inside a transaction: lost with it.
        case inTransaction
        /// The commit itself: nothing else is sent until it has answered.
        case commit
        /// Nobody's data depends on it.
        case housekeeping
    }

    typealias Answer = Result<[PostgresRows], PostgresError>

    let content: Content
    let setting: Setting
    /// Starts a transaction together with its first statement, so that no statement can slip in front of a failed BEGIN.
    let begin: String?
    /// Runs on the IO thread: hand over, do not compute.
    let complete: @Sendable (Answer) -> Void
    private let cancelRequested = Atomic<Bool>(false)

    init(
        _ content: Content, setting: Setting = .alone, begin: String? = nil,
        complete: @escaping @Sendable (Answer) -> Void
    ) {
        self.content = content
        self.setting = setting
        self.begin = begin
        self.complete = complete
    }

    var isCancelled: Bool { cancelRequested.load(ordering: .acquiring) }
    func markCancelled() { cancelRequested.store(true, ordering: .releasing) }

    /// Whether it has to have the connection to itself.
    var isAlone: Bool {
        if case .script = content { return true }
        return begin != nil || setting == .commit
    }

    func fail(_ error: PostgresError) { complete(.failure(error)) }
}

/// A session's right to one connection.
final class Lease: Sendable {
    private let process = Atomic<Int32>(0)

    /// The server process behind the connection; set when the lease is granted.
    var backendProcessID: Int32 { process.load(ordering: .relaxed) }
    func granted(backendProcessID: Int32) { process.store(backendProcessID, ordering: .relaxed) }
}

/// Answers on their way to the callers, kept back until the books are in order.
final class Outbox {
    private var answers: [(WorkUnit, WorkUnit.Answer)] = []

    func put(_ unit: WorkUnit, _ answer: WorkUnit.Answer) {
        // Housekeeping is the loop's own, and the loop looks for its answer in the same turn.
        if unit.setting == .housekeeping { unit.complete(answer) } else { answers.append((unit, answer)) }
    }

    func deliver() {
        for (unit, answer) in answers { unit.complete(answer) }
        answers.removeAll(keepingCapacity: true)
    }
}

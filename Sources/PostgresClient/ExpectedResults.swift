/// Which results a connection still owes, in order: the part of pipelining that libpq leaves to its user.
///
/// Knows nothing of libpq, so that every order of arrivals can be tested without a server. A connection pushes a unit's
/// steps when it hands them to libpq, tells ``accept(_:)`` what came back, and does what the answer says.
///
///     idle ──push──▶ waiting(step) ──result──▶ ending(step) ──end──▶ waiting(next) … sync ──▶ idle or next unit
///
/// Within a unit the first failure makes the server skip everything up to the unit's sync; the steps skipped arrive as
/// `aborted`. The sync itself may fail first, when the implicit transaction's commit does.
package struct ExpectedResults: Sendable {
    package init() {}

    package enum Step: Equatable, Sendable {
        /// Prepares a statement under the caller's name for it.
        case prepare(statement: String)
        case execute(statement: String?)
        /// Ends a unit.
        case sync
    }

    package enum State: Equatable, Sendable {
        /// Nothing is owed. To: waiting, by a push.
        case idle
        /// To: ending after a result, or, for a sync, on to the next unit or idle.
        case waiting(Step)
        /// A step has answered; libpq says "no more" once before the next. To: waiting.
        case ending(Step)
        /// The order broke: what comes belongs to nobody. Final.
        case broken
    }

    package enum Arrival: Equatable, Sendable {
        case success
        case failure
        /// Skipped by the server because an earlier step of the unit failed.
        case aborted
        case sync
        /// `PQgetResult` gave nothing: a step's results are complete.
        case end
        /// COPY was begun, which a pipeline cannot carry.
        case copy
    }

    package enum Action: Equatable, Sendable {
        case proceed
        /// This result is the answer to a statement of the unit.
        case keep(statement: String?)
        case prepared(statement: String)
        /// First failure of the unit; nil if it was the commit at the sync that failed.
        case failed(Step)
        case skipped(Step)
        case unitEnded
        /// There is no way to answer COPY here: the connection is to be given up, and the statement was not applied.
        case copyBegun
        /// Nobody knows any more what belongs to whom: the connection is to be given up.
        case violation(String)
    }

    package private(set) var state = State.idle
    private var steps = FIFO<Step>()

    package var isWaiting: Bool {
        switch state {
        case .idle, .broken: false
        case .waiting, .ending: true
        }
    }

    /// Whether the step that is waited for is the sync, so that all statements before it have answered.
    package var isAtSync: Bool { state == .waiting(.sync) || state == .ending(.sync) }

    package var isBroken: Bool { state == .broken }

    /// Adds a unit's steps and its sync.
    package mutating func push(_ unit: [Step]) {
        for step in unit { steps.append(step) }
        steps.append(.sync)
        if state == .idle { advance() }
    }

    package mutating func accept(_ arrival: Arrival) -> Action {
        switch (state, arrival) {
        case (.broken, _): return .proceed
        case (_, .copy):
            state = .broken
            return .copyBegun

        case (.waiting(.sync), .sync), (.ending(.sync), .sync):
            advance()
            return .unitEnded
        case (.ending(.sync), .end):
            state = .waiting(.sync)
            return .proceed

        case (.waiting(let step), .success):
            state = .ending(step)
            switch step {
            case .prepare(let statement): return .prepared(statement: statement)
            case .execute(let statement): return .keep(statement: statement)
            case .sync: return violation("a result came where a sync was due")
            }
        case (.waiting(let step), .failure):
            state = .ending(step)
            return .failed(step)
        case (.waiting(let step), .aborted):
            state = .ending(step)
            return .skipped(step)

        case (.ending, .end):
            advance()
            return .proceed

        case (.idle, _), (.waiting, _), (.ending, _):
            return violation("\(arrival) came while \(state)")
        }
    }

    private mutating func advance() {
        if let next = steps.popFirst() { state = .waiting(next) } else { state = .idle }
    }

    private mutating func violation(_ what: String) -> Action {
        state = .broken
        return .violation(what)
    }
}

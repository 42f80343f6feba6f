import CPostgres
import Glibc
import Logging

/// One connection in pipeline mode, lived in by the IO thread alone.
///
///     queued ──hand to libpq──▶ in flight ──results, sync──▶ answered
///
/// Every method that touches the socket may find it broken; `failure` is then set, and the loop takes the connection out
/// of service with ``abandon(_:)``.
final class Connection {
    /// A unit handed to libpq and what has come back of it.
    struct InFlight {
        let unit: WorkUnit
        var results: [PostgresRows] = []
        var error: PostgresError?
        /// A cancel request may have hit this one.
        var exposedToCancel = false
        /// When a cancelled unit must have ended, or its connection is cut.
        var cancelDeadline: Moment?
        var isRepeat: Bool
        /// How many leading results belong to us and not to the caller.
        var hidden: Int
    }

    struct Queued {
        let unit: WorkUnit
        var isRepeat = false
        /// Undo a failed transaction first: the repeat of a unit that opened one.
        var rollsBackFirst = false
    }

    enum Mode {
        /// Extended protocol; to script when a script's turn comes.
        case pipeline
        /// Simple protocol, nothing else under way; back to pipeline when it has answered.
        case script
    }

    enum Cancelling {
        /// To: underWay.
        case none
        /// A request is on its way to the server: nothing new is sent, for it might be hit. To: settling, none.
        case underWay(until: Moment)
        /// The server has the request and the unit has not ended: the request may have come before the statement did, so
        /// there is another at `again`. To: underWay, none.
        case settling(again: Moment)
    }

    struct Prepared {
        let wireName: String
        let sql: String
        var types: [UInt32]
    }

    let token: UInt64
    let socket: Int32
    let backendProcessID: Int32
    private let handle: ConnectionHandle
    private let configuration: PostgresConfiguration
    private let logger: Logger
    private let outbox: Outbox
    private var mode = Mode.pipeline
    private var expected = ExpectedResults()
    private var queued = FIFO<Queued>()
    private var inFlight = FIFO<InFlight>()
    private var prepared: [String: Prepared] = [:]
    private var preparations = 0
    private var cancelling = Cancelling.none
    private var answerDeadline: Moment?
    private(set) var lastAnswer: Moment
    private(set) var failure: PostgresError?
    private(set) var wantsWrite = false
    /// What epoll was last told.
    var isWatchedForWrite = false
    var lease: Lease?
    /// The lease has ended, but something of it is still under way.
    var isReleasing = false
    /// Begins a cancel request; nil means it could not be begun.
    var startCancel: (OpaquePointer) -> Bool = { _ in false }

    init(
        _ handle: consuming ConnectionHandle, token: UInt64, configuration: PostgresConfiguration, logger: Logger,
        outbox: Outbox
    ) {
        socket = PQsocket(handle.raw)
        backendProcessID = PQbackendPID(handle.raw)
        self.handle = handle
        self.token = token
        self.configuration = configuration
        self.logger = logger
        self.outbox = outbox
        lastAnswer = .now
    }

    /// Nothing under way and nothing to come: another caller could have it.
    var isIdle: Bool {
        guard case .none = cancelling else { return false }
        return inFlight.isEmpty && queued.isEmpty
    }

    /// Whether the session on the server is as it was when it began: no transaction, no COPY.
    var isClean: Bool { PQtransactionStatus(handle.raw) == PQTRANS_IDLE }

    var nextDeadline: Moment? {
        switch cancelling {
        case .none: answerDeadline
        case .underWay(let moment), .settling(let moment): min(moment, answerDeadline ?? moment)
        }
    }

    // MARK: Sending

    func submit(_ unit: WorkUnit, _ now: Moment) {
        queued.append(Queued(unit: unit))
        pump(now)
    }

    /// Hands over what may go now, and writes as much as the socket takes.
    func pump(_ now: Moment) {
        while failure == nil, let next = queued.first, maySend(next.unit) {
            _ = queued.popFirst()
            if let refusal = refusal(next.unit) {
                outbox.put(next.unit, .failure(refusal))
                continue
            }
            send(next)
            if answerDeadline == nil { answerDeadline = configuration.answerTimeout.map { now + $0 } }
        }
        flush()
    }

    /// Why a unit is not to be sent at all.
    private func refusal(_ unit: WorkUnit) -> PostgresError? {
        if unit.isCancelled { return .cancelled }
        let isForTransaction =
            switch unit.setting {
            case .inTransaction, .commit: unit.begin == nil
            case .alone, .housekeeping: false
            }
        // Had BEGIN failed or never been sent, this would be committed by itself.
        if isForTransaction, inFlight.isEmpty, isClean {
            return PostgresError(
                kind: .server(sqlState: "25P01"),
                message: "there is no transaction: its first statement failed, or it has ended")
        }
        return nil
    }

    private func maySend(_ unit: WorkUnit) -> Bool {
        guard case .none = cancelling, case .pipeline = mode else { return false }
        if unit.isAlone || inFlight.first?.unit.isAlone == true { return inFlight.isEmpty }
        return inFlight.count < configuration.maxUnitsInFlight
    }

    private func flush() {
        guard failure == nil else { return }
        switch PQflush(handle.raw) {
        case 0: wantsWrite = false
        case 1: wantsWrite = true
        default: broke()
        }
    }

    private func send(_ next: Queued) {
        var entry = InFlight(unit: next.unit, isRepeat: next.isRepeat, hidden: 0)
        var steps: [ExpectedResults.Step] = []
        var sent = true
        switch next.unit.content {
        case .lease: preconditionFailure("a lease is granted by the loop")
        case .script(let sql):
            mode = .script
            sent = PQexitPipelineMode(handle.raw) == 1 && PQsendQuery(handle.raw, sql) == 1
        case .calls(let calls):
            for sql in [next.rollsBackFirst ? "ROLLBACK" : nil, next.unit.begin] {
                guard let sql else { continue }
                entry.hidden += 1
                sent = sent && execute(WorkUnit.Call(sql: sql), &steps)
            }
            for call in calls { sent = sent && execute(call, &steps) }
            sent = sent && PQpipelineSync(handle.raw) == 1
            expected.push(steps)
        }
        inFlight.append(entry)
        if !sent { broke() }
    }

    /// Prepares if need be and executes, in one go.
    private func execute(_ call: WorkUnit.Call, _ steps: inout [ExpectedResults.Step]) -> Bool {
        var wireName: String?
        if let name = call.statement {
            if let known = prepared[name], known.sql == call.sql, known.fits(call.parameters) {
                wireName = known.wireName
            } else {
                let fresh = freshPreparation(of: call, name)
                steps.append(.prepare(statement: name))
                guard prepare(fresh) else { return false }
                wireName = fresh.wireName
            }
        }
        steps.append(.execute(statement: call.statement))
        return send(call, under: wireName)
    }

    private func freshPreparation(of call: WorkUnit.Call, _ name: String) -> Prepared {
        var types = call.parameters.slots.map(\.type)
        if let old = prepared[name], old.sql == call.sql, old.types.count == types.count {
            // A null says nothing about its type; keep what an earlier call knew.
            for index in types.indices where types[index] == 0 { types[index] = old.types[index] }
        }
        if let old = prepared.removeValue(forKey: name) { deallocate(old) }
        if prepared.count >= configuration.maxPreparedStatements, let victim = prepared.keys.first,
            let old = prepared.removeValue(forKey: victim)
        {
            deallocate(old)
        }
        preparations += 1
        // A name of its own for each preparation: a stale one can never be taken for it.
        let fresh = Prepared(wireName: "\(name)#\(preparations)", sql: call.sql, types: types)
        prepared[name] = fresh
        return fresh
    }

    private func deallocate(_ old: Prepared) {
        let name = old.wireName.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
        queued.append(
            Queued(unit: WorkUnit(.calls([.init(sql: "DEALLOCATE \"\(name)\"")]), setting: .housekeeping) { _ in }))
    }

    private func prepare(_ fresh: Prepared) -> Bool {
        fresh.types.withUnsafeBufferPointer { types in
            PQsendPrepare(handle.raw, fresh.wireName, fresh.sql, Int32(types.count), types.baseAddress) == 1
        }
    }

    private func send(_ call: WorkUnit.Call, under wireName: String?) -> Bool {
        let slots = call.parameters.slots
        let count = slots.count
        return withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: count + 1) { values in
            withUnsafeTemporaryAllocation(of: Int32.self, capacity: 2 * count + 1) { numbers in
                withUnsafeTemporaryAllocation(of: UInt32.self, capacity: count + 1) { types in
                    call.parameters.bytes.withUnsafeBytes { bytes in
                        for (index, slot) in slots.enumerated() {
                            let start = slot.length < 0 ? nil : bytes.baseAddress.map { $0 + Int(slot.offset) }
                            values.initializeElement(at: index, to: start?.assumingMemoryBound(to: CChar.self))
                            numbers.initializeElement(at: index, to: max(0, slot.length))
                            numbers.initializeElement(at: count + index, to: 1)
                            types.initializeElement(at: index, to: slot.type)
                        }
                        let lengths = UnsafePointer(numbers.baseAddress)
                        let formats = lengths.map { $0 + count }
                        if let wireName {
                            return PQsendQueryPrepared(
                                handle.raw, wireName, Int32(count), values.baseAddress, lengths, formats, 1) == 1
                        }
                        return PQsendQueryParams(
                            handle.raw, call.sql, Int32(count), types.baseAddress, values.baseAddress, lengths, formats,
                            1) == 1
                    }
                }
            }
        }
    }

    // MARK: Receiving

    /// The socket is ready: reads, answers, and sends what that made room for.
    func becameReady(_ now: Moment, notify: (String, String) -> Void) {
        guard failure == nil else { return }
        let alive = PQconsumeInput(handle.raw) == 1
        // Even a dead connection may have brought answers before it died.
        readResults(now)
        while let notification = PQnotifies(handle.raw) {
            notify(String(cString: notification.pointee.relname), String(cString: notification.pointee.extra))
            PQfreemem(notification)
        }
        if !alive { broke() }
        pump(now)
    }

    private func readResults(_ now: Moment) {
        while failure == nil {
            switch mode {
            case .pipeline:
                guard expected.isWaiting, PQisBusy(handle.raw) == 0 else { return }
                progressed(now)
                receive(PQgetResult(handle.raw), now)
            case .script:
                guard PQisBusy(handle.raw) == 0 else { return }
                progressed(now)
                receiveOfScript(PQgetResult(handle.raw), now)
            }
        }
    }

    private func progressed(_ now: Moment) {
        lastAnswer = now
        if case .none = cancelling { answerDeadline = configuration.answerTimeout.map { now + $0 } }
    }

    private func receive(_ result: OpaquePointer?, _ now: Moment) {
        var owned = result
        defer { if let owned { PQclear(owned) } }
        switch expected.accept(Self.arrival(result)) {
        case .proceed: break
        case .keep(let statement):
            if let result {
                owned = nil
                inFlight.modifyFirst {
                    $0.results.append(PostgresRows(ResultStorage(owning: result, statement: statement)))
                }
            }
        case .prepared: break
        case .failed(let step):
            let name: String? =
                switch step {
                case .prepare(let statement): statement
                case .execute(let statement): statement
                case .sync: nil
                }
            if let result { note(ResultFields.error(result).inStatement(name)) }
            forget(step)
        case .skipped(let step): forget(step)
        case .unitEnded: endFirst(now)
        case .copyBegun: refuseCopy()
        case .violation(let what):
            // A link that died in the midst of results shows as silence out of turn.
            if PQstatus(handle.raw) == CONNECTION_BAD { return broke() }
            failure = PostgresError(kind: .connectionLost, message: "the connection is out of step: \(what)")
        }
    }

    private func refuseCopy() {
        note(
            PostgresError(
                kind: .server(sqlState: "0A000"), message: "COPY was begun, which this client cannot carry",
                severity: "ERROR",
                hint: "use insert … select from unnest(…)"))
        failure = PostgresError(kind: .connectionLost, message: "the connection was left in COPY")
    }

    private func receiveOfScript(_ result: OpaquePointer?, _ now: Moment) {
        guard let result else {
            mode = .pipeline
            if PQenterPipelineMode(handle.raw) != 1 { broke() }
            return endFirst(now)
        }
        defer { PQclear(result) }
        switch Self.arrival(result) {
        case .failure: note(ResultFields.error(result))
        case .copy: refuseCopy()
        default: break
        }
    }

    private static func arrival(_ result: OpaquePointer?) -> ExpectedResults.Arrival {
        guard let result else { return .end }
        return switch PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY, PGRES_SINGLE_TUPLE: .success
        case PGRES_PIPELINE_ABORTED: .aborted
        case PGRES_PIPELINE_SYNC: .sync
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH: .copy
        default: .failure
        }
    }

    private func note(_ error: PostgresError) {
        inFlight.modifyFirst { entry in if entry.error == nil { entry.error = error } }
    }

    private func forget(_ step: ExpectedResults.Step) {
        if case .prepare(let statement) = step { prepared[statement] = nil }
    }

    private func endFirst(_ now: Moment) {
        guard var entry = inFlight.popFirst() else { return }
        answerDeadline = inFlight.isEmpty ? nil : configuration.answerTimeout.map { now + $0 }
        if case .settling = cancelling { cancelling = .none }
        defer { cancelFirstIfAsked(now) }
        guard var error = entry.error else {
            entry.results.removeFirst(min(entry.hidden, entry.results.count))
            return outbox.put(entry.unit, .success(entry.results))
        }
        if error.isStalePlan, let name = error.statement, let stale = prepared.removeValue(forKey: name),
            error.sqlState != "26000"
        {
            deallocate(stale)
        }
        if mayRepeat(entry, error) {
            queued.prepend(
                Queued(unit: entry.unit, isRepeat: true, rollsBackFirst: entry.unit.begin != nil && !isClean))
            return
        }
        if error.sqlState == "57014" {
            error.kind = entry.unit.isCancelled ? .cancelled : .timeout
        }
        outbox.put(entry.unit, .failure(error))
    }

    /// A unit refused before it could do anything is sent once more, when nothing of it is left on the server: for a plan
    /// that has gone stale, and for one hit by a cancel request that was meant for its neighbour.
    private func mayRepeat(_ entry: InFlight, _ error: PostgresError) -> Bool {
        guard !entry.isRepeat, !entry.unit.isCancelled, inFlight.isEmpty else { return false }
        guard isClean || entry.unit.begin != nil else { return false }
        return error.isStalePlan || (error.sqlState == "57014" && entry.exposedToCancel)
    }

    // MARK: Cancelling

    /// - Returns: whether the unit is here.
    func cancel(_ unit: WorkUnit, _ now: Moment) -> Bool {
        if let waiting = queued.remove(where: { $0.unit === unit }) {
            outbox.put(waiting.unit, .failure(.cancelled))
            return true
        }
        var found = false
        inFlight.modifyAll { if $0.unit === unit { found = true } }
        if found { cancelFirstIfAsked(now) }
        return found
    }

    /// Only what the server works on can be cancelled: the first in flight. Others wait for their turn.
    private func cancelFirstIfAsked(_ now: Moment) {
        guard case .none = cancelling, let first = inFlight.first, first.unit.isCancelled, failure == nil else {
            return
        }
        let deadline = first.cancelDeadline ?? now + configuration.cancelTimeout
        inFlight.modifyFirst { $0.cancelDeadline = deadline }
        inFlight.modifyAll { $0.exposedToCancel = true }
        if startCancel(handle.raw) {
            cancelling = .underWay(until: deadline)
            answerDeadline = min(answerDeadline ?? deadline, deadline)
        } else {
            logger.warning("a statement cannot be cancelled; its connection is given up")
            failure = PostgresError(kind: .connectionLost, message: "the statement could not be cancelled")
        }
    }

    func cancelEnded(_ now: Moment) {
        if let first = inFlight.first, first.unit.isCancelled, first.cancelDeadline != nil {
            cancelling = .settling(again: now + Self.cancelAgain)
        } else {
            cancelling = .none
            // Several may have been cancelled at once.
            cancelFirstIfAsked(now)
        }
        pump(now)
    }

    /// Between two requests to cancel the same statement.
    private static let cancelAgain = Duration.milliseconds(200)

    // MARK: Failing

    /// - Returns: whether a deadline had passed.
    func expire(_ now: Moment) -> Bool {
        guard failure == nil, let deadline = nextDeadline, deadline <= now else { return false }
        if case .settling(let again) = cancelling, again <= now, now < (answerDeadline ?? deadline + .seconds(1)) {
            cancelling = .none
            cancelFirstIfAsked(now)
            return true
        }
        failure = PostgresError(
            kind: .connectionLost, message: "the server has not answered in time; it may be stopped or unreachable")
        return true
    }

    private func broke() {
        guard failure == nil else { return }
        let text = ResultFields.trimmed(String(cString: PQerrorMessage(handle.raw)))
        let line = text.split(separator: "\n").first.map(String.init)
        failure = PostgresError(kind: .connectionLost, message: line ?? "the connection to the server was lost")
    }

    /// Answers everything there is, for the connection is gone.
    func abandon(_ reason: PostgresError) {
        let allMayHaveAnswered = expected.isAtSync || expected.isBroken
        var isFirst = true
        for entry in inFlight.removeAll() {
            outbox.put(
                entry.unit, .failure(Self.verdict(entry, reason, statementsAnswered: isFirst && allMayHaveAnswered)))
            isFirst = false
        }
        for waiting in queued.removeAll() {
            var error = reason
            error.kind = waiting.unit.isCancelled ? .cancelled : reason.kind
            outbox.put(waiting.unit, .failure(error))
        }
        answerDeadline = nil
        cancelling = .none
    }

    /// What a lost link means for a unit that was handed over.
    ///
    /// A refusal that came in place of a statement's result is certain: the statement did not finish, so nothing was
    /// committed. A refusal in place of the answer to a commit is not.
    static func verdict(_ entry: InFlight, _ reason: PostgresError, statementsAnswered: Bool) -> PostgresError {
        switch entry.unit.setting {
        case .inTransaction, .housekeeping:
            return entry.error ?? reason
        case .alone:
            // A script commits by itself in the midst of its answer, so only a plain error is certain there.
            var isCertain = !statementsAnswered
            if case .script = entry.unit.content { isCertain = false }
            if let error = entry.error, error.kind != .connectionLost, isCertain || error.severity == "ERROR" {
                return error
            }
        case .commit: break
        }
        return PostgresError(
            kind: .outcomeUnknown,
            message:
                "sent, but the link was lost before the answer (\(entry.error?.message ?? reason.message)); read back "
                + "whether it was applied")
    }
}

extension Connection.Prepared {
    /// Whether these parameters can be sent under the types it was prepared with; null fits any.
    func fits(_ parameters: EncodedParameters) -> Bool {
        guard types.count == parameters.slots.count else { return false }
        for (type, slot) in zip(types, parameters.slots) where slot.type != type && slot.type != 0 { return false }
        return true
    }
}

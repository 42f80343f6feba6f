import Logging

/// The IO thread: sockets first, then messages, then clocks, then new work for whoever is free.
///
/// Sockets come before messages so that a connection found dead is not given work whose outcome would then be unknown.
final class EngineLoop {
    private enum Phase {
        /// Nobody has asked for connections yet. To: running, closing.
        case waiting
        /// To: closing.
        case running
        /// Takes nothing new, lets finish what runs until the deadline. To: ended.
        case closing(until: Moment, because: PostgresError?)
        case ended
    }

    private static let inboxToken: UInt64 = 0

    private let engine: Engine
    private let configuration: PostgresConfiguration
    private let logger: Logger
    private var phase = Phase.waiting
    private var poller = Poller()
    private var roster: Roster
    private var line: WaitingLine<WorkUnit>
    private let outbox = Outbox()
    private var connections: [UInt64: Connection] = [:]
    private var attempts: [UInt64: ConnectAttempt] = [:]
    /// How long closing waits for the attempts that it aborted.
    private var attemptsUntil = Moment.now
    private var free: [UInt64] = []
    /// Connections that are not in service yet, with the answer to what they were greeted with.
    private var greetings: [UInt64: OneShot<WorkUnit.Answer>] = [:]
    private var leases: [ObjectIdentifier: Connection] = [:]
    /// Why a session's connection went, until the session is over.
    private var lostLeases: [ObjectIdentifier: PostgresError] = [:]
    private var nextToken: UInt64 = 1
    private var lastRefusal: PostgresError?
    private var now = Moment.now
    private var dirty: Set<UInt64> = []

    init(_ engine: Engine) {
        self.engine = engine
        configuration = engine.configuration
        logger = engine.logger
        roster = Roster(size: engine.plan.size, backoff: engine.configuration.backoff)
        line = WaitingLine(limit: engine.configuration.maxWaiters)
        poller.add(engine.inbox.wakeUp.descriptor, token: Self.inboxToken, .read)
    }

    func run() {
        while true {
            if case .ended = phase { break }
            let ready = poller.wait(milliseconds: Moment.millisecondsUntil(nextDeadline, from: .now))
            now = .now
            for token in ready where token != Self.inboxToken {
                guard let connection = connections[token] else { continue }
                connection.becameReady(now) { engine.plan.hooks.onNotification?($0, $1) }
                dirty.insert(token)
            }
            // Before messages: a connection that died must be known to be dead.
            settleDirty()
            if ready.contains(Self.inboxToken) { engine.inbox.wakeUp.clear() }
            for message in engine.inbox.takeAll() { handle(message) }
            expire()
            turn()
        }
    }

    private func turn() {
        settleDirty()
        dispatch()
        settleDirty()
        connectAsNeeded()
        finishClosing()
        publish()
    }

    /// Who hears an answer finds it in the status too.
    private func publish() {
        let connected = connections.count - greetings.count
        let counts = Engine.Counts(connected: connected, busy: connected - free.count, waiting: line.count)
        engine.counts.withLock { $0 = counts }
        outbox.deliver()
    }

    private var nextDeadline: Moment? {
        var deadline = line.nextDeadline
        func consider(_ other: Moment?) { if let other { deadline = min(deadline ?? other, other) } }
        for connection in connections.values {
            consider(connection.nextDeadline)
            if let interval = engine.plan.probeInterval, connection.nextDeadline == nil {
                consider(connection.lastAnswer + interval)
            }
        }
        switch phase {
        case .running: consider(roster.nextDeadline)
        case .closing(let until, _): consider(connections.isEmpty ? attemptsUntil : until)
        case .waiting, .ended: break
        }
        return deadline
    }

    // MARK: Messages

    private func handle(_ message: Engine.Message) {
        switch message {
        case .start: if case .waiting = phase { phase = .running }
        case .submit(let unit, nil): enqueue(unit)
        case .submit(let unit, on: let lease?): submit(unit, lease)
        case .release(let lease): release(lease)
        case .cancel(let unit): cancel(unit)
        case .attempted(let number, let outcome): attempted(number, outcome)
        case .cancelEnded(let token):
            guard let connection = connections[token] else { return }
            connection.cancelEnded(now)
            dirty.insert(token)
        case .close: beginClosing(because: nil)
        case .cut:
            beginClosing(because: nil)
            if case .closing(_, let error) = phase { phase = .closing(until: now, because: error) }
        }
    }

    private func enqueue(_ unit: WorkUnit) {
        switch phase {
        case .closing(_, let error): return outbox.put(unit, .failure(error ?? .poolClosed))
        case .ended: return outbox.put(unit, .failure(.poolClosed))
        case .waiting, .running: break
        }
        if !line.append(unit, deadline: now + configuration.acquireTimeout) {
            let error = PostgresError(
                kind: .acquireTimeout, message: "\(line.limit) callers wait for a connection already",
                hint: "fewer callers at once, or a larger pool")
            outbox.put(unit, .failure(error))
        }
    }

    private func submit(_ unit: WorkUnit, _ lease: Lease) {
        let id = ObjectIdentifier(lease)
        guard let connection = leases[id] else {
            let error =
                lostLeases[id]
                ?? PostgresError(kind: .closed, message: "the session is over; use it inside its scope only")
            return outbox.put(unit, .failure(error))
        }
        connection.submit(unit, now)
        dirty.insert(connection.token)
    }

    private func release(_ lease: Lease) {
        let id = ObjectIdentifier(lease)
        lostLeases[id] = nil
        guard let connection = leases.removeValue(forKey: id) else { return }
        connection.lease = nil
        connection.isReleasing = true
        dirty.insert(connection.token)
    }

    private func cancel(_ unit: WorkUnit) {
        if line.remove(where: { $0 === unit }) != nil { return outbox.put(unit, .failure(.cancelled)) }
        for connection in connections.values where connection.cancel(unit, now) {
            dirty.insert(connection.token)
            return
        }
    }

    // MARK: Connections

    private func connectAsNeeded() {
        guard case .running = phase else { return }
        for _ in 0..<roster.attemptsToBegin(now) {
            let number = nextToken
            nextToken += 1
            let attempt = ConnectAttempt(configuration, logger: logger)
            attempts[number] = attempt
            let engine = engine
            attempt.start { outcome in _ = engine.inbox.post(.attempted(number: number, outcome)) }
        }
    }

    private func attempted(_ number: UInt64, _ outcome: ConnectAttempt.Outcome) {
        guard let attempt = attempts.removeValue(forKey: number) else { return }
        switch outcome {
        case .failed(let error): attemptFailed(error)
        case .connected:
            guard case .running = phase, let handle = attempt.take() else { return }
            let connection = Connection(
                handle, token: number, configuration: configuration, logger: logger, outbox: outbox)
            let (engine, logger) = (engine, logger)
            connection.startCancel = { raw in
                Cancellation.start(raw, logger: logger) { _ = engine.inbox.post(.cancelEnded(connection: number)) }
            }
            connections[number] = connection
            poller.add(connection.socket, token: number, .read)
            greet(connection)
        }
    }

    private func greet(_ connection: Connection) {
        guard !engine.plan.greeting.isEmpty else { return connected(connection) }
        let calls = engine.plan.greeting.map { WorkUnit.Call(sql: $0) }
        // The unit is answered on this thread in the midst of the connection's work; the loop looks when that is done.
        let answer = OneShot<WorkUnit.Answer>()
        greetings[connection.token] = answer
        connection.submit(WorkUnit(.calls(calls), setting: .housekeeping) { answer.set($0) }, now)
        dirty.insert(connection.token)
    }

    private func connected(_ connection: Connection) {
        roster.succeeded()
        lastRefusal = nil
        logger.debug(
            "connected", metadata: ["server": "\(configuration.target)", "pid": "\(connection.backendProcessID)"])
        free.append(connection.token)
        engine.plan.hooks.onUp?()
    }

    private func attemptFailed(_ error: PostgresError) {
        guard case .running = phase else { return }
        lastRefusal = error
        switch roster.failed(error, now, random: { Double.random(in: 0...1) }) {
        case .giveUp:
            logger.error("no connection is possible: \(error)")
            beginClosing(because: error)
        case .retry(let at):
            if !engine.plan.reconnects { return beginClosing(because: error) }
            let wait = (at.nanoseconds - now.nanoseconds) / 1_000_000
            logger.warning(
                "cannot connect, trying again in \(wait) ms: \(error)", metadata: ["server": "\(configuration.target)"])
        }
    }

    /// Brings the books in line with what has become of the connections just touched.
    private func settleDirty() {
        while let token = dirty.popFirst() {
            guard let connection = connections[token] else { continue }
            if let failure = connection.failure {
                retire(connection, failure)
                continue
            }
            if let answer = greetings[token]?.value {
                greetings[token] = nil
                switch answer {
                case .success: connected(connection)
                case .failure(let error):
                    drop(connection, error)
                    attemptFailed(error)
                    continue
                }
            }
            if connection.wantsWrite != connection.isWatchedForWrite {
                connection.isWatchedForWrite = connection.wantsWrite
                poller.change(connection.socket, token: token, connection.wantsWrite ? [.read, .write] : .read)
            }
            guard connection.lease == nil, connection.isIdle, greetings[token] == nil, !free.contains(token) else {
                continue
            }
            connection.isReleasing = false
            if connection.isClean {
                free.append(token)
            } else {
                retire(
                    connection,
                    PostgresError(
                        kind: .connectionLost, message: "the connection came back with a transaction or COPY open"))
            }
        }
    }

    private func retire(_ connection: Connection, _ reason: PostgresError) {
        let wasGreeting = greetings.removeValue(forKey: connection.token) != nil
        drop(connection, reason)
        if wasGreeting { return attemptFailed(reason) }
        roster.lost()
        if case .running = phase {
            logger.warning("a connection was lost: \(reason)", metadata: ["pid": "\(connection.backendProcessID)"])
            engine.plan.hooks.onDown?(reason)
            if !engine.plan.reconnects { beginClosing(because: reason) }
        }
    }

    private func drop(_ connection: Connection, _ reason: PostgresError) {
        let token = connection.token
        poller.remove(connection.socket)
        connections[token] = nil
        free.removeAll { $0 == token }
        if let lease = connection.lease {
            leases[ObjectIdentifier(lease)] = nil
            lostLeases[ObjectIdentifier(lease)] = reason
            connection.lease = nil
        }
        connection.abandon(reason)
    }

    // MARK: Giving out work

    private func dispatch() {
        while let token = free.last, let connection = connections[token], let unit = line.popFirst() {
            if unit.isCancelled {
                outbox.put(unit, .failure(.cancelled))
                continue
            }
            free.removeLast()
            if case .lease(let lease) = unit.content {
                lease.granted(backendProcessID: connection.backendProcessID)
                connection.lease = lease
                leases[ObjectIdentifier(lease)] = connection
                outbox.put(unit, .success([]))
            } else {
                connection.submit(unit, now)
            }
            dirty.insert(token)
        }
    }

    // MARK: Clocks

    private func expire() {
        while let unit = line.popExpired(now) { outbox.put(unit, .failure(waitedTooLong())) }
        for connection in connections.values {
            if connection.expire(now) { dirty.insert(connection.token) }
            if let interval = engine.plan.probeInterval, connection.nextDeadline == nil, connection.failure == nil,
                connection.lastAnswer + interval <= now
            {
                connection.submit(WorkUnit(.calls([.init(sql: "SELECT 1")]), setting: .housekeeping) { _ in }, now)
                dirty.insert(connection.token)
            }
        }
    }

    private func waitedTooLong() -> PostgresError {
        if connections.isEmpty {
            let reason = lastRefusal.map { ": \($0.message)" } ?? ""
            var error = PostgresError(
                kind: .unavailable, message: "no connection within \(configuration.acquireTimeout)\(reason)")
            if case .waiting = phase { error.hint = "nothing connects before run() is called" }
            return error
        }
        return PostgresError(
            kind: .acquireTimeout,
            message: "all \(connections.count) connections were in use for \(configuration.acquireTimeout)",
            hint: "shorter transactions, or a larger pool")
    }

    // MARK: Closing

    private func beginClosing(because error: PostgresError?) {
        switch phase {
        case .waiting, .running: break
        case .closing, .ended: return
        }
        phase = .closing(until: now + configuration.closeTimeout, because: error)
        // Their threads are waited for: one that is still inside libpq while the process exits would crash it. Only a
        // name lookup does not hear the abort.
        attemptsUntil = now + configuration.closeTimeout
        for attempt in attempts.values { attempt.abort() }
        for unit in line.removeAll() { outbox.put(unit, .failure(error ?? .poolClosed)) }
    }

    private func finishClosing() {
        guard case .closing(let until, let error) = phase else { return }
        for token in free {
            guard let connection = connections[token] else { continue }
            drop(connection, .poolClosed)
        }
        free = []
        if now >= until { for connection in connections.values { drop(connection, .poolClosed) } }
        guard connections.isEmpty, attempts.isEmpty || now >= attemptsUntil else { return }
        phase = .ended
        publish()
        engine.finish(because: error)
    }
}

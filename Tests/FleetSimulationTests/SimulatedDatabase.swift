/// A PostgreSQL server with the ledger in it. A call is one transaction; its answer may be lost before or after the
/// commit, and a commit may come when the caller has long given up.
final class SimulatedDatabase {
    private unowned let world: World
    private(set) var ledger: LedgerModel
    private var isDown = false
    private var cut: [ObjectIdentifier: Int] = [:]
    private var sessions: [Int: Process] = [:]
    private var lastSession = 0

    init(_ world: World, keys: Int) {
        self.world = world
        ledger = LedgerModel(keys: keys, mutants: world.mutants)
        ledger.recheckAfter = Span.recheck
    }

    // MARK: Calls

    /// - Parameters:
    ///   - session: the caller's own session that the call runs on; any of a pool when nil.
    ///   - mayBeLate: whether it may be carried out after the caller has given it up.
    ///   - then: gets the answer; nil when it is unknown whether the call took effect.
    func ask<Answer>(
        _ process: Process, _ verb: Witness.Verb, session: Int? = nil, mayBeLate: Bool = true,
        _ body: @escaping (inout LedgerModel) -> Answer, then: @escaping (Answer?) -> Void
    ) {
        let (fate, life) = (world.fateOfCall(), process.life)
        world.after(world.databaseLatency(), nil) { [self] in
            let isOpen = session.map { sessions[$0] != nil } ?? true
            guard isReachable(process), isOpen, fate != .lostBefore else {
                return fail(process, life, then)
            }
            if fate == .late {
                fail(process, life, then)
                world.after(world.draw(50...2_500), nil) { [self] in
                    if !isDown, session == nil, mayBeLate { _ = execute(verb, body) }
                }
                return
            }
            let answer = execute(verb, body)
            guard fate != .lostAfter else { return fail(process, life, then) }
            world.after(world.databaseLatency(), process, life: life) { [self] in
                then(isReachable(process) ? answer : nil)
            }
        }
    }

    private func fail<Answer>(_ process: Process, _ life: Int, _ then: @escaping (Answer?) -> Void) {
        world.after(world.draw(5...200), process, life: life) { then(nil) }
    }

    private func execute<Answer>(_ verb: Witness.Verb, _ body: (inout LedgerModel) -> Answer) -> Answer {
        ledger.now = world.now
        let before = ledger
        let answer = body(&ledger)
        world.witness.saw(verb, before: before, after: ledger)
        return answer
    }

    // MARK: Sessions

    func connect(_ process: Process, then: @escaping (Int?) -> Void) {
        let life = process.life
        world.after(world.databaseLatency(), nil) { [self] in
            guard isReachable(process), process.life == life else { return fail(process, life, then) }
            lastSession += 1
            let session = lastSession
            sessions[session] = process
            process.after(world.databaseLatency()) { then(session) }
        }
    }

    /// The server ends a session and frees its locks.
    func close(_ session: Int) {
        guard sessions.removeValue(forKey: session) != nil else { return }
        ledger.now = world.now
        for (worker, holder) in ledger.livenessLocks where holder == session { ledger.livenessLocks[worker] = nil }
        if ledger.leaderLock == session { ledger.leaderLock = nil }
        world.witness.seeLiveness(ledger)
    }

    /// A process has given a session up; the server hears of it when it can.
    func drop(_ session: Int, by process: Process) {
        world.after(world.draw(1...300), nil) { [self] in
            if isReachable(process) { close(session) } else if sessions[session] != nil { drop(session, by: process) }
        }
    }

    func forget(_ process: Process) {
        for session in sessionsOf(process) {
            world.after(world.draw(0...20), nil) { [self] in close(session) }
        }
    }

    /// The server drops the sessions of a process, which learns of it by and by.
    func loseSessions(of process: Process, noticedWithin span: Int64) {
        for session in sessionsOf(process) {
            close(session)
            process.after(world.draw(0...span)) { process.sessionLost(session) }
        }
    }

    private func sessionsOf(_ process: Process) -> [Int] {
        sessions.filter { $0.value === process }.map(\.key).sorted()
    }

    /// Ends the session of a leader that hangs, if it still leads in that term.
    func depose(_ sign: LeaderSign) {
        world.after(world.databaseLatency(), nil) { [self] in
            guard !isDown, let leader = sessions[sign.session], ledger.leaderLock == sign.session,
                ledger.term <= sign.term
            else { return }
            close(sign.session)
            leader.after(world.databaseLatency()) { leader.sessionLost(sign.session) }
        }
    }

    // MARK: Faults

    private func isReachable(_ process: Process) -> Bool { !isDown && cut[ObjectIdentifier(process)] == nil }

    /// Nothing passes between this process and the server. Each side finds out for itself, if it lasts long enough.
    func cutOff(_ process: Process, for length: Int64) {
        let name = ObjectIdentifier(process)
        cut[name, default: 0] += 1
        world.note(.cut, process)
        for session in sessionsOf(process) {
            world.after(world.draw(0...2_000), nil) { [self] in
                if cut[name] != nil { close(session) }
            }
            process.after(world.draw(0...1_000)) { [self] in
                if cut[name] != nil { process.sessionLost(session) }
            }
        }
        world.after(length, nil) { [self] in
            cut[name] = (cut[name] ?? 1) > 1 ? (cut[name] ?? 1) - 1 : nil
            world.note(.mended, process)
            // What the server has closed meanwhile is found closed now.
            process.after(world.draw(0...200)) { process.sessionLost(0) }
        }
    }

    func outage(for length: Int64) {
        if isDown { return }
        isDown = true
        for (session, process) in sessions.sorted(by: { $0.key < $1.key }) {
            close(session)
            process.after(world.draw(0...200)) { process.sessionLost(session) }
        }
        world.after(length, nil) { [self] in isDown = false }
    }

    func isOpen(_ session: Int) -> Bool { sessions[session] != nil }
}

/// What a leader shows of itself; the same for a while says that it has done nothing in between.
struct LeaderSign: Equatable {
    let session: Int
    let term: Int64
    let renewedAt: Int64
}

import AddressPolicy
import CEgress
import CSpawn
import Glibc

/// The thread that accepts, connects and passes bytes on.
///
/// Sendable: only its own thread touches what changes in it; others reach it by the inbox.
final class EgressLoop: @unchecked Sendable {
    let inbox = EgressInbox()
    private let user: UInt32
    private let connectionsMax: Int
    private let names: NameThreads
    private let watch: Int32
    private var gates: [UInt64: EgressGate] = [:]
    private var passages: [UInt64: Passage] = [:]
    private var lastID: UInt64 = 0
    private var closers: [CheckedContinuation<Void, Never>] = []
    private var isClosing = false
    private var nextSweep = ContinuousClock.now
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)

    /// What the lowest two bits of a token say; the others are the id.
    private enum Source: UInt64 {
        case bell, gate, client, remote
    }

    private static let acceptsPerTurn = 64
    private static let sweepInterval: Duration = .milliseconds(500)

    init(user: UInt32, connectionsMax: Int, names: NameThreads) {
        self.user = user
        self.connectionsMax = connectionsMax
        self.names = names
        watch = gaia_watch()
        precondition(watch >= 0, "no descriptor is left for the thread that passes connections on")
    }

    deinit {
        Glibc.close(watch)
        buffer.deallocate()
    }

    func run() {
        _ = gaia_watch_add(watch, inbox.bell, Source.bell.rawValue)
        var tokens = [UInt64](repeating: 0, count: Int(GAIA_WATCH_TOKENS_MAX))
        while !isClosing {
            // Without connections no time has to be looked at.
            let wait: Int32 = passages.isEmpty ? -1 : Int32(Self.sweepInterval / .milliseconds(1))
            let count = gaia_watch_wait(watch, &tokens, Int32(tokens.count), wait)
            for token in tokens.prefix(Int(count)) { handle(token) }
            for message in inbox.take() { handle(message) }
            sweep()
        }
        end()
    }

    private func end() {
        names.close()
        for message in inbox.end() { handle(message) }
        for passage in Array(passages.values) { close(passage) }
        for gate in gates.values { Glibc.close(gate.listener) }
        gates = [:]
        for closer in closers { closer.resume() }
    }

    // MARK: Events

    private func handle(_ message: EgressMessage) {
        switch message {
        case .openGate(let gate):
            gates[gate.id] = gate
            _ = gaia_watch_add(watch, gate.listener, gate.id << 2 | Source.gate.rawValue)
        case .closeGate(let id):
            guard let gate = gates.removeValue(forKey: id) else { return }
            Glibc.close(gate.listener)
            for passage in Array(passages.values) where passage.gate === gate { close(passage) }
        case .resolved(let id, let addresses):
            guard let passage = passages[id], case .resolving = passage.stage else { return }
            judge(passage, addresses)
            settle(passage)
        case .close(let continuation):
            isClosing = true
            if let continuation { closers.append(continuation) }
        }
    }

    private func handle(_ token: UInt64) {
        let id = token >> 2
        switch Source(rawValue: token & 3) {
        case .gate: if let gate = gates[id] { accept(gate) }
        case .client, .remote: if let passage = passages[id] { serve(passage) }
        case .bell, nil: break
        }
    }

    private func accept(_ gate: EgressGate) {
        for _ in 0..<Self.acceptsPerTurn {
            guard let (descriptor, port) = Sockets.accept(gate.listener) else { return }
            var owner: UInt32 = 0
            guard gaia_peer_user(port, gate.port, &owner) == 0, owner == user else {
                Glibc.close(descriptor)
                continue
            }
            guard passages.count < connectionsMax, gate.enter() else {
                gate.failed(EgressFailure(host: "", port: 0, reason: .limit))
                Glibc.close(descriptor)
                continue
            }
            lastID += 1
            let passage = Passage(id: lastID, gate: gate, client: descriptor, now: .now)
            passages[passage.id] = passage
            settle(passage)
        }
    }

    /// Does what can be done for a connection now.
    private func serve(_ passage: Passage) {
        switch passage.stage {
        case .handshake: greet(passage)
        case .resolving: break
        case .connecting(let rest, _): lookAtConnect(passage, rest)
        case .relaying: relay(passage)
        case .ending: write(&passage.client)
        }
        settle(passage)
    }

    /// Closes a connection that is over, and has the others watched for what they want now.
    private func settle(_ passage: Passage) {
        guard passages[passage.id] != nil else { return }
        if passage.isOver { return close(passage) }
        change(&passage.client, passage.clientWants, passage.id << 2 | Source.client.rawValue)
        change(&passage.remote, passage.remoteWants, passage.id << 2 | Source.remote.rawValue)
    }

    private func change(_ side: inout Passage.Side, _ wants: (reads: Bool, writes: Bool), _ token: UInt64) {
        guard side.descriptor >= 0, (side.watchedReads, side.watchedWrites) != wants else { return }
        _ = gaia_watch_change(watch, side.descriptor, token, side.isWatched, wants.reads, wants.writes)
        (side.watchedReads, side.watchedWrites) = wants
        side.isWatched = wants.reads || wants.writes
    }

    private func close(_ passage: Passage) {
        passages[passage.id] = nil
        Glibc.close(passage.client.descriptor)
        if passage.remote.descriptor >= 0 { Glibc.close(passage.remote.descriptor) }
        passage.gate.leave(wasOpen: passage.wasOpen)
    }

    private func sweep() {
        let now = ContinuousClock.now
        guard !passages.isEmpty, now >= nextSweep else { return }
        nextSweep = now + Self.sweepInterval
        for passage in Array(passages.values) where passage.deadline <= now {
            switch passage.stage {
            case .resolving: fail(passage, .timeout)
            case .connecting(let rest, _): tryNext(passage, rest, .timeout)
            case .handshake, .relaying, .ending:
                close(passage)
                continue
            }
            settle(passage)
        }
    }

    // MARK: Stages

    private func greet(_ passage: Passage) {
        write(&passage.client)
        guard passage.client.unsent.isEmpty, case .handshake(var handshake) = passage.stage,
            let bytes = read(&passage.client)
        else { return }
        var step = handshake.take(bytes)
        while case .answer(let answer) = step {
            passage.client.unsent += answer
            write(&passage.client)
            step = handshake.take([])
        }
        passage.stage = .handshake(handshake)
        switch step {
        case .wait, .answer: break
        case .refuse(let answer): end(passage, saying: answer)
        case .connect(let host, let port):
            passage.host = host
            passage.port = port
            passage.remote.unsent = handshake.rest[...]
            resolve(passage)
        }
    }

    private func resolve(_ passage: Passage) {
        if let address = IPAddress(passage.host) { return judge(passage, [address]) }
        passage.stage = .resolving
        let id = passage.id
        let isAsked = names.resolve(passage.host) { [inbox] addresses in inbox.send(.resolved(id, addresses)) }
        if !isAsked { fail(passage, .limit) }
    }

    private func judge(_ passage: Passage, _ addresses: [IPAddress]) {
        var refusal: AddressKind?
        var allowed: [IPAddress] = []
        for address in addresses {
            switch passage.gate.policy.judge(address, host: passage.host) {
            case .allowed: allowed.append(address)
            case .refused(let kind): refusal = refusal ?? kind
            }
        }
        if allowed.isEmpty {
            fail(passage, refusal.map { .refused($0) } ?? .noName)
        } else {
            tryNext(passage, allowed, .timeout)
        }
    }

    /// Connects to the first of the addresses; `reason` is what is told when there is none.
    private func tryNext(_ passage: Passage, _ addresses: [IPAddress], _ reason: EgressFailure.Reason) {
        dropRemote(passage)
        var addresses = addresses[...]
        var reason = reason
        while let address = addresses.popFirst() {
            let descriptor = Sockets.connect(address, port: passage.port)
            guard descriptor >= 0 else {
                reason = .notReachable(String(cString: strerror(errno)))
                continue
            }
            passage.remote.descriptor = descriptor
            // Each gets an equal share of what is left, so that one that is silent leaves time for the others.
            let now = ContinuousClock.now
            let share = (passage.connectDeadline - now) / (addresses.count + 1)
            passage.stage = .connecting(rest: Array(addresses), until: now + share)
            return
        }
        fail(passage, reason)
    }

    private func lookAtConnect(_ passage: Passage, _ rest: [IPAddress]) {
        guard let error = Sockets.connectResult(passage.remote.descriptor) else { return }
        guard error == 0 else { return tryNext(passage, rest, .notReachable(String(cString: strerror(error)))) }
        passage.stage = .relaying
        passage.wasOpen = true
        passage.lastActivity = .now
        passage.gate.opened()
        passage.client.unsent += SocksHandshake.Reply.succeeded.bytes
        write(&passage.client)
        write(&passage.remote)
    }

    private func dropRemote(_ passage: Passage) {
        guard passage.remote.descriptor >= 0 else { return }
        Glibc.close(passage.remote.descriptor)
        let unsent = passage.remote.unsent
        passage.remote = Passage.Side(descriptor: -1)
        passage.remote.unsent = unsent
    }

    private func fail(_ passage: Passage, _ reason: EgressFailure.Reason) {
        passage.gate.failed(EgressFailure(host: passage.host, port: passage.port, reason: reason))
        let reply: SocksHandshake.Reply =
            switch reason {
            case .refused: .notAllowed
            case .noName: .hostUnreachable
            case .notReachable: .connectionRefused
            case .timeout: .timeout
            case .limit: .failed
            }
        end(passage, saying: reply.bytes)
    }

    private func end(_ passage: Passage, saying answer: [UInt8]) {
        dropRemote(passage)
        passage.client.unsent += answer
        passage.stage = .ending
        write(&passage.client)
    }

    // MARK: Bytes

    private func relay(_ passage: Passage) {
        write(&passage.client)
        write(&passage.remote)
        var isWithinLimits = true
        if passage.remote.unsent.isEmpty, let bytes = read(&passage.client) {
            isWithinLimits = passage.gate.passed(sent: bytes.count) && isWithinLimits
            passage.lastActivity = .now
            forward(bytes, &passage.remote)
        }
        if passage.client.unsent.isEmpty, let bytes = read(&passage.remote) {
            isWithinLimits = passage.gate.passed(received: bytes.count) && isWithinLimits
            passage.lastActivity = .now
            forward(bytes, &passage.client)
        }
        tellEnd(of: passage.client, to: &passage.remote)
        tellEnd(of: passage.remote, to: &passage.client)
        if !isWithinLimits {
            passage.gate.failed(EgressFailure(host: passage.host, port: passage.port, reason: .limit))
            close(passage)
        }
    }

    /// What a side has sent, in place; nil when there is nothing now, and at its end.
    private func read(_ side: inout Passage.Side) -> UnsafeRawBufferPointer? {
        guard !side.hasEnded else { return nil }
        let count = recv(side.descriptor, buffer.baseAddress, buffer.count, 0)
        if count > 0 { return UnsafeRawBufferPointer(rebasing: buffer[..<count]) }
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return nil }
        side.hasEnded = true
        return nil
    }

    /// Copies only what the side does not take at once.
    private func forward(_ bytes: UnsafeRawBufferPointer, _ side: inout Passage.Side) {
        let count = max(0, Sockets.send(side.descriptor, bytes))
        if count < bytes.count { side.unsent = Array(bytes[count...])[...] }
    }

    private func write(_ side: inout Passage.Side) {
        while !side.unsent.isEmpty {
            let count = side.unsent.withUnsafeBytes { Sockets.send(side.descriptor, $0) }
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN { return }
            guard count > 0 else {
                side.unsent = []
                side.isBroken = true
                return
            }
            side.unsent = side.unsent.dropFirst(count)
        }
        side.unsent = []
    }

    private func tellEnd(of side: Passage.Side, to other: inout Passage.Side) {
        guard side.hasEnded, !other.isTold, !other.isBroken, other.unsent.isEmpty else { return }
        other.isTold = true
        shutdown(other.descriptor, Int32(SHUT_WR))
    }
}

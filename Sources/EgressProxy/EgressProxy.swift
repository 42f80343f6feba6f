import AddressPolicy
import CSpawn
import Glibc
import Synchronization

/// # EgressProxy
///
/// The one way by which browsers reach the network, so that every connection obeys ``AddressPolicy``: of pages and frames,
/// after redirects, of scripts, workers and web sockets.
///
/// ```
///  page ──SOCKS 5──▶ gate (a port of its own on 127.0.0.1) ── whose connection? not our browser's: closed
///                      │ host, port
///                      ▼
///                  NameThreads ──▶ addresses ──▶ AddressPolicy.judge each ──▶ connect to that very address ──▶ bytes both ways
///                                                    └─ none is allowed: refused, counted, told in the gate's report
/// ```
///
/// Why a proxy: what a page asks for can be looked at inside the browser (`Fetch`), but neither the address that a name leads
/// to, nor web sockets, nor what is prefetched. Here the name is looked up once and the connection goes to what was judged, so
/// a name that changes its mind (DNS rebinding) changes nothing.
///
/// Why SOCKS: the proxy sees host and port and then only bytes. It reads no HTTP, so it cannot read it otherwise than the
/// server does, holds no keys, and never answers in a server's place: a connection that is not made is an error to the page.
///
/// Why a port for each gate: SOCKS in browsers knows no names of users, and so the port tells whose connection it is. Other
/// users of the machine can connect to it too; the kernel tells whom a connection belongs to, and theirs are closed.
public final class EgressProxy: Sendable {
    private let loop: EgressLoop
    private let ids = Atomic<UInt64>(0)

    /// - Parameters:
    ///   - user: whose connections are taken: the id of the user that browsers run as.
    ///   - connectionsMax: of all gates together.
    ///   - nameThreads: how many names are looked up at once.
    public convenience init(user: UInt32, connectionsMax: Int = 8_192, nameThreads: Int = 8) {
        self.init(
            user: user, connectionsMax: connectionsMax,
            names: NameThreads(threads: nameThreads, waitingMax: Self.waitingNamesMax))
    }

    private static let waitingNamesMax = 4_096

    init(user: UInt32, connectionsMax: Int, names: NameThreads) {
        loop = EgressLoop(user: user, connectionsMax: connectionsMax, names: names)
        startThread(named: "egress") { [loop] in loop.run() }
    }

    deinit { loop.inbox.send(.close(nil)) }

    /// Opens a gate.
    ///
    /// - Parameter onRefusal: called on the proxy's thread whenever a connection is refused by the policy.
    /// - Throws: ``EgressError`` when no port or descriptor is left.
    public func openGate(
        policy: AddressPolicy, limits: GateLimits = GateLimits(), onRefusal: @escaping @Sendable () -> Void = {}
    ) throws(EgressError) -> EgressGate {
        let (listener, port) = try Sockets.listen()
        let id = ids.add(1, ordering: .relaxed).newValue
        let inbox = loop.inbox
        let gate = EgressGate(
            id: id, listener: listener, port: port, policy: policy, limits: limits, onRefusal: onRefusal,
            onClose: { inbox.send(.closeGate(id)) })
        if !inbox.send(.openGate(gate)) {
            Glibc.close(listener)
            throw EgressError("the proxy is closed")
        }
        return gate
    }

    /// Closes all gates and returns when the thread has ended.
    public func close() async {
        await withCheckedContinuation { continuation in
            if !loop.inbox.send(.close(continuation)) { continuation.resume() }
        }
    }
}

public struct EgressError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// What the thread is asked for.
enum EgressMessage: Sendable {
    case openGate(EgressGate)
    case closeGate(UInt64)
    /// The addresses of the name that a connection waits for.
    case resolved(UInt64, [IPAddress])
    case close(CheckedContinuation<Void, Never>?)
}

/// Messages for the thread, in order. Their number is bounded by that of gates and connections.
final class EgressInbox: Sendable {
    private struct State {
        var messages: [EgressMessage] = []
        var isEnded = false
    }

    private let state = Mutex(State())
    let bell: Int32

    init() {
        bell = gaia_bell()
        precondition(bell >= 0, "no descriptor is left for the thread that passes connections on")
    }

    deinit { Glibc.close(bell) }

    /// False when nobody takes messages any more.
    @discardableResult
    func send(_ message: EgressMessage) -> Bool {
        state.withLock { state in
            if state.isEnded { return false }
            state.messages.append(message)
            if state.messages.count == 1 { gaia_bell_ring(bell) }
            return true
        }
    }

    func take() -> [EgressMessage] {
        // Before the look: what comes after it rings anew.
        gaia_bell_still(bell)
        return state.withLock { state in
            defer { state.messages = [] }
            return state.messages
        }
    }

    /// Returns what nobody has taken.
    func end() -> [EgressMessage] {
        state.withLock { state in
            state.isEnded = true
            defer { state.messages = [] }
            return state.messages
        }
    }
}

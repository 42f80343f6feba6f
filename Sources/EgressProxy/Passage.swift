import AddressPolicy
import Glibc

/// One connection of a client, from its greeting to its end, on the thread of the loop.
final class Passage {
    enum Stage {
        case handshake(SocksHandshake)
        /// Waits for the addresses of its host.
        case resolving
        /// To the address that was judged; the others to be tried after it.
        case connecting(rest: [IPAddress], until: ContinuousClock.Instant)
        case relaying
        /// What is left for the client is written, then it is closed.
        case ending
    }

    /// One of the two sockets.
    struct Side {
        var descriptor: Int32
        /// What the other side has sent and this one has not taken yet; at most what is read at a time.
        var unsent: ArraySlice<UInt8> = []
        /// Whether it will send no more.
        var hasEnded = false
        /// Whether it takes no more.
        var isBroken = false
        /// Whether it has been told that no more comes.
        var isTold = false
        var isWatched = false
        var watchedReads = false
        var watchedWrites = false
    }

    let id: UInt64
    let gate: EgressGate
    var client: Side
    var remote = Side(descriptor: -1)
    var stage = Stage.handshake(SocksHandshake())
    var host = ""
    var port: UInt16 = 0
    /// By when it must be connected.
    let connectDeadline: ContinuousClock.Instant
    var lastActivity: ContinuousClock.Instant
    var wasOpen = false

    init(id: UInt64, gate: EgressGate, client: Int32, now: ContinuousClock.Instant) {
        self.id = id
        self.gate = gate
        self.client = Side(descriptor: client)
        connectDeadline = now + gate.limits.connectTimeout
        lastActivity = now
    }

    var isRelaying: Bool {
        if case .relaying = stage { true } else { false }
    }

    /// Whether there is nothing left to do.
    var isOver: Bool {
        switch stage {
        case .ending: client.unsent.isEmpty
        case .relaying:
            // A server may still answer what it did not want to hear to the end; a client that has gone wants nothing more.
            client.isBroken
                || (remote.hasEnded && client.unsent.isEmpty
                    && (remote.isBroken || client.hasEnded && remote.unsent.isEmpty))
        default: client.hasEnded
        }
    }

    /// When it is to be closed if nothing happens until then.
    var deadline: ContinuousClock.Instant {
        switch stage {
        case .handshake, .resolving, .ending: connectDeadline
        case .connecting(_, let until): until
        case .relaying: lastActivity + gate.limits.idleTimeout
        }
    }

    var clientWants: (reads: Bool, writes: Bool) {
        switch stage {
        case .handshake: (!client.hasEnded, !client.unsent.isEmpty)
        case .relaying: (!client.hasEnded && !remote.isBroken && remote.unsent.isEmpty, !client.unsent.isEmpty)
        case .ending: (false, !client.unsent.isEmpty)
        // What it sends before it is connected waits in its socket.
        case .resolving, .connecting: (false, false)
        }
    }

    var remoteWants: (reads: Bool, writes: Bool) {
        switch stage {
        case .connecting: (false, true)
        case .relaying: (!remote.hasEnded && client.unsent.isEmpty, !remote.unsent.isEmpty)
        default: (false, false)
        }
    }
}

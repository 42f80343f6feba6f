import FleetModel
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// The way from one process to one server, on which things go wrong: a TCP relay on a loopback port of its own.
///
/// ```
///  process ──▶ 127.0.0.1:port ──outbound──▶ server
///          ◀──────────────────── inbound ──
/// ```
///
/// What a mute direction holds back is passed on afterwards, in order: to the two ends it looks as packets do that are lost
/// and sent again.
final class FaultyLink: Sendable {
    enum Direction: Sendable, CaseIterable { case outbound, inbound }

    struct Trouble: Sendable, Equatable {
        var muted: Set<Direction> = []
        var delay: Duration = .zero
    }

    let port: Int
    private let server: any Channel
    private let relays: Relays

    private init(server: any Channel, port: Int, relays: Relays) {
        self.server = server
        self.port = port
        self.relays = relays
    }

    /// Listens, and relays each connection to a port on the loopback address.
    static func start(to target: Int) async throws -> FaultyLink {
        let relays = Relays()
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { near in
                ClientBootstrap(group: near.eventLoop)
                    .channelOption(.autoRead, value: false)
                    .connect(host: "127.0.0.1", port: target)
                    .flatMap { far in
                        near.eventLoop.makeCompletedFuture {
                            let out = Relay(.outbound, to: far, relays)
                            let back = Relay(.inbound, to: near, relays)
                            try near.pipeline.syncOperations.addHandler(out)
                            try far.pipeline.syncOperations.addHandler(back)
                            relays.add(near, far)
                        }
                        .flatMap { near.setOption(.autoRead, value: true) }
                        .flatMap { far.setOption(.autoRead, value: true) }
                    }
            }
        let server = try await bootstrap.bind(host: "127.0.0.1", port: 0).get()
        guard let port = server.localAddress?.port else { throw ChaosError("a link of the harness got no port") }
        return FaultyLink(server: server, port: port, relays: relays)
    }

    func close() async throws {
        try await server.close()
        relays.cut(hard: false)
    }

    /// How many connections it carries.
    var connections: Int { relays.count }

    func set(_ trouble: Trouble) { relays.set(trouble) }

    /// Resets all connections.
    ///
    /// - Returns: how many there were.
    func reset() -> Int { relays.cut(hard: true) }
}

/// The connections of a link and what is wrong with it.
private final class Relays: Sendable {
    private struct State {
        var trouble = FaultyLink.Trouble()
        var pairs: [ObjectIdentifier: (near: any Channel, far: any Channel)] = [:]
    }

    private let state = Mutex(State())

    var trouble: FaultyLink.Trouble { state.withLock { $0.trouble } }
    var count: Int { state.withLock { $0.pairs.count } }

    func set(_ trouble: FaultyLink.Trouble) {
        let channels = state.withLock { state in
            state.trouble = trouble
            return state.pairs.values.flatMap { [$0.near, $0.far] }
        }
        // Each looks again at what it holds back.
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(TroubleChanged()) }
    }

    func add(_ near: any Channel, _ far: any Channel) {
        state.withLock { $0.pairs[ObjectIdentifier(near)] = (near, far) }
        for channel in [near, far] {
            channel.closeFuture.whenComplete { [self] _ in
                state.withLock { _ = $0.pairs.removeValue(forKey: ObjectIdentifier(near)) }
            }
        }
    }

    @discardableResult
    func cut(hard: Bool) -> Int {
        let pairs = state.withLock { Array($0.pairs.values) }
        for channel in pairs.flatMap({ [$0.near, $0.far] }) {
            // Closing with a linger of nothing sends a reset.
            if hard, let socket = channel as? any SocketOptionProvider {
                socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in channel.close(promise: nil) }
            } else {
                channel.close(promise: nil)
            }
        }
        return pairs.count
    }
}

private struct TroubleChanged {}

/// One direction of one connection.
private final class Relay: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let direction: FaultyLink.Direction
    private let peer: any Channel
    private let relays: Relays
    private var held: [ByteBuffer] = []
    private var isEnded = false
    /// When the last of what is delayed goes on.
    private var last = NIODeadline.uptimeNanoseconds(0)

    init(_ direction: FaultyLink.Direction, to peer: any Channel, _ relays: Relays) {
        self.direction = direction
        self.peer = peer
        self.relays = relays
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        let trouble = relays.trouble
        if trouble.muted.contains(direction) {
            held.append(bytes)
            // The rest stays with its sender: what is held here has a bound.
            if held.count >= 64 { context.channel.setOption(.autoRead, value: false).whenFailure { _ in } }
            return
        }
        // Nothing overtakes what came before, also when the delay has ended since.
        let now = NIODeadline.now()
        let due = max(now + .nanoseconds(trouble.delay.milliseconds * 1_000_000), last)
        if due > now {
            last = due
            let peer = self.peer
            context.eventLoop.scheduleTask(deadline: due) { peer.writeAndFlush(bytes, promise: nil) }
        } else {
            peer.writeAndFlush(bytes, promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is TroubleChanged, !relays.trouble.muted.contains(direction) else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        for bytes in held { peer.write(bytes, promise: nil) }
        held = []
        peer.flush()
        context.channel.setOption(.autoRead, value: true).whenFailure { _ in }
        if isEnded { peer.close(promise: nil) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        // The peer is read from only as fast as this one takes it.
        peer.setOption(.autoRead, value: context.channel.isWritable).whenFailure { _ in }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        isEnded = true
        // On a mute direction the end does not arrive either.
        if !relays.trouble.muted.contains(direction) { peer.close(promise: nil) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A connection that breaks is what links are here for; its end is passed on.
        context.close(promise: nil)
    }
}

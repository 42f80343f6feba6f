import CSpawn
import Glibc
import Synchronization

/// A connection to one browser: one socket, one thread, any number of sessions.
public final class DevToolsConnection: Sendable {
    public let limits: DevToolsLimits
    let core: ConnectionCore

    /// - Parameter socket: a connected stream socket whose other end is the browser's descriptors 3 and 4; taken over.
    /// - Throws: ``DevToolsError/Reason/closed`` when the system has no descriptor or thread left.
    public init(adopting socket: Int32, limits: DevToolsLimits = DevToolsLimits()) throws(DevToolsError) {
        self.limits = limits
        core = try ConnectionCore(socket, limits)
        core.start()
    }

    deinit { core.close("the connection was let go") }

    /// The session of the browser itself.
    public var browser: DevToolsSession { DevToolsSession(connection: self, id: nil) }

    public func session(_ id: String) -> DevToolsSession { DevToolsSession(connection: self, id: id) }

    public var statistics: DevToolsStatistics { core.statistics }

    /// Why it is closed; nil while it is open.
    public var closedBecause: DevToolsError? { core.closedBecause }

    /// Fails all commands and ends all events, at once. The browser takes the end of its socket as the order to end.
    ///
    /// - Parameter reason: what the errors of open commands say.
    public func close(_ reason: String = "the connection to the browser was closed") { core.close(reason) }

    /// Returns when the connection has closed, with the reason; also when the task is cancelled, with that.
    public func waitUntilClosed() async -> DevToolsError { await core.waitUntilClosed() }

    func call(_ method: String, params: [UInt8], session: String?, within limit: Duration?)
        async throws(DevToolsError) -> JSONSlice
    {
        let id = core.nextID()
        let bytes = Self.frame(id, method, params, session)
        let limit = limit ?? limits.commandTimeout
        let answer: PendingCall.Answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let call = PendingCall(
                    method: method, session: session, deadline: .now + limit, limit: limit,
                    continuation: continuation)
                core.send(id, call, bytes)
                // The handler may have run just before there was anything to cancel.
                if Task.isCancelled { core.giveUp(id, DevToolsError(.cancelled, "\(method): the task was cancelled")) }
            }
        } onCancel: {
            core.giveUp(id, DevToolsError(.cancelled, "\(method): the task was cancelled"))
        }
        return try answer.get()
    }

    func post(_ method: String, params: [UInt8], session: String?) {
        core.post(Self.frame(core.nextID(), method, params, session))
    }

    func subscribe(_ methods: [String], session: String?, _ subscriber: Subscriber) -> EventSubscription {
        core.subscribe(methods, session: session, subscriber)
    }

    private static func frame(_ id: Int, _ method: String, _ params: [UInt8], _ session: String?) -> [UInt8] {
        var bytes = Array("{\"id\":\(id),\"method\":\"\(method)\",".utf8)
        // Ids come from the browser; they are hexadecimal.
        if let session { bytes += "\"sessionId\":\"\(session)\",".utf8 }
        bytes += "\"params\":".utf8
        bytes += params
        bytes += [UInt8(ascii: "}"), 0]
        return bytes
    }
}

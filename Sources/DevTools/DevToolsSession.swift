import FoundationEssentials

/// One target of a browser (a page, a worker), or the browser itself.
public struct DevToolsSession: Sendable {
    public let connection: DevToolsConnection
    /// Nil for the browser itself.
    public let id: String?

    /// Sends a command and waits for its answer.
    ///
    /// - Parameter limit: from now to the answer; the connection's ``DevToolsLimits/commandTimeout`` when nil.
    /// - Throws: ``DevToolsError``. The browser may still carry out a command that was given up.
    @discardableResult
    public func send<Command: DevToolsCommand>(_ command: Command, within limit: Duration? = nil)
        async throws(DevToolsError) -> Command.Answer
    {
        let answer = try await call(Command.method, command, within: limit)
        do { return try Command.Answer(json: answer) } catch {
            throw DevToolsError(.malformed, "the answer to \(Command.method) is not what the protocol says")
        }
    }

    /// Sends a command for which there is no type here; its answer stays JSON.
    public func call(_ method: String, _ params: some Encodable & Sendable, within limit: Duration? = nil)
        async throws(DevToolsError) -> JSONSlice
    {
        let bytes: [UInt8]
        do { bytes = Array(try JSONEncoder().encode(params)) } catch {
            throw DevToolsError(.malformed, "the parameters of \(method) cannot be written as JSON")
        }
        return try await connection.call(method, params: bytes, session: id, within: limit)
    }

    /// Sends a command and does not wait: whether it succeeds is nobody's concern. Its answer is counted as late.
    public func post(_ command: some DevToolsCommand) {
        guard let bytes = try? JSONEncoder().encode(command) else { return }
        // `try?`: of a command that is sent on the chance that it helps, nothing depends.
        connection.post(type(of: command).method, params: Array(bytes), session: id)
    }

    /// Subscribes to events by their methods; it has begun when this returns, so subscribe first and enable the domain then.
    ///
    /// - Parameter capacity: how many may wait for whoever reads.
    public func events(_ methods: [String], capacity: Int = 1_024, overflow: EventOverflow = .dropOldest)
        -> DevToolsEvents
    {
        let queue = EventQueue(capacity: capacity, overflow: overflow)
        let subscription = connection.subscribe(methods, session: id, .queue(queue))
        return DevToolsEvents(queue, subscription)
    }

    /// Subscribes to events of one type.
    public func events<Event: DevToolsEvent>(
        _ type: Event.Type, capacity: Int = 1_024, overflow: EventOverflow = .dropOldest
    ) -> DevToolsEvents {
        events([Event.method], capacity: capacity, overflow: overflow)
    }

    /// Calls `body` with each event, in order, on the connection's thread. It must return at once: all other answers wait for
    /// it. It may send by ``post(_:)``. It lasts as long as what is returned.
    public func observe(_ methods: [String], _ body: @escaping @Sendable (DevToolsEventMessage) -> Void)
        -> EventSubscription
    {
        connection.subscribe(methods, session: id, .observer(body))
    }
}

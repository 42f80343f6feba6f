import CRabbitMQ

extension Link {
    /// Declares a topology on a channel of its own, so that a refusal closes no other.
    ///
    /// - Throws: permanent errors where the broker has something else under the same name, or forbids.
    func declare(_ topology: AMQPTopology, channel: UInt16) throws(AMQPError) {
        guard !topology.isEmpty else { return }
        try openChannel(channel)
        try declaring(channel) { () throws(AMQPError) in
            for call in try topology.calls() { try self.call(call, channel: channel) }
        }
        try closeChannel(channel)
    }

    /// Sees that a topology is there: declares it, or, once the broker has forbidden that, asks for its exchanges and
    /// queues. Its bindings cannot be asked for.
    ///
    /// - Parameter duty: kept by the caller from one link to the next, so that the broker refuses, and logs that, once.
    /// - Throws: kind `topologyMissing` where the user may not declare what is not there.
    func provide(_ topology: AMQPTopology, _ duty: inout TopologyDuty, channel: UInt16) throws(AMQPError) {
        guard !topology.isEmpty else { return }
        if duty == .declare {
            do throws(AMQPError) {
                return try declare(topology, channel: channel)
            } catch {
                guard error.kind == .accessRefused else { throw error }
                duty = .ask
            }
        }
        try openChannel(channel)
        for question in try topology.questions() {
            do throws(AMQPError) {
                try call(question.call, channel: channel)
            } catch {
                forgetChannel(channel)
                throw error.asking(for: question.name)
            }
        }
        try closeChannel(channel)
    }

    /// Asks after a queue. - Throws: kind `channelClosed` with 404 when it is not there.
    @discardableResult
    func check(queue: String, channel: UInt16) throws(AMQPError) -> AMQPQueueStatus? {
        try openChannel(channel)
        let question = try encoded { () throws(EncodingFailure) in
            try Call.declare(AMQPQueue(name: queue), passive: true)
        }
        let status = try declaring(channel) { () throws(AMQPError) in
            try self.queueStatus(question, channel: channel)
        }
        try closeChannel(channel)
        return status
    }

    private func declaring<Result>(
        _ channel: UInt16, _ body: () throws(AMQPError) -> Result
    ) throws(AMQPError) -> Result {
        do throws(AMQPError) {
            return try body()
        } catch {
            forgetChannel(channel)
            throw error.duringSetup
        }
    }
}

/// What a link does about its topology when it comes up.
enum TopologyDuty {
    case declare
    /// The user may not declare.
    case ask
}

extension AMQPTopology {
    /// Passive declarations, which need no permission, of what can be asked for; each with the name of what it asks for.
    func questions() throws(AMQPError) -> [(name: String, call: Call)] {
        try encoded { () throws(EncodingFailure) in
            var questions: [(name: String, call: Call)] = []
            for exchange in exchanges {
                questions.append(("the exchange \(exchange.name)", try .declare(exchange, passive: true)))
            }
            for queue in queues { questions.append(("the queue \(queue.name)", try .declare(queue, passive: true))) }
            return questions
        }
    }

    /// In an order in which each finds what it refers to.
    func calls() throws(AMQPError) -> [Call] {
        try encoded { () throws(EncodingFailure) in
            var calls: [Call] = []
            for exchange in exchanges { calls.append(try .declare(exchange)) }
            for queue in queues { calls.append(try .declare(queue)) }
            for binding in bindings { calls.append(try .bind(binding)) }
            return calls
        }
    }
}

extension AMQPError {
    /// The same error, seen while declaring or subscribing: what the broker refuses there it will refuse again.
    var duringSetup: AMQPError {
        switch kind {
        case .channelClosed(code: ReplyCode.accessRefused, _):
            AMQPError(.accessRefused, message + " Grant the user configure, write and read permissions.")
        case .channelClosed(code: ReplyCode.preconditionFailed, _):
            AMQPError(
                kind, message + " It exists with other properties: delete it, or declare it as it is.",
                isPermanent: true)
        case .closedByBroker(code: ReplyCode.commandInvalid): AMQPError(kind, message, isPermanent: true)
        default: self
        }
    }

    /// Whether something is not there that somebody may still declare.
    var isAbsence: Bool {
        switch kind {
        case .channelClosed: !isPermanent
        case .topologyMissing: true
        default: false
        }
    }

    /// The same error, seen while asking for a part of a topology that this user may not declare.
    func asking(for name: String) -> AMQPError {
        guard case .channelClosed(code: ReplyCode.notFound, _) = kind else { return duringSetup }
        return AMQPError(
            .topologyMissing, "\(name) is missing and this user may not declare it; have one declare it who may.")
    }
}

/// Encoding failures of what a program configures are its own mistake.
func encoded<Result>(_ body: () throws(EncodingFailure) -> Result) throws(AMQPError) -> Result {
    do throws(EncodingFailure) {
        return try body()
    } catch {
        throw AMQPError(.protocolViolation, "A name or argument cannot be sent: \(error.reason).", isPermanent: true)
    }
}

import AMQPClient

/// Looks at the broker with AMQP alone, by passive declarations, which need no permission.
struct SessionProbe: Sendable {
    private let configuration: AMQPConfiguration

    init(_ configuration: AMQPConfiguration) { self.configuration = configuration }

    /// Which exchanges and queues of a topology are there, with messages and consumers as they are now.
    func look(for topology: AMQPTopology) async throws -> BrokerState {
        var state = BrokerState(endpoints: configuration.endpoints, virtualHost: configuration.virtualHost)
        try await AMQPSession.withConnection(configuration) { session in
            for exchange in topology.exchanges where try await session.hasExchange(exchange.name) {
                state.exchanges[exchange.name] = BrokerState.Exchange()
            }
            for queue in topology.queues {
                guard let status = try await session.queueStatus(queue.name) else { continue }
                state.queues[queue.name] = BrokerState.Queue(messages: status.messages, consumers: status.consumers)
            }
        }
        return state
    }
}

import AMQPClient
import FleetBroker
import FleetDoctor
import FleetModel
import Synchronization

/// Looks at the queues again and again, and says what it saw or why it saw nothing.
final class BrokerWatch: Sendable {
    private struct State {
        var subsystems: [String]
        /// Queues that were not there, and when that was asked.
        var missing: [String: ContinuousClock.Instant] = [:]
    }

    private let amqp: AMQPConfiguration
    /// What only the management plugin tells; nil where none is configured.
    private let management: BrokerGlance.Asker?
    private let interval: Duration
    private let state: Mutex<State>
    /// What the management plugin last told, or why it did not; nil before it was asked.
    private let told = Mutex<Result<BrokerGlance, WatchFault>?>(nil)

    /// A queue that is not there is asked for only so often: the broker closes the channel over each such question.
    static let missingInterval: Duration = .seconds(30)
    /// How often the management plugin is asked, which counts anew every five seconds itself.
    static let glanceInterval: Duration = .seconds(5)

    init(_ amqp: AMQPConfiguration, _ management: BrokerGlance.Asker?, subsystems: [String], interval: Duration) {
        (self.amqp, self.management, self.interval) = (amqp, management, interval)
        state = Mutex(State(subsystems: subsystems))
    }

    /// Also looks at the queues of what a worker turns out to serve.
    func learn(_ subsystems: some Sequence<String>) {
        state.withLock { state in
            for subsystem in subsystems where !state.subsystems.contains(subsystem) {
                state.subsystems.append(subsystem)
            }
            state.subsystems.sort()
        }
    }

    func run(_ tell: @escaping @Sendable (Result<BrokerSight, WatchFault>) -> Void) async {
        await withDiscardingTaskGroup { group in
            if let management { group.addTask { await self.glance(management) } }
            group.addTask {
                while !Task.isCancelled {
                    do {
                        try await AMQPSession.withConnection(self.amqp) { session in
                            while !Task.isCancelled {
                                let begun = ContinuousClock.now
                                tell(.success(try await self.look(session)))
                                try await Task.sleep(until: begun + self.interval, clock: .continuous)
                            }
                        }
                    } catch {
                        if Task.isCancelled { return }
                        tell(.failure(WatchFault(error)))
                    }
                    try? await Task.sleep(for: max(self.interval, .seconds(1)))
                }
            }
        }
    }

    private func look(_ session: AMQPSession) async throws -> BrokerSight {
        let names =
            state.withLock { $0.subsystems }.flatMap { [FleetBroker.urgentQueue($0), FleetBroker.jobsQueue($0)] }
            + [FleetBroker.enqueueQueue, FleetBroker.deadQueue, FleetBroker.unroutableQueue]
        let (glance, fault): (BrokerGlance?, WatchFault?) =
            switch told.withLock({ $0 }) {
            case .success(let glance): (glance, nil)
            case .failure(let fault): (nil, fault)
            case nil: (nil, nil)
            }
        var queues: [BrokerSight.Queue] = []
        for name in names {
            let isKnownMissing = state.withLock { state in
                state.missing[name].map { ContinuousClock.now - $0 < Self.missingInterval } ?? false
            }
            let status = isKnownMissing ? nil : try await session.queueStatus(name)
            if !isKnownMissing { state.withLock { $0.missing[name] = status == nil ? .now : nil } }
            queues.append(
                BrokerSight.Queue(
                    name: name, ready: status?.messages, consumers: status?.consumers,
                    unacknowledged: glance?.unacknowledged[name]))
        }
        return BrokerSight(queues: queues, alarms: glance?.alarms ?? [], managementFault: fault?.description)
    }

    private func glance(_ management: BrokerGlance.Asker) async {
        while !Task.isCancelled {
            let answer: Result<BrokerGlance, WatchFault>
            do { answer = .success(try await management.ask()) } catch { answer = .failure(WatchFault(error)) }
            if Task.isCancelled { return }
            told.withLock { $0 = answer }
            try? await Task.sleep(for: Self.glanceInterval)
        }
    }
}

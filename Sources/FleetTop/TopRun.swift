import AMQPClient
import Dispatch
import FleetDoctor
import Foundation
import PostgresClient
import UnixSignals

/// `gaia top`, from its start to its end.
public struct TopRun: Sendable {
    private enum Event: Sendable {
        case ledger(Result<LedgerSight, WatchFault>)
        case broker(Result<BrokerSight, WatchFault>)
        case keys([TopKey])
        /// The terminal is gone.
        case hangUp
        case signal(UnixSignal)
        /// Ages grow also when nothing is heard.
        case tick
    }

    private let amqp: AMQPConfiguration
    private let database: PostgresConfiguration
    private let management: ManagementAddress?
    /// Subsystems that are always shown.
    private let known: [String]
    private let interval: Duration

    public init(
        amqp: AMQPConfiguration, database: PostgresConfiguration, management: ManagementAddress?, known: [String],
        interval: Duration
    ) {
        (self.amqp, self.database, self.management) = (amqp, database, management)
        (self.known, self.interval) = (known, interval)
    }

    private static let start = ContinuousClock.now
    private static var now: Double { (.now - start) / .seconds(1) }

    private var seconds: Double { interval / .seconds(1) }

    private static var clock: String {
        let parts = Calendar.current.dateComponents([.hour, .minute, .second], from: Date())
        return [parts.hour, parts.minute, parts.second].map { String(format: "%02d", $0 ?? 0) }.joined(separator: ":")
    }

    /// Draws until somebody quits or a signal ends it, and gives the terminal back.
    ///
    /// - Throws: ``Screen/Refusal``.
    public func draw() async throws {
        let screen = try Screen(environment: ProcessInfo.processInfo.environment)
        defer { screen.close() }
        await withEvents(hasKeys: true) { events in
            var (sight, history, state) = (Sight(known: known, begun: Self.now), History(), TopState())
            var page: Page?
            for await event in events {
                switch event {
                case .keys(let keys):
                    for key in keys where !state.press(key, on: page) { return }
                case .signal(.sigwinch), .signal(.sigcont): screen.forget()
                case .signal, .hangUp: return
                case .ledger, .broker, .tick: Self.note(event, &sight, &history)
                }
                let frame = FleetFrame(sight, history, now: Self.now, interval: seconds)
                let next = Page(frame, state, Screen.size, clock: Self.clock)
                screen.draw(next)
                page = next
            }
        }
    }

    /// How many looks at the ledger make a picture with rates: what was done in between is known from the second on.
    private static let looksOfOne = 3

    /// One picture in plain text, as soon as there is one with rates, or when a server has not answered.
    ///
    /// - Returns: the lines, and whether both servers have answered.
    public func once(columns: Int) async -> (text: String, isComplete: Bool) {
        await withEvents(hasKeys: false) { events in
            var (sight, history) = (Sight(known: known, begun: Self.now), History())
            var looks = 0
            for await event in events {
                Self.note(event, &sight, &history)
                if case .ledger(.success) = event { looks += 1 }
                let hasFailed = sight.ledger.fault != nil || sight.broker.fault != nil
                let isDone = looks >= Self.looksOfOne && sight.broker.seenAt != nil
                guard isDone || hasFailed || Self.now - sight.begun > 10 + 3 * seconds else { continue }
                break
            }
            let frame = FleetFrame(sight, history, now: Self.now, interval: seconds)
            let rows = 24 + frame.workers.count + frame.subsystems.count + 4 * frame.alarms.count
            let page = Page(frame, TopState(), Page.Size(columns: columns, rows: rows), clock: Self.clock)
            // Without the foot, which names keys.
            var lines = page.lines.dropLast().map(\.text).map { String($0.reversed().drop { $0 == " " }.reversed()) }
            while lines.last == "" { lines.removeLast() }
            let isComplete = sight.ledger.seenAt != nil && sight.broker.seenAt != nil
            return (lines.joined(separator: "\n"), isComplete)
        }
    }

    private static func note(_ event: Event, _ sight: inout Sight, _ history: inout History) {
        switch event {
        case .ledger(.success(let content)):
            sight.ledger.saw(content, at: now)
            history.add(content, at: now)
        case .ledger(.failure(let fault)): sight.ledger.failed(fault.description)
        case .broker(.success(let content)): sight.broker.saw(content, at: now)
        case .broker(.failure(let fault)): sight.broker.failed(fault.description)
        case .keys, .hangUp, .signal, .tick: break
        }
    }

    // MARK: Events

    /// Events that nobody has taken; a screen that stands still for longer needs only the last ones.
    private static let eventsMax = 256

    private func withEvents<Value: Sendable>(
        hasKeys: Bool, _ body: (AsyncStream<Event>) async -> Value
    ) async -> Value {
        let (events, tell) = AsyncStream.makeStream(of: Event.self, bufferingPolicy: .bufferingNewest(Self.eventsMax))
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup, .sigwinch, .sigcont)
        let keyboard = hasKeys ? Keyboard { tell.yield($0.map { .keys($0) } ?? .hangUp) } : nil
        let tasks =
            watching(tell) + [
                Task { for await signal in signals { tell.yield(.signal(signal)) } }
            ]
        let value = await body(events)
        for task in tasks { task.cancel() }
        keyboard?.close()
        return value
    }

    /// They are not waited for: a server that hangs must not hold up the end, and nothing that they do needs one.
    private func watching(_ tell: AsyncStream<Event>.Continuation) -> [Task<Void, Never>] {
        let broker = BrokerWatch(
            amqp, management.map { BrokerGlance.Asker($0, virtualHost: amqp.virtualHost) }, subsystems: known,
            interval: interval)
        let ledger = LedgerWatch(database: database, interval: interval)
        return [
            Task {
                await ledger.run { sight in
                    if case .success(let content) = sight {
                        broker.learn(content.workers.filter { $0.state != "gone" }.flatMap(\.subsystems))
                    }
                    tell.yield(.ledger(sight))
                }
            },
            Task { await broker.run { tell.yield(.broker($0)) } },
            Task {
                while !Task.isCancelled {
                    // Woken by cancellation too, which ends the loop.
                    try? await Task.sleep(for: .seconds(1))
                    tell.yield(.tick)
                }
            },
        ]
    }
}

/// What is typed, read as it comes.
private final class Keyboard: Sendable {
    /// Unsafe to the compiler alone: Dispatch lets a source be cancelled from any thread.
    private nonisolated(unsafe) let source: any DispatchSourceRead

    /// - Parameter tell: gets keys, and nil when the terminal is gone.
    init(_ tell: @escaping @Sendable ([TopKey]?) -> Void) {
        let source = DispatchSource.makeReadSource(
            fileDescriptor: STDIN_FILENO, queue: DispatchQueue(label: "gaia top keys"))
        source.setEventHandler {
            var bytes = [UInt8](repeating: 0, count: 64)
            let count = read(STDIN_FILENO, &bytes, bytes.count)
            if count > 0 {
                tell(TopKey.read(Array(bytes[..<count])))
            } else if count == 0 || errno != EINTR && errno != EAGAIN {
                source.cancel()
                tell(nil)
            }
        }
        source.activate()
        self.source = source
    }

    func close() { source.cancel() }
}

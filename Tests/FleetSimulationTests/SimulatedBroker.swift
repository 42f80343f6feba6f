import FleetModel

/// A message in the jobs' queue.
struct JobDelivery: Sendable {
    let key: Int
    let content: JobContent
    let replyTo: Int?
    /// Which publish of the plan it is; nil for one that the leader published.
    let origin: Int?
    var isRedelivered = false
    /// How often it has come back.
    var returns = 0
}

/// What is published.
enum SimulatedMessage: Sendable {
    case job(JobDelivery)
    case result(key: Int, state: JobState, id: String)
    case reply(key: Int, state: JobState, to: Int)
    case setAside(JobDelivery)
}

/// A quorum queue: it gives each message to one consumer until that has settled it or is lost, and then to another. It
/// loses nothing that it has confirmed; whether it has confirmed may get lost.
final class SimulatedBroker {
    private final class Consumer {
        let process: SimulatedWorker
        let life: Int
        let generation: Int
        let prefetch: Int
        var isCancelled = false
        var unsettled: [Int: JobDelivery] = [:]
        /// In the order of their delivery.
        var tags: [Int] { unsettled.keys.sorted() }

        init(_ process: SimulatedWorker, generation: Int, prefetch: Int) {
            (self.process, self.generation, self.prefetch) = (process, generation, prefetch)
            life = process.life
        }
    }

    private unowned let world: World
    private var ready: [JobDelivery] = []
    private var consumers: [Consumer] = []
    private var isDown = false
    private var cut: [ObjectIdentifier: Int] = [:]
    private var lastGeneration = 0
    private var lastTag = 0

    /// A message that came back so often is set aside.
    static let deliveryLimit = 50

    init(_ world: World) { self.world = world }

    var isEmpty: Bool { ready.isEmpty && consumers.allSatisfy { $0.unsettled.isEmpty } }

    // MARK: Publishing

    /// - Parameter then: says of each message whether it was confirmed; false is not known.
    func publish(_ messages: [SimulatedMessage], by process: Process, then: @escaping ([Bool]) -> Void) {
        if messages.isEmpty { return process.after(0) { then([]) } }
        let life = process.life
        world.after(world.brokerLatency(), nil) { [self] in
            guard isReachable(process) else {
                return world.after(world.draw(10...300), process, life: life) { then(messages.map { _ in false }) }
            }
            var confirmed: [Bool] = []
            for message in messages {
                let fate = world.fateOfCall()
                if fate != .lostBefore { take(message, from: process) }
                confirmed.append(fate == .none)
            }
            world.after(world.brokerLatency(), process, life: life) { [self] in
                then(isReachable(process) ? confirmed : confirmed.map { _ in false })
            }
        }
    }

    private func take(_ message: SimulatedMessage, from process: Process) {
        switch message {
        case .job(let delivery):
            ready.append(delivery)
            pump()
        case .result(let key, let state, let id):
            world.note(.result, process, key)
            world.witness.result(key, state, id: id, world.database.ledger)
        case .reply(let key, let state, let origin):
            world.note(.reply, process, key, number: Int64(origin))
            world.witness.reply(key, state, to: origin, world.database.ledger)
        case .setAside(let delivery):
            world.note(.setAside, process, delivery.key, number: Int64(delivery.origin ?? -1))
            world.witness.setAside(delivery)
        }
    }

    // MARK: Delivering

    func connect(_ worker: SimulatedWorker, prefetch: Int, then: @escaping (Int?) -> Void) {
        let life = worker.life
        world.after(world.brokerLatency(), nil) { [self] in
            guard isReachable(worker) else {
                return world.after(world.draw(10...300), worker, life: life) { then(nil) }
            }
            lastGeneration += 1
            let generation = lastGeneration
            world.after(world.brokerLatency(), worker, life: life) { [self] in
                guard isReachable(worker) else { return then(nil) }
                consumers.append(Consumer(worker, generation: generation, prefetch: prefetch))
                then(generation)
                pump()
            }
        }
    }

    private func pump() {
        while !ready.isEmpty, !isDown {
            let free = consumers.filter {
                !$0.isCancelled && $0.unsettled.count < $0.prefetch && isReachable($0.process)
            }
            if free.isEmpty { return }
            let consumer = free[Int(world.draw(0...Int64(free.count - 1)))]
            // Mostly the oldest first.
            let delivery = ready.remove(at: Int(world.draw(0...Int64(min(ready.count, 3) - 1))))
            lastTag += 1
            let tag = DeliveryTag(generation: consumer.generation, number: lastTag)
            consumer.unsettled[tag.number] = delivery
            world.after(world.brokerLatency(), consumer.process, life: consumer.life) {
                consumer.process.arrive(delivery, tag)
            }
        }
    }

    func acknowledge(_ tags: [DeliveryTag], by process: Process) {
        settle(tags, by: process) { _ in }
    }

    func requeue(_ tags: [DeliveryTag], by process: Process) {
        settle(tags, by: process) { [self] in giveBack($0) }
    }

    private func settle(_ tags: [DeliveryTag], by process: Process, _ body: @escaping (JobDelivery) -> Void) {
        if tags.isEmpty { return }
        world.after(world.brokerLatency(), nil) { [self] in
            guard isReachable(process) else {
                // The machine sends it again for as long as the connection lasts.
                let open = tags.filter { tag in consumers.contains { $0.generation == tag.generation } }
                if !open.isEmpty { world.after(50, nil) { [self] in settle(open, by: process, body) } }
                return
            }
            for tag in tags {
                let consumer = consumers.first { $0.generation == tag.generation }
                if let delivery = consumer?.unsettled.removeValue(forKey: tag.number) { body(delivery) }
            }
            pump()
        }
    }

    private func giveBack(_ delivery: JobDelivery) {
        var delivery = delivery
        delivery.isRedelivered = true
        delivery.returns += 1
        if delivery.returns > Self.deliveryLimit { return world.witness.deadLettered(delivery) }
        ready.insert(delivery, at: 0)
    }

    /// Nothing more is delivered; what was is still to be settled.
    func stopConsuming(_ process: Process) {
        for consumer in consumers where consumer.process === process { consumer.isCancelled = true }
    }

    // MARK: Faults

    private func isReachable(_ process: Process) -> Bool { !isDown && cut[ObjectIdentifier(process)] == nil }

    private func lose(_ consumer: Consumer) {
        guard let index = consumers.firstIndex(where: { $0 === consumer }) else { return }
        consumers.remove(at: index)
        for tag in consumer.tags.reversed() {
            if let delivery = consumer.unsettled[tag] { giveBack(delivery) }
        }
        pump()
    }

    /// The process is gone, its connection with it.
    func forget(_ process: Process) {
        for consumer in consumers where consumer.process === process {
            world.after(world.draw(0...50), nil) { [self] in lose(consumer) }
        }
    }

    /// The broker gives up the connections of a process that has shown no life.
    func disconnect(_ process: Process) {
        for consumer in consumers where consumer.process === process {
            lose(consumer)
            process.after(world.draw(0...100)) { consumer.process.connectionLost(consumer.generation) }
        }
    }

    func cutOff(_ process: Process, for length: Int64) {
        let name = ObjectIdentifier(process)
        cut[name, default: 0] += 1
        world.note(.cut, process)
        world.after(world.draw(100...Span.heartbeat), nil) { [self] in
            if cut[name] != nil { disconnect(process) }
        }
        world.after(length, nil) { [self] in
            cut[name] = (cut[name] ?? 1) > 1 ? (cut[name] ?? 1) - 1 : nil
            world.note(.mended, process)
            pump()
        }
    }

    func outage(for length: Int64) {
        if isDown { return }
        isDown = true
        for consumer in consumers { disconnect(consumer.process) }
        world.after(length, nil) { [self] in
            isDown = false
            pump()
        }
    }
}

struct DeliveryTag: Sendable, Hashable {
    /// Of the connection; on a later one it means nothing.
    let generation: Int
    let number: Int
}

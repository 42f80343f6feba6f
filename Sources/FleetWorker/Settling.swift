import AMQPClient
import FleetBroker
import FleetModel
import FleetObservability
import FleetStore
import Logging
import PostgresClient
import Synchronization

/// A run's end on its way into the ledger.
struct Ending: Sendable {
    let arrival: Arrival
    let ownership: Ownership
    /// When its attempt was claimed.
    let begun: ContinuousClock.Instant
    let ended: ContinuousClock.Instant
    let settlement: Settlement
    let trace: AttemptTrace?

    /// For log lines about it.
    var metadata: Logger.Metadata {
        .job(
            arrival.identity, attempt: ownership.attempt, traceparent: trace?.running ?? arrival.job.traceparent)
    }
}

/// What is to be published before a delivery may be acknowledged.
package struct Publication: Sendable {
    /// Without these the delivery is kept: the result, or the message that is set aside.
    package var required: [AMQPMessage] = []
    /// Copies and news: given up where the broker has refused for long, since the required ones hold the same facts.
    package var courtesy: [AMQPMessage] = []
    package var acknowledge: AMQPDeliveryTag?
    /// Repeats that this publication answers.
    package var waiters: [Waiter] = []
    package var refusals = 0
    /// The job's end, whose settling is over with the acknowledgement.
    var ending: (metrics: JobMetrics.OfType, at: ContinuousClock.Instant, trace: AttemptTrace?)?

    package init() {}
}

/// The last two stages: completions into the ledger, then results to the broker, then acknowledgements. Each takes all
/// that has gathered while it was busy.
final class Settler: Sendable {
    let endings = BatchQueue<Ending>()
    private let publications = BatchQueue<Publication>()
    let running: RunningJobs
    let store: FleetStore
    let consumer: AMQPConsumer
    let publisher: AMQPPublisher
    let worker: String
    private let fault: FaultPoint?
    private let slow: Duration
    let logger: Logger
    let counters: WorkerCounters
    private let metrics: JobMetrics
    /// Whether endings are still being turned into publications.
    private let completing = Countdown()
    /// Publications that are not confirmed and acknowledged yet, wherever they are; at the end they are waited for.
    private let open = Countdown()
    private let patienceIsOver = Mutex(false)
    private let confirmed = Mutex<ContinuousClock.Instant?>(nil)

    init(
        running: RunningJobs, store: FleetStore, consumer: AMQPConsumer, publisher: AMQPPublisher, worker: String,
        fault: FaultPoint?, slow: Duration, logger: Logger, counters: WorkerCounters, metrics: JobMetrics
    ) {
        self.metrics = metrics
        self.running = running
        self.store = store
        self.consumer = consumer
        self.publisher = publisher
        self.worker = worker
        self.fault = fault
        self.slow = slow
        self.logger = logger
        self.counters = counters
    }

    /// When the broker last took something.
    var lastConfirmed: ContinuousClock.Instant? { confirmed.withLock { $0 } }

    /// What has gathered before the two stages since their last turns.
    var queued: (settle: Int, publish: Int) { (endings.count, publications.count) }

    /// The worker must end: what cannot be written or published now is left to redelivery.
    func hurry() { patienceIsOver.withLock { $0 = true } }

    var isHurried: Bool { patienceIsOver.withLock { $0 } }

    // MARK: Completing

    /// Runs until `endings` is finished and empty.
    func complete() async {
        completing.up()
        defer { completing.down() }
        var pace = Pace(now: .now)
        while let batch = await endings.next() {
            let begin = ContinuousClock.now
            metrics.completed(batch.count)
            var rest = batch[...]
            while !rest.isEmpty {
                await complete(Array(rest.prefix(BatchLimit.completion)))
                rest = rest.dropFirst(BatchLimit.completion)
            }
            await pace.rest(after: batch.count, begunAt: begin, isFull: batch.count >= BatchLimit.completion)
        }
    }

    private func complete(_ endings: [Ending]) async {
        let completions = endings.map {
            Completion(
                identity: $0.arrival.identity, token: $0.ownership.token, attempt: $0.ownership.attempt,
                settlement: $0.settlement)
        }
        do {
            let answers = try await Patience()(
                isHopeless: { DatabaseFault.isData($0) || self.isHurried },
                onFailure: { error, count, pause in
                    // The first failure is news, then every tenth, or a long outage would fill the log.
                    if count % 10 == 1 {
                        self.logger.warning("completions wait for the database: \(error); next try in \(pause)")
                    }
                },
                { try await self.store.complete(completions, worker: worker) })
            fault?.reach(.completed, completions.map(\.identity.key))
            conclude(endings, answers)
        } catch  where DatabaseFault.isData(error) && endings.count > 1 {
            // One outcome that the database cannot store must not hold up its neighbours.
            for half in [endings[..<(endings.count / 2)], endings[(endings.count / 2)...]] {
                await complete(Array(half))
            }
        } catch  where DatabaseFault.isData(error) {
            let ending = endings[0]
            if case .discard = ending.settlement {
                giveUp(endings, error)
            } else {
                let failure = JobFailure(.permanent, code: "output.unstorable", message: "\(error)")
                await complete([
                    Ending(
                        arrival: ending.arrival, ownership: ending.ownership, begun: ending.begun, ended: ending.ended,
                        settlement: .discard(failure), trace: ending.trace)
                ])
            }
        } catch {
            giveUp(endings, error)
        }
    }

    /// The worker was stopped before the ledger could be reached. The deliveries are not acknowledged, so the jobs come
    /// again elsewhere and are claimed once this worker's epoch has ended.
    private func giveUp(_ endings: [Ending], _ error: any Error) {
        running.remove(endings.map(\.arrival.identity))
        for ending in endings { ending.trace?.failed("not-written") }
        logger.error("\(endings.count) outcomes could not be written; their jobs will run again: \(error)")
    }

    private func conclude(_ endings: [Ending], _ answers: [CompletionAnswer]) {
        var batch: [Publication] = []
        batch.reserveCapacity(endings.count)
        var requeued: [AMQPDeliveryTag] = []
        let tags = running.remove(endings.map(\.arrival.identity))
        let now = ContinuousClock.now
        // A batch ends in one moment.
        var moment: (time: PostgresTimestamp, text: String)?
        for ((ending, tag), answer) in zip(zip(endings, tags), answers) {
            let arrival = ending.arrival
            switch answer {
            case .fenced:
                counters.count { $0.fenced += 1 }
                arrival.metrics.ended(.fenced)
                ending.trace?.failed("fenced")
                logger.warning(
                    "fenced: the outcome of \(arrival.identity) attempt \(ending.ownership.attempt) is void, another claim owns it",
                    metadata: ending.metadata)
                if let tag { requeued.append(tag) }
            case .settled(let finishedAt, let attempt, let waiters):
                arrival.metrics.ended(JobMetrics.Outcome(ending.settlement))
                ending.trace?.completed(at: now)
                if case .handBack = ending.settlement {
                    ending.trace?.settled(at: now)
                    if let tag { requeued.append(tag) }
                    continue
                }
                if let finishedAt, finishedAt != moment?.time { moment = (finishedAt, finishedAt.iso8601) }
                var publication = publication(
                    ending, finishedAt: finishedAt == nil ? nil : moment?.text, attempt: attempt, waiters)
                publication.acknowledge = tag
                publication.ending = (arrival.metrics, ending.ended, ending.trace)
                if let subject = arrival.job.subject {
                    let took = ending.ownership.age + (ContinuousClock.now - ending.begun)
                    publication.courtesy += UsabilityEvent.Kind.kinds(of: ending.settlement, slow: took > slow).map {
                        UsabilityEvent(
                            $0, job: arrival.job, subject: subject, attempt: ending.ownership.attempt, took: took
                        )
                        .message(token: ending.ownership.token)
                    }
                }
                publication.carry(ending.trace?.sending ?? arrival.job.traceparent)
                batch.append(publication)
            }
        }
        if !requeued.isEmpty { consumer.reject(requeued, requeue: true) }
        add(batch)
    }

    private func publication(
        _ ending: Ending, finishedAt: String?, attempt: Int, _ waiters: [Waiter]
    ) -> Publication {
        let (job, token) = (ending.arrival.job, ending.ownership.token)
        var publication = Publication()
        var output: String?
        var failure: JobFailure?
        switch ending.settlement {
        case .succeed(let value):
            output = value
            counters.count { $0.succeeded += 1 }
        case .retry(let error, let delay, _):
            counters.count { $0.retried += 1 }
            publication.courtesy.append(
                JobEvent(
                    .retrying, job: job, attempt: ending.ownership.attempt,
                    content: ("error", error.document(attempt: ending.ownership.attempt, worker: worker)), delay: delay
                ).message(token: token))
            return publication
        case .snooze(let delay):
            counters.count { $0.retried += 1 }
            publication.courtesy.append(
                JobEvent(.snoozed, job: job, attempt: ending.ownership.attempt, delay: delay).message(token: token))
            return publication
        case .discard(let error):
            failure = error
            counters.count { $0.discarded += 1 }
            logger.notice(
                "discarded: \(job.identity) after attempt \(ending.ownership.attempt): \(error.code)",
                metadata: ending.metadata)
        case .cancel(let error):
            failure = error
            counters.count { $0.discarded += 1 }
            logger.notice(
                "called off: \(job.identity) in attempt \(ending.ownership.attempt)", metadata: ending.metadata)
        case .doubt(let error):
            failure = error
            counters.count { $0.discarded += 1 }
            logger.warning(
                "indeterminate: \(job.identity), an operator must decide: \(error.code)", metadata: ending.metadata)
        case .handBack: preconditionFailure("what is handed back is not published")
        }
        let error = failure?.document(attempt: ending.ownership.attempt, worker: worker)
        if let error, let kind = JobEvent.Kind(ending: ending.settlement.state) {
            publication.courtesy.append(
                JobEvent(kind, job: job, attempt: ending.ownership.attempt, content: ("error", error)).message(
                    token: token))
        }
        let result = JobResult(
            identity: job.identity, type: job.type.name, state: ending.settlement.state, attempt: attempt,
            finishedAt: finishedAt ?? "", output: output, error: error)
        publication.answer(with: result, replyTo: job.replyTo, correlationID: job.correlationID, waiters: waiters)
        return publication
    }

    /// Jobs that ended by being claimed.
    func announce(_ ended: [(Arrival, JobResult)]) {
        counters.count { $0.discarded += ended.count }
        for (arrival, result) in ended {
            arrival.metrics.ended(result.state == .cancelled ? .cancelled : .discarded)
            logger.notice(
                "\(result.state.rawValue): \(arrival.identity), without being run: gaia job show tells why",
                metadata: .job(arrival.identity, traceparent: arrival.job.traceparent))
        }
        tell(
            ended.flatMap { arrival, result -> [AMQPMessage] in
                guard let kind = JobEvent.Kind(ending: result.state) else { return [] }
                var events = [
                    JobEvent(
                        kind, job: arrival.job, attempt: result.attempt, content: result.error.map { ("error", $0) }
                    ).message(token: 0)
                ]
                if let subject = arrival.job.subject, result.state != .cancelled {
                    events.append(
                        UsabilityEvent(.failed, job: arrival.job, subject: subject, attempt: result.attempt)
                            .message(token: 0))
                }
                return events
            })
    }

    /// News that no delivery waits for.
    func tell(_ events: [AMQPMessage]) {
        add(
            events.map {
                var publication = Publication()
                publication.courtesy = [$0]
                return publication
            })
    }

    // MARK: Publishing

    /// Something is to be published, and then acknowledged.
    func add(_ batch: [Publication]) {
        open.up(batch.count)
        publications.append(contentsOf: batch)
    }

    /// Runs until `publications` is finished and empty.
    func publish() async {
        var refusals = Refusals()
        while let batch = await publications.next() {
            var messages: [AMQPMessage] = []
            messages.reserveCapacity(batch.count)
            for publication in batch {
                messages += publication.required
                messages += publication.courtesy
            }
            metrics.published(batch.count)
            let outcomes = await publisher.publish(messages)
            let now = ContinuousClock.now
            if !refusals.isEmpty || !outcomes.allSatisfy({ $0 == .confirmed }) {
                for (message, outcome) in zip(messages, outcomes) { refusals.note(outcome, of: message, at: now) }
            }
            var position = 0
            var delayed: (count: Int, reason: String) = (0, "")
            var settled: [AMQPDeliveryTag] = []
            var answered: [Waiter] = []
            var done = 0
            for var publication in batch {
                let open = publication.strike(outcomes[position...]) { refusals.isHopeless($0, at: now) }
                position += open.count
                if publication.isDone {
                    done += 1
                    if let tag = publication.acknowledge { settled.append(tag) }
                    if let (metrics, ended, trace) = publication.ending {
                        metrics.took(now - ended, .settle)
                        trace?.settled(at: now)
                    }
                    answered.append(contentsOf: publication.waiters)
                } else {
                    delayed = (delayed.count + 1, open.reason)
                    tryLater(publication)
                }
            }
            if delayed.count > 0 {
                logger.warning("\(delayed.count) results were not confirmed and are published again: \(delayed.reason)")
            }
            if outcomes.contains(.confirmed) { confirmed.withLock { $0 = now } }
            fault?.reach(.published, batch.flatMap { $0.required.compactMap(\.properties.messageID) })
            // A crash before this line repeats the results under the same ids; the delivery comes again.
            if !answered.isEmpty { await strikeOut(answered) }
            if !settled.isEmpty { consumer.acknowledge(settled) }
            open.down(done)
        }
    }

    /// Ends both stages, when nothing can come into the first any more: returns when all is published and acknowledged,
    /// or, once hurried, given up.
    func finish() async {
        endings.finish()
        await completing.zero()
        await open.zero()
        publications.finish()
    }

    private func strikeOut(_ waiters: [Waiter]) async {
        do {
            try await Patience(limit: .seconds(5))({ try await self.store.answered(waiters) })
        } catch {
            // They stay on the agenda and are answered once more, under the same id.
            logger.warning(
                "\(waiters.count) answered repeats could not be struck out and may be answered again: \(error)")
        }
    }

    private func tryLater(_ publication: Publication) {
        if isHurried {
            open.down()
            publication.ending?.trace?.failed("not-published")
            return logger.error("a result could not be published before the end; its delivery comes again")
        }
        let pause = Patience(initial: .milliseconds(100)).pause(afterFailure: publication.refusals + 1)
        Task {
            // Cancelled only when the process ends at once; then the delivery comes again.
            try? await Task.sleep(for: pause)
            publications.append(publication)
        }
    }
}

extension Publication {
    /// Adds the result for everyone, for whoever asked with this delivery, and for the repeats that wait.
    package mutating func answer(with result: JobResult, replyTo: String?, correlationID: String?, waiters: [Waiter]) {
        required.append(result.message(correlationID: correlationID))
        var told: Set<Waiter> = []
        if let replyTo {
            courtesy.append(result.reply(to: replyTo, correlationID: correlationID))
            told.insert(
                Waiter(
                    identity: result.identity, replyTo: replyTo, correlationID: correlationID ?? result.identity.key))
        }
        for waiter in waiters where told.insert(waiter).inserted {
            guard let replyTo = waiter.replyTo else { continue }
            courtesy.append(result.reply(to: replyTo, correlationID: waiter.correlationID))
        }
        self.waiters = waiters
    }

    package var isDone: Bool { required.isEmpty && courtesy.isEmpty }

    /// Has every message tell of the trace that it belongs to.
    mutating func carry(_ traceparent: String?) {
        guard let traceparent else { return }
        for index in required.indices {
            required[index].properties.headers[JobHeader.traceparent] = .string(traceparent)
        }
        for index in courtesy.indices {
            courtesy[index].properties.headers[JobHeader.traceparent] = .string(traceparent)
        }
    }

    /// Strikes out what was confirmed, and courtesy that the broker will not have.
    ///
    /// - Parameters:
    ///   - outcomes: begins with those of this publication's messages.
    ///   - isHopeless: whether a message that was refused need not be tried again; asked of courtesy alone.
    /// - Returns: how many outcomes were this publication's, and the last reason for one that stays.
    package mutating func strike(
        _ outcomes: ArraySlice<AMQPPublishOutcome>, isHopeless: (AMQPMessage) -> Bool
    ) -> (count: Int, reason: String) {
        let count = required.count + courtesy.count
        if outcomes.prefix(count).allSatisfy({ $0 == .confirmed }) {
            (required, courtesy) = ([], [])
            return (count, "")
        }
        var reason = ""
        var wasRefused = false
        var keep: [Bool] = []
        for outcome in outcomes.prefix(count) {
            switch outcome {
            case .confirmed: keep.append(false)
            case .returned(let code, let text):
                (reason, wasRefused) = ("returned: \(code) \(text)", true)
                keep.append(true)
            case .refused:
                (reason, wasRefused) = ("refused by the broker", true)
                keep.append(true)
            case .unknown(let text), .notSent(let text):
                reason = text
                keep.append(true)
            }
        }
        if wasRefused { refusals += 1 }
        let split = required.count
        required = zip(required, keep).filter(\.1).map(\.0)
        courtesy = zip(courtesy, keep.dropFirst(split)).filter { $1 && !isHopeless($0) }.map(\.0)
        return (count, reason)
    }
}

/// Which database errors concern the data sent, so that trying again cannot help.
enum DatabaseFault {
    static func isData(_ error: any Error) -> Bool {
        guard let state = (error as? PostgresError)?.sqlState else { return false }
        // 22: data exception; 54: program limit exceeded.
        return state.hasPrefix("22") || state.hasPrefix("54")
    }
}

/// Counts what is outstanding and lets one wait for none.
final class Countdown: Sendable {
    private struct State {
        var count = 0
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func up(_ count: Int = 1) { state.withLock { $0.count += count } }

    func down(_ count: Int = 1) {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.count -= count
            guard state.count == 0 else { return [] }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func zero() async {
        await withCheckedContinuation { continuation in
            let isZero = state.withLock { state in
                if state.count > 0 { state.waiters.append(continuation) }
                return state.count == 0
            }
            if isZero { continuation.resume() }
        }
    }
}

/// What a worker has done since it started.
public final class WorkerCounters: Sendable {
    public struct Values: Sendable, Equatable {
        public var claimed = 0
        public var succeeded = 0
        public var retried = 0
        public var discarded = 0
        public var fenced = 0
        public var repeats = 0
        public var parked = 0
        public var rejected = 0
        /// Of those: keys that belong to another job.
        public var conflicts = 0
    }

    private let state = Mutex(Values())

    public init() {}

    public var values: Values { state.withLock { $0 } }

    func count(_ change: (inout Values) -> Void) { state.withLock { change(&$0) } }
}

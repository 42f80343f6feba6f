internal import Synchronization

/// What a ``Resolver`` allows itself.
public struct ResolverConfiguration: Sendable {
    /// Asked in this order; at least one.
    public var servers: [Endpoint]
    /// How long one try waits for an answer; over TCP as long again.
    public var tryTimeout: Duration
    /// Tries in all, over all servers.
    public var tries: Int
    /// Questions that are before servers at once.
    public var exchangesMax: Int
    /// Callers that wait for an answer; one more is refused.
    public var waitingMax: Int
    package var cache: DNSCache.Limits
    /// The clock by which answers grow old.
    package var now: @Sendable () -> ContinuousClock.Instant
    /// Told of everything that is worth counting, from any thread.
    public var observe: @Sendable (ResolverEvent) -> Void

    package init(
        servers: [Endpoint], tryTimeout: Duration = .seconds(2), tries: Int = 3, exchangesMax: Int = 256,
        waitingMax: Int = 20_000, cache: DNSCache.Limits = DNSCache.Limits(),
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        observe: @escaping @Sendable (ResolverEvent) -> Void = { _ in }
    ) {
        precondition(!servers.isEmpty && tries > 0 && exchangesMax > 0 && waitingMax > 0, "nobody could be asked")
        self.servers = servers
        self.tryTimeout = tryTimeout
        self.tries = tries
        self.exchangesMax = exchangesMax
        self.waitingMax = waitingMax
        self.cache = cache
        self.now = now
        self.observe = observe
    }
}

/// Something that happened in a ``Resolver``.
public enum ResolverEvent: Sendable, Equatable {
    /// A question was answered from the cache.
    case hit(isNegative: Bool)
    /// A question waited for the answer that another was waiting for already.
    case joined
    /// A question had to be asked.
    case missed
    /// One try with one server is over.
    case asked(Duration, isAnswered: Bool)
    /// It had to be repeated over TCP.
    case askedByStream
    /// So many answers left the cache for want of room.
    case evicted(Int)
}

/// An answer and where it came from.
public struct Resolution: Sendable, Equatable {
    public enum Source: Sendable {
        case cache
        /// The answer to an equal question that was under way.
        case joined
        case server
    }

    public let question: DNSQuestion
    public let answer: DNSAnswer
    /// For how much longer the cache holds it; zero when it does not.
    public let remaining: Duration
    public let source: Source
}

/// Answers questions from a cache, and asks each question that it cannot answer once, however many want to know.
public final class Resolver: Sendable {
    private typealias Outcome = Result<(DNSAnswer, Duration), NetworkError>

    /// What a caller is to do.
    private enum Turn {
        case known(DNSAnswer, Duration)
        /// Ask, and tell the others.
        case lead
        case told(Outcome)
    }

    private struct State {
        var cache: DNSCache
        /// Who waits for an answer that another asks for. Each question under way has an entry.
        var flights: [DNSQuestion: [(id: UInt64, continuation: CheckedContinuation<Turn, Never>)]] = [:]
        var waiting = 0
        var lastID: UInt64 = 0
    }

    private let configuration: ResolverConfiguration
    private let exchange: DNSExchange
    private let gate: Gate
    private let state: Mutex<State>

    /// How often a name that is an alias is asked for its target, when a server does not follow by itself.
    static let chaseMax = 8

    package init(_ configuration: ResolverConfiguration, _ readiness: Readiness) {
        self.configuration = configuration
        exchange = DNSExchange(
            servers: configuration.servers, tryTimeout: configuration.tryTimeout, tries: configuration.tries,
            readiness: readiness, observe: configuration.observe)
        gate = Gate(places: configuration.exchangesMax, waitingMax: configuration.waitingMax)
        state = Mutex(State(cache: DNSCache(limits: configuration.cache)))
    }

    /// Answers held just now, and the bytes that they take.
    public var cached: (answers: Int, bytes: Int) { state.withLock { ($0.cache.count, $0.cache.bytes) } }

    /// Callers that wait for an answer that another asks for.
    package var waiting: Int { state.withLock { $0.waiting } }

    /// Answers a question.
    ///
    /// - Parameter fresh: does not look into the cache, but stores the answer there.
    public func resolve(_ question: DNSQuestion, fresh: Bool = false) async throws(NetworkError) -> Resolution {
        switch try await turn(question, fresh: fresh) {
        case .known(let answer, let remaining):
            configuration.observe(.hit(isNegative: answer.status != .found))
            return Resolution(question: question, answer: answer, remaining: remaining, source: .cache)
        case .told(let outcome):
            let (answer, remaining) = try outcome.get()
            configuration.observe(.joined)
            return Resolution(question: question, answer: answer, remaining: remaining, source: .joined)
        case .lead:
            configuration.observe(.missed)
            let (answer, remaining) = try await lead(question)
            return Resolution(question: question, answer: answer, remaining: remaining, source: .server)
        }
    }

    /// The addresses of a host, in the order in which they are to be tried: literal addresses are their own, `localhost` is
    /// this machine (RFC 6761), every other name is asked for.
    ///
    /// - Returns: IPv4 before IPv6; empty when there is no such name, or it has no address.
    /// - Throws: ``NetworkError``.
    public func addresses(of host: String, port: UInt16) async throws -> [Endpoint] {
        if let literal = Endpoint(address: host, port: port) { return [literal] }
        let name = try DNSName(host)
        if name == Self.localhost { return ["127.0.0.1", "::1"].compactMap { Endpoint(address: $0, port: port) } }
        async let v4 = resolve(DNSQuestion(name, .a))
        async let v6 = resolve(DNSQuestion(name, .aaaa))
        let records = try await v4.answer.records + v6.answer.records
        return records.compactMap { record in
            if case .address(let bytes) = record.data { Endpoint(bytes: bytes, port: port) } else { nil }
        }
    }

    private static let localhost = DNSName(checkedWire: [9] + Array("localhost".utf8) + [0])

    // MARK: One asks, all are told

    private func turn(_ question: DNSQuestion, fresh: Bool) async throws(NetworkError) -> Turn {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        let cancelled = Turn.told(.failure(NetworkError(.cancelled, "the task was cancelled")))
        let turn: Turn = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let turn = state.withLock { state -> Turn? in
                    if Task.isCancelled { return cancelled }
                    if !fresh, let (answer, remaining) = state.cache.lookup(question, now: configuration.now()) {
                        return .known(answer, remaining)
                    }
                    guard state.flights[question] != nil else {
                        state.flights[question] = []
                        return .lead
                    }
                    guard state.waiting < configuration.waitingMax else {
                        return .told(.failure(NetworkError(.overloaded, "\(state.waiting) wait for answers already")))
                    }
                    state.waiting += 1
                    state.flights[question]?.append((id, continuation))
                    return nil
                }
                if let turn { continuation.resume(returning: turn) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Turn, Never>? in
                guard let place = state.flights[question]?.firstIndex(where: { $0.id == id }) else { return nil }
                state.waiting -= 1
                return state.flights[question]?.remove(at: place).continuation
            }
            waiter?.resume(returning: cancelled)
        }
        return turn
    }

    private func lead(_ question: DNSQuestion) async throws(NetworkError) -> (DNSAnswer, Duration) {
        let outcome: Outcome
        do {
            let answer = try await gate.withPlace { try await chase(question) }
            outcome = .success((answer, store(answer, question)))
        } catch let error as NetworkError where error.kind == .cancelled {
            // Only this caller has given up: the next in line asks in its place.
            handOver(question)
            throw error
        } catch let error as NetworkError {
            outcome = .failure(error)
        } catch {
            outcome = .failure(NetworkError(.system, "\(error)"))
        }
        let told = state.withLock { state in
            let told = state.flights.removeValue(forKey: question) ?? []
            state.waiting -= told.count
            return told
        }
        for waiter in told { waiter.continuation.resume(returning: .told(outcome)) }
        return try outcome.get()
    }

    private func handOver(_ question: DNSQuestion) {
        let next = state.withLock { state -> CheckedContinuation<Turn, Never>? in
            guard let line = state.flights[question], !line.isEmpty else {
                state.flights[question] = nil
                return nil
            }
            state.waiting -= 1
            return state.flights[question]?.removeFirst().continuation
        }
        next?.resume(returning: .lead)
    }

    private func store(_ answer: DNSAnswer, _ question: DNSQuestion) -> Duration {
        let (remaining, evicted) = state.withLock { state in
            let before = state.cache.evictions
            let remaining = state.cache.store(answer, for: question, now: configuration.now())
            return (remaining, state.cache.evictions - before)
        }
        if evicted > 0 { configuration.observe(.evicted(evicted)) }
        return remaining
    }

    /// Asks, and follows aliases that a server left to us. The questions on the way are not shared: two chains that lead into
    /// each other would wait for each other.
    private func chase(_ question: DNSQuestion) async throws(NetworkError) -> DNSAnswer {
        var whole = DNSAnswer(status: .found, aliases: [], records: [], ttl: nil)
        var next = question
        var seen: Set<DNSName> = [question.name]
        for _ in 0...Self.chaseMax {
            let reply = try await exchange.ask(next)
            switch reply {
            case .answer(let answer):
                whole.status = answer.status
                whole.aliases += answer.aliases
                whole.records = answer.records
                // A piece that may not be kept keeps the whole from being kept.
                whole.ttl = answer.ttl.map { ttl in min(ttl, whole.ttl ?? ttl) }
                return whole
            case .alias(let answer):
                whole.aliases += answer.aliases
                whole.ttl = answer.ttl.map { ttl in min(ttl, whole.ttl ?? ttl) }
                next = DNSQuestion(answer.canonicalName(of: next), question.type)
                guard whole.aliases.count <= DNSReply.aliasesMax, seen.insert(next.name).inserted else {
                    throw NetworkError(.noAnswer, "the aliases of \(question.name) lead in a circle, or too far")
                }
            case .ignored, .caseLost, .truncated, .offerRefused, .refused:
                throw NetworkError(.noAnswer, "no usable answer for \(question)")
            }
        }
        throw NetworkError(.noAnswer, "the aliases of \(question.name) lead too far")
    }
}

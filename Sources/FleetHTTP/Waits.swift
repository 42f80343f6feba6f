import AMQPClient
import FleetModel
import FoundationEssentials
import Synchronization

/// The requests of this process that wait for a job's end, and what wakes them.
final class Waits: Sendable {
    /// Why a request that waits should look.
    enum Wake: Sendable, Equatable {
        /// The job's result has come.
        case result
        /// A worker would not have a job with this key.
        case refused(Refusal)
        /// Something may have been missed.
        case lookAgain
    }

    /// A worker's word on a message that it set aside.
    struct Refusal: Sendable, Equatable {
        let reason: String
        let message: String
    }

    /// One request that waits. Its wakes end when nobody waits any more: the time is over, the client has gone, or the process
    /// is to end.
    struct Wait: Sendable {
        fileprivate let number: UInt64
        let identity: JobIdentity
        /// Its own, so that of two that wait for one job neither takes the other's row in the ledger away.
        let correlationID: String
        let wakes: AsyncStream<Wake>
        fileprivate let continuation: AsyncStream<Wake>.Continuation

        func finish() { continuation.finish() }
    }

    private struct State {
        var waits: [UInt64: AsyncStream<Wake>.Continuation] = [:]
        var numbers: [JobIdentity: Set<UInt64>] = [:]
        var last: UInt64 = 0
        var isConnected = false
        var isEnding = false
    }

    private let state = Mutex(State())
    private let limit: Int
    private let linked = AsyncStream.makeStream(of: Never.self)
    /// Wakes kept for a request that is busy looking; more would tell it nothing further.
    private static let wakesKept = 8

    init(limit: Int) { self.limit = limit }

    func begin(_ identity: JobIdentity) throws(Problem) -> Wait {
        let (wakes, continuation) = AsyncStream.makeStream(
            of: Wake.self, bufferingPolicy: .bufferingNewest(Self.wakesKept))
        let result = state.withLock { state -> Result<UInt64, Problem> in
            guard state.waits.count < limit else {
                return .failure(
                    .unavailable("\(limit) requests wait already; ask again later, or without 'wait'. Nothing was done")
                )
            }
            guard state.isConnected else {
                return .failure(
                    .unavailable("there is no link to the broker by which to wait; ask again later. Nothing was done"))
            }
            state.last += 1
            state.waits[state.last] = continuation
            state.numbers[identity, default: []].insert(state.last)
            if state.isEnding { continuation.finish() }
            return .success(state.last)
        }
        return Wait(
            number: try result.get(), identity: identity, correlationID: UUID().uuidString.lowercased(), wakes: wakes,
            continuation: continuation)
    }

    func end(_ wait: Wait) {
        wait.finish()
        state.withLock { state in
            state.waits[wait.number] = nil
            state.numbers[wait.identity]?.remove(wait.number)
            if state.numbers[wait.identity]?.isEmpty == true { state.numbers[wait.identity] = nil }
        }
    }

    /// How many wait now.
    var count: Int { state.withLock { $0.waits.count } }

    // MARK: Waking

    /// A message to the reply queue.
    func arrived(_ delivery: AMQPDelivery) {
        guard let (identity, wake) = Self.meaning(of: delivery) else { return }
        let waiting = state.withLock { state in
            (state.numbers[identity] ?? []).compactMap { state.waits[$0] }
        }
        for continuation in waiting { continuation.yield(wake) }
    }

    func noteLink(_ event: AMQPLinkEvent) {
        switch event {
        case .connected:
            // What was sent while there was no queue is lost.
            let waiting = state.withLock { state in
                state.isConnected = true
                return Array(state.waits.values)
            }
            for continuation in waiting { continuation.yield(.lookAgain) }
            linked.continuation.finish()
        case .disconnected: state.withLock { $0.isConnected = false }
        default: break
        }
    }

    /// Returns once there has been a link, or when the limit has passed; for one caller.
    ///
    /// - Returns: whether there is a link now.
    func awaitLink(within limit: Duration) async -> Bool {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in self.linked.stream {} }
            // Woken by cancellation too, when there is a link.
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
        return state.withLock { $0.isConnected }
    }

    /// The process is to end: everyone answers what there is.
    func endAll() {
        let waiting = state.withLock { state in
            state.isEnding = true
            return Array(state.waits.values)
        }
        for continuation in waiting { continuation.finish() }
    }

    // MARK: Reading

    /// A result is known by its message id, `SUBSYSTEM/KEY/STATE`; only the key may hold a slash.
    private static func meaning(of delivery: AMQPDelivery) -> (JobIdentity, Wake)? {
        if delivery.properties.type == "gaia.job.rejected" { return refusal(in: delivery.body) }
        guard let id = delivery.properties.messageID, let first = id.firstIndex(of: "/"),
            let last = id.lastIndex(of: "/"), first < last
        else { return nil }
        return (JobIdentity(subsystem: String(id[..<first]), key: String(id[id.index(after: first)..<last])), .result)
    }

    private static func refusal(in body: [UInt8]) -> (JobIdentity, Wake)? {
        struct Event: Decodable {
            struct Content: Decodable { let job, key, reason, message: String }
            let data: Content
        }
        // Whatever else was sent to this queue is nobody's news; who waits looks into the ledger when its time is over.
        guard let data = try? JSONDecoder().decode(Event.self, from: Data(body)).data,
            let subsystem = data.job.split(separator: ".").first
        else { return nil }
        return (
            JobIdentity(subsystem: String(subsystem), key: data.key),
            .refused(Refusal(reason: data.reason, message: data.message))
        )
    }
}

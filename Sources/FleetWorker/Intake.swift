import FleetModel
import Synchronization

/// Where deliveries wait for a free slot: as many are taken for claiming as can run at once.
///
/// The decision is `Waiting`, a value that does no I/O; this class only guards it and wakes the claiming task.
final class Intake: Sendable {
    private struct State {
        var waiting: Waiting
        var claimer: CheckedContinuation<[Arrival]?, Never>?
    }

    private let state: Mutex<State>

    init(slots: [String: Int]) {
        state = Mutex(State(waiting: Waiting(slots: slots)))
    }

    /// - Returns: those that are not taken, since this was stopped or their subsystem rests.
    func arrive(_ arrivals: [Arrival]) -> [Arrival] { update { $0.arrive(arrivals) } }

    /// Slots are free again.
    func release(_ subsystem: String, _ count: Int = 1) { update { $0.release(subsystem, count) } }

    /// Nothing is taken any more: the claiming task gets nil.
    ///
    /// - Returns: what waited, to be given back to the broker.
    func stop() -> [Arrival] { update { $0.stop() } }

    /// A subsystem rests, or rests no more.
    ///
    /// - Returns: what waited of it, to be given back to the broker.
    func rest(_ subsystem: String, _ isResting: Bool) -> [Arrival] { update { $0.rest(subsystem, isResting) } }

    /// Gives a subsystem more slots, or fewer: then none is free until so many have been released.
    func resize(_ subsystem: String, by difference: Int) { update { $0.release(subsystem, difference) } }

    /// What each subsystem has to do; `slots` is what each has.
    func loads(_ slots: [String: Int]) -> [String: SlotShares.Load] { state.withLock { $0.waiting.loads(slots) } }

    var isStopped: Bool { state.withLock { $0.waiting.isStopped } }

    /// What may be claimed now, a slot reserved for each; nil once stopped. One task calls it.
    func next() async -> [Arrival]? {
        await withCheckedContinuation { continuation in
            let now = state.withLock { state -> Waiting.Take in
                let take = state.waiting.take(atMost: BatchLimit.claim)
                if case .nothingYet = take {
                    precondition(state.claimer == nil, "one task claims")
                    state.claimer = continuation
                }
                return take
            }
            switch now {
            case .batch(let batch): continuation.resume(returning: batch)
            case .stopped: continuation.resume(returning: nil)
            case .nothingYet: break
            }
        }
    }

    private func update<Result: Sendable>(_ change: (inout Waiting) -> Result) -> Result {
        typealias Wake = (CheckedContinuation<[Arrival]?, Never>, [Arrival]?)
        let (result, wake) = state.withLock { state -> (Result, Wake?) in
            let result = change(&state.waiting)
            guard let claimer = state.claimer else { return (result, nil) }
            switch state.waiting.take(atMost: BatchLimit.claim) {
            case .nothingYet: return (result, nil)
            case .batch(let batch):
                state.claimer = nil
                return (result, (claimer, batch))
            case .stopped:
                state.claimer = nil
                return (result, (claimer, nil))
            }
        }
        if let (claimer, batch) = wake { claimer.resume(returning: batch) }
        return result
    }
}

/// Who waits, and which slots are free, by subsystem.
package struct Waiting: Sendable {
    package enum Take: Sendable {
        case batch([Arrival])
        case nothingYet
        case stopped
    }

    private struct Lane {
        var free: Int
        var isResting = false
        var urgent: [Arrival] = []
        var normal: [Arrival] = []

        var isEmpty: Bool { urgent.isEmpty && normal.isEmpty }
        var all: [Arrival] { urgent + normal }
    }

    /// Of the slots that a turn gives out while both lanes wait, one in so many goes to a normal job: urgent ones come
    /// first, and however many there are, the others are not starved.
    package static let normalShare = 8

    private var lanes: [String: Lane]
    /// The lanes in a fixed order, and which comes first in the next turn: a busy lane must not fill every batch.
    private let order: [String]
    private var first = 0
    /// Slots given out while both lanes waited, less those that the normal lane has had for them.
    private var owedToNormal = 0
    fileprivate private(set) var isStopped = false

    package init(slots: [String: Int]) {
        lanes = slots.mapValues { Lane(free: $0) }
        order = slots.keys.sorted()
    }

    /// - Returns: those that are not taken, since this was stopped or their subsystem rests.
    package mutating func arrive(_ arrivals: [Arrival]) -> [Arrival] {
        if isStopped { return arrivals }
        var refused: [Arrival] = []
        for arrival in arrivals {
            guard let lane = lanes[arrival.identity.subsystem] else {
                preconditionFailure("an arrival has a handler, and so its lane")
            }
            if lane.isResting {
                refused.append(arrival)
                continue
            }
            if arrival.job.isUrgent {
                lanes[arrival.identity.subsystem]?.urgent.append(arrival)
            } else {
                lanes[arrival.identity.subsystem]?.normal.append(arrival)
            }
        }
        return refused
    }

    /// - Returns: what waited.
    package mutating func rest(_ subsystem: String, _ isResting: Bool) -> [Arrival] {
        guard var lane = lanes[subsystem], !isStopped else { return [] }
        lane.isResting = isResting
        let waiting = isResting ? lane.all : []
        if isResting { (lane.urgent, lane.normal) = ([], []) }
        lanes[subsystem] = lane
        return waiting
    }

    package mutating func release(_ subsystem: String, _ count: Int) { lanes[subsystem]?.free += count }

    package func loads(_ slots: [String: Int]) -> [String: SlotShares.Load] {
        Dictionary(
            uniqueKeysWithValues: lanes.map { name, lane in
                (
                    name,
                    SlotShares.Load(
                        busy: (slots[name] ?? 0) - lane.free, waiting: lane.urgent.count + lane.normal.count)
                )
            })
    }

    /// - Returns: what waited.
    package mutating func stop() -> [Arrival] {
        isStopped = true
        defer { for name in order { lanes[name] = Lane(free: 0) } }
        return order.flatMap { lanes[$0]?.all ?? [] }
    }

    /// Takes up to `limit` arrivals from lanes with free slots, urgent ones first, else in order of arrival; of several
    /// with one key only the first, since a statement may name a row once. The others stay for the next turn.
    package mutating func take(atMost limit: Int) -> Take {
        if isStopped { return .stopped }
        var batch: [Arrival] = []
        var names: Set<JobIdentity> = []
        first = order.isEmpty ? 0 : (first + 1) % order.count
        for name in order[first...] + order[..<first] {
            guard var lane = lanes[name], lane.free > 0, !lane.isEmpty else { continue }
            let room = min(lane.free, limit - batch.count)
            // Counted over turns, since slots mostly come free one at a time.
            owedToNormal += lane.normal.isEmpty || lane.urgent.isEmpty ? 0 : room
            let reserved = min(lane.normal.count, room, owedToNormal / Self.normalShare)
            owedToNormal -= reserved * Self.normalShare
            let urgentRoom = room - reserved
            let before = batch.count
            Self.move(&lane.urgent, to: &batch, atMost: urgentRoom, &names)
            Self.move(&lane.normal, to: &batch, atMost: room - (batch.count - before), &names)
            // Room that the normal lane could not use.
            Self.move(&lane.urgent, to: &batch, atMost: room - (batch.count - before), &names)
            lane.free -= batch.count - before
            lanes[name] = lane
        }
        return batch.isEmpty ? .nothingYet : .batch(batch)
    }

    private static func move(
        _ source: inout [Arrival], to batch: inout [Arrival], atMost limit: Int, _ names: inout Set<JobIdentity>
    ) {
        guard limit > 0, !source.isEmpty else { return }
        var kept: [Arrival] = []
        var moved = 0
        for (index, arrival) in source.enumerated() {
            if moved == limit {
                kept.append(contentsOf: source[index...])
                break
            }
            if names.insert(arrival.identity).inserted {
                batch.append(arrival)
                moved += 1
            } else {
                kept.append(arrival)
            }
        }
        source = kept
    }
}

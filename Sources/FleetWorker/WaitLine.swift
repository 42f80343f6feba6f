import FleetModel

/// Those who wait, in the order in which they came; any of them may leave it.
struct WaitLine<Waiter> {
    private var waiters: [Int64: Waiter] = [:]
    /// Whose waiter is gone is passed over.
    private var order: [Int64] = []
    private var head = 0

    var count: Int { waiters.count }
    var isEmpty: Bool { waiters.isEmpty }

    /// - Parameter id: higher than every one before.
    mutating func append(_ waiter: Waiter, id: Int64) {
        waiters[id] = waiter
        order.append(id)
    }

    /// Nobody in line has a higher one.
    var lastID: Int64 { order.last ?? 0 }

    var first: (id: Int64, waiter: Waiter)? {
        mutating get {
            while head < order.count {
                if let waiter = waiters[order[head]] { return (order[head], waiter) }
                head += 1
            }
            order.removeAll(keepingCapacity: true)
            head = 0
            return nil
        }
    }

    @discardableResult
    mutating func remove(_ id: Int64) -> Waiter? {
        defer {
            // What was passed over is thrown away when it is the larger part.
            if head > 64, head * 2 > order.count {
                order.removeFirst(head)
                head = 0
            }
        }
        return waiters.removeValue(forKey: id)
    }

    /// In order.
    var all: some Sequence<(id: Int64, waiter: Waiter)> {
        order[head...].lazy.compactMap { id in waiters[id].map { (id, $0) } }
    }

    /// Removes those of whom `isOut` says so.
    mutating func remove(where isOut: (Int64, Waiter) -> Bool) -> [(id: Int64, waiter: Waiter)] {
        let out = all.filter { isOut($0.id, $0.waiter) }
        for (id, _) in out { remove(id) }
        return out
    }
}

/// What a waiter for a limit is told: the number of its place, zero for units of a rate.
package struct LimitOutcome: Sendable {
    package let id: Int64
    package let result: Result<Int64, LimitError>

    static func done(_ id: Int64, place: Int64 = 0) -> LimitOutcome { LimitOutcome(id: id, result: .success(place)) }
    static func failed(_ id: Int64, _ error: LimitError) -> LimitOutcome {
        LimitOutcome(id: id, result: .failure(error))
    }
}

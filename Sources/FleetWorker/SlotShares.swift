/// How a worker's slots are shared among its subsystems at the moment: one whose jobs wait borrows what others do not need
/// and gives it back. The sum is always what was declared.
///
/// The decision is this value, which does no I/O and knows no clock: the worker asks it once a tick.
package struct SlotShares: Sendable, Equatable {
    /// What a subsystem has to do.
    package struct Load: Sendable, Equatable {
        /// Jobs that have a slot.
        package var busy: Int
        /// Jobs that have been delivered and wait for one.
        package var waiting: Int

        package init(busy: Int, waiting: Int) { (self.busy, self.waiting) = (busy, waiting) }
    }

    /// Ticks for which a borrower must have had no need before it gives back: jobs that come in gusts are not to move
    /// slots to and fro.
    package static let calmTicks = 5
    /// Of its own slots a lender keeps one in so many free, so that a job of its own begins at once.
    package static let reserveShare = 4

    private let declared: [String: Int]
    /// Those that take no part.
    private let fixed: Set<String>
    package private(set) var slots: [String: Int]
    private var calm: [String: Int] = [:]

    package init(declared: [String: Int], fixed: Set<String> = []) {
        self.declared = declared
        self.fixed = fixed
        slots = declared
    }

    /// Decides anew.
    ///
    /// - Returns: subsystems whose number of slots has changed.
    package mutating func tick(_ loads: [String: Load]) -> Set<String> {
        let before = slots
        let names = declared.keys.filter { !fixed.contains($0) }.sorted()
        for name in names {
            let load = loads[name] ?? Load(busy: 0, waiting: 0)
            calm[name] = load.waiting > 0 ? 0 : min(calm[name, default: 0] + 1, Self.calmTicks)
        }
        // Whoever needs its own has it back at once.
        for name in names where needs(name, loads) { reclaim(name, want: loads[name]?.waiting ?? 0, names) }
        for name in names where calm[name] == Self.calmTicks { giveBack(name, loads, names) }
        for name in names where needs(name, loads) { borrow(name, loads, names) }
        return Set(names.filter { slots[$0] != before[$0] })
    }

    private func needs(_ name: String, _ loads: [String: Load]) -> Bool {
        guard let load = loads[name], let own = slots[name] else { return false }
        return load.waiting > 0 && load.busy >= own
    }

    private func own(_ name: String) -> Int { declared[name] ?? 0 }
    private func now(_ name: String) -> Int { slots[name] ?? 0 }

    private mutating func move(_ count: Int, from lender: String, to borrower: String) {
        slots[lender] = now(lender) - count
        slots[borrower] = now(borrower) + count
    }

    private mutating func reclaim(_ name: String, want: Int, _ names: [String]) {
        for other in names where now(other) > own(other) {
            let count = min(own(name) - now(name), want, now(other) - own(other))
            if count > 0 { move(count, from: other, to: name) }
        }
    }

    private mutating func giveBack(_ name: String, _ loads: [String: Load], _ names: [String]) {
        for other in names where now(other) < own(other) {
            let spare = now(name) - max(own(name), loads[name]?.busy ?? 0)
            let count = min(spare, own(other) - now(other))
            if count > 0 { move(count, from: name, to: other) }
        }
    }

    private mutating func borrow(_ name: String, _ loads: [String: Load], _ names: [String]) {
        var want = loads[name]?.waiting ?? 0
        for other in names where other != name && want > 0 && calm[other] != 0 {
            let kept = max((loads[other]?.busy ?? 0) + max(own(other) / Self.reserveShare, 1), 1)
            let count = min(now(other) - kept, want)
            if count > 0 {
                move(count, from: other, to: name)
                want -= count
            }
        }
    }
}

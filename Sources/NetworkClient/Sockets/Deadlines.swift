/// When waits end, soonest first. Most waits last equally long, so one that is added belongs at the end, or near it.
///
/// A wait that is over early is not looked for here: whoever takes it out at its time finds that it is gone. Once such
/// entries are most of the list, they are dropped.
struct Deadlines {
    private struct Entry {
        let instant: ContinuousClock.Instant
        let id: UInt64
    }

    private var entries: [Entry] = []
    private var head = 0

    var soonest: ContinuousClock.Instant? { head < entries.count ? entries[head].instant : nil }
    var count: Int { entries.count - head }

    mutating func add(_ id: UInt64, at instant: ContinuousClock.Instant) {
        var place = entries.count
        while place > head, entries[place - 1].instant > instant { place -= 1 }
        entries.insert(Entry(instant: instant, id: id), at: place)
    }

    /// Takes out one whose time has come.
    mutating func popDue(_ now: ContinuousClock.Instant) -> UInt64? {
        guard head < entries.count, entries[head].instant <= now else { return nil }
        defer {
            head += 1
            if head == entries.count || head > 1_024 {
                entries.removeFirst(head)
                head = 0
            }
        }
        return entries[head].id
    }

    /// Drops what is over already, when that is most of it.
    mutating func compact(live: Int, _ isLive: (UInt64) -> Bool) {
        guard count > 1_024, count > 2 * live else { return }
        entries = entries[head...].filter { isLive($0.id) }
        head = 0
    }
}

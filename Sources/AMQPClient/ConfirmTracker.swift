/// Which publishes of one channel await their confirm. Pure.
///
/// The broker numbers publishes from 1; slots are a ring over those numbers. `window` bounds how many may be open.
package struct ConfirmTracker<Ticket> {
    /// One message stuck at the front must not stop the rest at once, so the ring spans more than the window.
    private static var spanFactor: Int { 4 }

    private var slots: [Ticket?]
    private let mask: UInt64
    private let window: Int
    /// Oldest number that may still be open.
    private var base: UInt64 = 1
    /// Number of the next publish.
    private var next: UInt64 = 1
    /// Returns come in publishing order, so the search for the next begins here.
    private var returnCursor: UInt64 = 1

    package private(set) var open = 0

    package init(window: Int) {
        precondition(window > 0, "a window of no messages would never send one")
        self.window = window
        var capacity = 1
        while capacity < window * Self.spanFactor { capacity *= 2 }
        slots = Array(repeating: nil, count: capacity)
        mask = UInt64(capacity - 1)
    }

    package var hasRoom: Bool { open < window && next - base < UInt64(slots.count) }

    /// A publish was encoded. - Returns: its number.
    @discardableResult
    package mutating func sent(_ ticket: Ticket) -> UInt64 {
        precondition(hasRoom, "a publish was sent outside of the window")
        slots[Int(next & mask)] = ticket
        next += 1
        open += 1
        return next - 1
    }

    /// A confirm came. Calls `settled` in publishing order; unknown and repeated numbers are ignored.
    package mutating func settle(_ number: UInt64, multiple: Bool, _ settled: (Ticket) -> Void) {
        // Number zero with `multiple` means all there are.
        let upper = number == 0 && multiple ? next - 1 : number
        guard upper < next, upper >= base else { return }
        var current = multiple ? base : upper
        while current <= upper {
            if let ticket = slots[Int(current & mask)] {
                slots[Int(current & mask)] = nil
                open -= 1
                settled(ticket)
            }
            current += 1
        }
        while base < next, slots[Int(base & mask)] == nil { base += 1 }
    }

    /// A message came back. - Returns: the first open ticket after the last returned one that fits.
    package mutating func returned(where fits: (Ticket) -> Bool) -> Ticket? {
        var current = max(base, returnCursor)
        while current < next {
            if let ticket = slots[Int(current & mask)], fits(ticket) {
                returnCursor = current + 1
                return ticket
            }
            current += 1
        }
        return nil
    }

    /// The channel is gone: takes every open ticket, in publishing order, and starts from 1.
    package mutating func reset(_ lost: (Ticket) -> Void) {
        while base < next {
            if let ticket = slots[Int(base & mask)] {
                slots[Int(base & mask)] = nil
                lost(ticket)
            }
            base += 1
        }
        base = 1
        next = 1
        returnCursor = 1
        open = 0
    }
}

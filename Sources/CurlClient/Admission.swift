/// Who may start next: pure bookkeeping, no clock and no handle.
///
/// ```
/// arrive ──▶ waiting in its host's line ──startNext──▶ active ──leave──▶ gone
///                     └──────────────leave (cancelled, timed out)──────▶ gone
/// ```
///
/// In a line it is first come, first served. Lines take turns, so a host at its limit, or a host with a thousand requests,
/// keeps nobody else waiting.
///
/// A host whose name has not been looked up yet is *cold*: libcurl starts one resolver thread per transfer until an answer is
/// in its cache, so a cold host gets a few scouts only, and the rest follow once one of them has opened a socket.
package struct Admission {
    package struct Limits {
        /// Transfers running at once.
        package var inFlight: Int
        /// The same for one origin.
        package var perHost: Int
        /// Transfers to a cold host at once.
        package var scoutsPerHost = 4
        /// Transfers to cold hosts in all: the bound on resolver threads.
        package var scouts = 64

        package init(inFlight: Int, perHost: Int) {
            self.inFlight = inFlight
            self.perHost = perHost
        }
    }

    private final class Ticket {
        let id: UInt64
        let line: Line
        var isActive = false
        var isScout = false
        var next: Ticket?
        // The line holds its tickets from the front by `next`; a strong link back would be a cycle. Whoever takes a ticket out
        // of the line mends both links, so none dangles.
        unowned var previous: Ticket?

        init(id: UInt64, line: Line) {
            self.id = id
            self.line = line
        }
    }

    private final class Line {
        let host: String
        var isWarm: Bool
        var active = 0
        var scouts = 0
        var first: Ticket?
        unowned var last: Ticket?
        /// In `turns`, or in `wantScout`; at most in one of the two and once.
        var isQueued = false
        /// Nobody stands in it and nobody is served: the next to come for this host opens another.
        var isClosed = false

        init(host: String, isWarm: Bool) {
            self.host = host
            self.isWarm = isWarm
        }

        func append(_ ticket: Ticket) {
            if let last {
                last.next = ticket
                ticket.previous = last
            } else {
                first = ticket
            }
            last = ticket
        }

        func remove(_ ticket: Ticket) {
            if let previous = ticket.previous { previous.next = ticket.next } else { first = ticket.next }
            if let next = ticket.next { next.previous = ticket.previous } else { last = ticket.previous }
            ticket.next = nil
            ticket.previous = nil
        }

        /// A long line would else be freed by recursion, one stack frame a ticket.
        deinit { while let ticket = first { first = ticket.next } }
    }

    package let limits: Limits
    package private(set) var inFlight = 0
    package private(set) var waiting = 0
    private var scouts = 0
    private var tickets: [UInt64: Ticket] = [:]
    private var lines: [String: Line] = [:]
    private var turns = FIFO<Line>()
    /// Cold lines stopped by the bound on all scouts alone.
    private var wantScout = FIFO<Line>()
    /// Closed lines still among the queued ones.
    private var closedQueued = 0

    package init(limits: Limits) {
        precondition(
            limits.inFlight > 0 && limits.perHost > 0 && limits.scoutsPerHost > 0 && limits.scouts > 0,
            "a limit of zero starts nothing")
        self.limits = limits
    }

    package var hosts: Int { lines.count }
    package var queuedLines: Int { turns.count + wantScout.count }

    package mutating func arrive(_ id: UInt64, host: String, needsLookup: Bool) {
        let line = lines[host] ?? Line(host: host, isWarm: !needsLookup)
        lines[host] = line
        let ticket = Ticket(id: id, line: line)
        precondition(tickets.updateValue(ticket, forKey: id) == nil, "a transfer stands in one line only")
        line.append(ticket)
        waiting += 1
        offerTurn(line)
    }

    /// The next to start, counted as running from now on.
    package mutating func startNext() -> UInt64? {
        while inFlight < limits.inFlight, let line = turns.popFirst() {
            dequeued(line)
            guard let ticket = line.first, hasRoom(line) else { continue }
            if !line.isWarm, scouts >= limits.scouts {
                line.isQueued = true
                wantScout.append(line)
                continue
            }
            line.remove(ticket)
            waiting -= 1
            ticket.isActive = true
            inFlight += 1
            line.active += 1
            if !line.isWarm {
                ticket.isScout = true
                scouts += 1
                line.scouts += 1
            }
            offerTurn(line)
            return ticket.id
        }
        return nil
    }

    /// The transfer has an address to connect to: its host is warm.
    package mutating func lookedUp(_ id: UInt64) {
        guard let ticket = tickets[id] else { return }
        ticket.line.isWarm = true
        dismissScout(ticket)
        offerTurn(ticket.line)
    }

    /// Finished, or gone before its turn.
    package mutating func leave(_ id: UInt64) {
        guard let ticket = tickets.removeValue(forKey: id) else { return }
        let line = ticket.line
        dismissScout(ticket)
        if ticket.isActive {
            inFlight -= 1
            line.active -= 1
        } else {
            line.remove(ticket)
            waiting -= 1
        }
        if line.active == 0 && line.first == nil {
            close(line)
        } else {
            offerTurn(line)
        }
    }

    private mutating func dismissScout(_ ticket: Ticket) {
        guard ticket.isScout else { return }
        ticket.isScout = false
        ticket.line.scouts -= 1
        scouts -= 1
        while let next = wantScout.popFirst() {
            dequeued(next)
            if next.first != nil {
                offerTurn(next)
                return
            }
        }
    }

    private mutating func dequeued(_ line: Line) {
        line.isQueued = false
        if line.isClosed { closedQueued -= 1 }
    }

    /// A queued line goes when its turn comes. While all are busy no turn comes, and requests that come and are cancelled
    /// would leave ever more of them: so once they are many and the most they are swept out.
    private mutating func close(_ line: Line) {
        lines.removeValue(forKey: line.host)
        line.isClosed = true
        guard line.isQueued else { return }
        closedQueued += 1
        if closedQueued > 64, closedQueued * 2 > turns.count + wantScout.count {
            turns.removeAll { $0.isClosed }
            wantScout.removeAll { $0.isClosed }
            closedQueued = 0
        }
    }

    private func hasRoom(_ line: Line) -> Bool {
        line.active < limits.perHost && (line.isWarm || line.scouts < limits.scoutsPerHost)
    }

    private mutating func offerTurn(_ line: Line) {
        guard !line.isQueued, line.first != nil, hasRoom(line) else { return }
        line.isQueued = true
        turns.append(line)
    }
}

/// First in, first out, without moving what stays at every step.
struct FIFO<Element> {
    private var items: [Element?] = []
    private var head = 0

    var count: Int { items.count - head }

    mutating func append(_ element: Element) { items.append(element) }

    mutating func removeAll(where isGone: (Element) -> Bool) {
        items = items[head...].filter { $0.map { !isGone($0) } ?? false }
        head = 0
    }

    mutating func popFirst() -> Element? {
        guard head < items.count else { return nil }
        defer {
            items[head] = nil
            head += 1
            if head == items.count {
                items.removeAll(keepingCapacity: items.capacity <= 1024)
                head = 0
            } else if head >= 64, head * 2 >= items.count {
                items.removeFirst(head)
                head = 0
            }
        }
        return items[head]
    }
}

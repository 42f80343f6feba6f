import FleetStore

/// A frame laid out for a terminal of one size: never more lines than it has, nor longer ones.
public struct Page: Sendable {
    public struct Size: Sendable, Equatable {
        public var columns, rows: Int

        public init(columns: Int, rows: Int) { (self.columns, self.rows) = (columns, rows) }

        /// Below it nothing sensible fits.
        static let least = Size(columns: 40, rows: 8)
    }

    public private(set) var lines: [StyledLine] = []
    /// The greatest offset that shows something more, and how many rows of the list are shown.
    public private(set) var offsetMax = 0
    public private(set) var listed = 0

    private let frame: FleetFrame
    private let state: TopState
    private let size: Size

    /// - Parameter clock: the time of day, as it is to be shown.
    public init(_ frame: FleetFrame, _ state: TopState, _ size: Size, clock: String) {
        (self.frame, self.state, self.size) = (frame, state, size)
        guard size.columns >= Size.least.columns, size.rows >= Size.least.rows else {
            let text = "gaia top needs \(Size.least.columns) columns and \(Size.least.rows) rows"
            lines = Columns.wrapped(text, width: max(1, size.columns)).prefix(max(0, size.rows)).map { StyledLine($0) }
            return
        }
        addHead(clock)
        switch state.view {
        case .overview: addOverview()
        case .queues: addList("QUEUES", queues, frame.queues.count)
        case .workers: addList("WORKERS", workers, frame.workers.count)
        case .alarms: addAlarms()
        case .help: lines += Self.help.map { StyledLine($0) }
        }
        lines = lines.prefix(size.rows - 1).map { $0.cut(to: size.columns) }
        while lines.count < size.rows - 1 { lines.append(StyledLine()) }
        lines.append(foot)
    }

    private var width: Int { size.columns }
    /// Rows that are left above the foot.
    private var left: Int { size.rows - 1 - lines.count }

    // MARK: Head and foot

    private mutating func addHead(_ clock: String) {
        var bar = StyledLine(" gaia top ", .inverse)
        for view in TopView.allCases where view != .help {
            bar.append(view == state.view ? "[\(view.title)]" : " \(view.title) ", .inverse)
        }
        lines.append(
            bar.with(right: StyledLine("\(clock) ", .inverse), in: width, .inverse).filled(to: width, .inverse))
        lines.append(leader)
        lines.append(figures)
    }

    private var leader: StyledLine {
        guard let glance = frame.glance else { return StyledLine("the ledger has not answered yet", .dim) }
        var line = StyledLine("leader ", .dim)
        if let leader = glance.leader {
            line.append(leader.name, .strong)
            line.append(", term \(leader.term), for \(Words.span(leader.sinceSeconds))")
        } else {
            line.append("none", .bad)
        }
        var right = StyledLine("workers ", .dim)
        right.append("\(Words.count(glance.workers))", .strong)
        right.append("  slots ", .dim)
        let present = frame.workers.filter { !$0.isGone }
        let (busy, slots) = (present.reduce(0) { $0 + $1.record.busy }, present.reduce(0) { $0 + $1.record.slots })
        right.append("\(Words.count(busy))/\(Words.count(slots))")
        return line.with(right: right, in: width)
    }

    private var figures: StyledLine {
        guard let glance = frame.glance else { return StyledLine() }
        var line = StyledLine("agenda ", .dim)
        line.append(Words.capped(glance.agenda))
        if glance.overdue > 0 {
            let isLate = glance.overdueSeconds >= AlarmBounds.overdueSeconds
            line.append(" (\(Words.capped(glance.overdue)) due)", isLate ? .bad : .plain)
        }
        if glance.held > 0 {
            line.append("  held ", .dim)
            line.append(Words.capped(glance.held))
        }
        line.append("  given up ", .dim)
        line.append(Words.capped(glance.dead), glance.dead > 0 ? .warning : .plain)
        line.append("  sessions ", .dim)
        line.append("\(glance.sessions)/\(glance.sessionsMax)")
        var right = StyledLine("jobs/s ", .dim)
        right.append(Words.rate(frame.ended), .strong)
        let room = width - line.width - right.width - 3
        if room >= 8 {
            right.append(" ")
            right.append(Words.curve(frame.curve, width: min(room, 60)), .good)
        }
        return line.with(right: right, in: width)
    }

    private var foot: StyledLine {
        let keys = state.view == .help ? "q quit  ? back" : "q quit  tab view  j/k scroll  ? help"
        var ages = StyledLine()
        for (name, age) in [("ledger", frame.ledgerAge), ("broker", frame.brokerAge)] {
            let isOld = (age ?? .infinity) > max(AlarmBounds.silentLooks * frame.interval, AlarmBounds.silentSeconds)
            if !ages.pieces.isEmpty { ages.append("  ") }
            ages.append("\(name) \(age.map { "\(Words.span($0)) ago" } ?? "never seen")", isOld ? .bad : .dim)
        }
        return StyledLine(keys, .dim).with(right: ages, in: width)
    }

    // MARK: Views

    private mutating func addOverview() {
        lines.append(StyledLine())
        let table = subsystems.lines(width: width)
        lines.append(table.head)
        // Something of alarms and workers is seen however many subsystems there are.
        let most = max(1, left - 7)
        lines += table.rows.prefix(most)
        if table.rows.count > most { lines.append(StyledLine("and \(table.rows.count - most) more", .dim)) }
        lines.append(StyledLine())

        let alarms = alarmLines
        let wanted = frame.workers.count + 2
        let share = max(left - wanted, left / 2)
        if alarms.count <= share {
            lines += alarms
        } else if share > 0 {
            lines += alarms.prefix(share - 1)
            lines.append(StyledLine("more of this with a", .dim))
        }
        if left > 2 {
            lines.append(StyledLine())
            addList("WORKERS", workers, frame.workers.count)
        }
    }

    private mutating func addAlarms() {
        lines.append(StyledLine())
        scroll(alarmLines, alarmLines.count)
    }

    /// A table whose rows scroll.
    private mutating func addList(_ title: String, _ grid: Grid, _ count: Int) {
        if state.view != .overview { lines.append(StyledLine()) }
        let table = grid.lines(width: width)
        lines.append(table.head)
        let top = lines.count - 1
        scroll(table.rows, count)
        if count > listed {
            let first = min(state.offset, offsetMax)
            let place = StyledLine("\(first + 1)–\(first + listed) of \(count)", .dim)
            // Of the head's words the last may go for it.
            lines[top] = lines[top].cut(to: max(0, width - place.width - 2)).with(right: place, in: width)
        }
        if count == 0 { lines.append(StyledLine("none", .dim)) }
    }

    private mutating func scroll(_ rows: [StyledLine], _ count: Int) {
        listed = min(count, max(0, left))
        offsetMax = count - listed
        let first = min(state.offset, offsetMax)
        lines += rows[first..<first + listed]
    }

    // MARK: Parts

    private var subsystems: Grid {
        Grid(
            columns: [
                .init("SUBSYSTEM", .left, least: 9), .init("READY"), .init("UNACK"), .init("CONS", rank: 6),
                .init("DONE/S"), .init("FAIL/S", rank: 1), .init("RETRY/S", rank: 2), .init("WAIT p50/95", rank: 5),
                .init("RUN p50/95", rank: 4),
            ],
            rows: frame.subsystems.map { row in
                let rates = row.rates
                let backlog = row.ready ?? 0
                let isAlone = row.consumers == 0 && backlog > 0
                // Some workers do not tell: it is so much at least.
                func rate(_ value: Double?) -> String {
                    (value != nil && (rates?.silent ?? 0) > 0 ? "≥" : "") + Words.rate(value)
                }
                return [
                    .init(row.isResting ? "\(row.name) ‖" : row.name, row.isResting ? .dim : .strong),
                    .init(Words.count(row.ready), backlog > 0 ? (isAlone ? .bad : .plain) : .dim),
                    .init(Words.count(row.unacknowledged), row.unacknowledged ?? 0 > 0 ? .plain : .dim),
                    .init(Words.count(row.consumers), isAlone ? .bad : .dim),
                    .init(rate(rates?.ended), rates?.ended ?? 0 > 0 ? .good : .dim),
                    .init(rate(rates?.failed), rates?.failed ?? 0 > 0 ? .bad : .dim),
                    .init(rate(rates?.retried), rates?.retried ?? 0 > 0 ? .warning : .dim),
                    .init(Words.quantiles(rates?.queued), rates?.queued.total ?? 0 > 0 ? .plain : .dim),
                    .init(Words.quantiles(rates?.run), rates?.run.total ?? 0 > 0 ? .plain : .dim),
                ]
            })
    }

    private var queues: Grid {
        Grid(
            columns: [
                .init("QUEUE", .left, least: 12), .init("READY"), .init("UNACK", rank: 1), .init("OLDEST", rank: 2),
                .init("CONSUMERS"), .init("", .left, rank: 3),
            ],
            rows: frame.queues.map { row in
                let queue = row.queue
                let isAlone = queue.consumers == 0 && queue.ready ?? 0 > 0 && queue.subsystem != nil
                return [
                    .init(queue.name),
                    .init(
                        queue.ready.map(Words.count) ?? "missing",
                        isAlone ? .bad : queue.ready ?? 0 > 0 ? .strong : .dim),
                    .init(Words.count(queue.unacknowledged), queue.unacknowledged ?? 0 > 0 ? .plain : .dim),
                    .init(
                        row.oldest.map { "~\(Words.latency($0))" } ?? Words.unknown, row.oldest == nil ? .dim : .plain),
                    .init(Words.count(queue.consumers), isAlone ? .bad : .plain),
                    .init(row.isResting ? "rests" : "", .dim),
                ]
            })
    }

    private var workers: Grid {
        // Whoever has not one notice needs no column for them.
        let hasNotices = frame.workers.contains { !$0.notices.isEmpty }
        let notice = hasNotices ? [Grid.Column("NOTICE", .left, rank: 8, least: 30)] : []
        return Grid(
            columns: [
                .init("WORKER", .left, least: 10), .init("HOST", .left, rank: 5, least: 8), .init("STATE", .left),
                .init("BUSY"), .init("", .left, rank: 7), .init("DONE/S", rank: 1), .init("LEASE"),
                .init("REPORT", rank: 4), .init("SERVES", .left, rank: 6, least: 20),
            ] + notice,
            rows: frame.workers.map { row in
                let cells = [Self.name(row), Self.host(row), Self.state(row)] + Self.load(row) + Self.lease(row)
                return cells + (hasNotices ? [Self.notice(row)] : [])
            })
    }

    private static func style(_ row: FleetFrame.WorkerRow) -> Style {
        row.hasLapsed ? .bad : row.isGone ? .dim : .plain
    }

    private static func name(_ row: FleetFrame.WorkerRow) -> Grid.Cell {
        .init(row.record.name, style(row) == .plain ? .strong : style(row))
    }

    private static func host(_ row: FleetFrame.WorkerRow) -> Grid.Cell {
        .init(row.record.host, style(row) == .plain ? .dim : style(row))
    }

    private static func state(_ row: FleetFrame.WorkerRow) -> Grid.Cell {
        if row.hasLapsed { return .init("silent", .bad) }
        if row.record.lostSeconds != nil { return .init("lost", .warning) }
        return .init(row.record.state, row.isGone ? .dim : row.record.state == "live" ? .good : .warning)
    }

    /// Busy slots, the same as a bar, and what comes of it.
    private static func load(_ row: FleetFrame.WorkerRow) -> [Grid.Cell] {
        if row.isGone { return [.init(Words.unknown, .dim), .init(""), .init(Words.unknown, .dim)] }
        let worker = row.record
        let isFull = worker.slots > 0 && worker.busy >= worker.slots
        return [
            .init("\(worker.busy)/\(worker.slots)", isFull ? .warning : style(row)),
            .init(bar(worker.busy, of: worker.slots), isFull ? .warning : .good),
            .init(Words.rate(row.ended), row.ended ?? 0 > 0 ? .plain : .dim),
        ]
    }

    /// What is left of the lease, the age of the report, and what it says of each subsystem.
    private static func lease(_ row: FleetFrame.WorkerRow) -> [Grid.Cell] {
        if row.isGone { return [.init(Words.unknown, .dim), .init(Words.unknown, .dim), .init("")] }
        let worker = row.record
        let seconds = Double(worker.leaseMilliseconds) / 1_000
        let serves =
            worker.load.isEmpty
            ? worker.subsystems.joined(separator: ", ")
            : worker.load.map { "\($0.name) \($0.busy)/\($0.slots)" }.joined(separator: ", ")
        return [
            .init(seconds > 0 ? Words.span(seconds) : "\(Words.span(-seconds)) over", style(row)),
            .init("\(Words.span(worker.now - worker.reported)) ago", .dim), .init(serves, .dim),
        ]
    }

    private static func notice(_ row: FleetFrame.WorkerRow) -> Grid.Cell {
        let more = row.notices.count > 1 ? " (and \(row.notices.count - 1) more)" : ""
        return .init((row.notices.first ?? "") + more, .warning)
    }

    private static let barWidth = 10

    private static func bar(_ done: Int, of total: Int) -> String {
        let filled = total > 0 ? min(barWidth, (barWidth * done + total - 1) / total) : 0
        return String(repeating: "█", count: filled) + String(repeating: "░", count: barWidth - filled)
    }

    private var alarmLines: [StyledLine] {
        if frame.alarms.isEmpty {
            let isSeen = frame.ledgerAge != nil && frame.brokerAge != nil
            return [StyledLine(isSeen ? "✓ nothing is amiss" : "looking …", isSeen ? .good : .dim)]
        }
        return frame.alarms.flatMap { alarm -> [StyledLine] in
            let (mark, style): (String, Style) =
                switch alarm.level {
                case .bad: ("✗ ", .bad)
                case .warning: ("! ", .warning)
                case .note: ("· ", .plain)
                }
            let words = Columns.wrapped(alarm.text, width: width - 2)
            var lines = words.enumerated().map { index, text in StyledLine((index == 0 ? mark : "  ") + text, style) }
            if alarm.remedy.isEmpty { return lines }
            // Beside the last line where there is room, below it where there is none.
            let remedy = " → \(alarm.remedy)"
            if let last = lines.last, last.width + Columns.width(remedy) <= width {
                lines[lines.count - 1].append(remedy, .dim)
            } else {
                lines += Columns.wrapped("→ \(alarm.remedy)", width: width - 2).map { StyledLine("  \($0)", .dim) }
            }
            return lines
        }
    }

    private static let help = [
        "", "o u w a, 1 2 3 4  overview, queues, workers, alarms; tab: the next",
        "j k, arrows       scroll; space, b, page keys by the page; g, G: first, last",
        "?                 this, and back",
        "q, Ctrl-C         quit", "",
        "‖       rests: gaia resume lets it go on",
        "READY   waits at the broker; UNACK: delivered to workers, not settled yet",
        "DONE/S  jobs that ended, for good or ill, FAIL/S given up, RETRY/S tried again:",
        "        a second, over the last ten, as the workers count; ≥: some do not tell",
        "WAIT    in the queue, RUN in the handler: half took no longer, and 95 in 100",
        "OLDEST  about how long the head of the queue has waited",
        "LEASE   how long a worker may still own jobs unless it renews",
        "SERVES  busy and all slots of each subsystem",
    ]
}

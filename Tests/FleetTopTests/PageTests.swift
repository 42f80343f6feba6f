import FleetStore
import Testing

@testable import FleetTop

@Suite("A frame on a terminal of any size")
struct PageTests {
    private func page(
        _ frame: FleetFrame, _ columns: Int = 80, _ rows: Int = 24, _ view: TopView = .overview, offset: Int = 0
    ) -> Page {
        var state = TopState()
        (state.view, state.offset) = (view, offset)
        return Page(frame, state, Page.Size(columns: columns, rows: rows), clock: "12:00:00")
    }

    private func text(_ page: Page) -> String { page.lines.map(\.text).joined(separator: "\n") }

    /// Two reports of each of so many workers, with everything that can be long.
    private func fleet(_ count: Int) -> FleetFrame {
        var history = History()
        var told = ledger([])
        for second in [0, 1] {
            told = ledger(
                (0..<count).map { number in
                    worker(
                        "worker-\(number)-\(String(repeating: "長", count: 20))", id: Int64(number),
                        host: "host.of.a.very.long.name.example.org", reported: 100 + Double(second),
                        load: [
                            tally(
                                "api", ended: second * 1_000_000, failed: second * 3, runs: [.milliseconds(70)],
                                notices: ["breaker \u{1B}[31m of é🙂 is open"]),
                            tally("a-subsystem-of-somebody-else", ended: 0),
                        ])
                })
            history.add(told, at: Double(second))
        }
        return frame(sight(told, at: 1), history, now: 1)
    }

    @Test("Of whatever is shown, no line is longer than the terminal, and there are exactly as many as it has")
    func fits() {
        for frame in [fleet(0), fleet(1), fleet(200), frame(Sight(known: ["api"], begun: 0))] {
            for view in TopView.allCases {
                for (columns, rows) in [(40, 8), (41, 24), (80, 24), (80, 8), (120, 40), (300, 100)] {
                    let page = page(frame, columns, rows, view)
                    #expect(page.lines.count == rows, "\(view) \(columns)x\(rows)")
                    for line in page.lines {
                        #expect(line.width <= columns, "\(view) \(columns)x\(rows): \(line.text)")
                        #expect(!line.text.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F })
                    }
                }
            }
        }
        #expect(text(page(fleet(1), 30, 5)).contains("needs 40"))
    }

    @Test("At 80 columns there are queues, rates, latencies, workers and the leader")
    func overview() {
        let shown = text(page(fleet(2)))
        for piece in [
            "leader dispatcher-1, term 4, for 90 s", "workers 2", "sessions 12/100", "jobs/s 2,000,000",
            "SUBSYSTEM", "1,204", "2,000,000", "WORKER", "worker-0-長長", "ledger 0 s ago",
        ] {
            #expect(shown.contains(piece), "\(piece) in\n\(shown)")
        }
    }

    @Test("Of more alarms than there is room for, the first are shown and it is said that there are more")
    func manyAlarms() {
        let notices = (0..<10).map { "something is amiss in \(Character(Unicode.Scalar(UInt8(97 + $0))))" }
        let told = frame(
            sight(
                ledger(
                    (1...30).map { worker("w\($0)", id: Int64($0), load: [tally("api", ended: 0, notices: notices)]) }))
        )
        let shown = text(page(told))
        #expect(shown.contains("in a") && !shown.contains("in j") && shown.contains("more of this with a"))
        #expect(text(page(told, 80, 24, .alarms)).contains("in j"))
    }

    @Test("What is not known is a dash, and no zero")
    func unknown() {
        let row = page(frame(sight(ledger([worker()])))).lines.first { $0.text.hasPrefix("api") }
        #expect(
            row?.text.split(separator: " ").map(String.init) == ["api", "1,204", "4", "2", "–", "–", "–", "–", "–"])
    }

    @Test("A fleet of nobody says so")
    func empty() {
        let shown = text(page(frame(sight(ledger([])))))
        #expect(shown.contains("There is no worker: no job runs. → start one: gaia worker"))
        #expect(shown.contains("\nnone"))
        #expect(text(page(frame(Sight(known: ["api"], begun: 0)))).contains("the ledger has not answered yet"))
    }

    @Test("A list that is longer than the terminal scrolls, and stops at its end")
    func scrolls() {
        let first = page(fleet(200), 80, 24, .workers)
        #expect(first.offsetMax + first.listed == 200)
        #expect(text(first).contains("1–\(first.listed) of 200"))
        let last = page(fleet(200), 80, 24, .workers, offset: 10_000)
        #expect(text(last).contains("of 200") && text(last).contains("\(first.offsetMax + 1)–200"))
        #expect(last.lines.count == 24)
        // In the overview too, below what is amiss.
        #expect(page(fleet(200)).listed > 3)
    }

    @Test("More room shows more columns")
    func wider() {
        let told = sight(ledger([worker("w", host: "machine-7")]))
        #expect(!text(page(frame(told), 50)).contains("machine-7"))
        #expect(text(page(frame(told), 120)).contains("machine-7"))
        #expect(text(page(frame(told), 120)).contains("api 3/20"))
    }

    @Test("A name that is too long is cut with …, by the columns that its characters take")
    func cut() {
        #expect(Columns.width("ab長é") == 5 && Columns.width("🙂") == 2 && Columns.width("e\u{301}") == 1)
        #expect(Columns.cut("長長長", to: 6) == "長長長")
        #expect(Columns.cut("長長長", to: 5) == "長長…" && Columns.cut("長長長", to: 4) == "長…")
        #expect(Columns.cut("abc", to: 0) == "" && Columns.cut("abc", to: 1) == "…")
        #expect(Columns.printable("a\u{1B}[2Jb\u{202E}c\n") == "a [2Jb c ")
        var line = StyledLine("abc")
        line.append("def", .bad)
        #expect(line.cut(to: 6).text == "abcdef" && line.cut(to: 5).text == "abcd…" && line.cut(to: 3).text == "ab…")
    }

    @Test("A lease that ran out is shown first, those that are gone last, else by name as people number them")
    func order() {
        let told = ledger([
            worker("a-10"), worker("a-9", id: 5), worker("b", id: 2, leaseSeconds: -7),
            worker("c", id: 3, state: "gone", lostSeconds: 9),
            worker("d", id: 4, state: "gone"),
        ])
        let rows = page(frame(sight(told)), 80, 24, .workers).lines.map(\.text)
        let start = rows.firstIndex { $0.hasPrefix("WORKER") } ?? 0
        let words = rows[(start + 1)...].prefix(5).map { $0.split(separator: " ").prefix(3).map(String.init) }
        #expect(words.map { $0[0] } == ["b", "a-9", "a-10", "c", "d"])
        #expect(words.map { $0[2] } == ["silent", "live", "live", "lost", "gone"])
    }

    @Test("Colours are an addition: without them the same words are there, and no code but bold and inverse")
    func colours() {
        let line = StyledLine("✗ amiss", .bad)
        #expect(Ink.text(line, hasColours: true) == "\u{1B}[1;31m✗ amiss\u{1B}[0m")
        #expect(Ink.text(line, hasColours: false) == "\u{1B}[1m✗ amiss\u{1B}[0m")
        #expect(Screen.hasColours(["TERM": "xterm-256color"]) && Screen.hasColours(["TERM": "screen", "NO_COLOR": ""]))
        #expect(!Screen.hasColours(["TERM": "xterm", "NO_COLOR": "1"]) && !Screen.hasColours(["TERM": "vt100"]))
    }

    @Test("Figures are short and say their units")
    func figures() {
        #expect(
            [0.0004, 0.012, 0.9997, 4.25, 45, 700, 90_000].map(Words.latency) == [
                "<1ms", "12ms", "1.0s", "4.3s", "45s", "11min", "25h",
            ])
        #expect([nil, 0, 9.96, 99.96, 12_345].map(Words.rate) == ["–", "0.0", "10.0", "100", "12,345"])
        #expect(Words.capped(9_999) == "9,999" && Words.capped(10_000) == "10,000+")
        #expect(Words.curve([0, 5, 10], width: 2) == "▅█" && Words.curve([0, 0], width: 9) == "▁▁")
    }
}

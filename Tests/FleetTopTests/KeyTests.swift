import FleetStore
import Testing

@testable import FleetTop

@Suite("Keys")
struct KeyTests {
    @Test("Letters and sequences are read, several at once, and what means nothing is passed over")
    func read() {
        #expect(TopKey.read(Array("jk\t?q".utf8)) == [.down, .up, .nextView, .help, .quit])
        #expect(
            TopKey.read(Array("\u{1B}[A\u{1B}OB\u{1B}[5~\u{1B}[6~\u{1B}[1;5Bz".utf8)) == [
                .up, .down, .pageUp, .pageDown, .down,
            ])
        #expect(TopKey.read(Array("u3a1".utf8)) == [.view(.queues), .view(.workers), .view(.alarms), .view(.overview)])
        #expect(TopKey.read([0x1B]) == [] && TopKey.read([0x1B, 0x5B]) == [] && TopKey.read([0xC3, 0xA4]) == [])
        #expect(TopKey.read(Array("\u{1B}[12".utf8)) == [])
    }

    @Test("Tab goes round the views, help comes and goes, and each view begins at its first row")
    func views() {
        var state = TopState()
        var seen: [TopView] = []
        for _ in 0..<4 {
            _ = state.press(.nextView, on: nil)
            seen.append(state.view)
        }
        #expect(seen == [.queues, .workers, .alarms, .overview])
        _ = state.press(.view(.workers), on: nil)
        state.offset = 5
        _ = state.press(.help, on: nil)
        #expect(state.view == .help && state.offset == 0)
        _ = state.press(.help, on: nil)
        #expect(state.view == .workers)
        let goesOn = state.press(.quit, on: nil)
        #expect(!goesOn)
    }

    @Test("Scrolling stays within the list")
    func scrolling() {
        let workers = (0..<50).map { worker("w\($0)", id: Int64($0)) }
        var state = TopState()
        state.view = .workers
        func page() -> Page {
            Page(frame(sight(ledger(workers))), state, Page.Size(columns: 80, rows: 24), clock: "")
        }
        _ = state.press(.up, on: page())
        #expect(state.offset == 0)
        _ = state.press(.down, on: page())
        #expect(state.offset == 1)
        _ = state.press(.pageDown, on: page())
        #expect(state.offset == page().listed)
        _ = state.press(.last, on: page())
        #expect(state.offset == page().offsetMax && page().offsetMax > 20)
        _ = state.press(.down, on: page())
        #expect(state.offset == page().offsetMax)
        _ = state.press(.first, on: page())
        #expect(state.offset == 0)
    }
}

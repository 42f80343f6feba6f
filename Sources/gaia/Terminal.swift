import Foundation
import Synchronization

/// Standard output and error as a person or a script reads them.
enum Terminal {
    static let isInteractive = isatty(STDERR_FILENO) == 1

    static func print(_ text: String) { write(text + "\n", to: .standardOutput) }

    static func error(_ text: String) {
        Progress.shared.clear()
        write(text + "\n", to: .standardError)
    }

    static func write(_ text: String, to handle: FileHandle) {
        // A reader that has gone away, as in `gaia types | head`, is no fault of ours and nothing is left to tell it.
        try? handle.write(contentsOf: Data(text.utf8))
    }

    /// A table with its columns aligned; numbers stand right.
    static func table(_ head: [String], _ rows: [[String]]) -> String {
        let widths = head.indices.map { column in
            ([head] + rows).map { $0[column].count }.max() ?? 0
        }
        let isNumeric = head.indices.map { column in
            !rows.isEmpty && rows.allSatisfy { Double($0[column].filter { $0 != "," && $0 != "%" }) != nil }
        }
        func line(_ cells: [String]) -> String {
            let padded = cells.indices.map { column in
                let space = String(repeating: " ", count: widths[column] - cells[column].count)
                return isNumeric[column] ? space + cells[column] : cells[column] + space
            }
            let text = padded.joined(separator: "  ")
            return String(text.reversed().drop { $0 == " " }.reversed())
        }
        return ([head.map { $0.uppercased() }] + rows).map(line).joined(separator: "\n")
    }

    static func grouped(_ number: Int) -> String {
        var text = ""
        for (index, digit) in String(number.magnitude).reversed().enumerated() {
            if index > 0, index % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return (number < 0 ? "-" : "") + String(text.reversed())
    }

    static func megabytes(_ bytes: Int) -> String { String(format: "%.1f MB", Double(bytes) / 1e6) }

    static func seconds(_ duration: Duration) -> String { String(format: "%.1f s", duration.inSecondsValue) }

    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}

extension Duration {
    fileprivate var inSecondsValue: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}

/// One line on standard error that is rewritten in place; where there is no terminal, a line every few seconds.
final class Progress: Sendable {
    static let shared = Progress()

    private struct State {
        var isShown = false
        var lastPlain: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private static let plainInterval: Duration = .seconds(2)

    func show(_ text: String) {
        if Terminal.isInteractive {
            state.withLock { $0.isShown = true }
            Terminal.write("\r\u{1B}[2K\(text)", to: .standardError)
            return
        }
        let isDue = state.withLock { state in
            if let last = state.lastPlain, ContinuousClock.now - last < Self.plainInterval { return false }
            state.lastPlain = .now
            return true
        }
        if isDue { Terminal.write(text + "\n", to: .standardError) }
    }

    /// Takes the line away, so that what is printed next stands at its beginning.
    func clear() {
        let wasShown = state.withLock { state in
            defer { state = State() }
            return state.isShown
        }
        if wasShown { Terminal.write("\r\u{1B}[2K", to: .standardError) }
    }

    /// A bar of `width` characters, filled to `done` of `total`.
    static func bar(_ done: Int, of total: Int, width: Int = 24) -> String {
        let filled = total > 0 ? min(width, width * done / total) : 0
        return String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
    }
}

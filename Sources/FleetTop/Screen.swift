import Foundation
import Synchronization

/// The terminal, while it is ours: another screen than the shell's, no echo, no cursor. Whatever happens in between, ``close()``
/// gives it back as it was.
public final class Screen: Sendable {
    /// Why there can be no screen.
    public struct Refusal: Error, CustomStringConvertible {
        public let description: String
    }

    private struct State {
        var isOpen = true
        /// What stands on each line; empty when nothing is known of it.
        var shown: [String] = []
    }

    private let before: termios
    private let hasColours: Bool
    private let state = Mutex(State())

    /// Takes the terminal.
    ///
    /// - Throws: ``Refusal`` where there is none, or none that can do it.
    public init(environment: [String: String]) throws {
        let refused =
            "gaia top draws on a terminal; gaia status tells the same to a script, gaia top --once prints one picture"
        guard isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1 else { throw Refusal(description: refused) }
        let kind = environment["TERM"] ?? ""
        guard !["", "dumb", "unknown"].contains(kind) else {
            throw Refusal(description: "a terminal of the kind '\(kind)' (TERM) cannot be drawn on; \(refused)")
        }
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else {
            throw Refusal(description: "the terminal's settings cannot be read: \(String(cString: strerror(errno)))")
        }
        before = settings
        // Ctrl-C stays a signal, as it is also what others send; to stop it and to dump core would leave the terminal so.
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO | IEXTEN)
        settings.c_iflag &= ~tcflag_t(IXON | ICRNL)
        withUnsafeMutableBytes(of: &settings.c_cc) { characters in
            characters[Int(VMIN)] = 1
            characters[Int(VTIME)] = 0
            characters[Int(VSUSP)] = 0
            characters[Int(VQUIT)] = 0
        }
        guard tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings) == 0 else {
            throw Refusal(description: "the terminal cannot be set: \(String(cString: strerror(errno)))")
        }
        hasColours = Self.hasColours(environment)
        Self.write(Self.enter)
    }

    deinit { close() }

    static func hasColours(_ environment: [String: String]) -> Bool {
        // https://no-color.org: present and not empty.
        if !(environment["NO_COLOR"] ?? "").isEmpty { return false }
        let kind = environment["TERM"] ?? ""
        return !kind.hasPrefix("vt") && !kind.hasSuffix("-mono") && !kind.hasSuffix("-m")
    }

    private static let escape = "\u{1B}["
    /// The alternate screen, cleared; the cursor hidden; no wrapping at the right edge.
    private static let enter = "\(escape)?1049h\(escape)2J\(escape)?25l\(escape)?7l"
    private static let leave = "\(escape)0m\(escape)?7h\(escape)?25h\(escape)?1049l"

    /// Gives the terminal back. Once is enough.
    public func close() {
        let wasOpen = state.withLock { state in
            defer { state.isOpen = false }
            return state.isOpen
        }
        guard wasOpen else { return }
        Self.write(Self.leave)
        var settings = before
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
    }

    /// As it is now; what most terminals have when it does not say.
    public static var size: Page.Size {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
            return Page.Size(columns: 80, rows: 24)
        }
        return Page.Size(columns: Int(size.ws_col), rows: Int(size.ws_row))
    }

    /// Has all lines drawn anew: after a resize, or when somebody else has written.
    public func forget() { state.withLock { $0.shown = [] } }

    /// Draws what differs from what stands there, in one write, which a terminal that can shows at once.
    public func draw(_ page: Page) {
        let text = state.withLock { state -> String? in
            guard state.isOpen else { return nil }
            let lines = page.lines.map { Ink.text($0, hasColours: hasColours) }
            var text = state.shown.count == lines.count ? "" : "\(Self.escape)2J"
            let known = state.shown.count == lines.count ? state.shown : []
            for (row, line) in lines.enumerated() where !known.indices.contains(row) || known[row] != line {
                // Cleared before: behind a line that fills the terminal the cursor stands on its last character, which would go.
                text += "\(Self.escape)\(row + 1);1H\(Self.escape)K\(line)"
            }
            state.shown = lines
            return text.isEmpty ? nil : "\(Self.escape)?2026h\(text)\(Self.escape)?2026l"
        }
        if let text { Self.write(text) }
    }

    /// A terminal that is gone takes nothing any more; its signal or the end of its input ends us.
    private static func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return }
            bytes = bytes.dropFirst(count)
        }
    }
}

/// Styles as a terminal is told them.
enum Ink {
    static func text(_ line: StyledLine, hasColours: Bool) -> String {
        line.pieces.map { piece in
            let code = code(piece.style, hasColours)
            return code.isEmpty ? piece.text : "\u{1B}[\(code)m\(piece.text)\u{1B}[0m"
        }.joined()
    }

    private static func code(_ style: Style, _ hasColours: Bool) -> String {
        switch style {
        case .plain: ""
        case .strong: "1"
        case .dim: hasColours ? "2" : ""
        case .good: hasColours ? "32" : ""
        case .warning: hasColours ? "33" : ""
        case .bad: hasColours ? "1;31" : "1"
        case .inverse: "7"
        }
    }
}

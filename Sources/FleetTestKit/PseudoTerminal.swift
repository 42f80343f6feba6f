import FleetStack
import Foundation
import Synchronization
import TestPatience

/// A terminal without glass: a program runs on it in the foreground of a shell, and what would be seen can be read.
///
/// The shell prints the terminal's settings before and after, and then how the program ended: what a person would find who
/// goes on typing.
public final class PseudoTerminal: Sendable {
    /// TIOCSPTLCK and TIOCGPTN of ioctl_tty(2), which Swift's view of glibc lacks.
    private static let (unlock, getNumber): (UInt, UInt) = (0x4004_5431, 0x8004_5430)

    private let master: Int32
    private let shell: ChildProcess
    private let processFile: String
    private let picture: Mutex<TerminalPicture>

    /// Runs `gaia` with these arguments for as long as `body` takes.
    public static func use<Value>(
        _ arguments: [String], environment: [String: String], columns: Int = 80, rows: Int = 24,
        isolation: isolated (any Actor)? = #isolation, _ body: (PseudoTerminal) async throws -> Value
    ) async throws -> Value {
        let terminal = try PseudoTerminal(arguments, environment, columns, rows)
        let result: Result<Value, any Error>
        do { result = .success(try await body(terminal)) } catch { result = .failure(error) }
        // What still runs on it hears of its shell's end by SIGHUP.
        try terminal.shell.signal(SIGKILL)
        _ = await terminal.shell.exitStatus()
        close(terminal.master)
        return try result.get()
    }

    private init(_ arguments: [String], _ environment: [String: String], _ columns: Int, _ rows: Int) throws {
        master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var (unlocked, number): (Int32, Int32) = (0, 0)
        guard master >= 0, ioctl(master, Self.unlock, &unlocked) == 0, ioctl(master, Self.getNumber, &number) == 0,
            fcntl(master, F_SETFL, O_NONBLOCK) == 0
        else { throw StackError(.system(errno: errno), "There is no terminal to be had.") }
        picture = Mutex(TerminalPicture(columns: columns, rows: rows))
        processFile = temporaryDirectory("terminal")
        var clean = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("GAIA_") && $0.key != "NO_COLOR" }
        clean.merge(environment) { $1 }
        clean.merge(["TERM": "xterm-256color", "TTY": "/dev/pts/\(number)", "PROCESS_FILE": processFile]) { $1 }
        var size = winsize(ws_row: UInt16(rows), ws_col: UInt16(columns), ws_xpixel: 0, ws_ypixel: 0)
        _ = ioctl(master, UInt(TIOCSWINSZ), &size)
        let script = #"""
            exec <"$TTY" >"$TTY" 2>&1
            stty -g
            bash -c 'echo $$ >"$PROCESS_FILE"; exec "$@"' gaia "$@"
            status=$?
            stty -g
            echo "ended $status"
            read
            """#
        shell = try ChildProcess.start(
            executable: "bash", arguments: ["-c", script, "bash", try Program.gaia] + arguments, environment: clean,
            output: .null, ownSession: true)
    }

    /// What stands on it now, without blanks at the ends of lines.
    public var lines: [String] {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        return picture.withLock { picture in
            while true {
                let count = read(master, &bytes, bytes.count)
                if count <= 0 { return picture.lines }
                picture.take(bytes[..<count])
            }
        }
    }

    public var text: String { lines.joined(separator: "\n") }

    /// Whether the cursor is seen.
    public var hasCursor: Bool { picture.withLock { $0.hasCursor } }

    /// The words of the first line that begins so.
    public func row(_ beginning: String) -> [String]? {
        lines.first { $0.hasPrefix(beginning) }?.split(separator: " ").map(String.init)
    }

    public func type(_ keys: String) throws {
        let bytes = Array(keys.utf8)
        guard write(master, bytes, bytes.count) == bytes.count else {
            throw StackError(.system(errno: errno), "The terminal takes no keys.")
        }
    }

    /// As when its window is dragged: the program hears of it by SIGWINCH.
    public func resize(columns: Int, rows: Int) {
        _ = lines
        picture.withLock { $0.resize(columns: columns, rows: rows) }
        var size = winsize(ws_row: UInt16(rows), ws_col: UInt16(columns), ws_xpixel: 0, ws_ypixel: 0)
        _ = ioctl(master, UInt(TIOCSWINSZ), &size)
    }

    public func signal(_ number: Int32) throws {
        let text = try String(contentsOfFile: processFile, encoding: .utf8).trimmingCharacters(
            in: .whitespacesAndNewlines)
        guard let process = pid_t(text), kill(process, number) == 0 else {
            throw StackError(.system(errno: errno), "There is no process '\(text)' to be signalled.")
        }
    }

    /// Waits until it shows something; the failure tells what it showed instead.
    public func wait(for what: String, _ isShown: (PseudoTerminal) -> Bool) async throws {
        do { try await eventually(what) { isShown(self) } } catch {
            throw NotInTime("\(error); the terminal shows:\n\(text)")
        }
    }

    /// Waits until the program has ended.
    ///
    /// - Returns: its exit status, and whether the terminal is as it was before: its settings, its cursor, and the shell's own
    ///   screen.
    public func end() async throws -> (status: Int?, isRestored: Bool) {
        try await wait(for: "the program to end") { $0.lines.contains { $0.hasPrefix("ended ") } }
        let lines = lines.filter { !$0.isEmpty }
        let status = lines.last.flatMap { Int($0.dropFirst("ended ".count)) }
        return (status, lines.count == 3 && lines[0] == lines[1] && hasCursor)
    }
}

/// What stands on a terminal after the bytes it got, as far as our programs go: no more sequences are known than they use.
struct TerminalPicture {
    private var rows: [[Character]]
    /// The shell's own screen, while another is shown.
    private var behind: [[Character]]?
    private var (row, column) = (0, 0)
    /// The last column is taken: the cursor stays there, and what comes next would be on the next line.
    private var isPastEnd = false
    private var pending: [UInt8] = []
    private(set) var hasCursor = true

    init(columns: Int, rows: Int) {
        self.rows = Array(repeating: Array(repeating: " ", count: columns), count: rows)
    }

    var lines: [String] { rows.map { String(String($0).reversed().drop { $0 == " " }.reversed()) } }

    mutating func resize(columns: Int, rows count: Int) {
        rows = Array(repeating: Array(repeating: " ", count: columns), count: count)
        behind = behind.map { behind in
            behind.map { Array(($0 + Array(repeating: " ", count: columns)).prefix(columns)) }
        }
    }

    mutating func take(_ bytes: ArraySlice<UInt8>) {
        pending += bytes
        while let first = pending.first {
            let count: Int
            switch first {
            case 0x1B:
                // ESC [ parameters, then a letter.
                guard let end = pending.dropFirst(2).firstIndex(where: { (0x40...0x7E).contains($0) }) else { return }
                obey(String(decoding: pending[2..<end], as: UTF8.self), Character(Unicode.Scalar(pending[end])))
                count = end + 1
            case 0x0D: (column, isPastEnd, count) = (0, false, 1)
            case 0x0A: (row, isPastEnd, count) = (min(row + 1, rows.count - 1), false, 1)
            case ..<0x20: count = 1
            default:
                count = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
                guard pending.count >= count else { return }
                put(Character(String(decoding: pending[..<count], as: UTF8.self)))
            }
            pending.removeFirst(count)
        }
    }

    private mutating func put(_ character: Character) {
        guard rows.indices.contains(row), rows[row].indices.contains(column), !isPastEnd else { return }
        rows[row][column] = character
        isPastEnd = column + 1 == rows[row].count
        if !isPastEnd { column += 1 }
    }

    private mutating func obey(_ parameters: String, _ letter: Character) {
        let numbers = parameters.split(separator: ";").compactMap { Int($0) }
        switch (letter, parameters) {
        case ("h", "?1049"):
            behind = rows
            clear()
        case ("l", "?1049"):
            if let behind { rows = behind }
            behind = nil
            // Below what the shell had printed.
            row = rows.lastIndex { $0.contains { $0 != " " } }.map { $0 + 1 } ?? 0
            (column, isPastEnd) = (0, false)
        case ("h", "?25"): hasCursor = true
        case ("l", "?25"): hasCursor = false
        case ("J", "2"): clear()
        case ("H", _):
            (row, column) = ((numbers.first ?? 1) - 1, (numbers.dropFirst().first ?? 1) - 1)
            isPastEnd = false
        case ("K", _):
            guard rows.indices.contains(row) else { return }
            for index in rows[row].indices where index >= column { rows[row][index] = " " }
        default: break
        }
    }

    private mutating func clear() {
        for index in rows.indices { rows[index] = rows[index].map { _ in " " } }
    }
}

import FleetStack
import Foundation
import Glibc
import ProcessKeeper
import Synchronization

/// Programs that the tests run. The tricks are built beside the tests themselves.
enum Tricks {
    static let program = Result { try ExecutableFile(path: try path("process-tricks")) }

    static func path(_ name: String) throws -> String {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(filePath: own).deletingLastPathComponent().appending(path: name).path
    }

    /// A word by which the processes of one test are known.
    static func mark() -> String { "mark-\(UUID().uuidString)" }

    /// A command that plays a trick.
    static func command(_ trick: String, _ mark: String, _ number: Int = 0) throws -> ProcessCommand {
        ProcessCommand(try program.get(), [trick, mark, "\(number)"], timeout: .seconds(30), grace: .milliseconds(500))
    }

    /// A command of the system.
    static func command(_ path: String, _ arguments: [String] = []) throws -> ProcessCommand {
        ProcessCommand(try ExecutableFile(path: path), arguments, timeout: .seconds(30))
    }

    /// The processes that have a mark among their arguments and are no zombies.
    static func survivors(_ mark: String) -> [Int32] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.filter { process in
            // A zombie has no arguments any more.
            guard let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") else { return false }
            return String(decoding: line, as: UTF8.self).split(separator: "\0").contains { $0 == mark }
        }
    }

    /// The names of the shared libraries that a process has in its memory.
    static func libraries(of process: Int32) throws -> Set<String> {
        // Foundation would read the first page alone of a file that says it has no bytes.
        guard let maps = fopen("/proc/\(process)/maps", "re") else { throw POSIXError(.ESRCH) }
        defer { fclose(maps) }
        var names: Set<String> = []
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, maps) > 0, let line {
            let path = String(cString: line).dropLast()
            if let name = path.split(separator: "/").last, name.contains(".so") { names.insert(String(name)) }
        }
        return names
    }

    /// Asks until no process has the mark; those that are left after the limit.
    static func survivors(
        _ mark: String, besides other: Int32? = nil, after limit: Duration
    ) async throws -> [Int32] {
        let deadline = ContinuousClock.now + limit
        while true {
            let left = survivors(mark).filter { $0 != other }
            if left.isEmpty || ContinuousClock.now >= deadline { return left }
            // Another process's death tells nobody but its parent: /proc has to be asked again.
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}

extension ProcessKeeper {
    /// Runs `body` with a keeper that is closed at its end.
    static func with<Value>(_ body: (ProcessKeeper) async throws -> Value) async throws -> Value {
        let keeper = ProcessKeeper()
        let result: Result<Value, any Error>
        do { result = .success(try await body(keeper)) } catch { result = .failure(error) }
        await keeper.close()
        return try result.get()
    }
}

extension ProcessKeeper {
    /// Why a command did not run; nil when it did.
    func refusal(of command: ProcessCommand) async throws -> ProcessError.Reason? {
        do {
            _ = try await run(command)
            return nil
        } catch let error as ProcessError {
            return error.reason
        }
    }

    /// Whether it still does its work.
    func runsOthers() async throws -> Bool { try await run(try Tricks.command("/bin/true")).status == .exited(0) }
}

extension ProcessEnd {
    var text: String { String(decoding: output.bytes, as: UTF8.self) }
    var errorText: String { String(decoding: error.bytes, as: UTF8.self) }
}

/// Something that happens once, and who waits for it.
final class Occasion: Sendable {
    private enum State {
        case open
        case awaited(CheckedContinuation<Void, Never>)
        case over
    }

    private let state = Mutex(State.open)

    func happen() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            defer { state = .over }
            guard case .awaited(let waiter) = state else { return nil }
            return waiter
        }
        waiter?.resume()
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if case .over = state { return true }
                state = .awaited(continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
    }
}

import FoundationEssentials
import Glibc
import Synchronization

/// The processes that make up one server, and the file in its directory that remembers them.
///
/// The file is what lets another command, or this one after a crash, find them again and be sure of them.
final class ServerProcesses: Sendable {
    let directory: StateDirectory
    private let members: Mutex<[ProcessIdentity]>

    /// Takes over what the file names, if there is one.
    init(_ directory: StateDirectory) throws {
        self.directory = directory
        guard directory.exists(Self.fileName) else {
            members = Mutex([])
            return
        }
        let text = try readText(directory.file(Self.fileName))
        do {
            members = Mutex(try JSONDecoder().decode([ProcessIdentity].self, from: Data(text.utf8)))
        } catch {
            throw StackError(.directory, "\(directory.file(Self.fileName)) is damaged, remove it: \(error)")
        }
    }

    subscript(name: String) -> ProcessIdentity? { members.withLock { $0.first { $0.name == name } } }

    func isAlive(_ name: String) -> Bool { self[name]?.isAlive ?? false }

    /// Starts a member in a session of its own and remembers it. Its output goes to the end of `log`.
    func start(
        _ name: String,
        _ description: ChildDescription,
        log: String
    ) throws -> ChildProcess {
        let child = try ChildProcess.start(description, output: .file(log))
        do {
            // As our child it keeps its id until we have collected it, however soon it ends.
            guard let identity = ProcessIdentity(name: name, processID: child.processID) else {
                throw StackError(.startFailed, "\(name) ended as soon as it had started. \(tail(of: log))")
            }
            try remember(identity)
            return child
        } catch {
            try child.signal(SIGKILL)
            throw error
        }
    }

    func signal(_ name: String, _ number: Int32) throws {
        guard let identity = self[name], try identity.signal(number) else {
            throw StackError(.notRunning, "\(name) does not run in \(directory.path).")
        }
    }

    /// Returns when the member stands still.
    func pause(_ name: String) async throws {
        guard let identity = self[name], try await identity.pause() else {
            throw StackError(.notRunning, "\(name) does not run in \(directory.path).")
        }
    }

    /// Ends a member by the first signal that does it within its time; being killed always does.
    func end(_ name: String, by steps: [(signal: Int32, limit: Duration)]) async throws {
        guard let identity = self[name] else { return }
        let killing: [(signal: Int32, limit: Duration)] = [(SIGKILL, .seconds(10))]
        for step in steps + killing {
            try identity.signal(step.signal)
            // One that has been paused would not hear the other.
            try identity.signal(SIGCONT)
            if try await offPool({ try identity.awaitEnd(within: step.limit) }) { return }
        }
        throw StackError(.deadline, "\(name) (process \(identity.processID)) does not end, even though it was killed.")
    }

    /// Sees the server's last processes out: those that end by themselves once their parent has gone are given a
    /// moment, then killed.
    func endStragglers(grace: Duration = .seconds(5)) async throws {
        let path = directory.path
        for limit in [grace, .seconds(10)] {
            let gone: Bool? = try await polling(within: limit) { serverProcesses(under: path).isEmpty ? true : nil }
            if gone != nil { return }
            for identity in serverProcesses(under: path) { try identity.signal(SIGKILL) }
        }
        let names = serverProcesses(under: path).map { "\($0.name) (\($0.processID))" }
        guard names.isEmpty else {
            throw StackError(.deadline, "Still running in \(path): \(names.joined(separator: ", ")).")
        }
    }

    /// Waits until nobody listens on these ports any more.
    func awaitFree(_ ports: [UInt16]) async throws {
        let free: Bool? = try await polling(within: .seconds(5)) { ports.allSatisfy(Ports.isFree) ? true : nil }
        guard free == nil, let taken = ports.first(where: { !Ports.isFree($0) }) else { return }
        throw StackError(
            .portTaken(taken),
            "Port \(taken) is still in use after the server in \(directory.path) ended."
        )
    }

    func forgetAll() throws {
        members.withLock { $0 = [] }
        guard unlink(directory.file(Self.fileName)) == 0 || errno == ENOENT else {
            throw systemError("Cannot remove \(directory.file(Self.fileName))")
        }
    }

    private func remember(_ identity: ProcessIdentity) throws {
        let members = members.withLock { members in
            members.removeAll { $0.name == identity.name }
            members.append(identity)
            return members
        }
        try writeFile(directory.file(Self.fileName), try encoded(members), mode: 0o644)
    }

    private static let fileName = "processes.json"
}

/// A value as readable JSON.
func encoded(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    do {
        return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
    } catch {
        throw StackError(.startFailed, "Cannot encode \(type(of: value)): \(error)")
    }
}

/// Reads back what ``encoded(_:)`` wrote.
func decoded<Value: Decodable>(_ type: Value.Type, from path: String) throws -> Value {
    let text = try readText(path)
    do {
        return try JSONDecoder().decode(type, from: Data(text.utf8))
    } catch {
        throw StackError(.directory, "\(path) is damaged: \(error)")
    }
}

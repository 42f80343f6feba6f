import CSpawn
import FoundationEssentials
import Glibc

/// A process beyond doubt: its id, when it started, and in which run of the system. An id alone is used again.
struct ProcessIdentity: Sendable, Hashable, Codable {
    let name: String
    let processID: Int32
    /// Clock ticks since the system booted, field 22 of /proc/PID/stat.
    let startTime: UInt64
    let bootID: String

    /// The process that has this id now; nil when there is none.
    init?(name: String, processID: Int32) {
        guard let entry = ProcessEntry(processID), let boot = Self.currentBootID() else { return nil }
        self.name = name
        self.processID = processID
        startTime = entry.startTime
        bootID = boot
    }

    /// Whether this very process lives still. One that has ended and waits for its parent counts as ended.
    var isAlive: Bool {
        guard let entry = ProcessEntry(processID), isThis(entry) else { return false }
        return entry.state != "Z" && entry.state != "X"
    }

    private func isThis(_ entry: ProcessEntry) -> Bool {
        entry.startTime == startTime && bootID == Self.currentBootID()
    }

    /// Sends a signal, to this process or to none: false when it has ended.
    @discardableResult
    func signal(_ number: Int32) throws -> Bool {
        try withDescriptor { descriptor in
            guard let descriptor, isAlive else { return false }
            if gaia_pidfd_send_signal(descriptor, number) == 0 { return true }
            guard errno == ESRCH else {
                throw StackError(
                    .system(errno: errno),
                    "Cannot send signal \(number) to \(name) (process \(processID)): \(errorText(errno))."
                )
            }
            return false
        }
    }

    /// Stops it (SIGSTOP), and returns when it stands still: false when it has ended.
    @discardableResult
    func pause() async throws -> Bool {
        guard try signal(SIGSTOP) else { return false }
        return try await awaitStandstill(of: processID, name) { isAlive }
    }

    /// Blocks until the process has ended; false when it has not within the limit.
    func awaitEnd(within limit: Duration) throws -> Bool {
        try withDescriptor { descriptor in
            guard let descriptor else { return true }
            let deadline = ContinuousClock.now + limit
            while true {
                var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                let count = poll(&entry, 1, (deadline - .now).pollMilliseconds)
                if count > 0 { return true }
                if count == 0 { return false }
                guard errno == EINTR else {
                    throw StackError(.system(errno: errno), "Cannot wait for \(name): \(errorText(errno)).")
                }
            }
        }
    }

    /// The order is what makes it safe: the descriptor binds to whoever has the id now, and only then is it asked
    /// whether that is the process meant. Once it is, the descriptor can mean no other.
    private func withDescriptor<Value>(_ body: (Int32?) throws -> Value) throws -> Value {
        let descriptor = gaia_pidfd_open(processID)
        guard descriptor >= 0 else {
            if errno == ESRCH { return try body(nil) }
            throw StackError(.system(errno: errno), "Cannot open process \(processID): \(errorText(errno)).")
        }
        defer { close(descriptor) }
        // One whose first thread has ended (a zombie by its state) may have others that still hold its sockets; only the
        // descriptor knows when the last is gone.
        guard let entry = ProcessEntry(processID), isThis(entry) else { return try body(nil) }
        return try body(descriptor)
    }

    private static func currentBootID() -> String? {
        guard let text = try? readText("/proc/sys/kernel/random/boot_id") else { return nil }
        return text.filter { !$0.isWhitespace }
    }
}

/// A stop is on its way for a moment after the call that sends it: threads on other cores go on until it gets there.
///
/// - Returns: false when the process has ended instead.
func awaitStandstill(of processID: Int32, _ name: String, isAlive: () -> Bool) async throws -> Bool {
    let isStill = try await polling(within: .seconds(30), every: .milliseconds(1)) { () -> Bool? in
        guard isAlive() else { return false }
        let states = ProcessEntry.threadStates(processID)
        return !states.isEmpty && states.allSatisfy { $0 == "T" } ? true : nil
    }
    guard let isStill else {
        throw StackError(.deadline, "\(name) (process \(processID)) was told to stand still, and goes on.")
    }
    return isStill
}

/// What /proc tells of a process.
struct ProcessEntry: Sendable {
    let processID: Int32
    let state: Character
    let parentID: Int32
    let startTime: UInt64

    init?(_ processID: Int32) {
        let fields = Self.fields("/proc/\(processID)/stat")
        guard fields.count > 19, let state = fields[0].first, let parent = Int32(fields[1]),
            let start = UInt64(fields[19])
        else { return nil }
        self.processID = processID
        self.state = state
        parentID = parent
        startTime = start
    }

    /// The program's file name; nil when the process has gone or is another user's.
    var program: String? { Self.link("/proc/\(processID)/exe").map { String($0.split(separator: "/").last ?? "") } }

    /// The working directory, under the same conditions.
    var directory: String? { Self.link("/proc/\(processID)/cwd") }

    /// The state of each of its threads: none when it has gone.
    static func threadStates(_ processID: Int32) -> [Character] {
        let directory = "/proc/\(processID)/task"
        let threads = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return threads.compactMap { fields("\(directory)/\($0)/stat").first?.first }
    }

    /// What follows the name, from the third field on: none when the process has gone.
    private static func fields(_ path: String) -> [Substring] {
        // Absence is the answer here, not an error: the process may end between any two looks.
        guard let text = try? readText(path) else { return [] }
        // The name may itself contain blanks and parentheses, so count from the last one.
        guard let end = text.lastIndex(of: ")") else { return [] }
        return text[text.index(after: end)...].split(separator: " ")
    }

    /// All processes that this one may see.
    static func all() -> [ProcessEntry] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc") else { return [] }
        return names.compactMap { Int32($0) }.compactMap { ProcessEntry($0) }
    }

    private static func link(_ path: String) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: path)
    }
}

/// Servers of a directory that run, found without any record: programs of RabbitMQ, Erlang or PostgreSQL whose working
/// directory lies in it. A person's shell standing there is none of these.
func serverProcesses(under directory: String) -> [ProcessIdentity] {
    let programs: Set<String> = ["beam.smp", "erl_child_setup", "inet_gethost", "epmd", "postgres"]
    let root = resolvedPath(directory)
    return ProcessEntry.all().compactMap { entry in
        guard entry.state != "Z", let place = entry.directory, place == root || place.hasPrefix(root + "/"),
            let program = entry.program, programs.contains(program)
        else { return nil }
        return ProcessIdentity(name: program, processID: entry.processID)
    }
}

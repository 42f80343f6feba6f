import FoundationEssentials
import Glibc

/// A PostgreSQL cluster of our own, with one database `gaia` in it.
///
/// As durable as one in production: fsync is on, and a commit waits for it.
public final class PrivateDatabase: Sendable {
    public struct Options: Sendable {
        /// Where all its files live; made when absent. One that was used before is started again with its data.
        public var directory: String
        /// Lines of postgresql.conf, which win over ours. Text values carry their own quotes.
        public var settings: [String: String]
        /// Whether it stays when this process ends.
        public var detached: Bool
        /// Where packages are installed.
        public var prefix: String
        /// How long it may take to serve; recovery after a kill counts.
        public var startLimit: Duration
        /// A place of its own for the log of commits, in small segments; beside the data when nil. Counts when the cluster
        /// is made.
        public var logDirectory: String?

        public init(
            directory: String,
            settings: [String: String] = [:],
            detached: Bool = false,
            prefix: String = "/usr",
            startLimit: Duration = .seconds(120),
            logDirectory: String? = nil
        ) {
            self.logDirectory = logDirectory
            self.directory = directory
            self.settings = settings
            self.detached = detached
            self.prefix = prefix
            self.startLimit = startLimit
        }
    }

    let layout: DatabaseLayout
    let processes: ServerProcesses
    private let options: Options

    private init(layout: DatabaseLayout, processes: ServerProcesses, options: Options) {
        self.layout = layout
        self.processes = processes
        self.options = options
    }

    /// Starts a cluster, or attaches to the one that runs in this directory already. It serves when this returns.
    ///
    /// - Throws: ``StackError``, with the end of the log when the server did not come up.
    public static func start(_ options: Options) async throws -> PrivateDatabase {
        let package = try DatabasePackage.locate(prefix: options.prefix)
        let account = try Account.forServer("postgres", package: "postgresql")
        let directory = try StateDirectory(options.directory)
        try directory.claim(for: account)
        return try await directory.withLock(within: options.startLimit) {
            let processes = try ServerProcesses(directory)
            guard directory.exists(DatabaseRecord.fileName) else {
                return try await startAnew(directory, package, account, processes, options)
            }
            if processes.isAlive(DatabaseLayout.server) {
                let database = try load(directory: directory.path)
                try await database.awaitReady(nil)
                return database
            }
            let former = try decoded(DatabaseRecord.self, from: directory.file(DatabaseRecord.fileName))
            let layout = DatabaseLayout(directory, package, account, DatabaseRecord(options, keeping: former))
            let database = PrivateDatabase(layout: layout, processes: processes, options: options)
            try await database.boot()
            return database
        }
    }

    /// Attaches to a cluster that runs already.
    ///
    /// - Throws: ``StackError`` of kind `notRunning` when none does.
    public static func attach(directory path: String) throws -> PrivateDatabase {
        let database = try load(directory: path)
        guard database.isRunning else {
            throw StackError(.notRunning, "No database runs in \(path): start one with `gaia stack up`.")
        }
        return database
    }

    /// The cluster of a directory, whether or not it runs.
    static func load(directory path: String) throws -> PrivateDatabase {
        let directory = try StateDirectory(path)
        guard directory.exists(DatabaseRecord.fileName) else {
            throw StackError(.notRunning, "There is no database in \(path): start one with `gaia stack up`.")
        }
        let record = try decoded(DatabaseRecord.self, from: directory.file(DatabaseRecord.fileName))
        let package = try DatabasePackage.locate(prefix: record.prefix)
        let account = try Account.forServer("postgres", package: "postgresql")
        return PrivateDatabase(
            layout: DatabaseLayout(directory, package, account, record),
            processes: try ServerProcesses(directory),
            options: Options(
                directory: directory.path,
                settings: record.settings,
                detached: record.detached,
                prefix: record.prefix
            )
        )
    }

    // MARK: Addresses

    /// As user `gaia`, a superuser, to the database `gaia`.
    public var url: String { url(database: Self.database) }

    /// The user of all the addresses.
    public static let user = "gaia"

    /// The database that is there from the start.
    public static let database = "gaia"

    /// Chosen at random when the directory was made.
    public var password: String { layout.record.password }

    /// The process id of the server's first process; 0 when it does not run.
    public var processID: Int32 { processes[DatabaseLayout.server].flatMap { $0.isAlive ? $0.processID : nil } ?? 0 }

    public var isRunning: Bool { processes.isAlive(DatabaseLayout.server) }

    /// The server's log.
    public var logFile: String { layout.log }

    private func url(database: String) -> String {
        let name = ManagementAPI.escaped(database)
        return "postgres://\(Self.user):\(password)@127.0.0.1:\(layout.record.port)/\(name)"
    }

    // MARK: Administration

    /// Makes a database and returns its URL.
    public func createDatabase(_ name: String) async throws -> String {
        _ = try await psql("create database \(Self.quoted(name))", database: "postgres")
        return url(database: name)
    }

    /// Drops a database and closes the connections to it.
    public func dropDatabase(_ name: String) async throws {
        _ = try await psql("drop database if exists \(Self.quoted(name)) with (force)", database: "postgres")
    }

    /// Runs SQL and returns its rows alone: a line each, columns apart by `|`.
    public func psql(_ sql: String, database: String = "gaia") async throws -> String {
        try await layout.psql(sql, database: database).run()
    }

    private static func quoted(_ name: String) -> String {
        "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }

    // MARK: Life

    /// Ends all sessions and shuts down in order; when this returns no process of it is left and its port is free.
    public func stop() async throws { try await stop(by: [(SIGINT, .seconds(40)), (SIGQUIT, .seconds(10))]) }

    /// Ends without a checkpoint (SIGQUIT), so that the next start recovers from the log.
    public func stopImmediately() async throws { try await stop(by: [(SIGQUIT, .seconds(20))]) }

    /// Stops and starts on the same port and data.
    public func restart() async throws {
        try await stop()
        try await startAgain()
    }

    /// Kills all of the server's processes (SIGKILL) and waits the moment until the first is gone.
    public func kill() throws {
        // The first goes first: it would otherwise take the loss of a child for a crash and begin to recover.
        let children = self.children
        try processes.signal(DatabaseLayout.server, SIGKILL)
        for child in children { try child.signal(SIGKILL) }
        _ = try processes[DatabaseLayout.server]?.awaitEnd(within: .seconds(10))
    }

    /// Starts again on the same port and data, after ``kill()``, ``stop()`` or ``stopImmediately()``.
    public func startAgain() async throws {
        try await layout.directory.withLock(within: options.startLimit) {
            guard !isRunning else { return }
            try await boot()
        }
    }

    /// Stops the clock of all its processes (SIGSTOP), and returns when they stand still: connections stay open and nothing
    /// answers.
    public func pause() async throws {
        // The first goes first, so that no child is added after they have been listed.
        try await processes.pause(DatabaseLayout.server)
        for child in children { try await child.pause() }
    }

    /// Lets a paused server go on.
    public func resume() throws {
        for child in children { try child.signal(SIGCONT) }
        try processes.signal(DatabaseLayout.server, SIGCONT)
    }

    private var children: [ProcessIdentity] {
        guard let server = processes[DatabaseLayout.server], server.isAlive else { return [] }
        return ProcessEntry.all().filter { $0.parentID == server.processID }.compactMap {
            ProcessIdentity(name: "postgres", processID: $0.processID)
        }
    }

    private func stop(by steps: [(signal: Int32, limit: Duration)]) async throws {
        try await layout.directory.withLock(within: .seconds(120)) {
            if isRunning { try resume() }
            try await processes.end(DatabaseLayout.server, by: steps)
            try await processes.endStragglers()
            try await processes.awaitFree([layout.record.port])
            try processes.forgetAll()
        }
    }
}

// MARK: - Starting

extension PrivateDatabase {
    /// Starts in a directory that held nothing; see ``PrivateBroker`` for why ports are tried more than once.
    private static func startAnew(
        _ directory: StateDirectory,
        _ package: DatabasePackage,
        _ account: Account?,
        _ processes: ServerProcesses,
        _ options: Options
    ) async throws -> PrivateDatabase {
        // The cluster keeps the password of its first making, also when a start after that fails.
        let password = randomPassword()
        var attemptsLeft = 5
        while true {
            attemptsLeft -= 1
            var ports = try Ports(count: 1)
            let record = DatabaseRecord(options, port: ports.numbers[0], password: password)
            let layout = DatabaseLayout(directory, package, account, record)
            let database = PrivateDatabase(layout: layout, processes: processes, options: options)
            try await layout.makeCluster(logDirectory: options.logDirectory)
            ports.release()
            do {
                try await database.boot()
                return database
            } catch {
                unlink(directory.file(DatabaseRecord.fileName))
                guard attemptsLeft > 0, !Ports.isFree(record.port) else { throw error }
            }
        }
    }

    private func boot() async throws {
        // Of a server that was killed: its last processes hold its memory until they have ended.
        try await processes.endStragglers()
        let record = layout.record
        try writeFile(layout.directory.file(DatabaseRecord.fileName), try encoded(record), mode: 0o600)
        guard Ports.isFree(record.port) else {
            throw StackError(
                .portTaken(record.port),
                "Port \(record.port) of the database in \(layout.directory.path) is in use by another process."
            )
        }
        try layout.write(options)
        // No server runs here, as was seen just now. The files of one that was killed say otherwise as long as nobody
        // has collected its process, and in a container perhaps nobody ever does.
        layout.removeStaleLock()
        do {
            let command = layout.serverCommand
            let child = try processes.start(
                DatabaseLayout.server,
                ChildDescription(
                    executable: command.executable,
                    arguments: command.arguments,
                    environment: command.environment,
                    directory: command.directory,
                    // Ctrl-C is for us to turn into an orderly end.
                    ownSession: true,
                    // Has the server end its children too, and at once, as a kill of its first process alone would
                    // leave to each of them.
                    parentDeathSignal: options.detached ? 0 : SIGQUIT,
                    account: command.account
                ),
                log: layout.log
            )
            try await awaitReady(child)
            try await makeDatabase()
        } catch {
            try await processes.end(DatabaseLayout.server, by: [(SIGQUIT, .seconds(10))])
            throw error
        }
    }

    private func makeDatabase() async throws {
        let name = Self.database
        let found = try await psql("select 1 from pg_database where datname = '\(name)'", database: "postgres")
        if found.isEmpty { _ = try await createDatabase(name) }
    }

    private func awaitReady(_ child: ChildProcess?) async throws {
        let port = layout.record.port
        let ready: Bool? = try await polling(within: options.startLimit) {
            guard child?.isRunning ?? isRunning else { return false }
            let serves = try await offPool {
                Probe.servesPostgres(port, user: Self.user, database: "postgres", limit: .seconds(2))
            }
            return serves ? true : nil
        }
        switch ready {
        case true?:
            return
        case false?:
            throw StackError(.startFailed, "The database ended before it was ready. \(tail(of: layout.log))")
        case nil:
            let limit = options.startLimit
            throw StackError(.deadline, "The database was not ready within \(limit). \(tail(of: layout.log))")
        }
    }
}

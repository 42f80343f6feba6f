import FoundationEssentials
import Glibc

/// What a database's directory remembers between starts.
struct DatabaseRecord: Sendable, Codable {
    static let fileName = "database.json"

    let port: UInt16
    let password: String
    let settings: [String: String]
    let detached: Bool
    let prefix: String

    init(_ options: PrivateDatabase.Options, port: UInt16, password: String) {
        self.port = port
        self.password = password
        settings = options.settings
        detached = options.detached
        prefix = options.prefix
    }

    /// The same place with other options.
    init(_ options: PrivateDatabase.Options, keeping record: DatabaseRecord) {
        self.init(options, port: record.port, password: record.password)
    }
}

/// Where a database's files are and how its programs are called.
///
/// ```
/// database.json  processes.json  postgresql.conf  output.log    ours
/// data/  socket/                                                the server's
/// ```
struct DatabaseLayout: Sendable {
    static let server = "server"

    let directory: StateDirectory
    let package: DatabasePackage
    let account: Account?
    let record: DatabaseRecord

    init(_ directory: StateDirectory, _ package: DatabasePackage, _ account: Account?, _ record: DatabaseRecord) {
        self.directory = directory
        self.package = package
        self.account = account
        self.record = record
    }

    var log: String { directory.file("output.log") }

    private var data: String { directory.file("data") }
    private var socket: String { directory.file("socket") }
    private var configuration: String { directory.file("postgresql.conf") }

    /// Makes a cluster in which the user `gaia` has the recorded password; one left half made is made again.
    ///
    /// - Parameter logDirectory: see ``PrivateDatabase/Options/logDirectory``.
    func makeCluster(logDirectory: String?) async throws {
        let passwordFile = directory.file("password")
        try StateDirectory(data).remove()
        try makeDirectory(data, mode: 0o700, owner: account)
        try writeFile(passwordFile, record.password, mode: 0o600, owner: account)
        defer { unlink(passwordFile) }
        var log: [String] = []
        if let logDirectory {
            let place = "\(logDirectory)/pg_wal"
            try StateDirectory(place).remove()
            try makeDirectory(place, mode: 0o700, owner: account)
            log = ["--waldir", place, "--wal-segsize", "1"]
        }
        _ = try await command(
            "\(package.binaries)/initdb",
            [
                "--pgdata", data, "--username", PrivateDatabase.user, "--pwfile", passwordFile,
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8",
            ] + log
        ).run()
    }

    /// Writes the configuration: all of it, the one that initdb made is not read.
    func write(_ options: PrivateDatabase.Options) throws {
        try makeDirectory(socket, mode: 0o755, owner: account)
        // A socket's path has room for 107 bytes; where that is too few, TCP has to do.
        let fits = "\(socket)/.s.PGSQL.\(record.port)".utf8.count <= 107
        var lines = [
            "listen_addresses": "'127.0.0.1'",
            "port": "\(record.port)",
            "unix_socket_directories": fits ? "'\(socket)'" : "''",
            "max_connections": "1000",
            "shared_buffers": "256MB",
            // Rare checkpoints, spread out, keep the disk free for the log of commits.
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            "checkpoint_completion_target": "0.9",
            "wal_buffers": "16MB",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "log_destination": "'stderr'",
            "logging_collector": "off",
            "log_line_prefix": "'%m [%p] %q%a '",
            "log_lock_waits": "on",
        ]
        lines.merge(options.settings) { $1 }
        let text = lines.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)\n" }.joined()
        try writeFile(configuration, text, mode: 0o644)
    }

    /// Removes what a server that was killed left to say that it runs.
    func removeStaleLock() {
        let name = "\(socket)/.s.PGSQL.\(record.port)"
        for path in ["\(data)/postmaster.pid", name, "\(name).lock"] { unlink(path) }
    }

    // MARK: Commands

    var serverCommand: Command {
        command("\(package.binaries)/postgres", ["-D", data, "-c", "config_file=\(configuration)"])
    }

    func psql(_ sql: String, database: String) -> Command {
        var command = command(
            package.psql,
            ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1"]
                + ["--host", "127.0.0.1", "--port", "\(record.port)", "--username", PrivateDatabase.user]
                + ["--dbname", database, "--command", sql]
        )
        // Not among the arguments, which every user may read.
        command.environment["PGPASSWORD"] = record.password
        return command
    }

    private func command(_ executable: String, _ arguments: [String]) -> Command {
        Command(
            executable: executable,
            arguments: arguments,
            environment: Command.plainEnvironment,
            // Its own: the server goes there anyway, and what we look for when we look for what is left of it.
            directory: data,
            account: account
        )
    }
}

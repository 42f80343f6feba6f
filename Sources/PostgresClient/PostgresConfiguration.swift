import CPostgres
import Glibc

/// How often to try again: a random time between zero and a ceiling that doubles with each failure ("full jitter"), so
/// that a fleet does not come back all at once.
public struct PostgresBackoff: Sendable, Hashable {
    public var initial: Duration
    public var max: Duration

    public init(initial: Duration = .milliseconds(100), max: Duration = .seconds(10)) {
        self.initial = initial
        self.max = max
    }

    /// The longest wait after `failures` failures in a row (from 1).
    package func ceiling(failures: Int) -> Duration {
        var ceiling = initial
        for _ in 1..<Swift.max(1, failures) where ceiling < max { ceiling *= 2 }
        return Swift.min(ceiling, max)
    }
}

/// Where the database is and how long to wait for what.
///
/// The URL is libpq's, so TLS, several hosts and everything else libpq knows are given there. The password is kept out of
/// descriptions and errors.
public struct PostgresConfiguration: Sendable {
    /// Shown in `pg_stat_activity`.
    public var applicationName: String
    /// Connections a pool keeps.
    public var poolSize = 4
    /// For one host: name lookup, TCP, TLS and authentication.
    public var connectTimeout: Duration = .seconds(5)
    /// `statement_timeout` on the server; zero for none, which also takes away the client's own deadline.
    public var statementTimeout: Duration = .seconds(30)
    /// `lock_timeout` on the server; zero for none.
    public var lockTimeout: Duration = .seconds(10)
    /// How long a caller waits for a connection.
    public var acquireTimeout: Duration = .seconds(30)
    /// How much later than the statement timeout an answer may come before the server counts as gone.
    public var answerMargin: Duration = .seconds(5)
    /// How long a cancelled statement may take to end before its connection is cut.
    public var cancelTimeout: Duration = .seconds(5)
    /// How long closing waits for what is running before it cuts it off.
    public var closeTimeout: Duration = .seconds(5)
    public var backoff = PostgresBackoff()
    /// Further settings of each session, such as `plan_cache_mode`. Names and values as in postgresql.conf, without blanks.
    public var sessionSettings: [String: String] = [:]
    /// Callers that may wait for a connection at once; more are refused with ``PostgresError/Kind/acquireTimeout``.
    public var maxWaiters = 10_000
    /// Units one session may have under way at once.
    public var maxUnitsInFlight = 8
    /// Prepared statements a connection keeps.
    public var maxPreparedStatements = 512
    /// How long a listener's or dedicated connection may be quiet before it is asked for a sign of life.
    public var probeInterval: Duration = .seconds(10)
    /// Notifications a listener keeps for a slow reader.
    public var maxBufferedNotifications = 1024

    /// One set of libpq keywords per host, tried in turn.
    let hosts: [[String: String]]

    /// - Parameter password: taken instead of the URL's own, as it is: nothing in it is percent-encoded.
    /// - Throws: ``PostgresError/Kind/invalidConfiguration`` saying what is wrong, without the password.
    public init(url: String, password: String? = nil) throws(PostgresError) {
        var keywords = try Self.parse(url)
        if let password { keywords["password"] = password }
        applicationName = keywords["application_name"] ?? "gaia"
        hosts = try Self.splitHosts(keywords)
    }

    private static func parse(_ url: String) throws(PostgresError) -> [String: String] {
        guard url.hasPrefix("postgres://") || url.hasPrefix("postgresql://") else {
            throw PostgresError(
                kind: .invalidConfiguration,
                message:
                    "the database URL must start with postgres:// or postgresql://, as in postgres://user:password@host/name"
            )
        }
        var problem: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(url, &problem) else {
            let text = problem.map { String(cString: $0) } ?? "out of memory"
            PQfreemem(problem)
            throw PostgresError(
                kind: .invalidConfiguration, message: "the database URL cannot be read: \(withoutQuotations(text))")
        }
        defer { PQconninfoFree(options) }
        var keywords: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { keywords[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return keywords
    }

    /// libpq quotes the part of the URL it stumbled over, and that part may be the password.
    private static func withoutQuotations(_ text: String) -> String {
        let line = text.split(separator: "\n").first.map(String.init) ?? text
        guard let first = line.firstIndex(of: "\""), let last = line.lastIndex(of: "\"") else { return line }
        return line[..<first] + "(not shown)" + line[line.index(after: last)...]
    }

    /// libpq tries hosts in turn by itself, but only its blocking call gives each its own timeout; so they are told apart
    /// here and tried one by one.
    private static func splitHosts(_ keywords: [String: String]) throws(PostgresError) -> [[String: String]] {
        func parts(_ keyword: String) -> [String] {
            guard let value = keywords[keyword], !value.isEmpty else { return [] }
            return value.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        let (names, addresses, ports) = (parts("host"), parts("hostaddr"), parts("port"))
        let count = max(names.count, addresses.count, 1)
        guard names.isEmpty || names.count == count, addresses.isEmpty || addresses.count == count,
            ports.count <= 1 || ports.count == count
        else {
            throw PostgresError(
                kind: .invalidConfiguration,
                message: "the database URL names \(count) hosts but another number of ports")
        }
        for port in ports where !port.isEmpty && !(Int(port).map { (1...65_535).contains($0) } ?? false) {
            throw PostgresError(
                kind: .invalidConfiguration, message: "a port in the database URL is not a number from 1 to 65535",
                hint: "escape : / @ in the password as %3A %2F %40")
        }
        return (0..<count).map { index in
            var one = keywords
            if !names.isEmpty { one["host"] = names[index] }
            if !addresses.isEmpty { one["hostaddr"] = addresses[index] }
            if !ports.isEmpty { one["port"] = ports[ports.count == 1 ? 0 : index] }
            return one
        }
    }

    /// What is handed to libpq for one host.
    func keywords(host: [String: String]) -> [String: String] {
        var keywords = host
        keywords["application_name"] = applicationName
        keywords["client_encoding"] = "UTF8"
        var options = keywords["options"].map { $0 + " " } ?? ""
        options += "-c statement_timeout=\(statementTimeout.wholeMilliseconds) "
        options += "-c lock_timeout=\(lockTimeout.wholeMilliseconds)"
        for (name, value) in sessionSettings.sorted(by: { $0.key < $1.key }) { options += " -c \(name)=\(value)" }
        keywords["options"] = options
        // A peer that vanished without a word is noticed in about half a minute, unless the URL says otherwise.
        for (keyword, value) in [
            "keepalives": "1", "keepalives_idle": "15", "keepalives_interval": "5", "keepalives_count": "3",
            "tcp_user_timeout": "30000",
        ] where keywords[keyword] == nil {
            keywords[keyword] = value
        }
        return keywords
    }

    /// How long a unit may stay without any answer; nil for ever.
    var answerTimeout: Duration? { statementTimeout > .zero ? statementTimeout + answerMargin : nil }

    /// Where to, for the log: no user, no password.
    package var target: String {
        hosts.map { host in
            "\(host["host"] ?? host["hostaddr"] ?? "local socket"):\(host["port"] ?? "5432")/\(host["dbname"] ?? "")"
        }.joined(separator: ",")
    }
}

extension PostgresConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "PostgresConfiguration(\(target), \(poolSize) connections)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["target": target]) }
}

extension Duration {
    var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1000 + attoseconds / 1_000_000_000_000_000
    }

    var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max / 4 : scaled + attoseconds / 1_000_000_000
    }
}

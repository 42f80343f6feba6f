/// One setting: the only place that knows its key, its variable, its default and its bounds.
public struct Setting: Sendable {
    public enum Kind: Sendable, Equatable {
        case text
        case number(ClosedRange<Int>)
        case choice([String])
        /// A part of the whole, from 0 to 1.
        case ratio
        /// Subsystem names, separated by commas; a list in YAML.
        case names
    }

    /// The dotted path in the file.
    public let key: String
    public let kind: Kind
    public let fallback: String?
    public let summary: String

    /// The environment variable: `GAIA_` and the key in capitals, dots as underscores.
    public var variable: String { Self.variable(of: key) }

    public static func variable(of key: String) -> String {
        "GAIA_" + key.uppercased().map { $0 == "." || $0 == "-" ? "_" : String($0) }.joined()
    }

    /// A setting that exists once for each subsystem; the key ends where the subsystem's name begins.
    public static let slotsPrefix = "worker.slots."

    public static let all: [Setting] = [
        Setting("amqp.url", .text, nil, "the broker: amqp://user:password@host:port/vhost, several hosts with commas"),
        Setting(
            "amqp.password_file", .text, nil, "a file that holds the broker's password, instead of the one in amqp.url"),
        Setting(
            "management.url", .text, nil,
            "RabbitMQ's management plugin, for gaia doctor and gaia top: http://user:password@host:15672; user and password of amqp.url "
                + "when it names none"),
        Setting("database.url", .text, nil, "the database: postgres://user:password@host:port/name"),
        Setting(
            "database.password_file", .text, nil,
            "a file that holds the database's password, instead of the one in database.url"),
        Setting("database.pool_size", .number(1...100), "4", "connections to the database per process"),
        Setting(
            "start.wait_ms", .number(0...3_600_000), "60000",
            "how long to wait at the start for broker and database"),
        Setting(
            "worker.name", .text, nil, "how this worker is called in tables and logs; host and process id otherwise"),
        Setting("worker.subsystems", .names, "", "the subsystems to serve; all that have handlers when empty"),
        Setting(
            "worker.slots.default", .number(1...10_000), "200",
            "how many jobs of one subsystem run at once; worker.slots.NAME for one of them"),
        Setting(
            "worker.lend_slots", .choice(["true", "false"]), "true",
            "whether a subsystem whose jobs wait may use slots that others of the same worker do not need"),
        Setting(
            "worker.lease_ms", .number(1_000...3_600_000), "30000",
            "how long a worker that cannot renew its lease still owns its jobs"),
        Setting(
            "worker.drain_ms", .number(0...3_600_000), "25000",
            "how long running jobs may go on after SIGTERM before they are handed back"),
        Setting(
            "worker.slow_ms", .number(1...86_400_000), "10000",
            "after how long a job with a subject was slow for whom it was done, of which an event tells"),
        Setting(
            "dispatcher.poll_ms", .number(10...60_000), "200", "how often the agenda and the workers are looked at"),
        Setting(
            "dispatcher.grace_ms", .number(0...60_000), "1000",
            "how long a worker may be without its liveness lock before its jobs are given to others"),
        Setting(
            "retention.succeeded_hours", .number(1...876_000), "168",
            "how long jobs that succeeded or were called off are kept, and their keys known"),
        Setting(
            "retention.discarded_hours", .number(1...876_000), "720", "how long jobs that were given up are kept"),
        Setting("limits.payload_bytes", .number(1...16_777_216), "1048576", "the largest payload taken"),
        Setting("limits.output_bytes", .number(1...16_777_216), "1048576", "the largest output stored"),
        Setting("api.connections", .number(1...10_000), "1000", "HTTP connections of a worker in all"),
        Setting("api.connections_per_host", .number(1...10_000), "256", "HTTP connections of a worker to one host"),
        Setting(
            "api.response_bytes", .number(0...16_777_216), "262144", "the largest response body kept in a result"),
        Setting(
            "api.file_bytes", .number(0...1_099_511_627_776), "1073741824", "the largest response body put into a file"),
        Setting(
            "api.batch_bytes", .number(0...16_777_216), "524288",
            "what the response bodies in the result of one batch may come to"),
        Setting(
            "api.allow", .text, nil,
            "addresses, ranges (10.0.0.0/8) and host names that calls may reach though not public, with commas"),
        Setting("api.ca_file", .text, nil, "a PEM file of the authorities to trust instead of the system's"),
        Setting(
            "api.verify_tls", .choice(["true", "false"]), "true",
            "whether servers must prove who they are; false only in a network of your own"),
        Setting(
            "api.breaker_percent", .number(0...100), "50",
            "how many of a hundred calls to a host must fail for it to be left alone; 0 for never"),
        Setting("api.breaker_calls", .number(1...100_000), "20", "with fewer calls in the window nothing is concluded"),
        Setting("api.breaker_window_ms", .number(100...600_000), "10000", "how far back calls count"),
        Setting("api.breaker_cool_down_ms", .number(100...3_600_000), "5000", "how long a host is left alone"),
        Setting(
            "api.breaker_probes", .number(1...1_000), "3",
            "how many calls must succeed after that before all go out again"),
        Setting(
            "file.roots", .text, nil,
            "directories that jobs may use, as data=/srv/data,templates=/srv/templates:ro; file jobs are not served without"
        ),
        Setting(
            "file.follow_symlinks", .choice(["true", "false"]), "false",
            "whether symbolic links that stay beneath their root are followed"),
        Setting(
            "file.hard_links", .choice(["true", "false"]), "false",
            "whether files with several names may be read and appended to"),
        Setting("file.threads", .number(1...256), "8", "threads for file operations"),
        Setting("file.parse_threads", .number(1...64), "2", "threads for parsing documents"),
        Setting("file.read_bytes", .number(1...16_777_216), "262144", "the most bytes of a file that a result holds"),
        Setting(
            "file.bytes", .number(1...1_099_511_627_776), "68719476736", "the largest file copied or appended to"),
        Setting("file.document_bytes", .number(1...1_099_511_627_776), "17179869184", "the largest document parsed"),
        Setting(
            "file.selection_bytes", .number(1...16_777_216), "262144",
            "the most bytes of a document that a result holds"),
        Setting("file.document_depth", .number(1...10_000), "128", "how deep documents may nest"),
        Setting("file.entries", .number(1...100_000), "1000", "entries in one page of a listing"),
        Setting(
            "file.entries_examined", .number(1...100_000_000), "100000",
            "entries that one job looks at, to list or to delete"),
        Setting("file.depth", .number(1...1_000), "32", "how deep a listing or a deletion goes"),
        Setting(
            "file.sync", .choice(["true", "false"]), "true",
            "whether what is written outlasts a loss of power before its job is done"),
        Setting(
            "browser.executable", .text, nil,
            "Chromium's own file; that of Debian's packages if absent. Browser jobs are not served where there is none"),
        Setting("browser.user", .text, "nobody", "whom browsers run as when the worker is root"),
        Setting(
            "browser.sandbox", .choice(["required", "off"]), "required",
            "whether pages must be in Chromium's sandbox; off only on a machine that is a sandbox itself"),
        Setting("browser.instances", .number(1...100), "4", "browsers of a worker at once"),
        Setting("browser.tabs", .number(1...10_000), "64", "tabs of a worker at once, those kept ready included"),
        Setting("browser.tabs_per_instance", .number(1...10_000), "32", "tabs at once in one browser"),
        Setting("browser.warm_tabs", .number(0...1_000), "4", "tabs kept ready for the next jobs"),
        Setting(
            "browser.leases_per_instance", .number(1...1_000_000), "1000",
            "after so many jobs a browser is replaced"),
        Setting(
            "browser.instance_bytes", .number(67_108_864...1_099_511_627_776), "2147483648",
            "a browser with more memory takes no more jobs; with twice as much it is ended"),
        Setting("browser.instance_age_s", .number(1...604_800), "21600", "an older browser takes no more jobs"),
        Setting("browser.waiting", .number(1...100_000), "1000", "jobs that may wait for a tab; more are postponed"),
        Setting(
            "browser.lease_wait_ms", .number(0...300_000), "30000",
            "how long a job waits in its slot for a tab before it is postponed"),
        Setting(
            "browser.extensions", .text, nil,
            "directories of unpacked extensions, absolute paths with commas; they need the full Chromium"),
        Setting("browser.profile_parent", .text, "/tmp", "where profiles are made, for as long as a browser runs"),
        Setting(
            "browser.allow", .text, nil,
            "addresses, ranges (10.0.0.0/8) and host names that pages may reach though not public, with commas"),
        Setting(
            "browser.egress_bytes", .number(1...1_099_511_627_776), "1073741824",
            "what the page of one job may send and receive"),
        Setting(
            "browser.inline_bytes", .number(1...4_194_304), "131072",
            "the longest text, HTML or value in a result; longer texts go into files"),
        Setting(
            "browser.file_bytes", .number(1...1_099_511_627_776), "268435456",
            "the largest file that a page is made into, downloads or uploads"),
        Setting("browser.downloads", .number(1...1_000), "20", "files that one job may download"),
        Setting(
            "network.nameservers", .text, nil,
            "name servers for network jobs, as 192.0.2.1 or 192.0.2.1:53, with commas; those of /etc/resolv.conf if absent"
        ),
        Setting(
            "network.name_try_ms", .number(10...60_000), "2000", "how long one try with one name server may take"),
        Setting("network.name_tries", .number(1...20), "3", "tries for one question, over all name servers"),
        Setting("network.cache_answers", .number(1...10_000_000), "10000", "answers of name servers that are kept"),
        Setting(
            "network.cache_bytes", .number(4_096...4_294_967_296), "16777216",
            "about how many bytes they may take"),
        Setting(
            "network.ttl_min_s", .number(0...86_400), "0",
            "the least time that an answer is kept whatever its TTL says, unless that is 0"),
        Setting("network.ttl_max_s", .number(1...604_800), "86400", "the longest that an answer is kept"),
        Setting(
            "network.negative_ttl_max_s", .number(1...604_800), "3600",
            "the longest that it is kept that a name has no answer"),
        Setting(
            "network.connections", .number(1...100_000), "1000", "probes and downloads of a worker at once"),
        Setting(
            "network.waiting", .number(1...1_000_000), "10000",
            "probes and downloads of a worker that may wait for a connection; more are postponed"),
        Setting(
            "network.limit_wait_ms", .number(0...300_000), "30000",
            "how long a job waits in its slot for room in a limit of the fleet's before it is postponed"),
        Setting(
            "network.allow", .text, nil,
            "addresses, ranges (10.0.0.0/8) and host names that probes and downloads may reach though not public, with commas"
        ),
        Setting(
            "network.ca_file", .text, nil, "a PEM file of the authorities to trust instead of the system's"),
        Setting(
            "network.download_bytes", .number(1...1_099_511_627_776), "10737418240", "the largest file downloaded"),
        Setting(
            "network.idle_ms", .number(100...600_000), "30000",
            "the longest that a server sends nothing during a download"),
        Setting(
            "network.fruitless_tries", .number(0...100), "3",
            "how often in a row a download is tried again in one attempt without a byte more"),
        Setting(
            "network.partial_hours", .number(1...8_760), "48",
            "how long the part of a download is kept that nobody goes on with"),
        Setting(
            "process.executables", .text, nil,
            "programs that jobs may run, absolute paths with commas; process jobs are not served without"),
        Setting(
            "process.variables", .text, nil, "environment variables that jobs may set, names with commas"),
        Setting(
            "process.user", .text, "nobody",
            "whom programs run as when the worker is root; root for the worker itself"),
        Setting("process.timeout_ms", .number(1...86_400_000), "3600000", "the longest that a program may run"),
        Setting("process.grace_ms", .number(0...600_000), "60000", "the longest from SIGTERM to SIGKILL"),
        Setting(
            "process.output_bytes", .number(0...16_777_216), "65536",
            "bytes kept of a program's standard output, and of its standard error"),
        Setting(
            "process.memory_bytes", .number(1_048_576...1_099_511_627_776), "1073741824",
            "resident memory of all processes of a job"),
        Setting(
            "process.address_bytes", .number(1_048_576...17_592_186_044_416), "4294967296",
            "address space of each process"),
        Setting("process.cpu_seconds", .number(1...864_000), "3600", "processor time of each process"),
        Setting(
            "process.file_bytes", .number(1...1_099_511_627_776), "1073741824", "the largest file that a program writes"
        ),
        Setting("process.open_files", .number(8...65_536), "256", "descriptors of each process"),
        Setting("process.processes", .number(1...10_000), "64", "processes of a job at once"),
        Setting(
            "process.user_processes", .number(16...1_000_000), "1024",
            "processes and threads of process.user on the whole machine"),
        Setting("process.niceness", .number(0...19), "5", "how far behind others programs stand for the processor"),
        Setting(
            "http.listen", .text, nil,
            "where the dispatcher serves HTTP, such as 127.0.0.1:8080; not at all when absent"),
        Setting(
            "http.token", .text, nil,
            "what HTTP clients must show as bearer token, at least 16 characters; needed with http.listen"),
        Setting("http.token_file", .text, nil, "a file that holds the token, instead of http.token"),
        Setting("http.connections", .number(1...100_000), "1000", "HTTP connections to a dispatcher"),
        Setting("http.waits", .number(1...100_000), "1000", "HTTP requests that wait for a job's end at once"),
        Setting("http.wait_ms", .number(1...60_000), "60000", "the longest that an HTTP request waits for a job's end"),
        Setting("http.body_bytes", .number(1_024...268_435_456), "4194304", "the largest HTTP request body"),
        Setting(
            "admin.listen", .text, nil,
            "where a worker or dispatcher serves health and metrics: a port of this machine alone, such as 9464, or an "
                + "address, which then needs a token; not at all when absent"),
        Setting(
            "admin.token", .text, nil,
            "what whoever asks there must show as bearer token, at least 16 characters; needed beyond this machine"),
        Setting("admin.token_file", .text, nil, "a file that holds the token, instead of admin.token"),
        Setting(
            "log.level", .choice(["trace", "debug", "info", "notice", "warning", "error", "critical"]), "info",
            "the least level that is logged, to standard error"),
        Setting(
            "log.format", .choice(["text", "json"]), "text", "lines for people, or one JSON object a line for machines"),
        Setting(
            "trace.url", .text, nil,
            "where spans are sent, as OTLP over HTTP: http://127.0.0.1:4318/v1/traces; nowhere when absent"),
        Setting(
            "trace.ratio", .ratio, "1",
            "how many of the traces that begin here are recorded, from 0 to 1; others are as whoever began them says"),
        Setting("trace.token", .text, nil, "what the collector is shown, as a bearer token"),
        Setting("trace.token_file", .text, nil, "a file that holds the token, instead of trace.token"),
    ]

    private init(_ key: String, _ kind: Kind, _ fallback: String?, _ summary: String) {
        self.key = key
        self.kind = kind
        self.fallback = fallback
        self.summary = summary
    }

    static func named(_ key: String) -> Setting? { all.first { $0.key == key } }

    /// The setting of a key that is written in this program: one that the table lacks is a mistake of the programmer.
    static func known(_ key: String) -> Setting {
        guard let setting = named(key) else { preconditionFailure("the table has no setting \(key)") }
        return setting
    }

    /// The known key that is most like `key`, when one is close enough to be meant.
    static func nearest(to key: String) -> String? {
        let ranked = all.map { (key: $0.key, distance: distance($0.key, key)) }.min { $0.distance < $1.distance }
        return ranked.flatMap { $0.distance <= 3 ? $0.key : nil }
    }

    /// Levenshtein's distance.
    private static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right)
        var row = Array(0...right.count)
        for (i, character) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for j in right.indices {
                let substituted = diagonal + (character == right[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[right.count]
    }
}

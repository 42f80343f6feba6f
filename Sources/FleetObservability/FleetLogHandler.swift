import FleetModel
import Glibc
public import Logging
import Synchronization

/// Log lines for people, or one JSON object a line for machines.
///
/// ```
///  2026-11-30T19:02:01.123Z notice discarded: api/order-17 after attempt 3: api.status-404
///  {"time":"2026-11-30T19:02:01.123Z","level":"notice","message":"discarded: …","job":"api/order-17","attempt":"3",…}
/// ```
///
/// A line that concerns a job has its `job` (subsystem and key), `attempt` and `trace_id`, those of a handler by
/// ``jobMetadata``. The words for people name the job already, so `job` and `attempt` are left out there.
public struct FleetLogHandler: LogHandler {
    public enum Format: String, Sendable, CaseIterable {
        case text, json
    }

    public var logLevel = Logger.Level.info
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let format: Format
    private let write: @Sendable (String) -> Void

    /// - Parameter write: takes a line with its end; standard error when left out.
    public init(
        _ label: String, _ format: Format, metadataProvider: Logger.MetadataProvider? = FleetLogHandler.jobMetadata,
        write: @escaping @Sendable (String) -> Void = StandardError.write
    ) {
        self.label = label
        self.format = format
        self.metadataProvider = metadataProvider
        self.write = write
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var fields = metadata
        // What is said of one line wins over what holds for all.
        for more in [metadataProvider?.get(), event.metadata] {
            if let more { fields.merge(more) { $1 } }
        }
        if let error = event.error { fields["error"] = "\(error)" }
        let message = "\(event.message)"
        write(format == .json ? json(event.level, message, fields) : text(event.level, message, fields))
    }

    /// What a line within a handler says of the job.
    public static let jobMetadata = Logger.MetadataProvider {
        guard let context = JobContext.current else { return [:] }
        return .job(
            JobIdentity(subsystem: context.type.subsystem, key: context.key), attempt: context.attempt,
            traceparent: context.traceparent)
    }

    private func text(_ level: Logger.Level, _ message: String, _ fields: Logger.Metadata) -> String {
        var line = "\(Self.now) \(level) \(message)"
        for (name, value) in fields.sorted(by: { $0.key < $1.key }) where !Logger.Metadata.inWords.contains(name) {
            line += " \(name)=\(value)"
        }
        // One line each, whatever somebody put into it.
        return line.replacing("\n", with: "\\n").replacing("\r", with: "\\r") + "\n"
    }

    private func json(_ level: Logger.Level, _ message: String, _ fields: Logger.Metadata) -> String {
        var json = JSONText()
        json.beginObject()
        json.member("time", Self.now)
        json.member("level", level.rawValue)
        json.member("logger", label)
        json.member("message", message)
        for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
            // The four above are ours.
            let taken = ["time", "level", "logger", "message"].contains(name)
            json.member(named: taken ? "\(name)_" : name, "\(value)")
        }
        json.endObject()
        return json.text + "\n"
    }

    /// UTC, to the millisecond.
    private static var now: String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var parts = tm()
        gmtime_r(&time.tv_sec, &parts)
        func padded(_ number: some BinaryInteger, _ width: Int) -> String {
            let digits = "\(number)"
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = [(parts.tm_year + 1900, 4), (parts.tm_mon + 1, 2), (parts.tm_mday, 2)]
        let clock = [(parts.tm_hour, 2), (parts.tm_min, 2), (parts.tm_sec, 2)]
        return date.map { padded($0.0, $0.1) }.joined(separator: "-") + "T"
            + clock.map { padded($0.0, $0.1) }.joined(separator: ":") + ".\(padded(time.tv_nsec / 1_000_000, 3))Z"
    }
}

extension Logger.Metadata {
    fileprivate static let inWords: Set<String> = ["job", "attempt"]

    /// Of a line that concerns a job.
    package static func job(_ identity: JobIdentity, attempt: Int? = nil, traceparent: String? = nil) -> Self {
        var metadata: Self = ["job": "\(identity)"]
        if let attempt { metadata["attempt"] = "\(attempt)" }
        if let trace = traceparent.flatMap(TraceContext.init(parsing:)) { metadata["trace_id"] = "\(trace.traceText)" }
        return metadata
    }
}

/// Whole lines to standard error: each goes out in one call, so that those of several threads do not mix.
public enum StandardError {
    public static func write(_ line: String) {
        var rest = Array(line.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            rest = rest.dropFirst(max(0, count))
            if count >= 0 || errno == EINTR { continue }
            // Nobody is left to be told when that cannot be written to.
            guard errno == EAGAIN else { return }
            var room = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
            poll(&room, 1, -1)
        }
    }
}

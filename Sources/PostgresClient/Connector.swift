import CPostgres
import Glibc
import Logging
import Synchronization
import SystemThreads

/// Owner of one `PGconn`: moved, never shared.
///
/// `@unchecked Sendable`: libpq allows a connection to be used by one thread at a time, and a value that cannot be copied
/// is in the hands of one at a time.
struct ConnectionHandle: ~Copyable, @unchecked Sendable {
    let raw: OpaquePointer
    /// libpq holds an unretained pointer to it for notices.
    private let notices: NoticeLog

    init(adopting raw: OpaquePointer, notices: NoticeLog) {
        self.raw = raw
        self.notices = notices
        PQsetNoticeReceiver(
            raw,
            { context, result in
                guard let context, let result else { return }
                Unmanaged<NoticeLog>.fromOpaque(context).takeUnretainedValue().log(result)
            }, Unmanaged.passUnretained(notices).toOpaque())
    }

    deinit { PQfinish(raw) }
}

/// Passes the server's notices to the log.
final class NoticeLog: Sendable {
    private let logger: Logger
    init(_ logger: Logger) { self.logger = logger }

    fileprivate func log(_ result: OpaquePointer) {
        let severity = ResultFields.text(result, cpostgres_diag_severity) ?? ""
        let message = ResultFields.text(result, cpostgres_diag_message) ?? ""
        let level: Logger.Level =
            switch severity {
            case "WARNING", "ERROR", "FATAL", "PANIC": .warning
            case "NOTICE", "INFO": .info
            default: .debug
            }
        logger.log(level: level, "\(message)", metadata: ["severity": "\(severity)"])
    }
}

enum ResultFields {
    static func text(_ result: OpaquePointer, _ field: Int32) -> String? {
        PQresultErrorField(result, field).map { String(cString: $0) }
    }

    static func error(_ result: OpaquePointer) -> PostgresError {
        guard let state = text(result, cpostgres_diag_sqlstate) else {
            // Without a SQLSTATE it was libpq that spoke, about the link.
            let message = PQresultErrorMessage(result).map { trimmed(String(cString: $0)) } ?? "no message"
            return PostgresError(kind: .connectionLost, message: message)
        }
        var error = PostgresError(
            kind: .server(sqlState: state), message: text(result, cpostgres_diag_message) ?? "",
            severity: text(result, cpostgres_diag_severity), detail: text(result, cpostgres_diag_detail),
            hint: text(result, cpostgres_diag_hint), constraint: text(result, cpostgres_diag_constraint))
        // The message is translated and 0A000 means much else besides; the place it comes from is neither.
        error.isStalePlan =
            state == "26000" || (state == "0A000" && text(result, cpostgres_diag_function) == "RevalidateCachedQuery")
        return error
    }

    static func trimmed(_ text: String) -> String {
        var text = Substring(text)
        while let last = text.last, last.isNewline || last == " " { text.removeLast() }
        return String(text)
    }
}

/// One attempt to connect, on a thread of its own: looking up a name blocks inside libpq, and must not hold up the
/// connections that work.
final class ConnectAttempt: Sendable {
    enum Outcome: Sendable {
        case connected
        case failed(PostgresError)
    }

    private let configuration: PostgresConfiguration
    private let logger: Logger
    private let stop = WakeUp()
    private let stopped = Atomic<Bool>(false)
    private let made = Mutex<ConnectionHandle?>(nil)

    init(_ configuration: PostgresConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// - Parameter report: called once, on the attempt's thread.
    func start(report: @escaping @Sendable (Outcome) -> Void) {
        do { try SystemThread.start("pg-connect") { [self] in report(connect()) } } catch {
            report(.failed(PostgresError(kind: .unavailable, message: "to connect, \(error)")))
        }
    }

    func abort() {
        stopped.store(true, ordering: .releasing)
        stop.raise()
    }

    /// The connection, once, after ``Outcome/connected``.
    func take() -> ConnectionHandle? { made.withLock { $0.take() } }

    private func connect() -> Outcome {
        var failure = PostgresError(kind: .unavailable, message: "no host to connect to")
        for host in configuration.hosts {
            if stopped.load(ordering: .acquiring) { return .failed(.poolClosed) }
            switch connect(host) {
            case .connected: return .connected
            case .failed(let error): failure = error
            }
        }
        return .failed(failure)
    }

    private func connect(_ host: [String: String]) -> Outcome {
        let deadline = Moment.now + configuration.connectTimeout
        guard let handle = begin(host) else {
            return .failed(PostgresError(kind: .unavailable, message: "libpq is out of memory"))
        }
        // Verbose messages are the only way to learn the SQLSTATE of a refused connection.
        PQsetErrorVerbosity(handle.raw, PQERRORS_VERBOSE)
        if PQstatus(handle.raw) == CONNECTION_BAD { return .failed(refusal(handle.raw)) }
        var wanted = Int16(POLLOUT)
        while true {
            if let problem = wait(for: wanted, on: PQsocket(handle.raw), until: deadline) { return .failed(problem) }
            switch PQconnectPoll(handle.raw) {
            case PGRES_POLLING_READING: wanted = Int16(POLLIN)
            case PGRES_POLLING_WRITING: wanted = Int16(POLLOUT)
            case PGRES_POLLING_OK:
                PQsetErrorVerbosity(handle.raw, PQERRORS_DEFAULT)
                guard PQsetnonblocking(handle.raw, 1) == 0, PQenterPipelineMode(handle.raw) == 1 else {
                    return .failed(refusal(handle.raw))
                }
                keep(handle)
                return .connected
            default: return .failed(refusal(handle.raw))
            }
        }
    }

    private func keep(_ handle: consuming ConnectionHandle) {
        // A closure cannot consume what it captured, but it can empty an optional.
        var handle: ConnectionHandle? = consume handle
        made.withLock { $0 = handle.take() }
    }

    private func begin(_ host: [String: String]) -> ConnectionHandle? {
        let pairs = configuration.keywords(host: host).filter { !$0.value.isEmpty }
        let keywords = pairs.map { strdup($0.key) }
        let values = pairs.map { strdup($0.value) }
        defer { for text in keywords + values { free(text) } }
        let raw = (keywords.map { UnsafePointer($0) } + [nil]).withUnsafeBufferPointer { keywords in
            (values.map { UnsafePointer($0) } + [nil]).withUnsafeBufferPointer { values in
                PQconnectStartParams(keywords.baseAddress, values.baseAddress, 0)
            }
        }
        return raw.map { ConnectionHandle(adopting: $0, notices: NoticeLog(logger)) }
    }

    private func wait(for events: Int16, on socket: Int32, until deadline: Moment) -> PostgresError? {
        while true {
            if stopped.load(ordering: .acquiring) { return .poolClosed }
            var waits = [
                pollfd(fd: socket, events: events, revents: 0),
                pollfd(fd: stop.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            let left = Moment.millisecondsUntil(deadline, from: .now)
            let ready = poll(&waits, 2, left)
            if ready > 0, waits[1].revents == 0 { return nil }
            if ready == 0 {
                return PostgresError(
                    kind: .unavailable,
                    message: "\(configuration.target): no connection within \(configuration.connectTimeout); "
                        + "is the server overloaded, stopped, or behind a firewall?")
            }
        }
    }

    /// libpq's message, split into SQLSTATE and text: `…FATAL:  28P01: password authentication failed…`.
    private func refusal(_ raw: OpaquePointer) -> PostgresError {
        let lines = ResultFields.trimmed(String(cString: PQerrorMessage(raw))).split(separator: "\n")
        let text = lines.filter { !$0.hasPrefix("LOCATION:") }.joined(separator: "; ")
        if let range = Self.stateRange(text) {
            let state = String(text[range])
            var message = text
            message.removeSubrange(range.lowerBound..<text.index(range.upperBound, offsetBy: 2))
            return PostgresError(kind: .server(sqlState: state), message: message, severity: "FATAL")
        }
        if PQconnectionNeedsPassword(raw) == 1 {
            return PostgresError(
                kind: .server(sqlState: "28P01"), message: text, hint: "give the password in the URL or in ~/.pgpass")
        }
        return PostgresError(kind: .unavailable, message: text.isEmpty ? "no connection" : text)
    }

    static func stateRange(_ text: String) -> Range<String.Index>? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 10 else { return nil }
        for start in 3..<(bytes.count - 6) {
            guard bytes[start - 3] == UInt8(ascii: ":"), bytes[start - 2] == 32, bytes[start - 1] == 32,
                bytes[start + 5] == UInt8(ascii: ":"), bytes[start + 6] == 32,
                bytes[start..<start + 5].allSatisfy({ (48...57).contains($0) || (65...90).contains($0) })
            else { continue }
            return text.utf8.index(
                text.startIndex, offsetBy: start)..<text.utf8.index(text.startIndex, offsetBy: start + 5)
        }
        return nil
    }
}

/// A request to the server to give up what a connection runs. `PQcancel` opens a connection of its own and blocks, so it
/// gets a thread of its own.
enum Cancellation {
    /// - Parameter done: called once, on that thread, when the server has taken note or could not be reached.
    /// - Returns: false if it could not be begun.
    static func start(_ raw: OpaquePointer, logger: Logger, done: @escaping @Sendable () -> Void) -> Bool {
        guard let cancel = PQgetCancel(raw) else { return false }
        // An address is all that crosses; the new thread is its only user from here on.
        let address = UInt(bitPattern: cancel)
        do {
            try SystemThread.start("pg-cancel") {
                guard let cancel = OpaquePointer(bitPattern: address) else { return }
                var message = [CChar](repeating: 0, count: 256)
                if PQcancel(cancel, &message, Int32(message.count)) == 0 {
                    let text = message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
                    logger.debug("a statement could not be cancelled: \(String(decoding: text, as: UTF8.self))")
                }
                PQfreeCancel(cancel)
                done()
            }
            return true
        } catch {
            logger.debug("a statement could not be cancelled: \(error)")
            PQfreeCancel(cancel)
            return false
        }
    }
}

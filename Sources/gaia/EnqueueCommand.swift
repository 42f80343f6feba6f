import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import Foundation
import Logging

/// `gaia enqueue`
struct EnqueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enqueue",
        abstract: "Give jobs to the fleet: one, or a file of them.",
        discussion: """
            One job:      gaia enqueue --type api.request.v1 --key order-17 --payload '{"url": "http://localhost:8080/"}'
            and wait:     gaia enqueue --type gaia.noop.v1 --wait
            Many:         gaia enqueue --file jobs.ndjson        ('-' reads standard input)

            A line of the file is one job:
              {"type": "api.request.v1", "key": "order-17", "payload": {"url": "…"}, "delay_ms": 5000}
            with delay_ms, deadline_ms, max_attempts, backoff, urgent, reply_to, correlation_id and subject as you need them, or
              {"type": "api.request.v1", "key": "morning", "payload": {}, "cron": {"every": "30 7 * * mon-fri"}}
            for a schedule, whose name is the key.

            The idempotency key makes a repeat harmless: after an unclear outcome, run the same command again.
            Exit status 1 when a job was not enqueued, or failed while you waited for it.
            """)

    @OptionGroup var settings: SettingsOptions
    @Option(name: .long, help: "The job type, such as api.request.v1; 'gaia types' lists them.")
    var type: String?
    @Option(name: .long, help: "The idempotency key; a random one when absent.")
    var key: String?
    @Option(name: .long, help: "The payload as JSON, or @FILE.")
    var payload: String = "{}"
    @Option(name: .long, help: ArgumentHelp("Milliseconds from now; needs a running dispatcher.", valueName: "ms"))
    var delay: Int?
    @Option(name: .long, help: "How many attempts it gets; as many as its type says when absent.")
    var attempts: Int?
    @Option(name: .long, help: "How long to pause between them, as in 'exponential 1s 10m' or 'fixed 5s'.")
    var backoff: String?
    @Flag(name: .long, help: "Let it go before what waits already.")
    var urgent = false
    @Option(name: .long, help: ArgumentHelp("A file with one job a line; '-' for standard input.", valueName: "path"))
    var file: String?
    @Flag(name: .long, help: "Wait for the result of the one job and print it.")
    var wait = false
    @Option(name: .long, help: ArgumentHelp("How long to wait for broker, dispatcher or result.", valueName: "seconds"))
    var timeout: Int = 30
    @Flag(name: .long, help: "Print JSON.")
    var json = false

    func validate() throws {
        if (type == nil) == (file == nil) {
            throw ValidationError("give either --type for one job, or --file for many")
        }
        if file != nil, wait || key != nil || delay != nil || attempts != nil || backoff != nil || urgent {
            throw ValidationError(
                "--key, --delay, --attempts, --backoff, --urgent and --wait are for one job; in a file each line has its own"
            )
        }
        if timeout < 1 || timeout > 86_400 { throw ValidationError("--timeout must be from 1 to 86400 seconds") }
    }

    func run() async throws {
        try await report {
            let loaded = try settings.load()
            let session = try await EnqueueSession.open(loaded, timeout: .seconds(timeout))
            let outcome = try await session.use { session in
                if let file { return try await many(file, session) }
                return try await one(session)
            }
            if !outcome { throw ExitCode(FailureStatus.workFailed.rawValue) }
        }
    }

    // MARK: One

    private func one(_ session: EnqueueSession) async throws -> Bool {
        let document = try document()
        var job = document.job
        job.replyTo = wait ? session.replies.name : nil
        job.producer = "gaia enqueue"
        job.correlationID = wait ? job.key : nil
        let outcome = try await session.enqueue([
            JobDocument(job: job, payload: document.payload, delay: document.delay)
        ])[0]
        guard outcome.isSafe, wait, outcome.status != "duplicate" || document.delay == nil else {
            print(job, outcome.status, outcome.message)
            return outcome.isSafe
        }
        let result = try await session.result(of: job.key)
        Terminal.print(json ? result.text : "\(job.identity) \(result.outcome)\n\(result.detail)")
        return result.outcome == JobState.succeeded.rawValue
    }

    private func print(_ job: Job, _ status: String, _ message: String?) {
        if json {
            var text = JSONText()
            text.beginObject()
            text.member("key", job.key)
            text.member("status", status)
            text.member("type", job.type.name)
            if let message { text.member("message", message) }
            text.endObject()
            Terminal.print(text.text)
        } else {
            Terminal.print("\(job.identity) \(status)" + (message.map { ": \($0)" } ?? ""))
        }
    }

    private func document() throws -> JobDocument {
        var text = payload
        if payload.hasPrefix("@") {
            let path = String(payload.dropFirst())
            do {
                text = try String(contentsOfFile: path, encoding: .utf8)
            } catch {
                throw CommandFailure(.usage, "the payload file \(path) cannot be read: \(error.localizedDescription)")
            }
        }
        // Put together as a line of a file would be, so that there is one way to check a job.
        var line = JSONText()
        line.beginObject()
        line.member("type", type ?? "")
        line.member("key", key ?? UUID().uuidString.lowercased())
        line.member("payload", json: text)
        if let delay { line.member("delay_ms", delay) }
        if let attempts { line.member("max_attempts", attempts) }
        if let backoff { line.member("backoff", backoff) }
        if urgent { line.member("urgent", json: "true") }
        line.endObject()
        do {
            _ = try CanonicalJSON.text(of: Array(text.utf8))
            return try JobDocument(line.bytes)
        } catch {
            throw CommandFailure(.usage, "\(error)")
        }
    }

    // MARK: Many

    /// Lines in hand at once: what is published in one batch.
    private static let chunk = 1_000

    private func many(_ path: String, _ session: EnqueueSession) async throws -> Bool {
        guard let handle = path == "-" ? FileHandle.standardInput : FileHandle(forReadingAtPath: path) else {
            throw CommandFailure(.usage, "the file \(path) cannot be read")
        }
        let size = path == "-" ? 0 : Int((try? handle.seekToEnd()) ?? 0)
        if path != "-" { try handle.seek(toOffset: 0) }
        var lines = LineReader(handle)
        var tally: [String: Int] = [:]
        var isWhole = true
        var documents: [(number: Int, document: JobDocument)] = []
        func flush() async throws {
            let outcomes = try await session.enqueue(documents.map(\.document))
            for ((number, _), outcome) in zip(documents, outcomes) {
                tally[outcome.status, default: 0] += 1
                if !outcome.isSafe {
                    isWhole = false
                    Terminal.error("line \(number): \(outcome.status): \(outcome.message ?? "")")
                }
            }
            documents = []
            let done = tally.values.reduce(0, +)
            let share = size > 0 ? "\(Progress.bar(lines.bytesRead, of: size)) " : ""
            Progress.shared.show("\(share)\(Terminal.grouped(done)) jobs")
        }
        while let line = try lines.next() {
            if line.bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            do {
                let document = try JobDocument(line.bytes).with { $0.producer = $0.producer ?? "gaia enqueue" }
                documents.append((line.number, document))
            } catch {
                isWhole = false
                tally["invalid", default: 0] += 1
                Terminal.error("line \(line.number): invalid: \(error)")
            }
            if documents.count == Self.chunk { try await flush() }
        }
        try await flush()
        Progress.shared.clear()
        if json {
            Terminal.print(try Terminal.json(tally))
        } else {
            let text = tally.sorted { $0.key < $1.key }.map { "\(Terminal.grouped($0.value)) \($0.key)" }
            Terminal.print(text.isEmpty ? "no jobs" : text.joined(separator: ", "))
        }
        return isWhole
    }
}

/// Reads lines without holding more than one in memory.
private struct LineReader {
    private let handle: FileHandle
    private var buffer: [UInt8] = []
    private var position = 0
    private var number = 0
    private var isAtEnd = false
    private(set) var bytesRead = 0

    private static let pieceBytes = 1 << 16
    /// A longer line is not a job: its payload would be refused anyway.
    private static let lineBytesMax = 32 << 20

    init(_ handle: FileHandle) { self.handle = handle }

    mutating func next() throws -> (number: Int, bytes: [UInt8])? {
        while true {
            if let end = buffer[position...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { position = end + 1 }
                number += 1
                return (number, Array(buffer[position..<end]))
            }
            if isAtEnd {
                guard position < buffer.count else { return nil }
                defer { position = buffer.count }
                number += 1
                return (number, Array(buffer[position...]))
            }
            buffer.removeFirst(position)
            position = 0
            guard buffer.count <= Self.lineBytesMax else {
                throw CommandFailure(
                    .usage, "line \(number + 1) is longer than \(Self.lineBytesMax) bytes; is it one job a line?")
            }
            guard let piece = try handle.read(upToCount: Self.pieceBytes), !piece.isEmpty else {
                isAtEnd = true
                continue
            }
            bytesRead += piece.count
            buffer.append(contentsOf: piece)
        }
    }
}

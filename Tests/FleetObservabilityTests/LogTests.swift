import FleetModel
import FleetObservability
import Foundation
import Logging
import Synchronization
import Testing

private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func logger(_ format: FleetLogHandler.Format) -> Logger {
        Logger(label: "gaia") { label in
            FleetLogHandler(label, format) { line in self.lines.withLock { $0.append(line) } }
        }
    }
}

private let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

@Suite("Log lines")
struct LogTests {
    private func context() -> JobContext {
        JobContext(
            type: "api.request.v1", key: "order-17", attempt: 3, token: 1, subject: "secret person",
            traceparent: traceparent)
    }

    @Test("JSON: one object a line, whatever is in it, with the job of the handler that logs")
    func json() async throws {
        let lines = Lines()
        let logger = lines.logger(.json)
        JobContext.$current.withValue(context()) {
            logger.notice("two\nlines \"quoted\"", metadata: ["level": "mine", "n": "\(7)"])
        }
        logger.warning("outside")
        #expect(lines.all.allSatisfy { $0.hasSuffix("}\n") && $0.filter(\.isNewline).count == 1 })
        let objects = try lines.all.map { try JSONDecoder().decode([String: String].self, from: Data($0.utf8)) }
        #expect(objects.count == 2)
        #expect(objects[0]["level"] == "notice")
        #expect(objects[0]["level_"] == "mine")
        #expect(objects[0]["message"] == "two\nlines \"quoted\"")
        #expect(objects[0]["n"] == "7")
        #expect(objects[0]["job"] == "api/order-17")
        #expect(objects[0]["attempt"] == "3")
        #expect(objects[0]["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(objects[0]["logger"] == "gaia")
        #expect(objects[1]["job"] == nil)
        #expect(!lines.all.joined().contains("secret person"))
        let time = try #require(objects[0]["time"])
        let parsed = try Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(time)
        #expect(abs(parsed.timeIntervalSinceNow) < 60)
    }

    @Test("Text: one line too; job and attempt stand in the words already, the trace does not")
    func text() {
        let lines = Lines()
        var logger = lines.logger(.text)
        logger[metadataKey: "server"] = "here"
        JobContext.$current.withValue(context()) { logger.error("a\nb", metadata: ["server": "there"]) }
        #expect(lines.all.count == 1)
        let words = lines.all[0].split(separator: " ", maxSplits: 1)
        #expect(words[0].count == 24 && words[0].hasSuffix("Z"))
        #expect(words[1] == "error a\\nb server=there trace_id=4bf92f3577b34da6a3ce929d0e0e4736\n")
    }

    @Test("A level that is not wanted is not written")
    func level() {
        let lines = Lines()
        var logger = lines.logger(.text)
        logger.debug("no")
        logger.logLevel = .debug
        logger.debug("yes")
        #expect(lines.all.map { $0.hasSuffix("debug yes\n") } == [true])
    }

    @Test(
        "What is no traceparent has no trace",
        arguments: ["", "00-1-2-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-xyz"])
    func flawed(_ text: String) {
        #expect(Logger.Metadata.job(JobIdentity(subsystem: "a", key: "k"), traceparent: text)["trace_id"] == nil)
    }
}

import AMQPClient
import FleetStack
import FleetTestKit
import Foundation
import Testing

@testable import FleetDoctor

@Suite("What the doctor reads")
struct ReadingTests {
    @Test(
        "The broker's consumer timeout in both formats of its files",
        arguments: [
            ("consumer_timeout = 9000000\n", ConsumerTimeout.after(.seconds(9_000))),
            ("heartbeat = 30\n  consumer_timeout=1000 # short\n", .after(.seconds(1))),
            ("[{rabbit, [{consumer_timeout, 5000}, {heartbeat, 3}]}].", .after(.seconds(5))),
            ("[{rabbit, [{consumer_timeout, undefined}]}].", .never), ("# consumer_timeout = 1000\n", nil),
            ("% {consumer_timeout, 1000}\n", nil), ("", nil),
        ] as [(String, ConsumerTimeout?)])
    func consumerTimeout(_ text: String, _ expected: ConsumerTimeout?) {
        #expect(ConsumerTimeout.read(text) == expected)
    }

    @Test("Without a word in them RabbitMQ's own value counts; without all of them nothing is concluded")
    func files() throws {
        let directory = temporaryDirectory("timeout")
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let (plain, advanced) = ("\(directory)/rabbitmq.conf", "\(directory)/advanced.config")
        try Data("heartbeat = 3\n".utf8).write(to: URL(fileURLWithPath: plain))
        #expect(ConsumerTimeout(readingFrom: [plain]) == .byDefault)
        #expect(ConsumerTimeout(readingFrom: [plain, "\(directory)/other.conf (not found)"]) == .byDefault)
        #expect(ConsumerTimeout(readingFrom: [plain, "\(directory)/other.conf"]) == nil)
        #expect(ConsumerTimeout(readingFrom: []) == nil)
        try Data("consumer_timeout = 1000\n".utf8).write(to: URL(fileURLWithPath: plain))
        try Data("[{rabbit, [{consumer_timeout, 2000}]}].\n".utf8).write(to: URL(fileURLWithPath: advanced))
        #expect(ConsumerTimeout(readingFrom: [advanced, plain]) == .after(.seconds(2)))
    }

    @Test("The management plugin's address takes user and password of the broker's where it has none")
    func address() throws {
        let broker = try AMQPConfiguration(url: "amqps://a:b@h/?cacertfile=/ca.pem")
        let bare = try ManagementAddress(url: "https://h:15671/", fallback: broker)
        #expect((bare.url, bare.user, bare.password, bare.caFile) == ("https://h:15671", "a", "b", "/ca.pem"))
        let own = try ManagementAddress(url: "http://c:p%40ss@h:15672/prefix/", fallback: broker)
        #expect((own.url, own.user, own.password) == ("http://h:15672/prefix", "c", "p@ss"))
        #expect(try ManagementAddress(url: "http://c@h", fallback: broker).password == "")
        #expect("\(own)" == "http://h:15672/prefix")
    }

    @Test("The page of codes lists every fault with its level and meaning")
    func page() throws {
        let page = try String(contentsOfFile: "\(Program.root)/docs/doctor.md", encoding: .utf8)
        for fault in Fault.allCases {
            #expect(page.contains("| `\(fault.code)` | \(fault.level.rawValue) | \(fault.summary) |"), "\(fault.code)")
        }
        let listed = page.split(separator: "\n").filter { $0.contains("| error |") || $0.contains("| warning |") }
        #expect(listed.count == Fault.allCases.count)
    }
}

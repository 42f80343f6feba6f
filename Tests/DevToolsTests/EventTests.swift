import Glibc
import Synchronization
import Testing

@testable import DevTools

func makeSocketPair(_ ends: inout [Int32]) -> Bool {
    socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0
}
func closeDescriptor(_ descriptor: Int32) { close(descriptor) }

@Suite("Events", .timeLimit(.minutes(2)))
struct EventTests {
    private struct Tick: DevToolsEvent {
        static let method = "Test.tick"
        var number: Int
    }

    private struct Sync: DevToolsCommand {
        static let method = "Test.sync"
        typealias Answer = NoAnswer
    }

    /// A browser that says, before it answers, what the test has put down.
    private func withScript(
        _ script: [String], _ body: (DevToolsConnection) async throws -> Void
    ) async throws {
        let answer: @Sendable (FakeBrowser.Command) -> [String] = { script + [#"{"id":\#($0.id),"result":{}}"#] }
        try await FakeBrowser.with(answer) { try await body($1) }
    }

    private static func tick(_ number: Int, session: String? = nil) -> String {
        let of = session.map { #","sessionId":"\#($0)""# } ?? ""
        return #"{"method":"Test.tick","params":{"number":\#(number)}\#(of)}"#
    }

    private func numbers(_ events: DevToolsEvents) async throws -> [Int] {
        var numbers: [Int] = []
        for try await event in events { numbers.append(try event.decode(Tick.self).number) }
        return numbers
    }

    @Test("Each subscriber gets those that it wants, of its session, in order")
    func subscribers() async throws {
        let script = [
            Self.tick(1), Self.tick(2, session: "A"), #"{"method":"Test.other","params":{}}"#, Self.tick(3),
            Self.tick(4, session: "A"),
        ]
        try await withScript(script) { connection in
            let (mine, again) = (connection.browser.events(Tick.self), connection.browser.events(Tick.self))
            let page = connection.session("A").events(Tick.self)
            let both = connection.browser.events(["Test.tick", "Test.other"])
            try await connection.browser.send(Sync())
            for events in [mine, again, page, both] { events.cancel() }
            #expect(try await numbers(mine) == [1, 3])
            #expect(try await numbers(again) == [1, 3])
            #expect(try await numbers(page) == [2, 4])
            var methods: [String] = []
            for try await event in both { methods.append(event.method) }
            #expect(methods == ["Test.tick", "Test.other", "Test.tick"])
            #expect(connection.statistics.subscribers == 0)
        }
    }

    @Test("A full queue drops the oldest and counts, or fails, as its subscriber wants")
    func overflow() async throws {
        try await withScript((1...10).map { Self.tick($0) }) { connection in
            let recent = connection.browser.events(Tick.self, capacity: 3)
            let all = connection.browser.events(Tick.self, capacity: 3, overflow: .fail)
            try await connection.browser.send(Sync())
            recent.cancel()
            #expect(try await numbers(recent) == [8, 9, 10])
            #expect(recent.missedCount == 7)
            var taken: [Int] = []
            let reason = await failure {
                for try await event in all { taken.append(try event.decode(Tick.self).number) }
            }
            #expect(reason == .overflow && taken == [1, 2, 3])
        }
    }

    @Test("An observer sees them at once and in order, before the answer that follows them, until it is let go")
    func observers() async throws {
        try await withScript((1...50).map { Self.tick($0) }) { connection in
            let seen = Mutex<[Int]>([])
            var subscription: EventSubscription? = connection.browser.observe(["Test.tick"]) { event in
                let number = try? event.decode(Tick.self).number
                seen.withLock { $0.append(number ?? -1) }
            }
            try await connection.browser.send(Sync())
            #expect(seen.withLock { $0 } == Array(1...50))
            #expect(subscription != nil)
            subscription = nil
            try await connection.browser.send(Sync())
            #expect(seen.withLock { $0.count } == 50)
        }
    }

    @Test("Whoever waits for an event wakes when its task is cancelled")
    func cancelled() async throws {
        try await withScript([]) { connection in
            let events = connection.browser.events(Tick.self)
            let task = Task { try await numbers(events) }
            try await connection.browser.send(Sync())
            task.cancel()
            #expect(try await task.value.isEmpty)
        }
    }

    @Test("An event that is not what the protocol says is an error to whom it is for, and to nobody else")
    func malformed() async throws {
        try await withScript([#"{"method":"Test.tick","params":{"number":"one"}}"#, Self.tick(2)]) { connection in
            let events = connection.browser.events(Tick.self)
            try await connection.browser.send(Sync())
            events.cancel()
            var found: [Int?] = []
            for try await event in events { found.append(try? event.decode(Tick.self).number) }
            #expect(found == [nil, 2])
        }
    }
}

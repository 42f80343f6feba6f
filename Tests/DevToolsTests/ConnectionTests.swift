import Synchronization
import Testing

@testable import DevTools

@Suite("Connections", .timeLimit(.minutes(2)))
struct ConnectionTests {
    private struct Ask: DevToolsCommand {
        static let method = "Test.ask"
        struct Answer: DevToolsAnswer, Decodable { var number: Int }
    }

    private static func answer(_ command: FakeBrowser.Command, _ number: Int) -> String {
        #"{"id":\#(command.id),"result":{"number":\#(number)}}"#
    }

    @Test("Answers find their commands in whatever order they come, each of its session")
    func order() async throws {
        let held = Mutex<[FakeBrowser.Command]>([])
        let answer: @Sendable (FakeBrowser.Command) -> [String] = { command in
            held.withLock { held in
                held.append(command)
                guard held.count == 100 else { return [] }
                return held.reversed().map { Self.answer($0, Int($0.sessionId ?? "") ?? -1) }
            }
        }
        try await FakeBrowser.with(answer) { _, connection in
            try await withThrowingTaskGroup(of: (Int, Int).self) { group in
                for number in 0..<100 {
                    group.addTask { (number, try await connection.session("\(number)").send(Ask()).number) }
                }
                for try await (asked, told) in group { #expect(asked == told) }
            }
            #expect(connection.statistics.pending == 0 && connection.statistics.received == 100)
        }
    }

    @Test("A command ends at its time; the answer that comes later is dropped and counted")
    func late() async throws {
        try await FakeBrowser.with({ $0.id == 1 ? [] : [Self.answer($0, 2)] }) { browser, connection in
            let reason = await failure { try await connection.browser.send(Ask(), within: .milliseconds(50)) }
            #expect(reason == .timeout)
            browser.say(#"{"id":1,"result":{"number":1}}"#)
            let number = try await connection.browser.send(Ask()).number
            #expect(number == 2)
            #expect(connection.statistics.lateAnswers == 1)
        }
    }

    @Test("A shorter time is kept while a longer one runs")
    func shorter() async throws {
        try await FakeBrowser.with({ _ in [] }) { browser, connection in
            async let long = failure { try await connection.browser.send(Ask(), within: .seconds(100)) }
            await browser.received(1)
            #expect(await failure { try await connection.browser.send(Ask(), within: .milliseconds(20)) } == .timeout)
            connection.close()
            #expect(await long == .closed)
        }
    }

    @Test("A cancelled task's command ends at once")
    func cancelled() async throws {
        try await FakeBrowser.with({ _ in [] }) { browser, connection in
            let task = Task { await failure { try await connection.browser.send(Ask()) } }
            await browser.received(1)
            task.cancel()
            #expect(await task.value == .cancelled)
            let early = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return await failure { try await connection.browser.send(Ask()) }
            }
            #expect(await early.value == .cancelled)
            #expect(connection.statistics.pending == 0)
        }
    }

    @Test("When the browser goes, all open commands fail at once, events end, and later commands are refused")
    func gone() async throws {
        try await FakeBrowser.with({ _ in [] }) { browser, connection in
            let events = connection.browser.events(["Test.event"])
            try await withThrowingTaskGroup(of: DevToolsError.Reason?.self) { group in
                for _ in 0..<20 { group.addTask { await failure { try await connection.browser.send(Ask()) } } }
                await browser.received(20)
                browser.hangUp()
                for try await reason in group { #expect(reason == .closed) }
            }
            #expect(await failure { for try await _ in events {} } == .closed)
            #expect(await failure { try await connection.browser.send(Ask()) } == .closed)
            #expect(await connection.waitUntilClosed().reason == .closed)
        }
    }

    @Test("A refusal is told with the browser's words")
    func refused() async throws {
        let answer: @Sendable (FakeBrowser.Command) -> [String] = {
            [#"{"id":\#($0.id),"error":{"code":-32000,"message":"No target"}}"#]
        }
        try await FakeBrowser.with(answer) { _, connection in
            let reason = await failure { try await connection.browser.send(Ask()) }
            #expect(reason == .refused(code: -32_000, message: "No target"))
        }
    }

    @Test("An answer that is too large fails its command, and the connection goes on")
    func tooLarge() async throws {
        let answer: @Sendable (FakeBrowser.Command) -> [String] = { command in
            command.id == 1
                ? [#"{"id":1,"result":{"text":"\#(String(repeating: "x", count: 300_000))"}}"#]
                : [Self.answer(command, 2)]
        }
        let limits = DevToolsLimits(messageBytesMax: 200_000, commandTimeout: .seconds(60))
        try await FakeBrowser.with(limits: limits, answer) { _, connection in
            #expect(await failure { try await connection.browser.send(Ask()) } == .tooLarge)
            let number = try await connection.browser.send(Ask()).number
            #expect(number == 2)
            #expect(connection.statistics.dropped == 1)
        }
    }

    @Test("An answer of 60 MB comes whole")
    func large() async throws {
        let text = String(repeating: "x", count: 60 << 20)
        try await FakeBrowser.with({ [#"{"id":\#($0.id),"result":{"text":"\#(text)"}}"#] }) { _, connection in
            let answer = try await connection.browser.call("Test.large", [String: String]())
            #expect(answer["text"]?.byteCount == text.utf8.count + 2)
        }
    }

    @Test("A browser that does not read is noticed, and what waits for it has a bound")
    func deaf() async throws {
        let limits = DevToolsLimits(unsentBytesMax: 4 << 20, commandTimeout: .milliseconds(100))
        var ends: [Int32] = [-1, -1]
        #expect(makeSocketPair(&ends))
        let connection = try DevToolsConnection(adopting: ends[0], limits: limits)
        let text = String(repeating: "x", count: 1 << 20)
        var reasons: Set<DevToolsError.Reason> = []
        for _ in 0..<8 {
            if let reason = await failure({ try await connection.browser.call("Test.say", ["text": text]) }) {
                reasons.insert(reason)
            }
        }
        #expect(reasons == [.timeout, .overloaded])
        connection.close()
        closeDescriptor(ends[1])
    }

    @Test("What is no protocol is dropped and counted")
    func nonsense() async throws {
        try await FakeBrowser.with({ [Self.answer($0, 1)] }) { browser, connection in
            browser.say("nonsense")
            browser.say("{\"id\":")
            browser.say("[]")
            browser.say(#"{"id":99,"result":{}}"#)
            let number = try await connection.browser.send(Ask()).number
            #expect(number == 1)
            #expect(connection.statistics.dropped == 3)
            #expect(connection.statistics.lateAnswers == 1)
        }
    }

    @Test("The commands of a page end with it or with its process, and those of others go on")
    func detached() async throws {
        let answer: @Sendable (FakeBrowser.Command) -> [String] = { $0.sessionId == nil ? [Self.answer($0, 1)] : [] }
        try await FakeBrowser.with(answer) { browser, connection in
            let events = connection.session("A").events(["Test.event"])
            async let a = failure { try await connection.session("A").send(Ask()) }
            async let b = failure { try await connection.session("B").send(Ask()) }
            async let c = failure { try await connection.session("C").send(Ask()) }
            await browser.received(3)
            browser.say(#"{"method":"Target.detachedFromTarget","params":{"sessionId":"A","targetId":"T"}}"#)
            browser.say(#"{"method":"Inspector.targetCrashed","params":{},"sessionId":"B"}"#)
            #expect(await a == .detached)
            #expect(await b == .crashed)
            for try await _ in events {}
            let number = try await connection.browser.send(Ask()).number
            #expect(number == 1)
            #expect(connection.statistics.pending == 1)
            connection.close()
            #expect(await c == .closed)
        }
    }
}

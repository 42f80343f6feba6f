import CurlClient
import Testing

@Suite("Admission")
struct AdmissionTests {
    private func starts(_ admission: inout Admission) -> [UInt64] {
        var started: [UInt64] = []
        while let id = admission.startNext() { started.append(id) }
        return started
    }

    @Test("serves a host in order, hosts in turn, and keeps both limits")
    func order() {
        var admission = Admission(limits: .init(inFlight: 5, perHost: 3))
        for id in 1...6 { admission.arrive(UInt64(id), host: "a", needsLookup: false) }
        for id in 11...13 { admission.arrive(UInt64(id), host: "b", needsLookup: false) }
        #expect(starts(&admission) == [1, 11, 2, 12, 3])
        #expect(admission.inFlight == 5 && admission.waiting == 4)
        admission.leave(1)
        #expect(starts(&admission) == [13])
        admission.leave(11)
        #expect(starts(&admission) == [4])
    }

    @Test("lets who waits leave, from the front, the middle and the end")
    func leave() {
        var admission = Admission(limits: .init(inFlight: 1, perHost: 1))
        for id in 0...5 { admission.arrive(UInt64(id), host: "a", needsLookup: false) }
        #expect(starts(&admission) == [0])
        for id in [1, 3, 5] as [UInt64] { admission.leave(id) }
        admission.leave(99)
        #expect(admission.waiting == 2)
        admission.leave(0)
        #expect(starts(&admission) == [2])
        admission.leave(2)
        #expect(starts(&admission) == [4])
        admission.leave(4)
        #expect(admission.hosts == 0 && admission.inFlight == 0 && admission.waiting == 0)
    }

    @Test("sends a few scouts to a host not yet looked up, and the rest after them")
    func scouts() {
        var limits = Admission.Limits(inFlight: 100, perHost: 10)
        limits.scouts = 6
        var admission = Admission(limits: limits)
        for host in 0..<3 {
            for id in 0..<10 { admission.arrive(UInt64(host * 10 + id), host: "h\(host)", needsLookup: true) }
        }
        let scouts = starts(&admission)
        #expect(scouts.count == 6)
        admission.lookedUp(0)
        let after = starts(&admission)
        // The first host's other requests all start, and one more scout of the others.
        #expect(after.filter { $0 < 10 }.count == 10 - scouts.filter { $0 < 10 }.count)
        // Scouts that fail make room for the next.
        for id in scouts where id >= 10 { admission.leave(id) }
        #expect(!starts(&admission).isEmpty)
        #expect(admission.inFlight <= 100)
    }

    @Test("forgets hosts that came and went while all were busy")
    func churn() {
        var admission = Admission(limits: .init(inFlight: 1, perHost: 1))
        admission.arrive(0, host: "busy", needsLookup: false)
        #expect(starts(&admission) == [0])
        for id in 1...10_000 as ClosedRange<UInt64> {
            admission.arrive(id, host: "host-\(id)", needsLookup: id % 2 == 0)
            admission.leave(id)
        }
        #expect(admission.hosts == 1)
        #expect(admission.queuedLines < 200)
        admission.leave(0)
        #expect(starts(&admission).isEmpty)
    }

    @Test("never starts too many nor forgets one, whatever happens")
    func random() {
        var generator = SystemRandomNumberGenerator()
        var limits = Admission.Limits(inFlight: 20, perHost: 5)
        limits.scouts = 8
        var admission = Admission(limits: limits)
        var waiting: Set<UInt64> = []
        var running: [UInt64: String] = [:]
        var hosts: [UInt64: String] = [:]
        for id in 0..<20_000 as Range<UInt64> {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<5:
                hosts[id] = "h\(Int.random(in: 0..<12, using: &generator))"
                waiting.insert(id)
                admission.arrive(id, host: hosts[id]!, needsLookup: Bool.random(using: &generator))
            case 5..<7: if let id = running.keys.randomElement(using: &generator) { admission.lookedUp(id) }
            case 7..<9:
                if let id = running.keys.randomElement(using: &generator) {
                    admission.leave(id)
                    running[id] = nil
                }
            default:
                if let id = waiting.randomElement(using: &generator) {
                    admission.leave(id)
                    waiting.remove(id)
                }
            }
            while let id = admission.startNext() {
                #expect(waiting.remove(id) != nil)
                running[id] = hosts[id]
            }
            #expect(admission.waiting == waiting.count && admission.inFlight == running.count)
            #expect(running.count <= 20)
            #expect(Dictionary(grouping: running.values, by: { $0 }).values.allSatisfy { $0.count <= 5 })
        }
        // Everybody gets a turn in the end.
        while !running.isEmpty || !waiting.isEmpty {
            for id in running.keys { admission.leave(id) }
            running = [:]
            var progressed = false
            while let id = admission.startNext() {
                progressed = true
                waiting.remove(id)
                running[id] = hosts[id]
            }
            guard progressed else { break }
        }
        #expect(waiting.isEmpty && admission.hosts == 0 && admission.queuedLines == 0)
    }
}

@Suite("The heap of deadlines")
struct DeadlineHeapTests {
    private final class Item: DeadlineHeld {
        let deadline: Int64
        var heapIndex = -1
        init(_ deadline: Int64) { self.deadline = deadline }
    }

    @Test("gives what is due in order, and nothing that was taken out")
    func order() {
        var heap = DeadlineHeap<Item>()
        let items = (0..<1000).map { _ in Item(Int64.random(in: 0..<500)) }
        for item in items { heap.insert(item) }
        let gone = items.shuffled().prefix(400)
        for item in gone {
            heap.remove(item)
            heap.remove(item)
        }
        #expect(heap.count == 600)
        var last: Int64 = -1
        var given = 0
        while let item = heap.popDue(249) {
            #expect(item.deadline >= last && item.deadline <= 249 && item.heapIndex == -1)
            last = item.deadline
            given += 1
        }
        #expect(given == items.filter { $0.deadline <= 249 }.count - gone.filter { $0.deadline <= 249 }.count)
        #expect(heap.nearest.map { $0 > 249 } ?? true)
    }
}

@Suite("Retry-After")
struct RetryAfterTests {
    @Test(
        "is seconds or a date, bounded, and nothing else",
        arguments: [
            ("0", Duration.zero), ("120", .seconds(120)), (" 5 ", .seconds(5)),
            ("99999999999999999999999", CurlResponse.maxRetryAfter),
            ("Wed, 21 Oct 2015 07:28:30 GMT", .seconds(30)), ("Wed, 21 Oct 2015 07:27:00 GMT", .zero),
            ("Wednesday, 21-Oct-15 07:29:00 GMT", .seconds(60)),
            ("Wed Oct 21 07:28:01 2015", .seconds(1)), ("Wed, 21 Oct 2115 07:28:00 GMT", CurlResponse.maxRetryAfter),
            ("", nil), ("-1", nil), ("1.5", nil), ("soon", nil), ("20151021", .some(CurlResponse.maxRetryAfter)),
            ("tomorrow 12:00", nil), ("Wed, nonsense:", nil),
        ] as [(String, Duration?)])
    func values(text: String, expected: Duration?) {
        #expect(CurlResponse.retryAfter(text, responseDate: "Wed, 21 Oct 2015 07:28:00 GMT") == expected)
    }

    @Test("is measured by this machine's clock without a Date")
    func clock() {
        #expect(CurlResponse.retryAfter("Wed, 21 Oct 2015 07:28:00 GMT") == .zero)
        #expect(CurlResponse(status: 429, headers: [("retry-AFTER", "3")]).retryAfter == .seconds(3))
        #expect(CurlResponse(status: 429).retryAfter == nil)
    }
}

@Suite("A URL")
struct URLTests {
    private static let rules = CurlURL.Rules(protocols: [.http, .https], credentials: true)

    @Test(
        "is compared by its origin, which always has a port",
        arguments: [
            ("http://Example.COM", "http://example.com:80", false, true),
            ("https://example.com/a?b#c", "https://example.com:443", true, true),
            ("https://example.com:8443", "https://example.com:8443", true, true),
            ("http://user:pass@example.com:80/", "http://example.com:80", false, true),
            ("http://127.1/", "http://127.0.0.1:80", false, false),
            ("http://[::1]:81/", "http://[::1]:81", false, false),
            ("HTTP://localhost/", "http://localhost:80", false, false),
        ])
    func origin(text: String, origin: String, isHTTPS: Bool, needsLookup: Bool) throws {
        let url = try CurlURL(text, rules: Self.rules)
        #expect(url.origin == origin)
        #expect(url.isHTTPS == isHTTPS)
        #expect(url.needsLookup == needsLookup)
        #expect(!url.publicText.contains("pass"))
    }

    @Test(
        "is where a Location leads from it",
        arguments: [
            ("/c", "http://h/c"), ("c", "http://h/a/c"), ("../c", "http://h/c"), ("?q=1", "http://h/a/b?q=1"),
            ("//other/x", "http://other/x"), ("https://other/", "https://other/"),
            ("/with space", "http://h/with%20space"),
        ])
    func redirected(location: String, expected: String) throws {
        let base = try CurlURL("http://h/a/b?old=1", rules: Self.rules)
        #expect(try base.redirected(to: location, rules: Self.rules).text == expected)
    }
}

@Suite("The sink of an answer")
struct ResponseSinkTests {
    private func sink(body: Int = 100, headers: Int = 1000) -> ResponseSink {
        ResponseSink(limits: .init(bodyBytes: body, headerBytes: headers, decodes: true))
    }

    private func take(_ sink: inout ResponseSink, _ lines: String...) -> Bool {
        lines.allSatisfy { line in Array("\(line)\r\n".utf8).withUnsafeBytes { sink.takeHeader($0) } }
    }

    @Test("keeps the last block of headers, and all blocks within one bound")
    func blocks() {
        var sink = sink()
        #expect(take(&sink, "HTTP/1.1 103 Early", "Link: a", "", "HTTP/1.1 200 OK", "X: 1", ""))
        #expect(sink.status == 200)
        #expect(sink.headers.map { $0.0 } == ["X"])
        var small = self.sink(headers: 60)
        #expect(!take(&small, "HTTP/1.1 103 Early", "Link: a", "", "HTTP/1.1 103 Early", "Link: a", ""))
        #expect(small.refusal?.kind == .tooLarge)
    }

    @Test(
        "makes nothing of a length that is none",
        arguments: ["-5", "99999999999999999999999", "1e3", "", "0x10", "5, 5"])
    func lengths(value: String) {
        var sink = sink()
        #expect(take(&sink, "HTTP/1.1 200 OK", "Content-Length: \(value)", ""))
        #expect(sink.refusal == nil)
    }

    @Test("stays within its limits whatever comes")
    func noise() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var sink = sink(body: 50, headers: 200)
            for _ in 0..<20 {
                let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                    "HTP/1. :,\r\n\tgzip-Encoding\u{e9}".utf8.randomElement(using: &generator) ?? 0
                }
                let goesOn = bytes.withUnsafeBytes {
                    Bool.random(using: &generator) ? sink.takeHeader($0) : sink.takeBody($0)
                }
                #expect(sink.body.count <= 50)
                #expect(goesOn == (sink.refusal == nil))
                guard goesOn else { break }
            }
        }
    }
}

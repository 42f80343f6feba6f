import AMQPClient
import FleetHTTP
import FleetModel
import FleetTestKit
import PostgresClient
import TestPatience
import TestSockets
import Testing

@Suite("HTTP API: hostile and unlucky clients", .timeLimit(.minutes(5)))
struct HTTPAPIHostileTests {
    /// A request target or a body, and the statuses that are right.
    struct Attack: Sendable {
        let method: String
        let target: String
        var body: [UInt8]?
        let statuses: Set<Int>
    }

    private static func get(_ target: String, _ statuses: Int...) -> Attack {
        Attack(method: "GET", target: target, statuses: Set(statuses))
    }

    private static func post(_ body: String, _ statuses: Int...) -> Attack { post(Array(body.utf8), statuses) }

    private static func post(_ body: [UInt8], _ statuses: [Int]) -> Attack {
        Attack(method: "POST", target: "/v1/jobs", body: body, statuses: Set(statuses))
    }

    private static let job = #"{"type":"test.work.v1","key":"k","payload":{}"#

    private static let attacks: [Attack] = [
        get("/v1/jobs/test/%", 400), get("/v1/jobs/test/%4", 400), get("/v1/jobs/test/%zz", 400),
        get("/v1/jobs/test/%00", 400), get("/v1/jobs/test/a%00b", 400), get("/v1/jobs/test/%0a", 400),
        get("/v1/jobs/test/%7f", 400), get("/v1/jobs/test/%ff", 400), get("/v1/jobs/test/%c0%af", 400),
        get("/v1/jobs/test/%ed%a0%80", 400), get("/v1/jobs/test/", 400),
        get("/v1/jobs/test/" + String(repeating: "k", count: 201), 400),
        get("/v1/jobs/test/" + String(repeating: "%F0%9F%98%80", count: 51), 400),
        get("/v1/jobs/Test/k", 400), get("/v1/jobs/%2e%2e/k", 400), get("/v1/jobs/urgent/k", 400),
        get("/v1/jobs/test/../../../etc/passwd", 404), get("//v1/jobs/test/k", 404), get("/v1//jobs/test/k", 404),
        get("/%76%31/jobs/test/k", 404), get("*", 400), get("http://", 400, 404),
        get("http://elsewhere/v1/jobs/test/k", 404),
        get("/v1/jobs/test/k?wait=", 400), get("/v1/jobs/test/k?wait", 400), get("/v1/jobs/test/k?wait=-1", 400),
        get("/v1/jobs/test/k?wait=1.5", 400), get("/v1/jobs/test/k?wait=61", 400), get("/v1/jobs/test/k?wait=+1", 400),
        get("/v1/jobs/test/k?wait=99999999999999999999999", 400), get("/v1/jobs/test/k?wait=%31%00", 400),
        get("/v1/jobs/test/k?wait=0&wait=0", 400), get("/v1/jobs/test/k?wait=0&%77ait=0", 400),
        get("/v1/jobs/test/k?Wait=0", 400), get("/v1/jobs/test/k?=", 400), get("/v1/jobs/test/k?wait=%zz", 400),
        get("/v1/jobs/test/k?wait=0&&", 404), get("/v1/jobs/test/k?", 404),
        get("/v1/schedules?limit=0", 400), get("/v1/schedules?limit=101", 400), get("/v1/schedules?after=%00", 400),
        get("/healthz?x=1", 400),
        Attack(method: "DELETE", target: "/v1/jobs/test/k?reason=%00", statuses: [400]),
        Attack(
            method: "DELETE", target: "/v1/jobs/test/k?reason=" + String(repeating: "x", count: 501), statuses: [400]),
        Attack(method: "DELETE", target: "/v1/jobs/test/k?reason=%ff", statuses: [400]),
        Attack(method: "DELETE", target: "/v1/schedules/" + String(repeating: "s", count: 101), statuses: [400]),
        Attack(method: "DELETE", target: "/v1/schedules/%00", statuses: [400]),
        Attack(method: "GET", target: "/v1/jobs/test/k", body: Array(repeating: 0x20, count: 70_000), statuses: [413]),
        Attack(method: "GET", target: "/v1/jobs/test/k", body: Array("{}".utf8), statuses: [404]),
        Attack(method: "TRACE", target: "/v1/jobs", statuses: [405]),
        Attack(method: "BREW", target: "/v1/jobs", statuses: [400, 405]),
        post("", 400), post("{", 400), post("nonsense", 400), post("[]", 422), post("1", 422), post("null", 422),
        post("\"jobs\"", 422), post("{}", 422), post(#"{"jobs":{}}"#, 422), post(#"{"jobs":[],"more":1}"#, 422),
        post([0xFF, 0xFE], [400]), post([0x7B, 0x00, 0x7D], [400]), post(Array("\u{FEFF}{}".utf8), [400]),
        post(String(repeating: "[", count: 100_000), 400), post(#"{"type":1,"type":2}"#, 400),
        post(job + #","delay_ms":99999999999999999999999999999}"#, 422), post(job + #","delay_ms":1.5}"#, 422),
        post(job + #","delay_ms":1e400}"#, 422), post(job + #","delay_ms":"5"}"#, 422),
        post(job + #","delay_ms":-1}"#, 422), post(job + #","deadline_ms":0}"#, 422),
        post(job + #","max_attempts":1001}"#, 422), post(job + #","urgent":"true"}"#, 422),
        post(job + #","reply_to":"a\u0000b"}"#, 422), post(job + #","subject":"\ud800"}"#, 422),
        post(job + #","subject":null}"#, 422), post(job + #","backoff":"fixed 9999999999999999999d"}"#, 422),
        post(#"{"type":"test.work.v1","key":"a\u0000b","payload":{}}"#, 422),
        post(#"{"type":"test.work.v1","key":"","payload":{}}"#, 422),
        post(#"{"type":"test.work.v1","key":5,"payload":{}}"#, 422),
        post(#"{"type":"urgent.work.v1","key":"k","payload":{}}"#, 422),
        post(#"{"type":"test.work.v1\n","key":"k","payload":{}}"#, 422),
        post(job + #","cron":{"every":"@daily","zone":"UT\u0000C"}}"#, 422),
        post(job + #","cron":{"every":"0 0 1-99999999999999999999 * *"}}"#, 422),
        post(job + #","cron":{"every":"*/0 * * * *"}}"#, 422),
        post(job + #","cron":{"every":"@daily","zone":"'; drop table gaia.job; --"}}"#, 422),
    ]

    @Test("Whatever is asked gets an answer that names its fault; the interface goes on, and nothing is done")
    func attacks() async throws {
        try await HTTPFleet.use(workers: 0) { fleet in
            for attack in Self.attacks {
                var text = "\(attack.method) \(attack.target) HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n"
                text += "Authorization: Bearer \(HTTPFleet.token)\r\n"
                if let body = attack.body {
                    text += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n"
                } else if attack.method == "POST" {
                    text += "Content-Length: 0\r\n"
                }
                let answer = try await RawHTTP.exchange(
                    Array((text + "\r\n").utf8) + (attack.body ?? []), port: fleet.port)
                let status = answer.split(separator: " ").dropFirst().first.flatMap { Int($0) }
                let body = String(decoding: attack.body?.prefix(100) ?? [], as: UTF8.self)
                let name = "\(attack.method) \(attack.target.prefix(100)) \(body)"
                #expect(attack.statuses.contains(status ?? 0), "\(name): \(answer)")
                if status != 405, attack.method != "BREW" {
                    #expect(answer.contains("application/problem+json"), "\(name): \(answer)")
                }
            }
            #expect(try await fleet.get("/healthz").status == 200)
            for table in ["job", "agenda", "cron", "waiter", "cancellation"] {
                #expect(try await fleet.count(table) == 0, "\(table)")
            }
        }
    }

    @Test(
        "What is no HTTP, or too much of it, is answered 400 or closed, and the interface goes on",
        arguments: [
            "nonsense\r\n\r\n", "GET\r\n\r\n", "GET v1/jobs HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
            "\u{16}\u{03}\u{01}\u{02}\u{00}",
            "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "GET /" + String(repeating: "a", count: 20_000) + " HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nX: " + String(repeating: "a", count: 20_000) + "\r\n\r\n",
            "GET /healthz HTTP/1.1\r\n" + (0..<200).map { "X\($0): y\r\n" }.joined() + "\r\n",
        ])
    func noHTTP(text: String) async throws {
        try await Isolated.use { place in
            try await HTTPInProcess.use(place) { address in
                let answer = try await RawHTTP.exchange(
                    Array(text.utf8), port: UInt16(address.port), keepsOpen: false)
                #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"), "\(answer)")
                let next = try await RawHTTP.exchange(
                    Array("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".utf8),
                    port: UInt16(address.port))
                #expect(next.hasPrefix("HTTP/1.1 200"))
            }
        }
    }

    @Test("A head that does not come is not waited for, a body neither")
    func slow() async throws {
        try await Isolated.use { place in
            try await HTTPInProcess.use(place) { configuration in
                configuration.idleTimeout = .seconds(1)
            } _: { (address: HTTPAddress) async throws -> Void in
                let port = UInt16(address.port)
                // Each ends because the server closes; the client never does.
                #expect(try await RawHTTP.exchange([], port: port) == "")
                #expect(try await RawHTTP.exchange(Array("GET /healthz HTT".utf8), port: port) == "")
            }
            // Long enough not to end what is to end for want of a body, on a busy machine too.
            try await HTTPInProcess.use(place) { configuration in
                configuration.idleTimeout = .seconds(30)
                configuration.bodyPatience = .milliseconds(100)
            } _: { address in
                let port = UInt16(address.port)
                let head =
                    "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(HTTPFleet.token)\r\n"
                    + "Content-Type: application/json\r\n"
                for length in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
                    let late = try await RawHTTP.exchange(Array("\(head)\(length)\r\n\r\n".utf8), port: port)
                    #expect(late.hasPrefix("HTTP/1.1 408") && late.contains("application/problem+json"), "\(late)")
                }
                // Refused by its head: the answer is there though the body never comes, and the connection ends.
                let refused = try await RawHTTP.exchange(
                    Array("POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n".utf8), port: port)
                #expect(refused.hasPrefix("HTTP/1.1 401") && refused.contains("Connection: close"), "\(refused)")
                let large = try await RawHTTP.exchange(
                    Array("\(head)Content-Length: 1000000000\r\n\r\n".utf8), port: port)
                #expect(large.hasPrefix("HTTP/1.1 413"), "\(large)")
                let broken = try await RawHTTP.exchange(
                    Array("\(head)Content-Length: 100\r\n\r\n{".utf8), port: port, keepsOpen: false)
                #expect(!broken.hasPrefix("HTTP/1.1 2") && !broken.hasPrefix("HTTP/1.1 5"), "\(broken)")
            }
        }
    }

    @Test("More large requests at once than may be in memory are told to come again, and are served when there is room")
    func budget() async throws {
        let length = 100_000
        try await Isolated.use { place in
            try await HTTPInProcess.use(place) { configuration in
                configuration.bodyBytesMax = length
                configuration.idleTimeout = .seconds(120)
                configuration.bodyPatience = .seconds(60)
            } _: { (address: HTTPAddress) async throws -> Void in
                let port = UInt16(address.port)
                func head(_ length: Int) -> String {
                    "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(HTTPFleet.token)\r\n"
                        + "Content-Type: application/json\r\nContent-Length: \(length)\r\nConnection: close\r\n\r\n"
                }
                // What is no JSON is refused for that, once it has been read.
                let whole = Array((head(length) + String(repeating: "x", count: length)).utf8)
                func ask() async throws -> String { try await RawHTTP.exchange(whole, port: port) }
                #expect(try await ask().hasPrefix("HTTP/1.1 400"))
                // As many as there may be, and none of their bodies comes. One of them may itself be told to come again, by
                // reason of a request of ours that is in hand just then: another takes its place.
                var held: [LoopbackSocket] = []
                let refused = try await eventually("a request that is told to come again") {
                    held.removeAll { $0.isReadable(within: .zero) }
                    while held.count < HTTPConfiguration.bodiesInHandMax {
                        let connection = try LoopbackSocket.connected(to: port)
                        try connection.send(Array(head(length).utf8))
                        held.append(connection)
                    }
                    let answer = try await ask()
                    return answer.hasPrefix("HTTP/1.1 503") ? answer : nil
                }
                #expect(refused.contains("too many large requests") && refused.contains("Retry-After:"), "\(refused)")
                held.removeLast()
                try await eventually("a request that is served again") {
                    try await ask().hasPrefix("HTTP/1.1 400")
                }
                #expect(held.count { !$0.isReadable(within: .zero) } == HTTPConfiguration.bodiesInHandMax - 1)
            }
        }
    }
}

@Suite("HTTP API: broker or database away", .timeLimit(.minutes(5)))
struct HTTPAPIOutageTests {
    /// Nobody listens there.
    private static let nowhere = "127.0.0.1:1"

    private func ask(_ address: HTTPAddress, _ http: HTTPClient) async throws -> [String: HTTPAnswer] {
        let url = "http://\(address)"
        return [
            "now": try await http.send("POST", "\(url)/v1/jobs", body: workJSON("now")),
            "later": try await http.send(
                "POST", "\(url)/v1/jobs", body: workJSON("later", "a", #", "delay_ms": 1000"#)),
            "many": try await http.send(
                "POST", "\(url)/v1/jobs", body: #"{"jobs": [\#(workJSON("a")), \#(workJSON("b"))]}"#),
            "wait": try await http.send("POST", "\(url)/v1/jobs?wait=60", body: workJSON("wait")),
            "show": try await http.send("GET", "\(url)/v1/jobs/test/k"),
            "show and wait": try await http.send("GET", "\(url)/v1/jobs/test/k?wait=60"),
            "cancel": try await http.send("DELETE", "\(url)/v1/jobs/test/k"),
            "schedules": try await http.send("GET", "\(url)/v1/schedules"),
            "remove": try await http.send("DELETE", "\(url)/v1/schedules/s"),
            "health": try await http.send("GET", "\(url)/healthz"),
        ]
    }

    @Test("Without the database everything is asked to come again, and nothing is enqueued")
    func database() async throws {
        try await Isolated.use { place in
            let away = try PostgresConfiguration(url: "postgres://gaia:secret@\(Self.nowhere)/gaia")
            try await HTTPInProcess.use(place) { configuration in
                configuration.database = away
                configuration.patience = .milliseconds(200)
            } _: { address in
                try await HTTPClient.use { http in
                    for (what, answer) in try await ask(address, http) {
                        if what == "health" {
                            #expect(answer.status == 200)
                        } else {
                            #expect(answer.isProblem(503) && answer.header("Retry-After") != nil, "\(what): \(answer)")
                            #expect(!answer.text.contains("secret"))
                        }
                        if what == "now" { #expect(answer.json["outcome"] == .string("failed")) }
                        if what == "many" {
                            #expect(answer.json["jobs"]?.array?.map { $0["status"]?.string } == ["failed", "failed"])
                        }
                    }
                }
            }
            #expect(try await place.ready(in: "gaia.unroutable") ?? 0 == 0)
        }
    }

    @Test("Without the broker only what needs it is asked to come again")
    func broker() async throws {
        try await Isolated.use { place in
            let away = try AMQPConfiguration(url: "amqp://gaia:secret@\(Self.nowhere)/")
            try await HTTPInProcess.use(place) { configuration in
                configuration.amqp = away
                configuration.patience = .milliseconds(200)
            } _: { address in
                try await HTTPClient.use { http in
                    let answers = try await ask(address, http)
                    for what in ["now", "many", "wait", "show and wait"] {
                        let answer = try #require(answers[what])
                        #expect(answer.isProblem(503) && answer.header("Retry-After") != nil, "\(what): \(answer)")
                    }
                    #expect(answers["now"]?.json["outcome"] == .string("failed"))
                    let statuses = answers.mapValues(\.status)
                    #expect(statuses["later"] == 202 && statuses["show"] == 404 && statuses["schedules"] == 200)
                    #expect(statuses["cancel"] == 200 && statuses["remove"] == 404 && statuses["health"] == 200)
                }
            }
            try await place.withStore { store in
                var states: [String?] = []
                for key in ["later", "now", "wait"] {
                    states.append(try await store.job(key, subsystem: "test").first?.state)
                }
                #expect(states == ["scheduled", nil, nil])
            }
        }
    }
}

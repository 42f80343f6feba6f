import AMQPClient
import FleetBroker
import FleetModel
import FleetStore
import FleetTestKit
import PostgresClient
import Testing

@Suite("HTTP API", .timeLimit(.minutes(5)))
struct HTTPAPITests {
    @Test("A job is enqueued, runs, and is shown; the same again is a duplicate, another under its key a conflict")
    func one() async throws {
        let recorder = Recorder()
        try await HTTPFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            let first = try await fleet.post(workJSON("a", "hello"))
            #expect(first.status == 202, "\(first)")
            #expect(first.json == (try JSONValue(Array(#"{"key":"a","type":"test.work.v1","status":"queued"}"#.utf8))))
            #expect(first.header("Content-Type") == "application/json")
            #expect(first.header("Cache-Control") == "no-store")
            #expect(try await fleet.fleet.mailbox.result(of: "a").outcome == "succeeded")

            let location = try #require(first.header("Location"))
            let shown = try await fleet.get(location)
            #expect(shown.status == 200)
            #expect(shown.json["state"] == .string("succeeded") && shown.json["output"]?["text"] == .string("hello"))
            #expect(shown.json["producer"] == .string("gaia http"))
            #expect(shown.json["payload"]?["text"] == .string("hello"))
            let head = try await fleet.http.send("HEAD", fleet.url + location)
            #expect(head.status == 200 && head.text.isEmpty)
            #expect(head.header("Content-Length") == shown.header("Content-Length"))

            let again = try await fleet.post(workJSON("a", "hello"))
            #expect((again.status, again.json["status"]) == (200, .string("duplicate")), "\(again)")
            #expect(again.header("Location") == location)
            let other = try await fleet.post(workJSON("a", "other"))
            #expect(other.isProblem(409, "choose another key"), "\(other)")
            #expect(other.json["outcome"] == .string("conflict") && other.json["key"] == .string("a"))
            #expect(recorder.runs.count == 1)
        }
    }

    @Test("What is shown is what gaia job show prints")
    func record() async throws {
        let failing = Work.definition(Recorder(), retry: .never) { _, context in
            context.progress(0.5, "half")
            throw JobFailure(.permanent, code: "no", message: "it \"failed\"\n")
        }
        try await HTTPFleet.use(definitions: [failing]) { fleet in
            _ = try await fleet.post(workJSON("k", "ü", #", "subject": "Ada", "max_attempts": 3, "urgent": true"#))
            #expect(try await fleet.fleet.mailbox.result(of: "k").outcome == "discarded")
            let shown = try await fleet.get("/v1/jobs/test/k")
            let printed = try await Program.run(
                try Program.gaia, ["job", "show", "k", "--json"], environment: fleet.fleet.place.environment)
            #expect(try JSONValue(Array(printed.output.utf8)).array == [shown.json])
            #expect(shown.json["errors"]?[0]?["message"] == .string("it \"failed\"\n"))
            #expect(shown.json["subject"] == .string("Ada") && shown.json["urgent"] == .bool(true))
        }
    }

    @Test("A key may hold anything printable; the answer says where the job is")
    func keys() async throws {
        let recorder = Recorder()
        let keys = ["a/b", "a b+c", "50% & more?#", "ü€😀", "\\\"'{}", String(repeating: "k", count: 200), "..x"]
        try await HTTPFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            for key in keys {
                let name = key.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
                let answer = try await fleet.post(workJSON(name), "?wait=60")
                #expect((answer.status, answer.json["key"]) == (200, .string(key)), "\(key): \(answer)")
                let place = try #require(try await fleet.post(workJSON(name)).header("Location"))
                #expect(try await fleet.get(place).json["key"] == .string(key), "\(place)")
            }
            #expect(recorder.runs.map(\.context.key) == keys)
        }
    }

    @Test("Of several jobs each is answered in its place; when one is refused the whole is 207")
    func many() async throws {
        let recorder = Recorder()
        try await HTTPFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            let later = workJSON("b", "b", #", "delay_ms": 1"#)
            let good = try await fleet.post(#"{"jobs": [\#(workJSON("a")), \#(later)]}"#)
            #expect(good.status == 202)
            #expect(good.json["jobs"]?.array?.map { $0["status"]?.string } == ["queued", "scheduled"])
            for key in ["a", "b"] { #expect(try await fleet.fleet.mailbox.result(of: key).outcome == "succeeded") }

            let mixed = try await fleet.post(
                """
                {"jobs": [\(workJSON("a")), \(workJSON("a", "other")), \(workJSON("c")), \(workJSON("c")),
                          \(workJSON("c", "other")), {"type": "no type"}, 5,
                          \(workJSON("d", "d", #", "delay_ms": 3600000"#)),
                          \(workJSON("d", "other", #", "delay_ms": 3600000"#)), \(workJSON("d", "d"))]}
                """)
            #expect(mixed.status == 207, "\(mixed)")
            #expect(
                mixed.json["jobs"]?.array?.map { $0["status"]?.string } == [
                    "duplicate", "conflict", "queued", "duplicate", "conflict", "invalid", "invalid", "scheduled",
                    "conflict", "duplicate",
                ])
            #expect(mixed.json["jobs"]?[6]?["message"] == .string("a job is a JSON object"))
            #expect(try await fleet.fleet.mailbox.result(of: "c").outcome == "succeeded")
            #expect(Set(recorder.runs.map(\.context.key)) == ["a", "b", "c"] && recorder.runs.count == 3)

            #expect(try await fleet.post(#"{"jobs": []}"#).status == 202)
            let thousand = (1...1_000).map { workJSON("many-\($0)") }
            let most = try await fleet.post(#"{"jobs": [\#(thousand.joined(separator: ","))]}"#)
            #expect(most.status == 202 && most.json["jobs"]?.array?.count == 1_000)
            let tooMany = try await fleet.post(#"{"jobs": [\#((thousand + ["1"]).joined(separator: ","))]}"#)
            #expect(tooMany.isProblem(422, "at most 1000 jobs"), "\(tooMany)")
            #expect(try await fleet.post(#"{"jobs": [\#(workJSON("z"))]}"#, "?wait=1").isProblem(400, "for one job"))
        }
    }

    @Test("The client's own reply_to gets the result, of a repeat too")
    func replyTo() async throws {
        try await HTTPFleet.use(definitions: [Work.definition(Recorder())]) { fleet in
            let queue = fleet.fleet.mailbox.replyQueue
            let body = workJSON("k", "a", #", "reply_to": "\#(queue)", "correlation_id": "mine""#)
            // Waited for here besides.
            let answer = try await fleet.post(body, "?wait=60")
            #expect((answer.status, answer.json["state"]) == (200, .string("succeeded")), "\(answer)")
            #expect(try await fleet.fleet.mailbox.reply("mine").outcome == "succeeded")
            let again = try await fleet.post(
                workJSON("k", "a", #", "reply_to": "\#(queue)", "correlation_id": "second""#))
            #expect(again.status == 200)
            #expect(try await fleet.fleet.mailbox.reply("second").outcome == "succeeded")
        }
    }

    @Test("A job is called off before it begins, while it runs, and before it comes; not when it has ended")
    func cancel() async throws {
        let recorder = Recorder()
        let never = Gate()
        let waiting = Work.definition(recorder) { work, _ in
            if work.text == "wait" { try await never.pass() }
            return work.text
        }
        try await HTTPFleet.use(definitions: [waiting]) { fleet in
            _ = try await fleet.post(workJSON("later", "a", #", "delay_ms": 3600000"#))
            let before = try await fleet.delete("/v1/jobs/test/later?reason=never+mind%21")
            #expect((before.status, before.json["outcome"]) == (200, .string("cancelled")), "\(before)")
            let cancelled = try await fleet.get("/v1/jobs/test/later")
            #expect(cancelled.json["errors"]?[0]?["message"] == .string("never mind!"))

            _ = try await fleet.post(workJSON("running", "wait"))
            try await recorder.awaitRun(of: "running")
            async let waited = fleet.get("/v1/jobs/test/running?wait=60")
            let during = try await fleet.delete("/v1/jobs/test/running")
            #expect((during.status, during.json["outcome"]) == (202, .string("requested")), "\(during)")
            #expect(try await waited.json["state"] == .string("cancelled"))
            let after = try await fleet.delete("/v1/jobs/test/running")
            #expect(after.isProblem(409, "ended already"), "\(after)")

            let early = try await fleet.delete("/v1/jobs/test/to-come")
            #expect((early.status, early.json["outcome"]) == (200, .string("noted")), "\(early)")
            let came = try await fleet.post(workJSON("to-come"), "?wait=60")
            #expect((came.status, came.json["state"]) == (200, .string("cancelled")), "\(came)")
            #expect(came.json["errors"]?[0]?["code"] == .string("cancelled"))
            #expect(recorder.runs.map(\.context.key) == ["running"])
        }
        never.open()
    }

    @Test("A schedule is put, listed, makes its jobs, is replaced, and is removed")
    func cron() async throws {
        let recorder = Recorder()
        try await HTTPFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            let cron =
                #", "subject": "Ada", "cron": {"every": "30 7 * * mon-fri", "zone": "Europe/Berlin", "catch_up": "all"}"#
            let put = try await fleet.post(workJSON("morning/1", "ring", cron))
            #expect((put.status, put.json["status"]) == (202, .string("scheduled")), "\(put)")
            #expect(put.header("Location") == "/v1/schedules/morning%2F1")
            let next = try #require(put.json["next_at"]?.string)
            let listed = try await fleet.get("/v1/schedules").json["schedules"]
            #expect(listed?.array?.count == 1)
            #expect(listed?[0]?["name"] == .string("morning/1") && listed?[0]?["next_at"] == .string(next))
            #expect(listed?[0]?["every"] == .string("30 7 * * mon-fri") && listed?[0]?["catch_up"] == .string("all"))
            #expect(listed?[0]?["zone"] == .string("Europe/Berlin"))
            #expect(listed?[0]?["payload"]?["text"] == .string("ring"))

            try await fleet.fleet.place.withPool { pool in
                try await pool.script("update gaia.cron set next_at = now() - interval '1 minute'")
            }
            try await recorder.wait(for: "the tick") { !$0.isEmpty }
            #expect(recorder.runs.first?.context.key.hasPrefix("cron/morning/1/") == true)
            #expect(recorder.runs.first?.context.subject == "Ada")

            // Both of a list, the first in place of the one that is there.
            let (daily, noon) = (#", "cron": {"every": "@daily"}"#, #", "cron": {"every": "0 12 * * *"}"#)
            let both = try await fleet.post(
                #"{"jobs": [\#(workJSON("morning/1", "b", daily)), \#(workJSON("noon", "c", noon))]}"#)
            #expect(both.status == 202)
            let page = try await fleet.get("/v1/schedules?limit=1").json["schedules"]?.array
            #expect(page?.map { $0["name"]?.string } == ["morning/1"] && page?[0]["every"] == .string("@daily"))
            let rest = try await fleet.get("/v1/schedules?after=morning%2F1&limit=1").json["schedules"]?.array
            #expect(rest?.map { $0["name"]?.string } == ["noon"])

            let removed = try await fleet.delete("/v1/schedules/morning%2F1")
            #expect((removed.status, removed.json["outcome"]) == (200, .string("removed")), "\(removed)")
            #expect(try await fleet.delete("/v1/schedules/morning%2F1").isProblem(404))
            #expect(try await fleet.get("/v1/schedules").json["schedules"]?.array?.count == 1)
        }
    }

    @Test(
        "A schedule that cannot be is refused, with what is wrong",
        arguments: [
            (#", "cron": {"every": "61 * * * *"}"#, "", 422, "minute"),
            (#", "cron": {"every": "0 0 31 2 *"}"#, "", 422, "no day"),
            (#", "cron": {"every": "0/9223372036854775807 * * * *", "zone": "Nowhere/Land"}"#, "", 422, "Nowhere/Land"),
            (#", "cron": {"zone": "UTC"}"#, "", 422, "'every' is missing"),
            (#", "cron": {"every": "@daily", "catch_up": "some"}"#, "", 422, "'catch_up' must be"),
            (#", "cron": {"every": "@daily", "evry": 1}"#, "", 422, "'evry' is not a member of 'cron'"),
            (#", "cron": 5"#, "", 422, "'cron' must be an object"),
            (#", "cron": {"every": "@daily"}, "delay_ms": 5"#, "", 422, "'delay_ms' does not go with 'cron'"),
            (#", "cron": {"every": "@daily"}"#, "?wait=5", 400, "this is a schedule"),
        ])
    func badCron(more: String, query: String, status: Int, words: String) async throws {
        try await HTTPFleet.use(workers: 0) { fleet in
            let answer = try await fleet.post(workJSON("s", "a", more), query)
            #expect(answer.isProblem(status, words), "\(answer)")
            #expect(try await fleet.count("cron") == 0)
        }
    }

    @Test("Without the token nothing is told or done, except whether it serves and what there is")
    func token() async throws {
        try await HTTPFleet.use(workers: 0) { fleet in
            let places = [
                ("POST", "/v1/jobs"), ("GET", "/v1/jobs/test/k"), ("DELETE", "/v1/jobs/test/k"),
                ("GET", "/v1/schedules"), ("DELETE", "/v1/schedules/s"), ("GET", "/nowhere"), ("PUT", "/v1/jobs"),
                ("GET", "/v1/jobs/test/%zz"),
            ]
            let wrong = [
                nil, "", "Bearer", "Bearer ", "Bearer a-token-for-tests-onlx",
                "Bearer a-token-for-tests-onl", "Bearer a-token-for-tests-onlya-token-for-tests-only",
                "Basic \(HTTPFleet.token)", HTTPFleet.token,
            ]
            for (method, path) in places {
                for authorization in wrong {
                    let answer = try await fleet.http.send(
                        method, fleet.url + path, body: method == "POST" ? workJSON("k") : nil,
                        authorization: authorization)
                    #expect(answer.isProblem(401), "\(method) \(path) \(authorization ?? "-"): \(answer)")
                    #expect(answer.header("WWW-Authenticate")?.hasPrefix("Bearer") == true)
                }
            }
            let twice = try await fleet.http.send(
                "GET", fleet.url + "/v1/schedules", headers: [("Authorization", "Bearer \(HTTPFleet.token)")])
            #expect(twice.isProblem(401))
            let small = try await fleet.http.send(
                "GET", fleet.url + "/v1/schedules", authorization: "bearer \(HTTPFleet.token)")
            #expect(small.status == 200)

            let health = try await fleet.http.send("GET", fleet.url + "/healthz", authorization: nil)
            #expect((health.status, health.text) == (200, #"{"status":"ok"}"#))
            let description = try await fleet.http.send("GET", fleet.url + "/openapi.json", authorization: nil)
            #expect(description.status == 200 && description.json["openapi"]?.string?.hasPrefix("3.1.") == true)
            #expect(try await fleet.count("cancellation") == 0)
            let log = fleet.dispatchers[0].process.capturedOutput
            #expect(!log.contains(HTTPFleet.token) && !log.contains("onlx"), "\(log)")
        }
    }

    @Test("What is not there, not done or not understood is refused with what to do")
    func refusals() async throws {
        let limits = ["GAIA_HTTP_BODY_BYTES": "2000", "GAIA_LIMITS_PAYLOAD_BYTES": "100"]
        try await HTTPFleet.use(workers: 0, settings: limits) { fleet in
            #expect(try await fleet.get("/v1/jobs/test/unknown").isProblem(404, "ask with 'wait'"))
            for path in ["/", "/v1", "/v1/jobs/test", "/v1/jobs/", "/v2/jobs", "/v1/schedules/a/b", "/healthz/"] {
                #expect(try await fleet.get(path).isProblem(404), "\(path)")
            }
            #expect(try await fleet.get("/v1/jobs/test/a/b").isProblem(404, "%2F"))
            let methods = [
                ("/v1/jobs", "GET", "POST"), ("/v1/jobs/test/k", "POST", "GET, HEAD, DELETE"),
                ("/v1/schedules", "DELETE", "GET, HEAD"), ("/v1/schedules/s", "GET", "DELETE"),
                ("/healthz", "POST", "GET, HEAD"), ("/openapi.json", "PUT", "GET, HEAD"),
                ("/v1/jobs", "OPTIONS", "POST"),
            ]
            for (path, method, allowed) in methods {
                let answer = try await fleet.http.send(method, fleet.url + path)
                #expect(answer.isProblem(405) && answer.header("Allow") == allowed, "\(method) \(path): \(answer)")
            }
            for type in [nil, "text/plain", "application/json; charset=latin1", "application/x-www-form-urlencoded"] {
                let answer = try await fleet.http.send(
                    "POST", fleet.url + "/v1/jobs", body: workJSON("k"), contentType: type)
                #expect(answer.isProblem(415), "\(type ?? "-"): \(answer)")
            }
            let coded = try await fleet.http.send(
                "POST", fleet.url + "/v1/jobs", body: workJSON("k"), headers: [("Content-Encoding", "gzip")])
            #expect(coded.isProblem(415))
            let accepted = try await fleet.http.send(
                "POST", fleet.url + "/v1/jobs", body: workJSON("k"), contentType: #"Application/JSON; charset="UTF-8""#)
            #expect(accepted.status == 202, "\(accepted)")
            let tooLarge = try await fleet.post(workJSON("k", String(repeating: "x", count: 2_000)))
            #expect(tooLarge.isProblem(413, "2000 bytes"), "\(tooLarge)")
            let large = try await fleet.post(workJSON("large", String(repeating: "x", count: 200)))
            #expect(large.isProblem(422, "at most 100 are taken"), "\(large)")
            // The connection is still good for the next.
            #expect(try await fleet.get("/healthz").status == 200)
        }
    }
}

import FleetModel
import Testing

private func read(_ text: String) throws(InvalidJobDocument) -> JobDocument { try JobDocument(Array(text.utf8)) }

private func request(_ text: String) throws(InvalidJobDocument) -> EnqueueRequest {
    try EnqueueRequest(Array(text.utf8))
}

@Suite("Job documents")
struct JobDocumentTests {
    @Test("Every member is read")
    func whole() throws {
        let document = try read(
            """
            {"type": "api.request.v1", "key": "order-17", "payload": {"url": "http://x"}, "delay_ms": 5000,
             "deadline_ms": 60000, "max_attempts": 3, "reply_to": "answers", "correlation_id": "c-1", "subject": "class 4b"}
            """)
        #expect(document.delay == .seconds(5))
        #expect(
            document.job
                == Job(
                    type: "api.request.v1", key: "order-17", payload: Array(#"{"url":"http://x"}"#.utf8),
                    replyTo: "answers",
                    correlationID: "c-1", subject: "class 4b", deadline: .seconds(60), attemptsMax: 3))
    }

    @Test("What is optional may be left out")
    func least() throws {
        let document = try read(#"{"type":"a.b.v1","key":"k","payload":null}"#)
        #expect(
            document
                == JobDocument(
                    job: Job(type: "a.b.v1", key: "k", payload: Array("null".utf8)), payload: "null", delay: nil))
    }

    @Test(
        "The payload passes byte for byte in its canonical form",
        arguments: [
            #"{"a":"x,y","b":"}","c":"{[","d":"\"","e":"\\","f":"\\\"}"}"#, #"[1,[2,[3]],{"k":[{}]}]"#,
            #""a, \"payload\": 1}""#,
            "-1.50e+3", "true", "[]", "{}", #"["]","}",",",":"]"#, #"{"key":"y","payload":{"payload":1},"type":"x"}"#,
            #""ä\u00e9😀""#,
        ])
    func payload(_ payload: String) throws {
        for text in [
            #"{"payload":\#(payload),"type":"a.b.v1","key":"k"}"#,
            #"{ "key" : "k" , "type":"a.b.v1" , "payload" : \#(payload) }"#,
        ] {
            let document = try read(text)
            #expect(document.payload == payload)
            #expect(document.job.payload == Array(payload.utf8))
        }
    }

    @Test("Escapes in a key and in member names are understood")
    func escapes() throws {
        let document = try read(#"{"\u0074ype":"a.b.v1","key":"\u00e9\"\\\/","payload":1}"#)
        #expect(document.job.key == "é\"\\/")
    }

    @Test(
        "Each flaw is named",
        arguments: [
            ("[]", "a job is a JSON object"), ("1", "a job is a JSON object"), ("{}", "'type' is missing"),
            (#"{"type":"a.b.v1"}"#, "'key' is missing"), (#"{"type":"a.b.v1","key":"k"}"#, "'payload' is missing"),
            (#"{"type":1,"key":"k","payload":1}"#, "'type' must be a string"),
            (#"{"type":"nonsense","key":"k","payload":1}"#, "'nonsense' is no job type"),
            (#"{"type":"a.b.v1","key":"","payload":1}"#, "key is empty"),
            (#"{"type":"a.b.v1","key":null,"payload":1}"#, "'key' must be a string"),
            (#"{"type":"a.b.v1","key":"a\u0000b","payload":1}"#, "control character"),
            (
                #"{"type":"a.b.v1","key":"k","payload":1,"delay":5}"#,
                "'delay' is not a member of a job; known are type, key"
            ),
            (#"{"type":"a.b.v1","key":"k","payload":1,"delay_ms":-1}"#, "'delay_ms' must be a whole number from 0"),
            (#"{"type":"a.b.v1","key":"k","payload":1,"delay_ms":1.5}"#, "'delay_ms' must be a whole number"),
            (#"{"type":"a.b.v1","key":"k","payload":1,"delay_ms":"5"}"#, "'delay_ms' must be a whole number"),
            (
                #"{"type":"a.b.v1","key":"k","payload":1,"delay_ms":99999999999999999999}"#,
                "'delay_ms' must be a whole number"
            ),
            (
                #"{"type":"a.b.v1","key":"k","payload":1,"deadline_ms":0}"#,
                "'deadline_ms' must be a whole number from 1"
            ),
            (
                #"{"type":"a.b.v1","key":"k","payload":1,"max_attempts":1001}"#,
                "'max_attempts' must be a whole number from 1 to 1000"
            ),
            (#"{"type":"a.b.v1","key":"k","payload":1,"reply_to":5}"#, "'reply_to' must be a string"),
            (#"{"type":"a.b.v1","key":"k","payload":1,"subject":"a\u0000"}"#, "'subject' holds a NUL"),
            (#"{"type":"a.b.v1","key":"k","payload":1,"key":"l"}"#, "stands twice"),
            (#"{"type":"a.b.v1","key":"k","payload":1"#, "it ends where"),
        ])
    func flaws(_ text: String, _ expected: String) {
        let error = #expect(throws: InvalidJobDocument.self) { try read(text) }
        #expect(error?.description.contains(expected) == true, "\(error?.description ?? "")")
    }

    @Test("A correlation id, reply queue or subject that no short string holds is refused")
    func longTexts() {
        let long = String(repeating: "x", count: 256)
        for name in ["reply_to", "correlation_id", "subject"] {
            let error = #expect(throws: InvalidJobDocument.self) {
                try read(#"{"type":"a.b.v1","key":"k","payload":1,"\#(name)":"\#(long)"}"#)
            }
            #expect(error?.description == "'\(name)' has 256 bytes, at most 255 fit")
        }
    }
}

@Suite("Enqueue requests")
struct EnqueueRequestTests {
    @Test("Good and bad jobs of one request are told apart, in order")
    func mixed() throws {
        let jobs = try request(
            #"{"jobs":[{"type":"a.b.v1","key":"1","payload":"]},"},7,{"type":"a.b.v1","key":"2","payload":{},"delay_ms":1},{}]}"#
        ).jobs
        #expect(jobs.count == 4)
        #expect(try jobs[0].get().payload == #""]},""#)
        #expect(jobs[1] == .failure(InvalidJobDocument("a job is a JSON object")))
        #expect(try jobs[2].get().delay == .milliseconds(1))
        #expect(jobs[3] == .failure(InvalidJobDocument("'type' is missing")))
    }

    @Test("A whole number is one however it is spelled", arguments: ["5000", "5000.0", "5e3", "5.000E+3"])
    func wholeNumbers(text: String) throws {
        let document = try JobDocument(
            Array(#"{"type":"a.b.v1","key":"k","payload":1,"delay_ms":\#(text)}"#.utf8))
        #expect(document.delay == .seconds(5))
    }

    @Test("One job is told from a list")
    func meant() throws {
        #expect(EnqueueRequest.isMeant(by: #"{"jobs":5}"#[...].utf8))
        for text in [#"{"key":"jobs"}"#, #"["jobs"]"#, "5", "{}"] {
            #expect(!EnqueueRequest.isMeant(by: text[...].utf8), "\(text)")
        }
    }

    @Test("An empty list is a request")
    func none() throws { #expect(try request(#"{"jobs":[]}"#).jobs.isEmpty) }

    @Test(
        "Any other document is none",
        arguments: ["{}", "[]", "1", #"{"jobs":{}}"#, #"{"jobs":1}"#, #"{"jobs":[],"x":1}"#, #"{"job":[]}"#])
    func others(_ text: String) {
        let error = #expect(throws: InvalidJobDocument.self) { try request(text) }
        #expect(error?.description.contains("one member, 'jobs'") == true)
    }

    @Test("Ten thousand jobs are taken, one more is not, and what is no JSON says so")
    func bounds() throws {
        func list(_ count: Int) -> String {
            #"{"jobs":["# + Array(repeating: "0", count: count).joined(separator: ",") + "]}"
        }
        #expect(try request(list(EnqueueRequest.jobsMax)).jobs.count == EnqueueRequest.jobsMax)
        let error = #expect(throws: InvalidJobDocument.self) { try request(list(EnqueueRequest.jobsMax + 1)) }
        #expect(error?.description.contains("at most 10000") == true)
        let broken = #expect(throws: InvalidJobDocument.self) { try request(#"{"jobs":["#) }
        #expect(broken?.description.contains("no JSON") == true)
    }
}

@Suite("A schedule as a document")
struct CronRequestTests {
    private func read(_ cron: String, _ more: String = "", key: String = "s") throws(InvalidJobDocument) -> JobDocument
    {
        try JobDocument(
            Array(#"{"type":"api.request.v1","key":"\#(key)","payload":{},"cron":\#(cron)\#(more)}"#.utf8))
    }

    @Test("Zone and catch-up have their defaults, and it is not for now")
    func defaults() throws {
        let document = try read(#"{"every":"30 7 * * mon-fri"}"#)
        let cron = try #require(document.cron)
        #expect((cron.expression.description, cron.zone, cron.catchUp) == ("30 7 * * mon-fri", "UTC", .skip))
        #expect(!document.isForNow && document.with { $0.producer = "x" }.cron == cron)
        let whole = try read(
            #"{"every":"@daily","zone":"Europe/Berlin","catch_up":"all"}"#,
            #","reply_to":"q","subject":"Ada","max_attempts":3"#)
        #expect((whole.cron?.zone, whole.cron?.catchUp, whole.job.attemptsMax) == ("Europe/Berlin", .all, 3))
    }

    @Test("The name may have a hundred bytes")
    func name() throws {
        _ = try read(#"{"every":"@daily"}"#, key: String(repeating: "k", count: 100))
        let error = #expect(throws: InvalidJobDocument.self) {
            try read(#"{"every":"@daily"}"#, key: String(repeating: "k", count: 101))
        }
        #expect(error?.description.contains("at most 100") == true)
    }

    @Test(
        "What is none says why",
        arguments: [
            ("5", "must be an object"), ("{}", "'every' is missing"), (#"{"every":5}"#, "'every' must be a string"),
            (#"{"every":"x"}"#, "'every'"), (#"{"every":"@daily","zone":""}"#, "'zone'"),
            (#"{"every":"@daily","zone":"a\u0000"}"#, "'zone'"), (#"{"every":"@daily","catch_up":"x"}"#, "'catch_up'"),
            (#"{"every":"@daily","more":1}"#, "'more' is not a member of 'cron'"),
            (#"{"every":"5/9223372036854775807 * * * *","catch_up":"x"}"#, "'catch_up'"),
        ])
    func flaws(cron: String, words: String) {
        let error = #expect(throws: InvalidJobDocument.self) { try read(cron) }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }

    @Test(
        "Members that a schedule has not are refused",
        arguments: ["delay_ms", "deadline_ms", "correlation_id", "backoff", "urgent"])
    func members(name: String) {
        let values = ["correlation_id": #""c""#, "backoff": #""fixed 5s""#, "urgent": "true"]
        let error = #expect(throws: InvalidJobDocument.self) {
            try read(#"{"every":"@daily"}"#, #","\#(name)":\#(values[name] ?? "5")"#)
        }
        #expect(error?.description == "'\(name)' does not go with 'cron'; leave one of them out")
    }
}

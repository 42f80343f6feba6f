import APISubsystem
import FleetModel
import Foundation
import TestSockets
import Testing

@Suite("Parameters of api.request.v1")
struct RequestParametersTests {
    private func flaw(_ payload: String) async throws -> String? {
        let definition = try await definition(RequestParameters.type)
        do throws(InvalidParameters) {
            _ = try definition.prepare(Array(payload.utf8))
            return nil
        } catch {
            return error.description
        }
    }

    @Test(
        "These are taken",
        arguments: [
            #"{"url":"http://example.org"}"#, #"{"url":"HTTPS://example.org/a?b#c"}"#,
            #"{"url":"http://h","method":"DELETE","headers":{"Accept":"text/plain"},"body":"ä","timeout_ms":1,"expected_status":[404]}"#,
            #"{"url":"http://h","method":null,"headers":null,"body":null,"timeout_ms":null,"expected_status":null}"#,
            #"{"url":"http://h","timeout_ms":240000,"expected_status":[100,599],"headers":{}}"#,
            #"{"url":"http://h","later":"addition"}"#,
            #"{"url":"http://h","json":{"a":[1,2.5,null,true,"x",{}]},"follow_redirects":20,"response":"file","file":"data:a/b"}"#,
            #"{"url":"http://h","json":null,"body":"b","response":"auto","follow_redirects":0}"#,
        ])
    func valid(_ payload: String) async throws { #expect(try await flaw(payload) == nil) }

    @Test(
        "These are refused, each with the member and what it must be",
        arguments: [
            ("{}", "'url' is missing"), (#"{"url":5}"#, "'url' is not of type string"),
            (#"{"url":null}"#, "'url' must not be null"),
            (#"{"url":""}"#, "'url' must begin with http:// or https://"),
            (#"{"url":"example.org"}"#, "'url' must begin"),
            (#"{"url":"ftp://h"}"#, "'url' must begin"), (#"{"url":"file:///etc/passwd"}"#, "'url' must begin"),
            (#"{"url":"httpx://h"}"#, "'url' must begin"), (#"{"url":" http://h"}"#, "'url' must begin"),
            (#"{"url":"http://h","method":"get"}"#, "'method' must be one of GET"),
            (#"{"url":"http://h","method":"CONNECT"}"#, "'method' must be"),
            (#"{"url":"http://h","headers":["a"]}"#, "'headers' is not of type object"),
            (#"{"url":"http://h","headers":{"a":1}}"#, "'headers.a' is not of type string"),
            (#"{"url":"http://h","body":{}}"#, "'body' is not of type string"),
            (#"{"url":"http://h","timeout_ms":0}"#, "'timeout_ms' must be from 1 to 240000"),
            (#"{"url":"http://h","timeout_ms":240001}"#, "'timeout_ms' must be from 1"),
            (#"{"url":"http://h","timeout_ms":"5"}"#, "'timeout_ms' is not of type integer"),
            (#"{"url":"http://h","expected_status":[]}"#, "'expected_status' must list"),
            (#"{"url":"http://h","expected_status":[99]}"#, "'expected_status' must list"),
            (#"{"url":"http://h","expected_status":[200,600]}"#, "'expected_status' must list"),
            (#"{"url":"http://h","expected_status":200}"#, "'expected_status' is not of type Array"),
            (#"{"url":"http://h","follow_redirects":21}"#, "'follow_redirects' must be from 0 to 20"),
            (#"{"url":"http://h","follow_redirects":-1}"#, "'follow_redirects' must be"),
            (#"{"url":"http://h","body":"a","json":{}}"#, "'body' and 'json' are both there"),
            (#"{"url":"http://h","response":"disk"}"#, "'response'"),
            (#"{"url":"http://h","response":"inline","file":"data:a"}"#, "'file' names a place"),
            (#"{"url":"http://h","file":"/etc/passwd"}"#, "'file' is no path"),
            (#"{"url":"http://h","file":"data:../a"}"#, "'file' is no path"),
            ("[]", "the payload is not of type object"),
        ])
    func invalid(_ payload: String, _ expected: String) async throws {
        let flaw = try await flaw(payload) ?? "taken"
        #expect(flaw.hasPrefix(expected), "\(flaw)")
    }

    @Test("The schema names every member, and requires the URL alone")
    func schema() async throws {
        let definition = try await definition(RequestParameters.type)
        let text = definition.schema.document(title: definition.type.name, summary: definition.summary)
        let tree = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        let members = try #require(tree["properties"] as? [String: Any])
        #expect(
            Set(members.keys) == [
                "url", "method", "headers", "body", "json", "timeout_ms", "expected_status", "follow_redirects",
                "response", "file",
            ])
        #expect(tree["required"] as? [String] == ["url"])
        #expect(tree["title"] as? String == "api.request.v1")
        let whole = RequestParameters(
            url: "http://h", method: "GET", headers: [:], body: "", json: .null, timeoutMilliseconds: 1,
            expectedStatus: [200], followRedirects: 1, response: .file, file: "data:a")
        let payload = try JSONEncoder().encode(whole)
        let written = try #require(try JSONSerialization.jsonObject(with: payload) as? [String: Any])
        #expect(Set(written.keys) == Set(members.keys), "what is encoded is what the schema names")
    }
}

extension ServerTests {
    @Suite("Calls of api.request.v1", .timeLimit(.minutes(2)))
    struct RequestCallTests {
        private let url: String

        init() async throws { url = try await WebService.shared.value.url }

        @Test("A call carries method, headers and body, and the job's key as its idempotency key")
        func request() async throws {
            let asked = try Asked(
                try await call(
                    RequestParameters(
                        url: "\(url)/echo", method: "POST", headers: ["X-A": "1", "Content-Type": "text/plain"],
                        body: "ä\n"
                    ),
                    traceparent: "00-1-2-01"))
            #expect((asked.method, asked.body) == ("POST", "ä\n"))
            #expect((asked.headers["x-a"], asked.headers["content-type"]) == ("1", "text/plain"))
            #expect(asked.headers["idempotency-key"] == "order-17")
            #expect(asked.headers["traceparent"] == "00-1-2-01")
            #expect(try Asked(try await call(RequestParameters(url: "\(url)/echo"))).method == "GET")
        }

        @Test(
            "An idempotency key that is given stays, however it is spelled",
            arguments: ["Idempotency-Key", "idempotency-KEY"])
        func ownKey(_ name: String) async throws {
            let asked = try Asked(
                try await call(
                    RequestParameters(url: "\(url)/echo", headers: [name: "mine", "TraceParent": "t"]),
                    traceparent: "other"
                ))
            #expect(asked.headers["idempotency-key"] == "mine")
            #expect(asked.headers["traceparent"] == "t")
        }

        @Test("The output holds status, headers, body and its size")
        func output() async throws {
            let output = try await call(RequestParameters(url: "\(url)/bytes/5"))
            #expect((output.status, output.body, output.bodyBase64, output.bytes) == (200, "xxxxx", nil, 5))
            #expect(output.headers["content-length"] == "5")
            #expect(output.durationMilliseconds >= 0)
            let twice = try await call(RequestParameters(url: "\(url)/headers"))
            #expect(twice.headers["x-one"] == "a, b")
            #expect((twice.body, twice.bytes) == ("", 0))
        }

        @Test("A body that is not text comes in Base64")
        func binary() async throws {
            let output = try await call(RequestParameters(url: "\(url)/binary"))
            #expect((output.body, output.bodyBase64, output.bytes) == (nil, "AP/+QQ==", 4))
        }

        @Test("A status that was expected is success, and then 200 may be none")
        func expectedStatus() async throws {
            #expect(
                try await call(RequestParameters(url: "\(url)/status/404", expectedStatus: [200, 404])).status == 404)
            #expect(
                try await call(RequestParameters(url: "\(url)/status/503?after=9", expectedStatus: [503])).status == 503
            )
            #expect(try await call(RequestParameters(url: "\(url)/status/299")).status == 299)
            let end = try await failure(RequestParameters(url: "\(url)/bytes/1", expectedStatus: [201]))
            #expect((end.kind, end.code) == (.permanent, "api.200"))
        }

        @Test("What the request got wrong is permanent", arguments: [400, 401, 403, 404, 409, 410, 422, 302])
        func permanent(_ status: Int) async throws {
            let end = try await failure(RequestParameters(url: "\(url)/status/\(status)"))
            #expect((end.kind, end.code) == (.permanent, "api.\(status)"))
            #expect(end.message == "the server answered \(status): the kitchen is closed")
        }

        @Test("What may pass is transient", arguments: [408, 425, 429, 500, 502, 503, 504, 599])
        func transient(_ status: Int) async throws {
            let end = try await failure(RequestParameters(url: "\(url)/status/\(status)"))
            #expect((end.kind, end.code) == (.transient, "api.\(status)"))
        }

        @Test("A server that names a pause is given it", arguments: [429, 503])
        func throttled(_ status: Int) async throws {
            let end = try await failure(RequestParameters(url: "\(url)/status/\(status)?after=7"))
            #expect((end.kind, end.code) == (.throttled(retryAfter: .seconds(7)), "api.\(status)"))
        }

        @Test("A pause that is none is taken for none")
        func oddPause() async throws {
            #expect(try await failure(RequestParameters(url: "\(url)/status/429?after=soon")).kind == .transient)
            #expect(try await failure(RequestParameters(url: "\(url)/status/404?after=7")).kind == .permanent)
        }

        @Test("A port on which nobody listens may be listened to later")
        func refusedConnection() async throws {
            let port = try LoopbackSocket.bound()
            let end = try await failure(RequestParameters(url: "http://127.0.0.1:\(port.port)/"))
            #expect((end.kind, end.code) == (.transient, "api.connect"))
            withExtendedLifetime(port) {}
        }

        @Test("A server that does not answer in time may do so later")
        func timeout() async throws {
            let end = try await failure(RequestParameters(url: "\(url)/silence", timeoutMilliseconds: 50))
            #expect((end.kind, end.code) == (.transient, "api.timeout"))
        }

        @Test("A response of the greatest size is kept, one byte more fails for good and names the setting")
        func oversize() async throws {
            #expect(try await call(RequestParameters(url: "\(url)/bytes/1000")).bytes == 1_000)
            let end = try await failure(RequestParameters(url: "\(url)/bytes/1001"))
            #expect((end.kind, end.code) == (.permanent, "api.response-too-large"))
            #expect(end.message.contains("at most 1000 bytes are kept in a result (api.response_bytes)"))
        }

        @Test("A failure with a body of any length stays what its status says")
        func oversizeFailure() async throws {
            for path in ["bytes/5000", "bytes/5000000", "endless"] {
                let end = try await failure(
                    RequestParameters(url: "\(url)/\(path)?status=503", timeoutMilliseconds: 20_000))
                #expect((end.kind, end.code) == (.transient, "api.503"))
                #expect(end.message.count < 300)
            }
        }

        @Test("JSON is sent as JSON, unless its type is named otherwise")
        func json() async throws {
            let value = JSONValue.object([
                "id": .integer(9_007_199_254_740_993), "list": .array([.null, .number(0.5)]),
            ])
            var asked = try Asked(try await call(RequestParameters(url: "\(url)/echo", method: "POST", json: value)))
            #expect(asked.body == #"{"id":9007199254740993,"list":[null,0.5]}"#)
            #expect(asked.headers["content-type"] == "application/json")
            asked = try Asked(
                try await call(
                    RequestParameters(
                        url: "\(url)/echo", method: "POST", headers: ["content-type": "application/ld+json"],
                        json: .string("a/b"))))
            #expect((asked.headers["content-type"], asked.body) == ("application/ld+json", #""a/b""#))
        }

        @Test("Redirects are followed as often as the job says, and the output names the end")
        func redirects() async throws {
            let output = try await call(RequestParameters(url: "\(url)/hops/3", followRedirects: 3))
            #expect((output.status, output.body, output.finalURL) == (200, "landed", "\(url)/hops/0"))
            #expect(try await call(RequestParameters(url: "\(url)/bytes/1", followRedirects: 3)).finalURL == nil)
            let end = try await failure(RequestParameters(url: "\(url)/hops/4", followRedirects: 3))
            #expect((end.kind, end.code) == (.permanent, "api.too-many-redirects"))
        }

        @Test("Headers that must not be sent fail for good")
        func badHeaders() async throws {
            let end = try await failure(RequestParameters(url: "\(url)/echo", headers: ["X-A": "a\r\nX-B: b"]))
            #expect((end.kind, end.code) == (.permanent, "api.bad-request"))
        }

        @Test("A call that a closing worker gives up is left to another worker")
        func closed() async throws {
            #expect(try await failure(RequestParameters(url: "\(url)/echo"), closed: true).kind == .transient)
        }

        @Test("A cancelled call ends at once as cancelled")
        func cancelled() async throws {
            let url = url
            let task = Task { try await failure(RequestParameters(url: "\(url)/silence")) }
            task.cancel()
            let end = try await task.value
            #expect((end.kind, end.code) == (.transient, "cancelled"))
        }
    }
}

import FleetModel
import Testing

@Suite("Job types")
struct JobTypeTests {
    @Test(
        "A name of lower-case parts that ends in a version is a type",
        arguments: [
            ("api.request.v1", "api"), ("a.v1", "a"), ("lesson-2.grade.all.v12", "lesson-2"), ("x.y.z.v0", "x"),
        ])
    func valid(_ name: String, _ subsystem: String) throws {
        let type = try JobType(validating: name)
        #expect(type.name == name)
        #expect(type.subsystem == subsystem)
        #expect(type.description == name)
    }

    @Test(
        "Anything else is none, and the error shows the shape",
        arguments: [
            "", ".", "v1", "api", "api.request", "api.request.v", "api.request.1", "api.request.vx", "api.request.v1x",
            "API.request.v1", "api.Request.v1", "api..v1", ".request.v1", "api.request.v1.", "1api.request.v1",
            "-api.request.v1", "api.re_quest.v1", "api.request.V1", "api.re quest.v1", "äpi.request.v1",
            "api.request.v١",
            "api.request.v1\n", "api.*.v1", "api.#",
        ])
    func invalid(_ name: String) {
        let error = #expect(throws: JobTypeError.self) { try JobType(validating: name) }
        #expect(error?.description.contains("api.request.v1") == true)
    }

    @Test("A name may be 120 bytes long and no longer, and an overlong one is not printed whole")
    func length() throws {
        let longest = "api." + String(repeating: "a", count: 113) + ".v1"
        #expect(try JobType(validating: longest).name.utf8.count == JobType.bytesMax)
        let error = #expect(throws: JobTypeError.self) { try JobType(validating: "api.a" + longest.dropFirst(4)) }
        #expect(try #require(error).name.utf8.count < 130)
    }

    @Test("A subsystem's name fits where it is put: at most 40 bytes")
    func subsystemLength() throws {
        let longest = String(repeating: "s", count: 40)
        #expect(JobType.isSubsystem(longest))
        #expect(try JobType(validating: "\(longest).do.v1").subsystem == longest)
        #expect(!JobType.isSubsystem(longest + "s"))
        #expect(throws: JobTypeError.self) { try JobType(validating: "\(longest)s.do.v1") }
    }

    @Test("The longest identity in the longest state fits into a message id")
    func longestResult() {
        let identity = JobIdentity(
            subsystem: String(repeating: "s", count: 40), key: String(repeating: "k", count: JobIdentity.keyBytesMax))
        for state in JobState.allCases where state.isFinal {
            let result = JobResult(
                identity: identity, type: "a.b.v1", state: state, attempt: 1, finishedAt: "", output: nil, error: nil)
            #expect(result.id.utf8.count <= 255)
        }
    }
}

@Suite("Keys and short texts")
struct KeyTests {
    @Test(
        "A printable key of 1 to 200 bytes is taken",
        arguments: ["k", "order/17 #ä😀", String(repeating: "x", count: 200)])
    func valid(_ key: String) { #expect(Job.flaw(inKey: key) == nil) }

    @Test("An empty, overlong or unprintable key is refused, with a reason that says what to do")
    func invalid() {
        #expect(Job.flaw(inKey: "")?.contains("choose one") == true)
        #expect(Job.flaw(inKey: String(repeating: "x", count: 201))?.contains("hash it") == true)
        #expect(Job.flaw(inKey: String(repeating: "ä", count: 101))?.contains("202 bytes") == true)
        for key in ["a\0b", "a\n", "\u{1F}", "\u{7F}"] { #expect(Job.flaw(inKey: key)?.contains("printable") == true) }
    }

    @Test("A short text holds 255 bytes and no NUL")
    func shortTexts() {
        #expect(Job.flaw(inShortText: String(repeating: "x", count: 255)) == nil)
        #expect(Job.flaw(inShortText: String(repeating: "x", count: 256))?.contains("256 bytes") == true)
        #expect(Job.flaw(inShortText: "a\0")?.contains("NUL") == true)
    }
}

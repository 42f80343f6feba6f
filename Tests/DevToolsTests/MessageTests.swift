import Testing

@testable import DevTools

@Suite("Messages")
struct MessageTests {
    private func scan(_ text: String) -> (message: Message, part: (Range<Int>?) -> String?)? {
        let bytes = Array(text.utf8)
        guard let message = MessageScanner.scan(bytes) else { return nil }
        return (message, { $0.map { String(decoding: bytes[$0], as: UTF8.self) } })
    }

    @Test("Their parts are found wherever they stand, and nothing inside of them is taken for one")
    func parts() throws {
        let (message, part) = try #require(
            scan(#" { "method" : "A.b" , "params":{"id":7,"s":"}\"],{\\","a":[[1,{"x":"]"}],2]},"sessionId":"S1" } "#))
        #expect(message.id == nil && message.method == "A.b" && message.session == "S1")
        #expect(part(message.params) == #"{"id":7,"s":"}\"],{\\","a":[[1,{"x":"]"}],2]}"#)
        let (answer, of) = try #require(scan(#"{"id":12,"result":{},"error":null}"#))
        #expect(answer.id == 12 && of(answer.result) == "{}" && of(answer.error) == "null")
    }

    @Test(
        "What is no whole object is none",
        arguments: [
            "", " ", "[]", "12", "{", "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\":\"", "{\"a\":\"\\\"", "{\"a\":[1,",
            "{a:1}",
            "{\"a\":1", "{\"a\":{\"b\":[}", "\u{0}\u{1}",
        ])
    func broken(_ text: String) {
        #expect(scan(text) == nil)
    }

    @Test("Depth costs no stack")
    func deep() throws {
        let depth = 1_000_000
        let text = "{\"params\":" + String(repeating: "[", count: depth) + String(repeating: "]", count: depth) + "}"
        let (message, _) = try #require(scan(text))
        #expect(message.params?.count == 2 * depth)
    }

    @Test("A stream is cut into messages however it comes")
    func frames() {
        let stream = Array("one\0\0three\0four".utf8)
        for size in 1...stream.count {
            var frames = MessageFrames(bytesMax: 100)
            var found: [MessageFrames.Frame] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                let piece = Array(stream[start..<min(start + size, stream.count)])
                piece.withUnsafeBytes { found += frames.take($0) }
            }
            #expect(found == [.message(Array("one".utf8)), .message([]), .message(Array("three".utf8))])
        }
    }

    @Test("Of a message that is too large the beginning is kept, and the next one is whole")
    func tooLarge() {
        var frames = MessageFrames(bytesMax: 20)
        let text = "{\"id\":41," + String(repeating: "x", count: 500) + "\0{}\0"
        var found: [MessageFrames.Frame] = []
        for byte in text.utf8 { withUnsafeBytes(of: byte) { found += frames.take($0) } }
        guard case .tooLarge(let beginning) = found.first else {
            Issue.record("it was taken: \(found)")
            return
        }
        #expect(MessageScanner.id(ofBeginning: beginning) == 41)
        #expect(found.last == .message(Array("{}".utf8)))
    }

    @Test("Members are read in place, and content in base64 without becoming text")
    func slices() throws {
        let slice = JSONSlice(#"{"data":"aGVsbG8=","value":{"n":1.0e400,"s":"\u00e4"}}"#)
        let data = try #require(slice["data"]).base64Decoded()
        #expect(String(decoding: data, as: UTF8.self) == "hello")
        #expect(slice["value"]?["n"]?.text == "1.0e400", "a number stays as it was written")
        #expect(try slice["value"]?["s"]?.decode(String.self) == "ä")
        #expect(slice["nothing"] == nil)
        #expect(throws: DevToolsError.self) { try slice["value"]?.base64Decoded() }
    }
}

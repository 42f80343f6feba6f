import CurlClient
import FleetModel
import Testing

@testable import NetworkSubsystem

private func head(_ status: Int, _ headers: [(String, String)] = []) -> CurlHead {
    CurlHead(status: status, headers: headers, finalURL: "http://h/")
}

private let part = PartialState(offset: 100, validator: .etag(#""a""#), total: 1_000)

private func judge(_ head: CurlHead, _ state: PartialState = part) -> DownloadAnswer {
    DownloadAnswer.judge(head, state, retryAfter: nil)
}

private func isMisfit(_ answer: DownloadAnswer) -> Bool { if case .misfit = answer { true } else { false } }

@Suite("Answers to a download, judged")
struct DownloadAnswerTests {
    @Test("200 is the whole file, whatever was asked for")
    func whole() {
        #expect(
            judge(head(200, [("Content-Length", "7"), ("ETag", #""b""#)]))
                == .whole(validator: .etag(#""b""#), total: 7))
        #expect(judge(head(200), PartialState()) == .whole(validator: nil, total: nil))
    }

    @Test("206 goes on when it begins where the part ends, and goes to the end of the same file")
    func rest() {
        let etag = ("ETag", #""a""#)
        #expect(judge(head(206, [("Content-Range", "bytes 100-999/1000"), etag])) == .rest(total: 1_000))
        #expect(judge(head(206, [("Content-Range", "bytes 100-999/1000")])) == .rest(total: 1_000))
        #expect(judge(head(206, [("Content-Range", "Bytes 100-999/*"), etag])) == .rest(total: 1_000))
    }

    @Test(
        "206 with another range, size or version does not fit",
        arguments: [
            "bytes 99-999/1000", "bytes 101-999/1000", "bytes 100-998/1000", "bytes 100-1999/2000", "bytes */1000",
            "bytes 100-999", "items 100-999/1000", "bytes 100-99/1000", "bytes 100-1000/1000", "bytes 100-/1000", "",
            "bytes -100-999/1000", "bytes +100-999/1000", "bytes 100-99999999999999999999/*",
        ])
    func misfit(_ range: String) {
        #expect(isMisfit(judge(head(206, [("Content-Range", range), ("ETag", #""a""#)]))))
    }

    @Test("206 of another version, or unasked, does not fit")
    func version() {
        let range = ("Content-Range", "bytes 100-999/1000")
        #expect(isMisfit(judge(head(206, [range, ("ETag", #""b""#)]))))
        let old = PartialState(offset: 100, validator: .lastModified("yesterday"), total: 1_000)
        #expect(isMisfit(judge(head(206, [range, ("Last-Modified", "today")]), old)))
        #expect(judge(head(206, [range, ("Last-Modified", "yesterday")]), old) == .rest(total: 1_000))
        #expect(isMisfit(judge(head(206, [("Content-Range", "bytes 0-999/1000")]), PartialState())))
    }

    @Test("416 is the end when the part is all that there is, and a misfit otherwise")
    func unsatisfiable() {
        let open = PartialState(offset: 100, validator: .etag(#""a""#), total: nil)
        #expect(judge(head(416, [("Content-Range", "bytes */100")]), open) == .complete)
        #expect(isMisfit(judge(head(416, [("Content-Range", "bytes */99")]), open)))
        #expect(isMisfit(judge(head(416), open)))
        #expect(isMisfit(judge(head(416, [("Content-Range", "bytes */100")]))))
    }

    @Test("A version is told by a strong ETag, or by a Last-Modified older than the answer")
    func validators() {
        let date = ("Date", "Mon, 30 Nov 2026 12:00:00 GMT")
        #expect(Validator(head(200, [("ETag", #""x""#)])) == .etag(#""x""#))
        #expect(Validator(head(200, [("ETag", #"W/"x""#), ("Last-Modified", "Sun"), date])) == nil)
        #expect(Validator(head(200, [("ETag", "x")])) == nil)
        #expect(Validator(head(200, [("Last-Modified", "Sun"), date])) == .lastModified("Sun"))
        #expect(Validator(head(200, [("Last-Modified", date.1), date])) == nil)
        #expect(Validator(head(200, [("Last-Modified", "Sun")])) == nil)
    }

    @Test("Other answers fail, by their kind")
    func failures() {
        func kind(_ status: Int, _ retryAfter: Duration? = nil) -> JobFailure.Kind? {
            if case .failed(let failure) = DownloadAnswer.judge(head(status), part, retryAfter: retryAfter) {
                failure.kind
            } else {
                nil
            }
        }
        #expect([400, 401, 403, 404, 410, 204, 304].allSatisfy { kind($0) == .permanent })
        #expect([408, 425, 429, 500, 502, 503, 504].allSatisfy { kind($0) == .transient })
        #expect(kind(429, .seconds(3)) == .throttled(retryAfter: .seconds(3)))
    }

    @Test("Checksums name their algorithm, and have its length")
    func checksums() throws {
        let digits = String(repeating: "aB", count: 32)
        #expect(try #require(Checksum("sha256:\(digits)")).digest == digits.lowercased())
        #expect(Checksum("SHA512:\(digits)\(digits)")?.algorithm == .sha512)
        #expect(Checksum("md5:\(digits.prefix(32))")?.algorithm == .md5)
        for text in [
            "", "sha256", "sha256:", "sha256:\(digits)0", "sha1:\(digits.prefix(40))", "sha256:\(digits.dropLast())g",
        ] {
            #expect(Checksum(text) == nil, "\(text)")
        }
    }
}

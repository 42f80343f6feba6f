import FleetModel
import Foundation
import RootedFiles
import TestPatience
import Testing

@testable import NetworkSubsystem

@Suite("Downloads that break", .timeLimit(.minutes(3)))
struct ResumeTests {
    /// What a server sends that does not misbehave.
    private func whole(_ desk: Desk, _ size: Int) async throws -> Data {
        let url = try await FileServer.shared.value.url(size).url
        _ = try await desk.download(DownloadParameters(url: url, path: "data:whole"), key: "whole")
        return try desk.content("whole")
    }

    @Test("A connection that is cut again and again is gone on with where it ended")
    func cut() async throws {
        let (url, id) = try await FileServer.shared.value.url(500_000, "cut=123456&cuts=4")
        try await Desk.with { desk in
            let output = try await desk.download(DownloadParameters(url: url, path: "data:a"))
            #expect((output.bytes, output.requests) == (500_000, 5))
            #expect(output.resumedBytes == 4 * 123_456)
            #expect(try desk.content("a") == (try await whole(desk, 500_000)))
            #expect(try desk.count("downloads_resumed") == 4)
            #expect(try desk.count("download_bytes") == 1_000_000, "no byte came twice")
        }
        let asked = try await FileServer.shared.value.asked(id)
        #expect(asked.map(\.range) == [nil] + (1...4).map { "bytes=\($0 * 123_456)-" })
        #expect(asked.dropFirst().allSatisfy { $0.ifRange == #""a""# })
    }

    @Test("A later attempt, and so another worker, goes on where the one before was cancelled")
    func laterAttempt() async throws {
        let server = try await FileServer.shared.value
        let (url, id) = server.url(500_000, "stall=200000")
        try await Desk.with { desk in
            let parameters = DownloadParameters(url: url, path: "data:a")
            let first = Task { try await desk.download(parameters) }
            try await eventually("what the server sends is written") {
                try desk.count("download_bytes") == 200_000
            }
            first.cancel()
            await #expect(throws: (any Error).self) { try await first.value }
            #expect(try desk.files().count == 2, "the part and its record are kept")
            let output = try await desk.download(parameters, token: 2)
            #expect((output.bytes, output.resumedBytes, output.requests) == (500_000, 200_000, 1))
            #expect(try desk.content("a") == (try await whole(desk, 500_000)))
            #expect(try desk.files() == ["a", "whole"])
        }
        #expect(try await server.asked(id).map(\.range) == [nil, "bytes=200000-"])
    }

    @Test("A file that changed in between is begun anew, and two versions are never mixed")
    func changed() async throws {
        for options in ["cut=100000&change=1", "cut=100000&change=1&range=blind"] {
            let (url, _) = try await FileServer.shared.value.url(300_000, options)
            try await Desk.with { desk in
                let output = try await desk.download(DownloadParameters(url: url, path: "data:a"))
                #expect((output.bytes, output.resumedBytes, output.etag) == (300_000, 0, #""b""#))
                let old = try await whole(desk, 300_000)
                let new = try desk.content("a")
                #expect(zip(old, new).count { $0 == $1 } < 3_000, "chance alone lets bytes be equal")
            }
        }
    }

    @Test(
        "Without a version that holds, or where ranges are not known, it is begun anew",
        arguments: ["etag=none", "etag=weak", "etag=none&modified=now", "range=ignore"])
    func notResumable(_ options: String) async throws {
        let (url, id) = try await FileServer.shared.value.url(300_000, "cut=100000&\(options)")
        try await Desk.with { desk in
            let output = try await desk.download(DownloadParameters(url: url, path: "data:a"))
            #expect((output.bytes, output.resumedBytes) == (300_000, 0))
            #expect(try desk.content("a") == (try await whole(desk, 300_000)))
            #expect(try desk.files() == ["a", "whole"])
        }
        let isAsked = options == "range=ignore"
        #expect(try await FileServer.shared.value.asked(id).map { $0.range != nil } == [false, isAsked])
    }

    @Test("A Last-Modified that is old enough tells a version too")
    func lastModified() async throws {
        let (url, id) = try await FileServer.shared.value.url(300_000, "cut=100000&etag=none&modified=old")
        try await Desk.with { desk in
            let output = try await desk.download(DownloadParameters(url: url, path: "data:a"))
            #expect(output.resumedBytes == 100_000)
            #expect(try desk.content("a") == (try await whole(desk, 300_000)))
        }
        #expect(try await FileServer.shared.value.asked(id).last?.ifRange == "Mon, 30 Nov 2026 11:00:00 GMT")
    }

    @Test("A wrong answer to a range is not believed", arguments: ["early", "short", "silent", "gone"])
    func wrongRange(_ how: String) async throws {
        let (url, id) = try await FileServer.shared.value.url(300_000, "cut=100000&range=\(how)")
        try await Desk.with { desk in
            let output = try await desk.download(DownloadParameters(url: url, path: "data:a"))
            #expect((output.bytes, output.resumedBytes) == (300_000, 0))
            #expect(try desk.content("a") == (try await whole(desk, 300_000)))
        }
        #expect(try await FileServer.shared.value.asked(id).map { $0.range != nil } == [false, true, false])
    }

    @Test("A server that always cuts at once ends the attempt, after few tries")
    func hopeless() async throws {
        let (url, id) = try await FileServer.shared.value.url(1_000, "cut=0&cuts=1000")
        try await Desk.with({ $0.fruitlessTriesMax = 2 }) { desk in
            let failure = try await desk.failure(DownloadParameters(url: url, path: "data:a"))
            #expect((failure.kind, failure.code) == (.transient, "network.interrupted"))
        }
        #expect(try await FileServer.shared.value.asked(id).count == 3)
    }

    @Test("A server that falls silent is left, and gone on with")
    func stall() async throws {
        let (url, id) = try await FileServer.shared.value.url(300_000, "stall=100000")
        try await Desk.with({ $0.idleTimeout = .milliseconds(300) }) { desk in
            // Far later the whole attempt would end.
            let output = try await desk.download(
                DownloadParameters(url: url, path: "data:a", timeoutMilliseconds: 60_000))
            #expect((output.bytes, output.resumedBytes) == (300_000, 100_000))
        }
        #expect(try await FileServer.shared.value.asked(id).count == 2)
    }

    @Test("An attempt whose time is over with progress made costs the job nothing, and the next goes on")
    func continued() async throws {
        // More than counts as progress comes at once, and then nothing.
        let (url, _) = try await FileServer.shared.value.url(3_000_000, "stall=2000000")
        try await Desk.with({ $0.idleTimeout = .seconds(60) }) { desk in
            let stalled = DownloadParameters(url: url, path: "data:a", timeoutMilliseconds: 5_000)
            let failure = try await desk.failure(stalled)
            #expect((failure.kind, failure.code) == (.throttled(retryAfter: .zero), "network.to-be-continued"))
            var next = stalled
            next.timeoutMilliseconds = nil
            let output = try await desk.download(next, token: 2)
            #expect(output.bytes == 3_000_000)
            #expect(output.resumedBytes > 1_000_000)
        }
    }

    @Test("A part that an attempt still writes to is left to it")
    func locked() async throws {
        let server = try await FileServer.shared.value
        let (url, _) = server.url(400_000, "stall=100000")
        try await Desk.with { desk in
            let parameters = DownloadParameters(url: url, path: "data:a")
            let zombie = Task { try await desk.download(parameters) }
            try await eventually("it has its part") { try desk.count("download_bytes") == 100_000 }
            let output = try await desk.download(parameters, token: 2)
            #expect((output.bytes, output.resumedBytes) == (400_000, 0))
            #expect(try desk.content("a") == (try await whole(desk, 400_000)))
            zombie.cancel()
            await #expect(throws: (any Error).self) { try await zombie.value }
            #expect(try desk.content("a") == (try await whole(desk, 400_000)))
        }
    }

    @Test("A part whose checksum is wrong is tried from the start before the job is given up")
    func wrongPart() async throws {
        let server = try await FileServer.shared.value
        let (url, _) = server.url(300_000, "cut=100000")
        try await Desk.with { desk in
            let digits = String(repeating: "0", count: 64)
            let parameters = DownloadParameters(url: url, path: "data:a", checksum: "sha256:\(digits)")
            let parted = try await desk.failure(parameters)
            #expect((parted.kind, parted.code) == (.transient, "network.checksum-mismatch"))
            let single = try await desk.failure(parameters, token: 2)
            #expect((single.kind, single.code) == (.permanent, "network.checksum-mismatch"))
            #expect(try desk.files().isEmpty)
        }
    }

    @Test("Parts that nobody goes on with are swept out, younger ones are kept")
    func sweep() async throws {
        try await Desk.with { desk in
            let parts = "\(desk.directory)/\(PartialFiles.directoryName)"
            try FileManager.default.createDirectory(atPath: parts, withIntermediateDirectories: false)
            for (name, hours) in [("old.part", 49.0), ("young.part", 47)] {
                try Data().write(to: URL(fileURLWithPath: "\(parts)/\(name)"))
                try FileManager.default.setAttributes(
                    [.modificationDate: Date.now.addingTimeInterval(-hours * 3_600)], ofItemAtPath: "\(parts)/\(name)")
            }
            _ = try await desk.download(
                DownloadParameters(url: FileServer.shared.value.url(10).url, path: "data:a"))
            #expect(try desk.files() == ["a", "young.part"])
        }
    }

    @Test("A record that is none, or of another URL, is passed over", arguments: ["{", #"{"url":"x"}"#, ""])
    func brokenRecord(_ text: String) async throws {
        let (url, _) = try await FileServer.shared.value.url(1_000)
        try await Desk.with { desk in
            let parts = "\(desk.directory)/\(PartialFiles.directoryName)"
            try FileManager.default.createDirectory(atPath: parts, withIntermediateDirectories: false)
            let stem = try FileDigest.hexadecimal(.sha256, of: Array("job\u{0}data:a".utf8)).prefix(32)
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(parts)/\(stem).json"))
            #expect(try await desk.download(DownloadParameters(url: url, path: "data:a")).bytes == 1_000)
            #expect(try desk.files() == ["a"])
        }
    }
}

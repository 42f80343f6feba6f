import FleetModel
import FleetStack
import Foundation
import RootedFiles
import Synchronization
import Testing

@testable import NetworkSubsystem

/// What files.py serves.
private func served(_ size: Int) async throws -> Data {
    try await Desk.with { desk in
        _ = try await desk.download(DownloadParameters(url: FileServer.shared.value.url(size).url, path: "data:x"))
        return try desk.content("x")
    }
}

private func sha256(_ data: Data) throws -> String { try FileDigest.hexadecimal(.sha256, of: Array(data)) }

@Suite("Downloads", .timeLimit(.minutes(3)))
struct DownloadTests {
    @Test("A file comes whole, under its name, with its digest, and leaves nothing behind")
    func whole() async throws {
        let (url, id) = try await FileServer.shared.value.url(3_000_000)
        try await Desk.with { desk in
            let shares = Mutex<[Double]>([])
            let output = try await desk.download(
                DownloadParameters(url: url, path: "data:a/b/c.bin"),
                report: { progress in shares.withLock { $0.append(progress.fraction) } })
            #expect((output.bytes, output.status, output.requests) == (3_000_000, "downloaded", 1))
            #expect(output.path == "data:a/b/c.bin")
            #expect(output.etag == #""a""#)
            #expect(output.finalURL == url)
            #expect(output.sha256 == (try sha256(try desk.content("a/b/c.bin"))))
            #expect(try desk.files() == ["a"])
            let reported = shares.withLock { $0 }
            #expect(reported == reported.sorted())
            #expect(reported.last == 1)
            #expect(try desk.count("downloads", [("outcome", "done")]) == 1)
            #expect(try desk.count("download_bytes") == 3_000_000)
        }
        #expect(try await FileServer.shared.value.asked(id).count == 1)
    }

    @Test("An empty file and one without a length come whole")
    func odd() async throws {
        let server = try await FileServer.shared.value
        try await Desk.with { desk in
            #expect(try await desk.download(DownloadParameters(url: server.url(0).url, path: "data:a")).bytes == 0)
            let open = try await desk.download(
                DownloadParameters(url: server.url(100_000, "nolength=1").url, path: "data:b"))
            #expect(open.bytes == 100_000)
            #expect(try desk.files() == ["a", "b"])
        }
    }

    @Test("Headers are sent, redirects are followed")
    func redirect() async throws {
        let server = try await FileServer.shared.value
        let (url, _) = server.url(10, "redirect=/f/1234")
        try await Desk.with { desk in
            let output = try await desk.download(DownloadParameters(url: url, path: "data:a", headers: ["X-A": "1"]))
            #expect((output.bytes, output.finalURL) == (1_234, "http://127.0.0.1:\(server.port)/f/1234"))
        }
    }

    @Test("A checksum is checked before the file gets its name", arguments: ["sha256", "sha512", "md5"])
    func checksum(_ algorithm: String) async throws {
        let server = try await FileServer.shared.value
        let expected = try FileDigest.hexadecimal(
            try #require(FileDigest.Algorithm(rawValue: algorithm)), of: Array(try await served(50_000)))
        try await Desk.with { desk in
            let good = try await desk.download(
                DownloadParameters(
                    url: server.url(50_000).url, path: "data:good", checksum: "\(algorithm):\(expected.uppercased())"))
            #expect(good.bytes == 50_000)
            let failure = try await desk.failure(
                DownloadParameters(
                    url: server.url(50_001).url, path: "data:bad", checksum: "\(algorithm):\(expected)"))
            #expect((failure.kind, failure.code) == (.permanent, "network.checksum-mismatch"))
            #expect(try desk.files() == ["good"], "neither the file nor its part is left")
        }
    }

    @Test("A size is checked as soon as it is announced, and as the bytes come")
    func size() async throws {
        let server = try await FileServer.shared.value
        try await Desk.with({ $0.downloadBytesMax = 60_000 }) { desk in
            for (options, size, code) in [
                ("", Int64(9), "network.size-mismatch"), ("nolength=1", 9, "network.size-mismatch"),
                ("nolength=1", 50_001, "network.size-mismatch"),
            ] {
                let failure = try await desk.failure(
                    DownloadParameters(url: server.url(50_000, options).url, path: "data:a", size: size))
                #expect((failure.kind, failure.code) == (.permanent, code))
                #expect(try desk.count("download_bytes") == (size > 9 ? 50_000 : 0), "nothing is written in vain")
            }
            for options in ["", "nolength=1"] {
                let failure = try await desk.failure(
                    DownloadParameters(url: server.url(60_001, options).url, path: "data:a"))
                #expect((failure.kind, failure.code) == (.permanent, "network.too-large"))
            }
            #expect(
                try await desk.download(DownloadParameters(url: server.url(60_000).url, path: "data:a", size: 60_000))
                    .bytes == 60_000)
            #expect(try desk.files() == ["a"])
        }
    }

    @Test("A file that is there gives way, is kept, or is in the way, as the job says")
    func existing() async throws {
        let server = try await FileServer.shared.value
        try await Desk.with { desk in
            let old = URL(fileURLWithPath: "\(desk.directory)/a")
            try Data("old".utf8).write(to: old)
            let (url, id) = server.url(1_000)
            let kept = try await desk.download(DownloadParameters(url: url, path: "data:a", ifExists: .keep))
            #expect((kept.status, kept.bytes, kept.requests) == ("kept", 3, 0))
            let failure = try await desk.failure(DownloadParameters(url: url, path: "data:a", ifExists: .fail))
            #expect((failure.kind, failure.code) == (.permanent, "file.exists"))
            let other = try await desk.failure(DownloadParameters(url: url, path: "data:a", size: 4, ifExists: .keep))
            #expect((other.kind, other.code) == (.permanent, "network.size-mismatch"))
            #expect(try await server.asked(id).isEmpty)
            #expect(try await desk.download(DownloadParameters(url: url, path: "data:a")).bytes == 1_000)
            #expect(try desk.content("a").count == 1_000)
        }
    }

    @Test("A repeat of the very job that put the file there succeeds; another job does not")
    func repeated() async throws {
        let (url, id) = try await FileServer.shared.value.url(1_000)
        try await Desk.with { desk in
            let parameters = DownloadParameters(url: url, path: "data:a", ifExists: .fail)
            let first = try await desk.download(parameters)
            let second = try await desk.download(parameters, token: 2)
            #expect([first.status, second.status] == ["downloaded", "repeated"])
            await #expect(throws: JobFailure.self) { try await desk.download(parameters, key: "other", token: 3) }
        }
        #expect(try await FileServer.shared.value.asked(id).count == 1)
    }

    @Test("A file that appears meanwhile is not replaced unless the job says so")
    func appears() async throws {
        let server = try await FileServer.shared.value
        try await Desk.with { desk in
            let path = "\(desk.directory)/a"
            let appear: @Sendable () async throws -> Void = {
                try Data("theirs".utf8).write(to: URL(fileURLWithPath: path))
            }
            let kept = try await desk.download(
                DownloadParameters(url: server.url(1_000).url, path: "data:a", ifExists: .keep), confirm: appear)
            #expect((kept.status, kept.bytes) == ("kept", 6))
            try FileManager.default.removeItem(atPath: path)
            await #expect(throws: JobFailure.self) {
                try await desk.download(
                    DownloadParameters(url: server.url(1_000).url, path: "data:a", ifExists: .fail), confirm: appear)
            }
            #expect(try desk.content("a") == Data("theirs".utf8))
            #expect(try desk.files() == ["a"])
        }
    }

    @Test("Without its claim an attempt names no file")
    func claimLost() async throws {
        let (url, _) = try await FileServer.shared.value.url(1_000)
        try await Desk.with { desk in
            await #expect(throws: ClaimLost.self) {
                try await desk.download(
                    DownloadParameters(url: url, path: "data:a"), confirm: { throw ClaimLost("another has it") })
            }
            #expect(!FileManager.default.fileExists(atPath: "\(desk.directory)/a"))
        }
    }

    @Test("Addresses that are not allowed are not connected to, whatever a redirect says")
    func refusedAddress() async throws {
        let server = try await FileServer.shared.value
        let target = try await FileServer(host: "127.0.0.2")
        try await Desk.with { desk in
            for url in [target.url(10).url, server.url(10, "redirect=\(target.url(10).url)").url] {
                let failure = try await desk.failure(DownloadParameters(url: url, path: "data:a"))
                #expect((failure.kind, failure.code) == (.permanent, "network.address-refused"))
            }
        }
        #expect(try await target.stats().log.isEmpty)
        try await target.stop()
    }

    @Test("What the server refuses fails by its kind, and a pause that it names holds for the fleet")
    func statuses() async throws {
        let server = try await FileServer.shared.value
        try await Desk.with { desk in
            let gone = try await desk.failure(
                DownloadParameters(url: server.url(10, "status=404").url, path: "data:a"))
            #expect((gone.kind, gone.code) == (.permanent, "network.http-404"))
            let limits = UnsharedLimits()
            let busy = try await desk.failure(
                DownloadParameters(url: server.url(10, "status=503&after=7").url, path: "data:a"), limits: limits)
            #expect((busy.kind, busy.code) == (.throttled(retryAfter: .seconds(7)), "network.http-503"))
            #expect(limits.closed.keys.contains("network.host.127.0.0.1"))
            let closed = try await desk.failure(
                DownloadParameters(url: server.url(10).url, path: "data:a"), limits: limits)
            #expect(closed.code == "limit.closed")
        }
    }

    @Test("Paths that lead nowhere, or out, are refused")
    func paths() async throws {
        let server = try await FileServer.shared.value
        try await Desk.with { desk in
            let outside = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
            try FileManager.default.createDirectory(
                at: outside.appending(path: "within"), withIntermediateDirectories: true)
            defer { #expect(throws: Never.self) { try FileManager.default.removeItem(at: outside) } }
            try FileManager.default.createSymbolicLink(
                atPath: "\(desk.directory)/out", withDestinationPath: outside.path)
            for (path, code) in [
                ("none:a", "file.unknown-root"), ("data:out/a", "file.not-a-directory"),
                ("data:out/within/a", "file.symlink"),
            ] {
                let failure = try await desk.failure(DownloadParameters(url: server.url(10).url, path: path))
                #expect((failure.kind, failure.code) == (.permanent, code))
            }
            try FileManager.default.createDirectory(
                atPath: "\(desk.directory)/d", withIntermediateDirectories: false)
            let failure = try await desk.failure(DownloadParameters(url: server.url(10).url, path: "data:d"))
            #expect((failure.kind, failure.code) == (.permanent, "file.is-directory"))
        }
    }
}

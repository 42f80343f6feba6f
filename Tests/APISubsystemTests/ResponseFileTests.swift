import APISubsystem
import FleetModel
import Foundation
import Glibc
import RootedFiles
import Testing

extension ServerTests {
    @Suite("Responses in files", .timeLimit(.minutes(2)))
    struct ResponseFileTests {
        private let url: String

        init() async throws { url = try await WebService.shared.value.url }

        private func with<R>(
            fileBytesMax: Int = 1 << 30, _ body: (APISubsystem, ResultPlace) async throws -> R
        ) async throws -> R {
            try await ResultPlace.with { place async throws in
                try await withAPI(try localSettings { $0.fileBytesMax = fileBytesMax }, results: place.results) {
                    try await body($0, place)
                }
            }
        }

        @Test("A body that is too large for a result goes to a file, which the output names with size and digest")
        func automatic() async throws {
            try await with { api, place async throws in
                let small = try await api.call(RequestParameters(url: "\(url)/bytes/1000"))
                #expect((small.bytes, small.file == nil, small.body?.count) == (1_000, true, 1_000))
                let large = try await api.call(RequestParameters(url: "\(url)/bytes/1001"))
                let file = try #require(large.file)
                #expect((large.body, large.bodyBase64, large.bytes, file.bytes) == (nil, nil, 1_001, 1_001))
                #expect(file.path.hasPrefix("data:results/api.request.v1/"))
                #expect(try place.content(file) == Data(repeating: 120, count: 1_001))
                #expect(try place.files.count == 1)
            }
        }

        @Test("A body of any size goes to the file that the job names", arguments: [0, 5, 3_000_000])
        func named(_ bytes: Int) async throws {
            try await with { api, place async throws in
                let output = try await api.call(
                    RequestParameters(url: "\(url)/bytes/\(bytes)", response: .file, file: "data:a/b.bin"))
                let file = try #require(output.file)
                #expect((file.path, file.bytes, output.bytes) == ("data:a/b.bin", Int64(bytes), bytes))
                #expect(try place.content(file) == Data(repeating: 120, count: bytes))
                #expect(try place.files == ["a/b.bin"])
            }
        }

        @Test("A job that wants its body in the result gets no file")
        func inline() async throws {
            try await with { api, place async throws in
                let end = try await api.failure(RequestParameters(url: "\(url)/bytes/1001", response: .inline))
                #expect((end.kind, end.code) == (.permanent, "api.response-too-large"))
                #expect(try place.files.isEmpty)
            }
        }

        @Test("A worker without a place for files says so before it calls", arguments: [nil, "data:a"])
        func nowhere(_ file: String?) async throws {
            try await WebService.with { service async throws in
                let end = try await failure(RequestParameters(url: "\(service.url)/echo", response: .file, file: file))
                #expect((end.kind, end.code) == (.permanent, "api.no-file-root"))
                #expect(try await service.counts().requests == 0)
            }
        }

        @Test(
            "A body that is too large for a file fails for good, announced or not, packed or not, and leaves nothing",
            arguments: ["bytes/100001", "endless", "bomb/64"])
        func tooLarge(_ path: String) async throws {
            try await with(fileBytesMax: 100_000) { api, place async throws in
                let end = try await api.failure(RequestParameters(url: "\(url)/\(path)", response: .file))
                #expect((end.kind, end.code) == (.permanent, "api.response-too-large"))
                #expect(end.message.contains("at most 100000 bytes are put into a file (api.file_bytes)"))
                #expect(try place.files.isEmpty)
            }
        }

        @Test("A packed body past the limit of results is refused without a place for files")
        func bomb() async throws {
            // In a process that nothing else takes memory of.
            await #expect(processExitsWith: .success) { [url = url as String] in
                let before = residentBytes()
                let end = try await failure(RequestParameters(url: "\(url)/bomb/200", timeoutMilliseconds: 60_000))
                #expect((end.kind, end.code) == (.permanent, "api.response-too-large"))
                // Less than the 200 MiB that it stands for.
                #expect(residentBytes() - before < 100 << 20)
            }
            let fits = try await call(RequestParameters(url: "\(url)/bomb/1"), responseBytesMax: 1 << 20)
            #expect(fits.bytes == 1 << 20)
        }

        @Test("A claim that is lost before the file has its name leaves nothing behind, and no attempt is spent")
        func claimLost() async throws {
            try await with { api, place async throws in
                let end = try await api.failure(
                    RequestParameters(url: "\(url)/bytes/5000"), context(confirm: { throw ClaimLost("another has it") })
                )
                #expect(end.code == "claim.lost")
                #expect(try place.files.isEmpty)
            }
        }

        @Test("A failed call leaves no file, and a cancelled one neither")
        func abandoned() async throws {
            try await with { api, place async throws in
                _ = try await api.failure(RequestParameters(url: "\(url)/bytes/5000?status=500", response: .file))
                let task = Task { [url] in
                    try await api.failure(
                        RequestParameters(url: "\(url)/endless", timeoutMilliseconds: 60_000, response: .file))
                }
                while try place.files.isEmpty { await Task.yield() }
                task.cancel()
                #expect(try await task.value.code == "cancelled")
                #expect(try place.files.isEmpty)
            }
        }

        @Test("A repeat of the job replaces its own file")
        func repeated() async throws {
            try await with { api, place async throws in
                let first = try await api.call(RequestParameters(url: "\(url)/bytes/2000"), context(token: 1))
                let second = try await api.call(RequestParameters(url: "\(url)/bytes/3000"), context(token: 2))
                #expect(first.file?.path == second.file?.path)
                #expect(try place.content(try #require(second.file)).count == 3_000)
                #expect(try place.files.count == 1)
            }
        }
    }
}

/// What of this process is in memory now.
func residentBytes() -> Int {
    // Without /proc the test that looks at it fails, as its bound is then broken.
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? Int.max >> 12
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
}

import Foundation
import RootedFiles
import Testing

@Suite("A result that goes to a file")
struct FileSinkTests {
    let sandbox: Sandbox
    let roots: FileRoots
    let threads = FileThreads(named: "files", count: 2)

    init() throws {
        sandbox = try Sandbox()
        roots = try sandbox.roots()
    }

    private func results(bytesMax: Int64 = 1 << 20) throws -> ResultFiles {
        try ResultFiles(roots: roots, threads: threads, bytesMax: bytesMax)
    }

    @Test("is named with its size and checksum")
    func reference() async throws {
        let sink = try await results().sink(type: "api.request.v1", key: "order-17", token: 1)
        for piece in ["ab", "", "c"] { try await sink.write(Array(piece.utf8)) }
        let reference = try await sink.finish {}
        #expect(reference.bytes == 3)
        #expect(reference.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(reference.path.hasPrefix("data:results/api.request.v1/"))
        #expect(reference.path.hasSuffix("/order-17"))
        #expect(try roots.text(reference.path) == "abc")
    }

    @Test("is where a job's parameters want it, when they say so")
    func chosen() async throws {
        let sink = try await results().sink(
            type: "t.t.v1", key: "k", token: 1, at: RootedPath("data:deep/down/file.bin"))
        try await sink.write([1])
        #expect(try await sink.finish {}.path == "data:deep/down/file.bin")
    }

    @Test("does not appear when the claim is lost, and leaves nothing behind")
    func fenced() async throws {
        struct Lost: Error {}
        try sandbox.write("old", to: "root/file")
        let sink = try await results().sink(type: "t.t.v1", key: "k", token: 1, at: RootedPath("data:file"))
        try await sink.write([1])
        await #expect(throws: Lost.self) { try await sink.finish { throw Lost() } }
        #expect(try sandbox.text("root/file") == "old")
        #expect(try sandbox.names() == ["file"])
        await #expect(throws: FileError.self) { try await sink.write([1]) }
    }

    @Test("is refused when it grows too large")
    func tooLarge() async throws {
        let sink = try await results(bytesMax: 10).sink(type: "t.t.v1", key: "k", token: 1, at: RootedPath("data:file"))
        try await sink.write(Array(repeating: 1, count: 10))
        let error = await #expect(throws: FileError.self) { try await sink.write([1]) }
        #expect(error?.reason == .tooLarge)
        #expect(try sandbox.names() == [])
    }

    @Test("leaves nothing when its sink is let go")
    func letGo() async throws {
        do {
            let sink = try await results().sink(type: "t.t.v1", key: "k", token: 1, at: RootedPath("data:file"))
            try await sink.write([1])
            #expect(try sandbox.names().count == 1)
            withExtendedLifetime(sink) {}
        }
        // The thread that wrote may let it go a moment after its answer.
        for _ in 0..<100_000 where try !sandbox.names().isEmpty { await Task.yield() }
        #expect(try sandbox.names() == [])
    }

    @Test(
        "has a name that no key can lead astray",
        arguments: [
            "../../outside/x", "/etc/passwd", ".gaia-x", "a\0b", "..", "ä/ö", String(repeating: "ä", count: 100),
        ])
    func keys(_ key: String) throws {
        let path = try results().path(type: "t.t.v1", key: key)
        #expect(path.components.count == 4)
        #expect(try results().path(type: "t.t.v1", key: key + "!") != path)
    }
}

@Suite("Checksums")
struct FileDigestTests {
    @Test(
        "are those of the standards",
        arguments: [
            (FileDigest.Algorithm.md5, "900150983cd24fb0d6963f7d28e17f72"),
            (.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                .sha512,
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                    + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
            ),
            (.crc32, "352441c2"),
        ])
    func known(_ algorithm: FileDigest.Algorithm, _ expected: String) throws {
        #expect(try FileDigest.hexadecimal(algorithm, of: Array("abc".utf8)) == expected)
        var pieces = try FileDigest(algorithm)
        for byte in Array("abc".utf8) { [byte].withUnsafeBytes { pieces.update($0) } }
        #expect(pieces.hexadecimal() == expected)
    }
}

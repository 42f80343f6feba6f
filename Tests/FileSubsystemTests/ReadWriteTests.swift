import FleetModel
import Foundation
import RootedFiles
import Testing

@testable import FileSubsystem

@Suite("file.read.v1")
struct ReadTests {
    let workplace: Workplace

    init() throws { workplace = try Workplace { $0.readBytesMax = 1_000 } }

    private func read(_ bytes: [UInt8], _ encoding: String? = nil, offset: Int64? = nil, length: Int? = nil)
        async throws
        -> ReadOutput
    {
        try workplace.write(bytes, to: "root/file")
        return try await workplace.run(
            ReadParameters(path: "data:file", offset: offset, length: length, encoding: encoding))
    }

    @Test("gives text in the encoding that the file has")
    func detection() async throws {
        let utf16 = Array("Grüße €😀".utf16)
        let cases: [(bytes: [UInt8], text: String?, encoding: String)] = [
            (Array("Grüße €😀".utf8), "Grüße €😀", "utf-8"), ([0xEF, 0xBB, 0xBF, 0x61], "a", "utf-8"), ([], "", "utf-8"),
            ([0xFF, 0xFE] + utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }, "Grüße €😀", "utf-16le"),
            ([0xFE, 0xFF] + utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }, "Grüße €😀", "utf-16be"),
            (Array("Gr".utf8) + [0xFC, 0xDF, 0x65, 0x20, 0x80], "Grüße €", "windows-1252"),
            ([0x81, 0x41], nil, "base64"), ([0x00, 0x41], nil, "base64"), ([0x7F, 0x45, 0x4C, 0x46, 1], nil, "base64"),
        ]
        for (bytes, text, encoding) in cases {
            let output = try await read(bytes)
            #expect(output.content == text)
            #expect(output.encoding == encoding)
            #expect(output.contentBase64 == (text == nil ? Data(bytes).base64EncodedString() : nil))
            #expect(output.length == bytes.count)
            #expect(output.nextOffset == nil)
        }
    }

    @Test("takes an encoding by name, and says when the file is not in it")
    func named() async throws {
        #expect(try await read([0xE4], "iso-8859-1").content == "ä")
        #expect(try await read([0xE4, 0], "utf-16le").content == "ä")
        #expect(try await read([0x61], "base64").contentBase64 == "YQ==")
        #expect(try await read([0x61, 0x7F], "us-ascii").content == "a\u{7F}")
        let cases: [(bytes: [UInt8], encoding: String)] = [
            ([0xE4], "utf-8"), ([0x81], "windows-1252"), ([0x80], "us-ascii"), ([0, 0xD8], "utf-16le"),
        ]
        for (bytes, encoding) in cases {
            try workplace.write(bytes, to: "root/file")
            #expect(
                try await workplace.failure(ReadParameters(path: "data:file", encoding: encoding)) == "file.not-text",
                "\(encoding)")
        }
    }

    @Test("comes in stretches that never end within a character", arguments: ["utf-8", "utf-16le", "windows-1252"])
    func stretches(_ encoding: String) async throws {
        let text = String(repeating: "aß€😀 ", count: 100).replacing("😀", with: encoding == "windows-1252" ? "ü" : "😀")
        let foundation: String.Encoding =
            switch encoding {
            case "utf-8": .utf8
            case "utf-16le": .utf16LittleEndian
            default: .windowsCP1252
            }
        let bytes = Array(try #require(text.data(using: foundation)))
        try workplace.write((encoding == "utf-16le" ? [0xFF, 0xFE] : []) + bytes, to: "root/file")
        for length in [7, 10, 11, 999] {
            var (offset, whole) = (Int64(0), "")
            while true {
                let output: ReadOutput = try await workplace.run(
                    ReadParameters(path: "data:file", offset: offset, length: length))
                #expect(output.encoding == encoding)
                whole += try #require(output.content)
                guard let next = output.nextOffset else { break }
                offset = next
            }
            #expect(whole == text)
        }
    }

    @Test("holds no more than is configured, and says where the rest begins")
    func cap() async throws {
        let output = try await read([UInt8](repeating: 0x61, count: 2_500))
        #expect(output.length == 1_000)
        #expect(output.bytes == 2_500)
        #expect(output.nextOffset == 1_000)
        #expect(try await read([0x61], offset: 5).content == "")
        #expect(try await workplace.failure(ReadParameters(path: "data:file", length: 1_001)) == "file.too-large")
    }

    @Test("fails for good where there is no file to read")
    func failures() async throws {
        try workplace.write("x", to: "root/directory/file")
        #expect(try await workplace.failure(ReadParameters(path: "data:none")) == "file.not-found")
        #expect(try await workplace.failure(ReadParameters(path: "data:directory")) == "file.is-directory")
        #expect(try await workplace.failure(ReadParameters(path: "other:file")) == "file.unknown-root")
    }
}

@Suite("file.write.v1")
struct WriteTests {
    let workplace: Workplace

    init() throws { workplace = try Workplace() }

    private func write(
        _ content: String, _ when: AtomicFile.Placement? = nil, path: String = "data:file", key: String = "job",
        token: Int64 = 1
    ) async throws -> WriteOutput {
        try await workplace.run(WriteParameters(path: path, content: content, when: when), key: key, token: token)
    }

    @Test("writes text and bytes, and says what it wrote")
    func writes() async throws {
        let output = try await write("abc")
        #expect(output.bytes == 3)
        #expect(output.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(!output.repeated)
        #expect(try workplace.text("root/file") == "abc")
        _ = try await workplace.text(WriteParameters(path: "data:file", contentBase64: "AP8="), key: "other")
        #expect(try Data(contentsOf: URL(filePath: workplace.at("root/file"))) == Data([0, 255]))
        #expect(try workplace.names() == ["file"])
    }

    @Test("writes only where it may")
    func placements() async throws {
        #expect(
            try await workplace.failure(WriteParameters(path: "data:a", content: "", when: .present))
                == "file.not-found")
        _ = try await write("1", .absent, path: "data:a", key: "first")
        #expect(
            try await workplace.failure(WriteParameters(path: "data:a", content: "", when: .absent)) == "file.exists")
        _ = try await write("2", .present, path: "data:a", key: "second")
        #expect(try workplace.text("root/a") == "2")
        #expect(try await workplace.failure(WriteParameters(path: "data:x/y", content: "")) == "file.not-found")
        _ = try await workplace.text(WriteParameters(path: "data:x/y", content: "deep", mode: "604", parents: true))
        #expect(try workplace.text("root/x/y") == "deep")
        let status: StatOutput = try await workplace.run(StatParameters(path: "data:x/y"))
        #expect(status.mode == "0604")
    }

    @Test("is done already for a later attempt of the same job, and for no other")
    func repeated() async throws {
        _ = try await write("content", .absent)
        #expect(try await write("content", .absent, token: 2).repeated)
        #expect(
            try await workplace.failure(
                WriteParameters(path: "data:file", content: "content", when: .absent), key: "other", token: 2)
                == "file.exists")
    }

    @Test("changes nothing when the claim is lost before the rename")
    func fenced() async throws {
        try workplace.write("old", to: "root/file")
        #expect(
            try await workplace.failure(WriteParameters(path: "data:file", content: "new"), confirm: lost)
                == "claim.lost")
        #expect(try workplace.text("root/file") == "old")
        #expect(try workplace.names() == ["file"])
    }

    @Test("holds the fleet's lock of the path when it is to be exclusive")
    func exclusive() async throws {
        let parameters = WriteParameters(path: "data:./file", content: "x", exclusive: true)
        let locks = workplace.locks
        _ = try await workplace.text(parameters) { #expect(locks.held == ["file/data:file"]) }
        #expect(locks.held.isEmpty)
        _ = try await workplace.text(WriteParameters(path: "data:file", content: "x")) { #expect(locks.held.isEmpty) }
        let long = try RootedPath("data:" + String(repeating: "n", count: 220))
        #expect(try FileAccess.lockName(long).utf8.count <= LockLimit.nameBytesMax)
        #expect(try FileAccess.lockName(long) != FileAccess.lockName(long.appending("x")))
    }
}

import Foundation
import Glibc
import ProcessKeeper
import Testing

@Suite("Executable files", .timeLimit(.minutes(1)))
struct ExecutableFileTests {
    private let directory: String

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: Tricks.mark()).path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
    }

    private func script(_ name: String, _ text: String, mode: mode_t = 0o755) throws -> String {
        let path = "\(directory)/\(name)"
        try Data(text.utf8).write(to: URL(filePath: path))
        chmod(path, mode)
        return path
    }

    private func flaw(_ path: String) -> ExecutableFile.Flaw? {
        do throws(ExecutableFile.Flaw) {
            _ = try ExecutableFile(path: path)
            return nil
        } catch {
            return error
        }
    }

    @Test("What is no program, or one that others may change, is refused")
    func flaws() throws {
        #expect(flaw("\(directory)/none") == .missing)
        #expect(flaw(directory) == .notRegular)
        #expect(flaw("/dev/null") == .notRegular)
        #expect(flaw(try script("plain", "#!/bin/sh\n", mode: 0o644)) == .notExecutable)
        #expect(flaw(try script("open", "#!/bin/sh\n", mode: 0o757)) == .writableByOthers)
        #expect(flaw("/bin/sh") == nil)
    }

    @Test("A link that is turned elsewhere, or a file that is replaced, changes nothing of what runs")
    func swapped() async throws {
        let good = try script("good", "#!/bin/sh\necho good\n")
        let evil = try script("evil", "#!/bin/sh\necho evil\n")
        let link = "\(directory)/link"
        #expect(symlink(good, link) == 0)
        let program = try ExecutableFile(path: link)
        let binary = "\(directory)/binary"
        try FileManager.default.copyItem(atPath: "/bin/echo", toPath: binary)
        let copied = try ExecutableFile(path: binary)
        #expect(unlink(link) == 0 && symlink(evil, link) == 0)
        #expect(rename(evil, good) == 0 && rename(link, binary) == 0)
        try await ProcessKeeper.with { keeper in
            let texts = [
                try await keeper.run(ProcessCommand(program)).text,
                try await keeper.run(ProcessCommand(copied, ["good"])).text,
            ]
            #expect(texts == ["good\n", "good\n"])
        }
    }

    @Test("A script is read by its interpreter through one descriptor, with its arguments")
    func script() async throws {
        let program = try ExecutableFile(
            path: try script("script", "#!/bin/sh -e\necho \"$#:$1\"; ls /proc/self/fd | wc -l\n"))
        try await ProcessKeeper.with { keeper in
            // 0, 1, 2, the script, and the directory that ls reads.
            let command = ProcessCommand(program, ["a b"], environment: ["PATH": "/bin:/usr/bin"])
            let text = try await keeper.run(command).text
            #expect(text == "1:a b\n5\n")
        }
    }

    @Test("A file that is no program is told of when it is executed")
    func noProgram() async throws {
        let program = try ExecutableFile(path: try script("text", "no program\n"))
        try await ProcessKeeper.with { keeper in
            let refusal = try await keeper.refusal(of: ProcessCommand(program))
            #expect(refusal == .notStarted(.execute, errno: ENOEXEC))
        }
    }
}

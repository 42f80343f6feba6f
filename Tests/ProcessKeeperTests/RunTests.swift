import Foundation
import Glibc
import ProcessKeeper
import Synchronization
import Testing

/// What goes in and what comes out.
@Suite("Runs of programs", .timeLimit(.minutes(5)))
struct RunTests {
    @Test("Standard input reaches a program whole, and nothing is there when there is none")
    func input() async throws {
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("/bin/cat")
            #expect(try await keeper.run(command).output.byteCount == 0)
            let bytes = (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0) }
            command.input = bytes
            command.output = .capture(bytesMax: 2 << 20)
            let end = try await keeper.run(command)
            #expect(end.output.bytes == bytes && !end.output.isTruncated)
        }
    }

    @Test("Output and errors come apart; beyond the cap they are counted")
    func output() async throws {
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("/bin/sh", ["-c", "echo out; echo error >&2; exit 3"])
            let end = try await keeper.run(command)
            #expect(end.status == .exited(3) && end.text == "out\n" && end.errorText == "error\n")
            command.output = .capture(bytesMax: 2)
            command.error = .capture(bytesMax: 0)
            let cut = try await keeper.run(command)
            #expect(cut.text == "ou" && cut.output.byteCount == 4 && cut.output.isTruncated)
            #expect(cut.error.bytes.isEmpty && cut.error.byteCount == 6)
        }
    }

    @Test("Ten gigabytes of output are counted in the memory of a few pages")
    func flood() async throws {
        // In a process that nothing else takes memory of.
        await #expect(processExitsWith: .success) {
            try await ProcessKeeper.with { keeper in
                let before = try residentBytesMax()
                let bytes = 10 << 30
                var command = try Tricks.command("/usr/bin/head", ["-c", "\(bytes)", "/dev/zero"])
                command.timeout = .seconds(300)
                let end = try await keeper.run(command)
                #expect(end.status == .exited(0))
                #expect(end.output.byteCount == bytes && end.output.bytes.count == 64 << 10)
                #expect(try residentBytesMax() - before < 16 << 20)
            }
        }
    }

    @Test("A stream waits for whoever takes it, and so does the program")
    func stream() async throws {
        try await ProcessKeeper.with { keeper in
            let taken = Mutex(0)
            let largest = Mutex(0)
            var command = try Tricks.command("/usr/bin/head", ["-c", "\(50 << 20)", "/dev/zero"])
            command.output = .stream { piece in
                taken.withLock { $0 += piece.count }
                largest.withLock { $0 = max($0, piece.count) }
            }
            let end = try await keeper.run(command)
            #expect(taken.withLock { $0 } == 50 << 20 && end.output.byteCount == 50 << 20)
            #expect(end.output.bytes.isEmpty)
            #expect(largest.withLock { $0 } <= 64 << 10)
        }
    }

    @Test("What a stream's taker throws ends the program and the run")
    func refusedStream() async throws {
        struct Full: Error {}
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("/usr/bin/yes")
            // Longer than the test may take.
            command.timeout = .seconds(600)
            command.output = .stream { _ in throw Full() }
            do {
                _ = try await keeper.run(command)
                Issue.record("the run succeeded")
            } catch is Full {}
        }
    }

    @Test("A run that was cancelled before it began ends at once")
    func cancelledEarly() async throws {
        try await ProcessKeeper.with { keeper in
            let command = try Tricks.command("stay", Tricks.mark())
            let run = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return try await keeper.run(command)
            }
            #expect(try await run.value.cause == .cancelled)
        }
    }

    @Test("An argument of 100,000 characters arrives, and one that Linux refuses is told of")
    func longArgument() async throws {
        try await ProcessKeeper.with { keeper in
            let text = String(repeating: "ä", count: 50_000)
            var command = try Tricks.command("/bin/echo", ["-n", text])
            command.output = .capture(bytesMax: 200_000)
            #expect(try await keeper.run(command).text == text)
            command.arguments = [String(repeating: "a", count: ProcessCommand.textBytesMax + 1)]
            #expect(try await keeper.refusal(of: command) == .notStarted(.execute, errno: E2BIG))
        }
    }

    @Test("The environment is what was given and nothing else")
    func environment() async throws {
        setenv("GAIA_TEST_SECRET", "of the worker", 1)
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("/usr/bin/env")
            #expect(try await keeper.run(command).text == "")
            command.environment = ["A": "1", "B": "zwei = 2"]
            #expect(try await keeper.run(command).text == "A=1\nB=zwei = 2\n")
        }
    }

    @Test("No descriptor of ours reaches a program")
    func descriptors() async throws {
        // One that a careless library would leave open.
        let leaky = open("/dev/null", O_RDONLY)
        defer { close(leaky) }
        try await ProcessKeeper.with { keeper in
            // 3 is the directory that ls itself reads.
            let command = try Tricks.command("/bin/ls", ["/proc/self/fd"])
            #expect(try await keeper.run(command).text == "0\n1\n2\n3\n")
        }
    }

    @Test("A program runs in the directory that was opened for it")
    func directory() async throws {
        let path = FileManager.default.temporaryDirectory.appending(path: Tricks.mark()).path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let moved = path + "-moved"
        defer { try? FileManager.default.removeItem(atPath: moved) }
        try FileManager.default.moveItem(atPath: path, toPath: moved)
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("/bin/pwd", ["-P"])
            #expect(try await keeper.run(command).text == "/\n")
            command.directory = OpenDirectory(adopting: descriptor)
            #expect(try await keeper.run(command).text == "\(moved)\n")
        }
    }

    @Test("Two hundred at once")
    func many() async throws {
        try await ProcessKeeper.with { keeper in
            let command = try Tricks.command("/bin/echo", ["here"])
            try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<200 { group.addTask { try await keeper.run(command).text } }
                for try await text in group { #expect(text == "here\n") }
            }
        }
    }

    @Test("A socket that is handed to a program is its input and output, and ends with it")
    func channel() async throws {
        try await ProcessKeeper.with { keeper in
            var ends: [Int32] = [-1, -1]
            // Programs that other tests start meanwhile must not have them too.
            let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
            guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw POSIXError(.EMFILE) }
            let ours = ends[0]
            defer { close(ours) }
            var command = try Tricks.command("/bin/sh", ["-c", "read word; echo $word and more"])
            command.channel = HandedSocket(adopting: ends[1])
            #expect(send(ours, "word\n", 5, 0) == 5)
            let end = try await keeper.run(command)
            #expect(end.status == .exited(0) && end.output.byteCount == 0)
            var bytes = [UInt8](repeating: 0, count: 100)
            let count = recv(ours, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            #expect(String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self) == "word and more\n")
            #expect(recv(ours, &bytes, bytes.count, Int32(MSG_DONTWAIT)) == 0, "nobody holds the other end")
        }
    }
}

/// The most memory that this process has had.
private func residentBytesMax() throws -> Int {
    var usage = rusage()
    guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { throw POSIXError(.EINVAL) }
    return usage.ru_maxrss << 10
}

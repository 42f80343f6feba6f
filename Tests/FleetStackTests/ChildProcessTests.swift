import FleetStack
import Foundation
import Glibc
import TestPatience
import Testing

@Suite("A child process")
struct ChildProcessTests {
    @Test("tells how it ended")
    func endings() async throws {
        let good = try ChildProcess.start(executable: "/bin/true")
        #expect(await good.exitStatus() == .exited(0))
        #expect(await good.exitStatus().isSuccess)
        let bad = try ChildProcess.start(executable: "/bin/sh", arguments: ["-c", "exit 7"])
        #expect(await bad.exitStatus() == .exited(7))
        let killed = try ChildProcess.start(executable: "/bin/sleep", arguments: ["1000"])
        #expect(killed.isRunning)
        try killed.signal(SIGKILL)
        #expect(await killed.exitStatus() == .signalled(SIGKILL))
        #expect(!killed.isRunning)
    }

    @Test("is collected, and a signal after its end reaches nobody")
    func collected() async throws {
        let child = try ChildProcess.start(executable: "/bin/true")
        _ = await child.exitStatus()
        #expect(state(of: child.processID) == nil)
        try child.signal(SIGKILL)
    }

    @Test("has its output captured to the last byte, in two streams and in order")
    func capture() async throws {
        let script = "echo first; echo second >&2; printf third; head -c 300000 /dev/zero | tr '\\0' x"
        let child = try ChildProcess.start(executable: "sh", arguments: ["-c", script], output: .capture)
        #expect(await child.exitStatus() == .exited(0))
        #expect(child.standardOutput == "first\nthird" + String(repeating: "x", count: 300_000))
        #expect(child.standardError == "second\n")
        #expect(child.capturedOutput.count == 300_000 + "first\nsecond\nthird".count)
        #expect(!child.isOutputTruncated)
    }

    @Test("can write more than is kept without being held up")
    func truncation() async throws {
        let surplus = ChildProcess.captureBytesMax + 1000
        let child = try ChildProcess.start(
            executable: "head",
            arguments: ["-c", "\(surplus)", "/dev/zero"],
            output: .capture
        )
        #expect(await child.exitStatus() == .exited(0))
        #expect(child.isOutputTruncated)
        #expect(child.capturedOutput.utf8.count == ChildProcess.captureBytesMax)
    }

    @Test("does not hold up its collector by a grandchild that keeps the pipe open")
    func grandchild() async throws {
        let child = try ChildProcess.start(
            executable: "sh",
            arguments: ["-c", "sleep 1000 & echo $!"],
            output: .capture
        )
        #expect(await child.exitStatus(within: patienceOfTests) == .exited(0))
        let sleeper = try #require(Int32(child.standardOutput.filter(\.isNumber)))
        #expect(kill(sleeper, SIGKILL) == 0)
    }

    @Test("writes to a file")
    func file() async throws {
        try await withStackDirectory { directory in
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            let path = "\(directory)/log"
            for _ in 1...2 {
                let child = try ChildProcess.start(
                    executable: "sh",
                    arguments: ["-c", "echo out; echo err >&2"],
                    output: .file(path)
                )
                _ = await child.exitStatus()
            }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "out\nerr\nout\nerr\n")
        }
    }

    @Test("gets this environment, this directory, an empty input, and no descriptor but the standard three")
    func surroundings() async throws {
        // Not closed by exec, as any library might leave one.
        let stray = open("/dev/null", O_RDONLY)
        defer { close(stray) }
        let child = try ChildProcess.start(
            executable: "/bin/sh",
            arguments: ["-c", "cat; pwd; echo $COLOUR; echo /proc/$$/fd/*"],
            environment: ["COLOUR": "blue", "PATH": "/usr/bin:/bin"],
            directory: "/usr",
            output: .capture
        )
        let process = child.processID
        #expect(await child.exitStatus() == .exited(0))
        let descriptors = (0...2).map { "/proc/\(process)/fd/\($0)" }.joined(separator: " ")
        // The shell itself has the directory open that it lists.
        let lines = child.standardOutput.split(separator: "\n")
        #expect(lines.prefix(2) == ["/usr", "blue"])
        #expect(lines.last.map { $0.hasPrefix(descriptors) && !$0.contains("/\(stray)") } == true)
    }

    @Test("starts with no signal blocked or ignored")
    func signals() async throws {
        var blocked = sigset_t()
        sigemptyset(&blocked)
        sigaddset(&blocked, SIGTERM)
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, &blocked, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let child = try ChildProcess.start(
            executable: "grep",
            arguments: ["-E", "^Sig(Blk|Ign)", "/proc/self/status"],
            output: .capture
        )
        #expect(await child.exitStatus() == .exited(0))
        let masks = child.standardOutput.split(whereSeparator: \.isWhitespace).filter { !$0.hasPrefix("Sig") }
        #expect(masks == ["0000000000000000", "0000000000000000"])
    }

    @Test("leaves our session when asked")
    func session() async throws {
        let child = try ChildProcess.start(executable: "sleep", arguments: ["1000"], ownSession: true)
        #expect(getsid(child.processID) == child.processID)
        #expect(try await child.stop() == .signalled(SIGTERM))
        let other = try ChildProcess.start(executable: "sleep", arguments: ["1000"])
        #expect(getsid(other.processID) == getsid(0))
        #expect(try await other.stop() == .signalled(SIGTERM))
    }

    @Test("is killed when it does not heed the request to stop")
    func stubborn() async throws {
        let child = try ChildProcess.start(
            executable: "sh",
            arguments: ["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
            output: .capture
        )
        #expect(try await child.awaitOutput(containing: "ready", within: patienceOfTests))
        #expect(try await child.stop(grace: .milliseconds(50)) == .signalled(SIGKILL))
    }

    @Test("that cannot be executed is an error that names the program and the reason")
    func noSuchProgram() throws {
        let error = #expect(throws: StackError.self) { try ChildProcess.start(executable: "/nowhere/at-all") }
        #expect(error?.kind == .startFailed)
        #expect(error?.description.contains("/nowhere/at-all: No such file or directory") == true)
        let other = #expect(throws: StackError.self) {
            try ChildProcess.start(executable: "/bin/true", directory: "/nowhere")
        }
        #expect(other?.description.contains("when entering /nowhere") == true)
        #expect(throws: StackError.self) { try ChildProcess.start(executable: "no-such-program-in-path") }
    }

    @Test("becomes another user with that user's groups alone", .enabled(if: geteuid() == 0))
    func user() async throws {
        let child = try ChildProcess.start(executable: "id", output: .capture, user: "nobody")
        #expect(await child.exitStatus() == .exited(0))
        #expect(child.standardOutput == "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n")
        #expect(throws: StackError.self) { try ChildProcess.start(executable: "id", user: "no-such-user") }
    }

    @Test("can be started by many at once")
    func many() async throws {
        let codes = try await withThrowingTaskGroup(of: Int32.self) { group in
            for code in 0..<100 as Range<Int32> {
                group.addTask {
                    let child = try ChildProcess.start(executable: "/bin/sh", arguments: ["-c", "exit \(code)"])
                    guard case .exited(let answer) = await child.exitStatus() else { return -1 }
                    return answer
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(codes.sorted() == Array(0..<100))
    }

    @Test("dies with its parent, even when that is killed")
    func deathOfParent() async throws {
        try await withStackDirectory { directory in
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
                // From a thread that ends before the process does: that must not be what the child dies of.
                let child = try await withCheckedThrowingContinuation { continuation in
                    Thread.detachNewThread {
                        continuation.resume(
                            with: Result {
                                try ChildProcess.start(
                                    executable: "sleep",
                                    arguments: ["1000"],
                                    directory: directory,
                                    ownSession: true
                                )
                            }
                        )
                    }
                }
                #expect(await child.exitStatus(within: .milliseconds(200)) == nil)
                try "\(child.processID)".write(toFile: "\(directory)/pid", atomically: true, encoding: .utf8)
                kill(getpid(), SIGKILL)
            }
            let text = try String(contentsOfFile: "\(directory)/pid", encoding: .utf8)
            let process = try #require(Int32(text))
            try await expectEventually("process \(process) ends") { state(of: process).map { $0 == "Z" } ?? true }
        }
    }

    @Test("outlives its parent when asked")
    func outliving() async throws {
        try await withStackDirectory { directory in
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
                let child = try ChildProcess.start(
                    executable: "sleep",
                    arguments: ["1000"],
                    directory: directory,
                    output: .null,
                    diesWithParent: false,
                    ownSession: true
                )
                try "\(child.processID)".write(toFile: "\(directory)/pid", atomically: true, encoding: .utf8)
                kill(getpid(), SIGKILL)
            }
            let text = try String(contentsOfFile: "\(directory)/pid", encoding: .utf8)
            let process = try #require(Int32(text))
            #expect(state(of: process).map { $0 != "Z" } == true)
            #expect(kill(process, SIGKILL) == 0)
        }
    }
}

import Foundation
import Glibc
import ProcessKeeper
import Testing

/// What each process and each tree may use.
@Suite("Limits of processes", .timeLimit(.minutes(2)))
struct LimitTests {
    @Test("Address space: an allocation beyond it fails, and the program lives to say so")
    func addressSpace() async throws {
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("hoard", Tricks.mark(), 200)
            command.limits.addressSpaceBytes = 100 << 20
            let end = try await keeper.run(command)
            #expect(end.status == .exited(3) && end.text == "no memory\n")
        }
    }

    @Test("Memory: a hog is killed", arguments: ["hoard", "hoard-together"])
    func memory(_ trick: String) async throws {
        try await ProcessKeeper.with { keeper in
            let mark = Tricks.mark()
            // Four of 60 MiB together exceed what one alone does not.
            var command = try Tricks.command(trick, mark, trick == "hoard" ? 200 : 60)
            command.limits.treeMemoryBytes = 150 << 20
            let end = try await keeper.run(command)
            #expect(end.cause == .memory && end.status == .signalled(SIGKILL))
            #expect(end.residentBytesMax < 210 << 20)
            #expect(Tricks.survivors(mark).isEmpty)
        }
    }

    @Test("Processor time: a hog is ended by SIGXCPU, and its use is told")
    func processorTime() async throws {
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("spin", Tricks.mark())
            command.limits.cpuSeconds = 1
            let end = try await keeper.run(command)
            #expect(end.status == .signalled(SIGXCPU) && end.cause == nil)
            #expect(end.userTime + end.systemTime > .milliseconds(500))
        }
    }

    @Test("Wall-clock time: one that goes on is told to end")
    func timeout() async throws {
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("stay", Tricks.mark())
            command.timeout = .milliseconds(100)
            let end = try await keeper.run(command)
            #expect(end.cause == .timeout && end.status == .signalled(SIGTERM))
            #expect(end.duration >= .milliseconds(100))
        }
    }

    @Test("Files: none grows beyond the limit")
    func fileSize() async throws {
        try await ProcessKeeper.with { keeper in
            let path = FileManager.default.temporaryDirectory.appending(path: Tricks.mark()).path
            defer { try? FileManager.default.removeItem(atPath: path) }
            var command = try Tricks.command("fill", path, 4)
            command.limits.fileBytes = 2 << 20
            let end = try await keeper.run(command)
            #expect(end.status == .signalled(SIGXFSZ))
            let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int
            #expect(size == 2 << 20)
        }
    }

    @Test("Open files: no more than the limit, of which three are the standard ones")
    func openFiles() async throws {
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("open", Tricks.mark())
            command.limits.openFiles = 20
            #expect(try await keeper.run(command).text == "17\n")
        }
    }

    @Test("Limits hold inside the program: sh sees them, and no core file is written")
    func seen() async throws {
        // As far as a test may: where core files are off altogether nothing can be seen of their limit.
        var core = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &core)
        core.rlim_cur = core.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &core)
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command(
                "/bin/sh", ["-c", "ulimit -c; ulimit -Ht; ulimit -n; ulimit -f; ulimit -v; ulimit -p"])
            command.limits = ProcessLimits(
                addressSpaceBytes: 1 << 30, cpuSeconds: 7, fileBytes: 1 << 20, openFiles: 33, userProcesses: 4_000)
            #expect(try await keeper.run(command).text == "0\n8\n33\n2048\n1048576\n4000\n")
        }
    }

    @Test("Others go first: a program stands behind them for the processor, and before them when memory runs out")
    func courtesy() async throws {
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("/bin/sh", ["-c", "nice; cat /proc/self/oom_score_adj"])
            let before = try await keeper.run(command).text.split(separator: "\n").compactMap { Int($0) }
            command.niceness = 3
            command.memoryPressureScore = 777
            let after = try await keeper.run(command).text.split(separator: "\n").compactMap { Int($0) }
            #expect(before.count == 2 && after == [before[0] + 3, 777])
        }
    }

    @Test("A program gains no privileges, whatever bits its file has")
    func privileges() async throws {
        try await ProcessKeeper.with { keeper in
            let command = try Tricks.command("privileges", Tricks.mark())
            #expect(try await keeper.run(command).text == "1\n")
        }
    }

    @Test("As root, a program runs as the account that it is given, with its groups", .enabled(if: Account.canChange))
    func account() async throws {
        // A group that root has and would hand down: what it may lies open to whoever is in it.
        var groups = [gid_t](repeating: 0, count: 256)
        let count = Int(getgroups(255, &groups))
        try #require(count >= 0)
        groups[count] = 4_242
        #expect(setgroups(count + 1, groups) == 0)
        defer { #expect(setgroups(count, groups) == 0) }
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("/usr/bin/id")
            command.account = Account(name: "nobody")
            let text = try await keeper.run(command).text
            #expect(text == "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n")
        }
        let unknown = Account(name: "nobody-of-this-name")
        #expect(unknown == nil)
    }
}

import FleetStack
import Foundation
import ProcessKeeper
import Synchronization
import TestPatience
import Testing

/// Whatever a program starts ends with it, and with us.
@Suite("Trees of processes", .timeLimit(.minutes(2)))
struct TreeTests {
    /// Runs a trick until it has written something, then cancels it; also what it wrote.
    private func cancelled(_ command: ProcessCommand, _ keeper: ProcessKeeper) async throws -> (ProcessEnd, String) {
        let spoken = Occasion()
        let text = Mutex("")
        var command = command
        command.output = .stream { piece in
            text.withLock { $0 += String(decoding: piece, as: UTF8.self) }
            spoken.happen()
        }
        let run = Task { [command] in try await keeper.run(command) }
        await spoken.wait()
        run.cancel()
        return (try await run.value, text.withLock { $0 })
    }

    @Test("A daemon that was forked twice dies with its program, though nobody waits for it")
    func daemon() async throws {
        try await ProcessKeeper.with { keeper in
            let mark = Tricks.mark()
            let end = try await keeper.run(try Tricks.command("daemon", mark))
            #expect(end.status == .exited(0) && end.cause == nil)
            #expect(end.text == "daemon\n")
            #expect(end.strayCount == 1)
            #expect(Tricks.survivors(mark).isEmpty)
        }
    }

    @Test("A chain of processes, each in a session of its own, dies whole")
    func sessions() async throws {
        try await ProcessKeeper.with { keeper in
            let mark = Tricks.mark()
            let (end, text) = try await cancelled(try Tricks.command("sessions", mark, 12), keeper)
            #expect(end.cause == .cancelled && end.status == .signalled(SIGTERM))
            #expect(text == "deep\n")
            #expect(Tricks.survivors(mark).isEmpty)
        }
    }

    @Test("One that becomes another process all the time is caught")
    func comet() async throws {
        try await ProcessKeeper.with { keeper in
            let mark = Tricks.mark()
            let end = try await keeper.run(try Tricks.command("comet", mark))
            #expect(end.status == .exited(0), "the first of it ends at once, and the rest is killed then")
            #expect(Tricks.survivors(mark).isEmpty)
        }
    }

    @Test("Zombies that a program makes count as its processes, and are gone with it")
    func zombies() async throws {
        try await ProcessKeeper.with { keeper in
            var command = try Tricks.command("zombies", Tricks.mark(), 20)
            command.limits.treeProcesses = 10
            let end = try await keeper.run(command)
            #expect(end.cause == .processes)
            #expect(end.processesMax > 10)
        }
    }

    @Test(
        "A fork bomb is stopped by the limit on processes, before it is large, also when each fork leaves its session",
        arguments: [0, 1])
    func bomb(_ variant: Int) async throws {
        try await ProcessKeeper.with { keeper in
            let mark = Tricks.mark()
            var command = try Tricks.command("bomb", mark, variant)
            command.limits.treeProcesses = 50
            // Should the look at the tree fail, the kernel still does not let it grow without end. It counts all threads of the
            // user, and browsers of other tests are the same.
            command.limits.userProcesses = 5_000
            command.account = Account.canChange ? Account(name: "nobody") : nil
            command.timeout = .seconds(10)
            let end = try await keeper.run(command)
            #expect(end.cause == .processes)
            #expect(end.status == .signalled(SIGKILL))
            #expect(Tricks.survivors(mark).isEmpty)
        }
    }

    @Test("One that ignores SIGTERM is killed after its grace; one that heeds it may answer")
    func grace() async throws {
        try await ProcessKeeper.with { keeper in
            var deaf = try Tricks.command("deaf", Tricks.mark())
            deaf.grace = .milliseconds(200)
            let (killed, _) = try await cancelled(deaf, keeper)
            #expect(killed.status == .signalled(SIGKILL) && killed.cause == .cancelled)
            #expect(killed.duration >= .milliseconds(200))

            let (end, text) = try await cancelled(try Tricks.command("polite", Tricks.mark()), keeper)
            #expect(end.status == .exited(7) && end.cause == .cancelled)
            #expect(text == "ready\nasked\n")
        }
    }

    @Test("A supervisor that its own program kills takes the tree along")
    func supervisorKilled() async throws {
        try await ProcessKeeper.with { keeper in
            let mark = Tricks.mark()
            let command = try Tricks.command("kill-parent", mark)
            #expect(try await keeper.refusal(of: command) == .lost)
            #expect(try await Tricks.survivors(mark, after: .seconds(30)).isEmpty)
            #expect(try await keeper.runsOthers())
        }
    }

    @Test("A keeper that is killed takes all trees along, and the next run gets another")
    func keeperKilled() async throws {
        try await ProcessKeeper.with { keeper in
            let mark = Tricks.mark()
            let spoken = Occasion()
            var command = try Tricks.command("daemon", mark, 1)
            command.output = .stream { _ in spoken.happen() }
            let run = Task { [command] in try await keeper.run(command) }
            await spoken.wait()
            let process = try #require(await keeper.keeperProcessID())
            kill(process, SIGKILL)
            // The supervisor still reports what it killed, or its line ends: either is right.
            let end = try? await run.value
            #expect(end == nil || end?.status == .signalled(SIGKILL))
            #expect(try await Tricks.survivors(mark, after: .seconds(30)).isEmpty)
            #expect(try await keeper.runsOthers())
            #expect(await keeper.keeperProcessID() != process)
        }
    }

    /// Each of them would make every fork dearer.
    @Test("A keeper holds no libraries but those that it calls into")
    func libraries() async throws {
        try await ProcessKeeper.with { keeper in
            #expect(try await keeper.runsOthers())
            let process = try #require(await keeper.keeperProcessID())
            let own = try Tricks.libraries(of: getpid())
            #expect(own.count > 10, "the tests are linked with many: \(own)")
            let kept = try Tricks.libraries(of: process)
            #expect(kept.isSubset(of: ["libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"]), "\(kept)")
        }
    }

    @Test("Closing kills what runs, and refuses what comes later")
    func closing() async throws {
        let keeper = ProcessKeeper()
        let mark = Tricks.mark()
        let spoken = Occasion()
        var command = try Tricks.command("daemon", mark, 1)
        command.output = .stream { _ in spoken.happen() }
        let run = Task { [command] in try await keeper.run(command) }
        await spoken.wait()
        await keeper.close()
        #expect(try await run.value.status == .signalled(SIGKILL))
        #expect(Tricks.survivors(mark).isEmpty)
        #expect(try await keeper.refusal(of: command) == .closed)
    }

    /// A worker of its own that runs tricks until it is killed, once all of them run.
    private func worker(
        _ tricks: [(trick: String, mark: String)], timeout: Duration = .seconds(600)
    ) async throws -> (process: ChildProcess, keeper: Int32) {
        let milliseconds = Int(timeout / .milliseconds(1))
        let worker = try ChildProcess.start(
            executable: try Tricks.path("process-worker"),
            arguments: [try Tricks.path("process-tricks"), "\(milliseconds)"]
                + tricks.flatMap { [$0.trick, $0.mark, "1"] },
            output: .capture)
        #expect(try await worker.awaitOutput(containing: "\n", within: patienceOfTests), "\(worker.capturedOutput)")
        // Those that are soon over may be so by now.
        for trick in tricks where timeout > .seconds(60) {
            #expect(Tricks.survivors(trick.mark).count > 1, "\(trick.trick) runs, besides the worker")
        }
        let word = worker.standardOutput.split(whereSeparator: \.isWhitespace).last
        return (worker, try #require(word.flatMap { Int32($0) }))
    }

    /// SIGKILL gives the worker no moment to do anything.
    @Test("A worker that is killed outright takes along what its programs started")
    func workerKilled() async throws {
        let tricks = ["daemon", "sessions", "deaf", "stay"].map { (trick: $0, mark: Tricks.mark()) }
        let worker = try await worker(tricks).process
        try worker.signal(SIGKILL)
        _ = await worker.exitStatus()
        for trick in tricks {
            #expect(try await Tricks.survivors(trick.mark, after: .seconds(30)).isEmpty, "\(trick.trick) is left")
        }
    }

    /// Not two deaths in a row but both before anybody could act on the first.
    @Test("The supervisors alone suffice when worker and keeper are killed at once")
    func workerAndKeeperKilled() async throws {
        let mark = Tricks.mark()
        let (worker, keeper) = try await worker([("daemon", mark)])
        try worker.signal(SIGSTOP)
        kill(keeper, SIGKILL)
        try worker.signal(SIGKILL)
        _ = await worker.exitStatus()
        #expect(try await Tricks.survivors(mark, after: .seconds(30)).isEmpty)
    }

    @Test("A worker that stands still keeps no program running beyond its time")
    func workerStopped() async throws {
        let mark = Tricks.mark()
        let worker = try await worker([("daemon", mark)], timeout: .seconds(2)).process
        try worker.signal(SIGSTOP)
        // The worker has the mark among its own arguments.
        let left = try await Tricks.survivors(mark, besides: worker.processID, after: .seconds(60))
        #expect(left.isEmpty)
        try worker.signal(SIGKILL)
        _ = await worker.exitStatus()
    }
}

import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetDemoTarget
import FleetModel
import FleetStack
import FleetStore
import Foundation
import Synchronization

/// `gaia demo`
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "See the fleet do its work, lose a worker half way, and lose nothing.",
        discussion: """
            On private servers that it starts itself: two workers and a dispatcher as processes of their own, and an HTTP
            target that is slow and sometimes answers 500 or 429. Publishes jobs over AMQP, a tenth of them twice, kills
            one worker with SIGKILL half way and starts another. At the end it compares the target's own count of
            effects with the ledger and with the results received.

            Exit status 1 if a single count is off.
            """)

    @Option(name: .long, help: "How many jobs.")
    var jobs = 1_000
    @Option(name: .long, help: "Decides when the target fails; the same seed gives the same faults.")
    var seed: UInt64 = 1
    @Option(name: .long, help: ArgumentHelp("How long the jobs may take in all.", valueName: "seconds"))
    var timeout = 300
    @Flag(name: .long, help: "Leave servers and fleet running to look around; Ctrl-C ends them.")
    var keep = false

    func validate() throws {
        if jobs < 10 || jobs > 1_000_000 { throw ValidationError("--jobs must be from 10 to 1,000,000") }
    }

    func run() async throws {
        try await report {
            let directory = "\(Stack.defaultDirectory())-demo-\(ProcessInfo.processInfo.processIdentifier)"
            let stages = StageTimes()
            Terminal.error(
                "GAIA Fleet demo: \(Terminal.grouped(jobs)) HTTP jobs, a tenth of them twice, one worker killed half way\n"
            )
            Progress.shared.show("starting RabbitMQ and PostgreSQL …")
            // Ctrl-C shall take the same way out as the end: servers stopped, files removed.
            let isCorrect = try await endingOnSignal {
                let stack = try await Stack.up(directory: directory)
                stages.end("RabbitMQ and PostgreSQL started")
                do {
                    let isCorrect = try await run(stack, stages)
                    try await stack.down(remove: true)
                    return isCorrect
                } catch {
                    try await stack.down(remove: true)
                    throw error
                }
            }
            if !isCorrect { throw ExitCode(FailureStatus.workFailed.rawValue) }
        }
    }

    private func run(_ stack: Stack, _ stages: StageTimes) async throws -> Bool {
        var environment = stack.environment
        // Few slots, so that there is something left to do when the worker dies.
        environment["GAIA_WORKER_SLOTS_DEFAULT"] = "10"
        // The service that the demo calls listens on this machine.
        environment["GAIA_API_ALLOW"] = "127.0.0.1"
        // What is logged goes to files; only trouble belongs between the lines of the demo.
        var quiet = environment
        quiet["GAIA_LOG_LEVEL"] = "warning"
        let loaded = try FleetConfiguration(environment: quiet)
        let target = DemoTarget(seed: seed)
        let fleet = try Fleet(environment: environment, logs: "\(stack.directory)/logs")
        return try await withThrowingTaskGroup(of: Void.self) { group in
            let (ports, portsIn) = AsyncStream.makeStream(of: Int.self)
            group.addTask { try await target.run { portsIn.yield($0) } }
            var port: Int?
            for await bound in ports {
                port = bound
                break
            }
            guard let port else { throw CommandFailure(.inside, "the demo's HTTP target did not start") }
            let run = DemoRun(
                loaded, stack: stack, fleet: fleet, target: target, port: port, jobs: jobs,
                timeout: .seconds(timeout), keep: keep)
            let result: Result<Bool, any Error>
            do {
                result = .success(try await run.perform(stages))
            } catch {
                result = .failure(error)
            }
            try await fleet.stop()
            group.cancelAll()
            return try result.get()
        }
    }
}

/// How long each part took, said as it ends.
final class StageTimes: Sendable {
    private let begin = Mutex(ContinuousClock.now)

    func end(_ name: String) {
        let took = begin.withLock { begin in
            let now = ContinuousClock.now
            defer { begin = now }
            return now - begin
        }
        Terminal.error("  \(Terminal.seconds(took).padding(toLength: 8, withPad: " ", startingAt: 0))\(name)")
    }
}

/// Runs `body` in a task that SIGINT and SIGTERM cancel, so that it can clean up. A second signal ends the process.
func endingOnSignal<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
    let task = Task { try await body() }
    do {
        return try await onSignal("stopping; another signal ends at once") {
            task.cancel()
        } during: {
            try await task.value
        }
    } catch is CancellationError {
        throw CommandFailure(.workFailed, "stopped before the end")
    }
}

/// Calls `action` at the first SIGINT or SIGTERM that comes during `body`; the next ends the process.
func onSignal<Value>(
    _ words: String, _ action: @escaping @Sendable () -> Void, during body: () async throws -> Value
) async rethrows -> Value {
    let sources = [SIGINT, SIGTERM].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number)
        source.setEventHandler {
            Terminal.error(words)
            for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
            action()
        }
        source.resume()
        return source
    }
    defer { for source in sources { source.cancel() } }
    return try await body()
}

// A worker of processes for the tests that kill and stop it: `process-worker PROGRAM TIMEOUT_MS (TRICK MARK NUMBER)…` runs
// each trick, says "ready" and the keeper's process id once all of them have written something, and waits for their end.

import Glibc
import ProcessKeeper
import Synchronization

let keeper = ProcessKeeper()
let arguments = Array(CommandLine.arguments.dropFirst())
let program = try ExecutableFile(path: arguments[0])
let timeout = Duration.milliseconds(Int(arguments[1]) ?? 0)
let jobs = stride(from: 2, to: arguments.count - 2, by: 3).map { Array(arguments[$0..<$0 + 3]) }

final class Count: Sendable {
    private let left: Atomic<Int>
    init(_ count: Int) { left = Atomic(count) }

    /// Whether it was the last.
    func down() -> Bool { left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
}

let count = Count(jobs.count)
try await withThrowingDiscardingTaskGroup { group in
    for job in jobs {
        group.addTask {
            let command = ProcessCommand(
                program, job,
                output: .stream { _ in
                    if count.down(), let process = await keeper.keeperProcessID() {
                        let text = "ready \(process)\n"
                        _ = write(STDOUT_FILENO, text, text.utf8.count)
                    }
                }, timeout: timeout, grace: .zero)
            _ = try await keeper.run(command)
        }
    }
}

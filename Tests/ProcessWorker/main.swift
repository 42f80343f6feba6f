// A worker of processes for the tests that kill it: runs each trick that it is given (TRICK MARK NUMBER …), says "ready" and
// the keeper's process id once all of them have written something, and waits for its end.

import Glibc
import ProcessKeeper
import Synchronization

let keeper = ProcessKeeper()
let arguments = Array(CommandLine.arguments.dropFirst())
let program = try ExecutableFile(path: arguments[0])
let jobs = stride(from: 1, to: arguments.count - 2, by: 3).map { Array(arguments[$0..<$0 + 3]) }

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
                }, timeout: .seconds(600))
            _ = try await keeper.run(command)
        }
    }
}

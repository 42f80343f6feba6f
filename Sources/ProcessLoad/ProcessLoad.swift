import CProcessFloor
import FleetModel
import Foundation
import ProcessSubsystem
import RootedFiles

/// # ProcessLoad
///
/// How long many programs at once take, with limits set and output captured, beside the bare posix_spawn loop in C in the
/// same run. Handlers run as a worker runs them, without a queue.
public enum ProcessLoad {
    /// What was measured, in milliseconds: of each the median and the best of the rounds, which alternate.
    public struct Figures: Encodable, Sendable {
        public struct Row: Encodable, Sendable {
            public let median: Double
            public let best: Double
            /// In milliseconds, in their order.
            public let rounds: [Double]

            init(_ rounds: [Double]) {
                self.rounds = rounds
                let sorted = rounds.sorted()
                median = sorted[sorted.count / 2]
                best = sorted[0]
            }
        }

        public let processes: Int
        public let rounds: Int
        /// posix_spawn and waitpid: no limits, no capture.
        public let floor: Row
        /// `process.run.v1`.
        public let jobs: Row
    }

    /// Runs so many programs at once, several times.
    ///
    /// - Parameter program: the one that runs; it needs no arguments, and ends by itself with status 0.
    public static func concurrent(
        processes: Int = 200, rounds: Int = 5, program: String = "/bin/true"
    ) async throws -> Figures {
        precondition(processes > 0 && rounds > 0, "there is something to measure")
        var settings = ProcessSettings()
        settings.executables = [program]
        let threads = FileThreads(named: "bench-files", count: 1)
        let subsystem = try ProcessSubsystem(settings, roots: try FileRoots([]), threads: threads)
        let result: Result<Figures, any Error>
        do {
            result = .success(try await measured(subsystem, program, processes: processes, rounds: rounds))
        } catch {
            result = .failure(error)
        }
        await subsystem.close()
        await threads.close()
        return try result.get()
    }

    private static func measured(
        _ subsystem: ProcessSubsystem, _ program: String, processes: Int, rounds: Int
    ) async throws -> Figures {
        guard let definition = subsystem.definitions.first(where: { $0.type == RunParameters.type }) else {
            preconditionFailure("the subsystem has no type \(RunParameters.type)")
        }
        let payload = Array(try JSONEncoder().encode(RunParameters(program)))
        // The keeper is started with the first job, once in a worker's life.
        try await run(definition, payload, processes: 1)
        var (floor, jobs): ([Double], [Double]) = ([], [])
        for _ in 0..<rounds {
            let seconds = gaia_process_floor(program, Int32(processes))
            guard seconds >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
            floor.append(seconds * 1_000)
            let begin = ContinuousClock.now
            try await run(definition, payload, processes: processes)
            jobs.append((ContinuousClock.now - begin) / .milliseconds(1))
        }
        return Figures(processes: processes, rounds: rounds, floor: Figures.Row(floor), jobs: Figures.Row(jobs))
    }

    private static func run(_ definition: JobDefinition, _ payload: [UInt8], processes: Int) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<processes {
                group.addTask {
                    let context = JobContext(
                        type: definition.type, key: "bench-\(number)", attempt: 1, token: 1, subject: nil,
                        traceparent: nil)
                    _ = try await definition.prepare(payload)(context)
                }
            }
            try await group.waitForAll()
        }
    }
}

import CSpawn
import Glibc

/// One run, on the thread of the event loop.
final class Run {
    let line: Int32
    let promise: Promise
    let start: ContinuousClock.Instant
    var stages: RunStages
    let output: OutputReader
    let error: OutputReader
    /// Once it is there no process of the run is.
    var report: gaia_job_report?

    init(_ command: ProcessCommand, _ order: Order, _ promise: Promise) {
        line = order.line
        start = .now
        stages = RunStages(start: start, timeout: command.timeout, grace: command.grace)
        output = OutputReader(order.output, command.output)
        error = OutputReader(order.error, command.error)
        self.promise = promise
    }

    func reader(_ pipe: OutputPipe) -> OutputReader { pipe == .output ? output : error }

    /// Says to the supervisor what was decided. A line that is gone has its end on the way to us.
    func carryOut(_ action: RunStages.Action) {
        switch action {
        case .terminate: _ = gaia_line_say(line, GAIA_JOB_TERMINATE)
        case .kill: _ = gaia_line_say(line, GAIA_JOB_KILL)
        case .giveUp: break
        }
    }

    /// What the run comes to, by a report.
    func result(_ report: gaia_job_report, _ end: ContinuousClock.Instant) -> Promise.Value {
        guard report.step == Int32(GAIA_SPAWN_STEP_NONE.rawValue) else { return .failure(Self.failure(report)) }
        let cause: ProcessEnd.Cause? =
            switch gaia_job_limit(rawValue: report.limit) {
            case GAIA_JOB_LIMIT_PROCESSES: .processes
            case GAIA_JOB_LIMIT_MEMORY: .memory
            case GAIA_JOB_LIMIT_DEADLINE: .timeout
            default: stages.cause
            }
        // The lower seven bits hold the signal, the next byte the exit code.
        let status = report.status
        return .success(
            ProcessEnd(
                status: status & 0x7F == 0 ? .exited((status >> 8) & 0xFF) : .signalled(status & 0x7F), cause: cause,
                output: output.captured, error: error.captured, duration: end - start,
                userTime: .microseconds(Int64(report.user_microseconds)),
                systemTime: .microseconds(Int64(report.system_microseconds)),
                residentBytesMax: Int(report.resident_kib_max) << 10, strayCount: Int(report.stray_count),
                processesMax: Int(report.processes_max)))
    }

    private static func failure(_ report: gaia_job_report) -> ProcessError {
        let (step, words): (ProcessError.Step, String) =
            switch gaia_spawn_step(rawValue: UInt32(report.step)) {
            case GAIA_SPAWN_STEP_FORK: (.fork, "forking")
            case GAIA_SPAWN_STEP_USER: (.user, "becoming the user that it shall run as")
            case GAIA_SPAWN_STEP_DIRECTORY: (.directory, "entering its directory")
            case GAIA_SPAWN_STEP_DESCRIPTORS: (.descriptors, "laying out its descriptors")
            case GAIA_SPAWN_STEP_LIMITS: (.limits, "setting its limits")
            case GAIA_SPAWN_STEP_EXEC: (.execute, "executing it")
            default: (.prepare, "preparing it")
            }
        return ProcessError(
            .notStarted(step, errno: report.error), "\(errorText(report.error)) (errno \(report.error)) when \(words)")
    }
}

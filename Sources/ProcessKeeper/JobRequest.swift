import CSpawn
import Glibc

/// A command in the form in which a supervisor reads it.
enum JobRequest {
    /// The supervisor kills by itself so long after the worker should have: for a worker that hangs or was stopped.
    static let margin: Duration = .seconds(2)

    /// A file that holds the request; -1 and errno.
    static func file(_ command: ProcessCommand, watch: Duration) -> Int32 {
        let texts =
            [command.executable.path] + command.arguments
            + command.environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        var request = gaia_job_request()
        let limits = command.limits
        request.limits = gaia_spawn_limits(
            address_space_bytes: UInt64(limits.addressSpaceBytes ?? 0), cpu_seconds: UInt64(limits.cpuSeconds ?? 0),
            file_bytes: UInt64(limits.fileBytes ?? 0), open_files: UInt64(limits.openFiles ?? 0),
            user_processes: UInt64(limits.userProcesses ?? 0))
        request.tree_memory_bytes = UInt64(limits.treeMemoryBytes ?? 0)
        request.tree_processes = UInt64(limits.treeProcesses ?? 0)
        request.deadline_milliseconds = UInt64((command.timeout + command.grace + margin).wholeMilliseconds)
        request.watch_milliseconds = UInt32(watch.wholeMilliseconds)
        request.is_script = command.executable.isScript ? 1 : 0
        request.niceness = UInt32(command.niceness)
        request.oom_score_adjustment = UInt32(command.memoryPressureScore)
        if let account = command.account {
            request.switch_user = 1
            request.account = account.account
        }
        request.argument_count = UInt32(1 + command.arguments.count)
        request.variable_count = UInt32(command.environment.count)
        request.text_bytes = UInt64(texts.reduce(0) { $0 + $1.utf8.count + 1 })

        var bytes: [UInt8] = []
        bytes.reserveCapacity(MemoryLayout<gaia_job_request>.size + Int(request.text_bytes))
        withUnsafeBytes(of: &request) { bytes += $0 }
        for text in texts {
            bytes += text.utf8
            bytes.append(0)
        }
        return bytes.withUnsafeBytes { gaia_memory_file($0.baseAddress, $0.count) }
    }
}

extension Duration {
    /// Rounded up; at least zero, and at most about three weeks, which every user of it holds.
    var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0 else { return 0 }
        guard seconds < 2_000_000 else { return 2_000_000_000 }
        return seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }
}

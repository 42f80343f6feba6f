import Glibc

/// What the kernel says of this process, under the names that Prometheus' own client libraries use.
public enum ProcessMetrics {
    /// For ``MetricsRegistry/collect(_:)``.
    public static func read() -> [MetricSample] {
        var samples: [MetricSample] = []
        var usage = rusage()
        if getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            let seconds = [usage.ru_utime, usage.ru_stime].map { Double($0.tv_sec) + Double($0.tv_usec) / 1e6 }
            samples.append(
                MetricSample(
                    "process_cpu_seconds_total", .counter, help: "Processor time, user and system.",
                    value: seconds.reduce(0, +)))
        }
        if let pages = field(1, of: "/proc/self/statm") {
            samples.append(
                MetricSample(
                    "process_resident_memory_bytes", .gauge, help: "Memory that is resident, shared pages included.",
                    value: Double(pages * sysconf(Int32(_SC_PAGESIZE)))))
        }
        if let bytes = field(22, of: "/proc/self/stat") {
            samples.append(
                MetricSample(
                    "process_virtual_memory_bytes", .gauge, help: "Address space, used or not.", value: Double(bytes)))
        }
        samples.append(
            MetricSample(
                "process_start_time_seconds", .gauge, help: "When the process began, in seconds since 1970.",
                value: began))
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            samples.append(
                MetricSample(
                    "process_max_fds", .gauge, help: "File descriptors that the process may have.",
                    value: Double(limit.rlim_cur)))
        }
        if let threads = field(19, of: "/proc/self/stat") {
            samples.append(MetricSample("process_threads", .gauge, help: "Threads.", value: Double(threads)))
        }
        if let count = descriptors() {
            samples.append(
                MetricSample("process_open_fds", .gauge, help: "Open file descriptors.", value: Double(count)))
        }
        return samples
    }

    /// By the clock of when this was first asked, less the time that the kernel says the process has run since.
    private static let began: Double = {
        let ticks = Double(field(21, of: "/proc/self/stat") ?? 0) / Double(sysconf(Int32(_SC_CLK_TCK)))
        var uptime = timespec()
        clock_gettime(CLOCK_BOOTTIME, &uptime)
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let age = Double(uptime.tv_sec) + Double(uptime.tv_nsec) / 1e9 - ticks
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9 - age
    }()

    /// A number by its place; the command's name, which may hold blanks, is cut out first.
    private static func field(_ place: Int, of path: String) -> Int? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        var line = [UInt8](repeating: 0, count: 1_024)
        let text = String(decoding: line[..<fread(&line, 1, line.count, file)], as: UTF8.self)
        let fields: [Substring] =
            text.lastIndex(of: ")").map { ["", ""] + text[text.index(after: $0)...].split(separator: " ") }
            ?? text.split(separator: " ")
        return fields.indices.contains(place) ? Int(fields[place]) : nil
    }

    private static func descriptors() -> Int? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        // Without the two names of directories, and the descriptor that is read from.
        return count - 3
    }
}

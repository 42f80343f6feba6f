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
        if let threads = field(19, of: "/proc/self/stat") {
            samples.append(MetricSample("process_threads", .gauge, help: "Threads.", value: Double(threads)))
        }
        if let count = descriptors() {
            samples.append(
                MetricSample("process_open_fds", .gauge, help: "Open file descriptors.", value: Double(count)))
        }
        return samples
    }

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

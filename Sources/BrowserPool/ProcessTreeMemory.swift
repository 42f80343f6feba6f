import Glibc

/// The memory of a process and all below it.
enum ProcessTreeMemory {
    /// In bytes. What processes share counts once (PSS), where we may read that; else each process's resident memory without
    /// what it shares with files and others, which leaves that out altogether. Processes that end meanwhile count nothing.
    static func size(of root: Int32) -> (bytes: Int, processes: Int) {
        var total = 0
        var processes = [root]
        var next = 0
        // More than any browser has; what a hostile page could make of it has a bound.
        while next < processes.count, processes.count < 10_000 {
            let process = processes[next]
            next += 1
            total += proportional(process) ?? resident(process)
            processes += children(of: process)
        }
        return (total, processes.count)
    }

    private static func proportional(_ process: Int32) -> Int? {
        guard let text = content("/proc/\(process)/smaps_rollup") else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix("Pss:") {
            return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 << 10 }
        }
        return nil
    }

    private static func resident(_ process: Int32) -> Int {
        // Pages: all, resident, resident and shared.
        let numbers = content("/proc/\(process)/statm")?.split(separator: " ").compactMap { Int($0) } ?? []
        return numbers.count > 2 ? (numbers[1] - numbers[2]) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
    }

    /// Children belong to the thread that forked them; in a browser any may.
    private static func children(of process: Int32) -> [Int32] {
        guard let directory = opendir("/proc/\(process)/task") else { return [] }
        defer { closedir(directory) }
        var children: [Int32] = []
        while let entry = readdir(directory) {
            let thread = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard thread.first != "." else { continue }
            let ids = content("/proc/\(process)/task/\(thread)/children") ?? ""
            children += ids.split(separator: " ").compactMap { Int32($0) }
        }
        return children
    }

    private static func content(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = read(file, &piece, piece.count)
            if count < 0 { return nil }
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += piece[..<count]
        }
    }
}

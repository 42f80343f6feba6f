import Glibc

/// What the kernel says of a process.
enum ProcessStatus {
    /// Whether a process stands still by a signal.
    static func isStopped(_ id: Int32) -> Bool {
        guard let text = read("/proc/\(id)/stat"), let bracket = text.lastIndex(of: ")") else { return false }
        return text[bracket...].dropFirst(2).first == "T"
    }

    /// A file of the kernel's, which has no size before it is read; nil when its process is gone.
    static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count <= 0 { return count == 0 ? String(decoding: bytes, as: UTF8.self) : nil }
            bytes += buffer[..<count]
        }
    }
}

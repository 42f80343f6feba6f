import Glibc

/// A thread of this process, as the kernel tells of it.
public struct ProcessThread: Sendable, Equatable {
    public let identifier: pid_t
    public let name: String
    /// As in proc(5): `R` runs or could, `S` waits, `D` waits for a disk.
    public let state: String
    /// Processor time in seconds, of user and of system.
    public let user, system: Double
    /// Not told: a mask of the signals that it blocks.
    private var blocked: UInt64 = 0

    /// - Returns: nil when there is no such thread, or no more.
    init?(_ identifier: pid_t) {
        let place = "/proc/self/task/\(identifier)"
        guard let line = ProcFile.text("\(place)/stat"), let open = line.firstIndex(of: "("),
            // The name may hold blanks and brackets itself.
            let close = line.lastIndex(of: ")"), open < close
        else { return nil }
        let fields = line[line.index(after: close)...].split(separator: " ")
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return nil }
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        self.identifier = identifier
        name = String(line[line.index(after: open)..<close])
        state = String(fields[0])
        self.user = user / ticks
        self.system = system / ticks
        let mask = ProcFile.fields("\(place)/status")["SigBlk"].flatMap { UInt64($0, radix: 16) }
        blocked = mask ?? 0
    }

    func blocks(_ signal: Int32) -> Bool { blocked & (1 << UInt64(signal - 1)) != 0 }

    static func identifiers() -> Set<pid_t> { Set(ProcFile.names("/proc/self/task").compactMap { pid_t($0) }) }

    /// All of this process.
    public static func all() -> [ProcessThread] {
        identifiers().sorted().compactMap { ProcessThread($0) }
    }
}

extension ProcessThread: Codable {
    enum CodingKeys: String, CodingKey {
        case name, state
        case identifier = "id"
        case user = "user_s"
        case system = "system_s"
    }
}

/// What the kernel tells in files that have no size.
enum ProcFile {
    /// - Returns: nil when it cannot be read.
    static func text(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = read(file, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count == 0 ? String(decoding: bytes, as: UTF8.self) : nil }
            bytes += piece[..<count]
        }
    }

    /// Of lines such as `Rss:   1234 kB` the values by name, without what surrounds them.
    static func fields(_ path: String) -> [String: String] {
        var fields: [String: String] = [:]
        for line in (text(path) ?? "").split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            fields[String(line[..<colon])] = String(value)
        }
        return fields
    }

    /// The names in a directory, without the two of directories; none when it cannot be read.
    static func names(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}

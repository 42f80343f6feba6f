import FleetStack
import Foundation
import Glibc
import Testing

/// Lends a new directory that the servers' users can reach, and sees that nothing of it is left behind.
func withStackDirectory(_ body: (String) async throws -> Void) async throws {
    let path = "/var/tmp/gaia-test-\(UUID().uuidString.prefix(13).lowercased())"
    do {
        try await body(path)
    } catch {
        try await cleanUp(path)
        throw error
    }
    try await cleanUp(path)
}

private func cleanUp(_ path: String) async throws {
    // Whatever a failed test left; ours, as no other test has this directory.
    for process in processes(under: path) { kill(process, SIGKILL) }
    try await expectEventually("no process is left in \(path)") { processes(under: path).isEmpty }
    if FileManager.default.fileExists(atPath: path) { try FileManager.default.removeItem(atPath: path) }
}

/// The processes whose working directory lies in the directory, found without the code under test.
func processes(under directory: String) -> [Int32] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { Int32($0) }.filter { process in
        let place = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/cwd")
        guard let place, place == directory || place.hasPrefix(directory + "/") else { return false }
        return state(of: process) != "Z"
    }
}

/// The one-letter state in /proc/PID/stat; nil when there is no such process.
func state(of process: Int32) -> Character? {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
        let end = text.lastIndex(of: ")")
    else { return nil }
    return text[end...].dropFirst(2).first
}

/// Waits for a condition, bounded, and records an issue when it does not come true.
func expectEventually(
    _ what: String,
    within limit: Duration = .seconds(120),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else {
            Issue.record("not within \(limit): \(what)", sourceLocation: sourceLocation)
            return
        }
        try await Task.sleep(for: .milliseconds(10))
    }
}

/// The port in a URL.
func port(of url: String) throws -> UInt16 {
    try #require(URLComponents(string: url)?.port.flatMap { UInt16(exactly: $0) })
}

/// Whether somebody accepts connections on the loopback address.
func accepts(_ port: UInt16) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
}

/// All addresses on which a process under the directory listens, as /proc/net/tcp shows them, with their ports.
func listeningAddresses(ports: Set<UInt16>) throws -> Set<String> {
    var found: Set<String> = []
    // The kernel's table is no snapshot: an entry can be missed while others come and go.
    for _ in 0..<2_000 where found.isEmpty {
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            for line in try String(contentsOfFile: table, encoding: .utf8).split(separator: "\n").dropFirst() {
                let fields = line.split(separator: " ")
                let local = fields[1].split(separator: ":")
                // 0A is LISTEN.
                guard fields[3] == "0A", let port = UInt16(local[1], radix: 16), ports.contains(port) else { continue }
                found.insert(String(local[0]))
            }
        }
    }
    return found
}

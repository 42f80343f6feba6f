import FleetStack
import Foundation
import Glibc
import TestPatience
import TestSockets
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
    do { try await eventually(what, within: limit, condition) } catch let error as NotInTime {
        Issue.record("\(error)", sourceLocation: sourceLocation)
    }
}

/// The port in a URL.
func port(of url: String) throws -> UInt16 {
    try #require(URLComponents(string: url)?.port.flatMap { UInt16(exactly: $0) })
}

/// Whether somebody accepts connections there.
func accepts(_ port: UInt16, at host: String = "127.0.0.1") throws -> Bool {
    do {
        _ = try LoopbackSocket.connected(to: port, at: host)
        return true
    } catch {
        guard error.code == ECONNREFUSED else { throw error }
        return false
    }
}

/// Whether somebody accepts connections on the loopback address, and nobody on another one of this machine: who listens on
/// all addresses has the second too.
func isOnLoopbackOnly(_ port: UInt16) throws -> Bool { try accepts(port) && !accepts(port, at: "127.0.0.2") }

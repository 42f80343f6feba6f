import FoundationEssentials
import Synchronization

/// Looks now and then at what the fleet's processes hold.
final class Gauges: Sendable {
    private let state = Mutex(Footprint())

    var footprint: Footprint { state.withLock { $0 } }

    func look(_ processes: [(name: String, id: Int32)], at now: Duration) {
        // One that has just ended has nothing to be looked at.
        let samples = processes.compactMap { Self.sample($0.name, $0.id, at: now) }
        state.withLock { $0.samples += samples }
    }

    func note(connections: Int, at now: Duration) {
        state.withLock { $0.connections.append(Footprint.Connections(at: now.inSeconds, count: connections)) }
    }

    private static func sample(_ name: String, _ id: Int32, at now: Duration) -> Footprint.Sample? {
        guard let status = ProcessStatus.read("/proc/\(id)/status") else { return nil }
        func number(_ name: String) -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix(name) }
            return line?.split(whereSeparator: { $0 == "\t" || $0 == " " }).dropFirst().first.flatMap { Int($0) } ?? 0
        }
        let directory = "/proc/\(id)/fd"
        let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        let sockets = descriptors.count { descriptor in
            let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\(descriptor)")
            return target?.hasPrefix("socket:") == true
        }
        return Footprint.Sample(
            at: now.inSeconds, process: name, residentBytes: number("VmRSS:") * 1_024, descriptors: descriptors.count,
            threads: number("Threads:"), sockets: sockets)
    }
}

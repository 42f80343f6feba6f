import FoundationEssentials
import Glibc
import Synchronization

/// What the fleet's processes hold, looked at once a second.
final class Gauges: Sendable {
    struct Sample: Sendable, Codable {
        let at: Double
        let process: String
        let residentBytes, descriptors, threads: Int
    }

    /// What a process may hold at most: twice what one was seen to hold at load.
    static let residentBytesMax = 160 << 20
    static let descriptorsMax = 256
    static let threadsMax = 64

    private let state = Mutex<[Sample]>([])

    var samples: [Sample] { state.withLock { $0 } }

    func look(_ processes: [(name: String, id: Int32)], at now: Duration) {
        let samples = processes.compactMap { process -> Sample? in
            // One that has just ended has nothing to be looked at.
            guard let status = ProcessStatus.read("/proc/\(process.id)/status") else { return nil }
            func number(_ name: String) -> Int {
                let line = status.split(separator: "\n").first { $0.hasPrefix(name) }
                return line?.split(whereSeparator: { $0 == "\t" || $0 == " " }).dropFirst().first.flatMap { Int($0) }
                    ?? 0
            }
            let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.id)/fd"))?.count
            return Sample(
                at: now.inSeconds, process: process.name, residentBytes: number("VmRSS:") * 1_024,
                descriptors: descriptors ?? 0, threads: number("Threads:"))
        }
        state.withLock { $0 += samples }
    }
}

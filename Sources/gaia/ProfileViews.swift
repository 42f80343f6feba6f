import FleetDispatcher
import FleetProfiler
import FleetWorker
import Foundation

extension MemorySnapshot {
    var text: String {
        func size(_ bytes: Int?) -> String { bytes.map { Terminal.megabytes($0) } ?? "not told" }
        let facts = [
            ["resident", size(resident), "of it shared with others in part: its share is \(size(proportional))"],
            ["written to", size(dirty), "its own alone: what its end would free"],
            ["peak", size(peak), "the most that was ever resident"], ["swapped", size(swapped), ""],
            ["heap in use", size(heap.inUse), "\(heap.mappedBlocks) large blocks of it: \(size(heap.mapped))"],
            ["heap free", size(heap.free), "kept by the allocator, to be used again"],
            ["stacks", size(stacks), "of \(threads) threads"], ["descriptors", "\(descriptors)", ""],
        ]
        let rows = uses.map { use in
            [use.name, size(use.resident), size(use.proportional), size(use.dirty), size(use.size), "\(use.parts)"]
        }
        return Terminal.table(["memory", "", ""], facts) + "\n\n"
            + Terminal.table(["of what", "resident", "share", "written to", "addresses", "parts"], rows)
    }
}

extension ProcessTasks {
    var text: String {
        var parts: [String] = []
        if let worker { parts += worker.parts }
        if let dispatcher { parts += dispatcher.parts }
        let busiest = threads.sorted { $0.user + $0.system > $1.user + $1.system }
        parts.append(
            Terminal.table(
                ["thread", "state", "user s", "system s"],
                busiest.map {
                    [$0.name, $0.state, String(format: "%.2f", $0.user), String(format: "%.2f", $0.system)]
                }))
        return parts.joined(separator: "\n\n")
    }
}

extension WorkerTasks {
    /// Jobs that a terminal shows; the JSON has more.
    private static let jobsShown = 20

    fileprivate var parts: [String] {
        var parts = [
            Terminal.table(
                ["subsystem", "slots", "busy", "waiting", ""],
                subsystems.sorted { $0.key < $1.key }.map { name, subsystem in
                    [
                        name, "\(subsystem.slots)", "\(subsystem.busy)", "\(subsystem.waiting)",
                        ((subsystem.resting ? ["rests"] : []) + subsystem.notices
                            + [subsystem.holdings].compactMap { $0 }).joined(separator: "; "),
                    ]
                }),
            """
            before the stages: claim \(queued.claim), settle \(queued.settle), publish \(queued.publish)
            database: \(database.connected) connections, \(database.busy) busy, \(database.waiting) wait for one
            locks: \(waits.locksHeld) held, \(waits.locksWanted) waited for; limits: \(waits.limitsWaiting) wait
            """,
        ]
        if jobs.isEmpty {
            parts.append("no job runs")
        } else {
            let rows = jobs.prefix(Self.jobsShown).map { job in
                [
                    job.type, job.key, "\(job.attempt)/\(job.attemptsMax)", job.stage.rawValue,
                    String(format: "%.1f", job.age), String(format: "%.1f", job.left), job.reason ?? "",
                ]
            }
            let rest = jobs.count + jobsLeftOut - rows.count
            parts.append(
                Terminal.table(["type", "key", "attempt", "stage", "age s", "left s", ""], rows)
                    + (rest > 0 ? "\nand \(rest) more" : ""))
        }
        return parts
    }
}

extension DispatcherTasks {
    fileprivate var parts: [String] {
        let rows = duties.sorted { $0.key < $1.key }.map { name, duty in
            [name, duty.age.map { String(format: "%.1f", $0) } ?? "-", duty.error ?? ""]
        }
        return [term.map { "leads, in term \($0)" } ?? "does not lead"]
            + (rows.isEmpty ? [] : [Terminal.table(["duty", "age s", "error"], rows)]) + [
                "database: \(database.connected) connections, \(database.busy) busy, \(database.waiting) wait for one"
            ]
    }
}

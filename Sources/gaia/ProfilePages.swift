import FleetDispatcher
import FleetHTTP
import FleetProfiler
import FleetWorker

/// The pages at which a process tells of its inside.
enum ProfilePages {
    static let cpuPath = "profile/cpu"
    static let memoryPath = "profile/memory"
    static let tasksPath = "profile/tasks"

    /// Of a process that is either, or both.
    static func all(worker: Worker? = nil, dispatcher: Dispatcher? = nil) -> [AdminPage] {
        [
            AdminPage(cpuPath) { query in await cpu(query) },
            AdminPage(memoryPath) { _ in try document(MemorySnapshot.take()) },
            AdminPage(tasksPath) { _ in
                try document(
                    ProcessTasks(worker: worker?.tasks, dispatcher: dispatcher?.tasks, threads: ProcessThread.all()))
            },
        ]
    }

    /// How a profile was taken, beside it.
    enum Header {
        static let dropped = "Gaia-Profile-Dropped"
        static let threads = "Gaia-Profile-Threads"
        static let deafThreads = "Gaia-Profile-Deaf-Threads"
    }

    private static func cpu(_ query: [String: String]) async -> AdminPage.Answer {
        do throws(ProfileError) {
            let profile = try await CPUProfiler.take(try request(query))
            return AdminPage.Answer(
                headers: [
                    (Header.dropped, "\(profile.dropped)"), (Header.threads, "\(profile.threads)"),
                    (Header.deafThreads, "\(profile.deafThreads)"),
                ], text: profile.folded)
        } catch {
            let status =
                switch error {
                case .outOfRange, .unknown: 400
                case .busy: 409
                case .refused, .cancelled: 503
                }
            return AdminPage.Answer(status: status, text: "\(error)\n")
        }
    }

    private static func request(_ query: [String: String]) throws(ProfileError) -> CPUProfile.Request {
        if let name = query.keys.sorted().first(where: { !["seconds", "hertz"].contains($0) }) { throw .unknown(name) }
        // What is no number is out of any range.
        func number(_ name: String) -> Int? { query[name].map { Int($0) ?? -1 } }
        return try CPUProfile.Request(
            seconds: number("seconds") ?? CPUProfile.Request.secondsUnasked,
            hertz: number("hertz") ?? CPUProfile.Request.hertzUnasked)
    }

    private static func document(_ value: some Encodable) throws -> AdminPage.Answer {
        AdminPage.Answer(contentType: "application/json", text: try Terminal.json(value) + "\n")
    }
}

/// What a process does, and on which threads.
struct ProcessTasks: Codable {
    let worker: WorkerTasks?
    let dispatcher: DispatcherTasks?
    let threads: [ProcessThread]
}

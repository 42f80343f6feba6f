import ArgumentParser
import FleetProfiler
import Foundation
import ProfileReports

/// `gaia profile`
struct ProfileCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile",
        abstract: "Look into a live process: processor time, memory, tasks.",
        discussion: """
            URL is that of the process's admin listener (admin.listen, GAIA_ADMIN_LISTEN), such as localhost:9464. \
            docs/profiling.md shows how to read what comes of it.
            """,
        subcommands: [
            ProfileCPUCommand.self, ProfileMemoryCommand.self, ProfileTasksCommand.self, ProfileGrowthCommand.self,
        ])
}

struct ProfileTarget: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The file with the process's admin.token.", valueName: "file"))
    var tokenFile: String?

    /// A page that is one JSON document.
    ///
    /// - Parameter output: a file that gets the JSON as it came.
    /// - Throws: ``CommandFailure``
    func document<Document: Decodable & Sendable>(
        _ path: String, _: Document.Type, _ source: String, _ output: String?
    ) async throws -> Document {
        if let output { try requireWritable(output) }
        return try await ProfileClient.use([source], tokenFile: tokenFile) { clients in
            let (document, text) = try await clients[0].document(path, Document.self)
            if let output { try writeFile(text, to: output) }
            return document
        }
    }
}

/// `gaia profile cpu`
struct ProfileCPUCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cpu",
        abstract: "Sample where a process spends processor time, and draw it.",
        discussion: """
            Prints the hottest functions; --output writes a flame graph for any browser, --folded the stacks as text for \
            speedscope and the like. Given the name of such a file instead of a URL, it reads that.
            """)

    @Argument(help: ArgumentHelp("The process's admin listener, or a file of folded stacks.", valueName: "url"))
    var source: String
    @OptionGroup var target: ProfileTarget
    @Option(name: .long, help: "How long, in seconds.")
    var seconds = CPUProfile.Request.secondsUnasked
    @Option(name: .long, help: "Samples in a second of a thread's processor time.")
    var hertz = CPUProfile.Request.hertzUnasked
    @Option(name: .long, help: ArgumentHelp("Write a flame graph, an SVG.", valueName: "file"))
    var output: String?
    @Option(name: .long, help: ArgumentHelp("Write the stacks as text.", valueName: "file"))
    var folded: String?
    @Option(name: .long, help: "How many functions to print.")
    var top = 20

    func run() async throws {
        try await report {
            for path in [output, folded].compactMap({ $0 }) { try requireWritable(path) }
            let (text, title) =
                FileManager.default.fileExists(atPath: source)
                ? (try read(source), source) : try await sample()
            let stacks: FoldedStacks
            do { stacks = try FoldedStacks(parsing: text) } catch {
                throw CommandFailure(.refused, "\(source): \(error)")
            }
            if let folded { try writeFile(text, to: folded) }
            if let output { try writeFile(FlameGraph(stacks, title: title).svg, to: output) }
            Terminal.print(table(stacks))
        }
    }

    private func read(_ path: String) throws -> String {
        do { return try String(contentsOfFile: path, encoding: .utf8) } catch {
            throw CommandFailure(.refused, "\(path) cannot be read as text")
        }
    }

    private func sample() async throws -> (text: String, title: String) {
        do { _ = try CPUProfile.Request(seconds: seconds, hertz: hertz) } catch {
            throw CommandFailure(.usage, "--\(error)")
        }
        return try await ProfileClient.use([source], tokenFile: target.tokenFile) { clients in
            let client = clients[0]
            let name = try await client.name()
            let response = try await showingProgress(of: name) {
                try await client.get(
                    "\(ProfilePages.cpuPath)?seconds=\(seconds)&hertz=\(hertz)", taking: .seconds(seconds))
            }
            func header(_ name: String) -> Int { response.header(name).flatMap { Int($0) } ?? 0 }
            if header(ProfilePages.Header.dropped) > 0 {
                Terminal.error("\(header(ProfilePages.Header.dropped)) samples found no room and are missing")
            }
            if header(ProfilePages.Header.deafThreads) > 0 {
                Terminal.error("\(header(ProfilePages.Header.deafThreads)) threads cannot be sampled and are missing")
            }
            return (
                String(decoding: response.body, as: UTF8.self), "\(name), \(client.url), \(seconds) s at \(hertz) Hz"
            )
        }
    }

    private func showingProgress<Value: Sendable>(
        of name: String, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let begin = ContinuousClock.now
        defer { Progress.shared.clear() }
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                while !Task.isCancelled {
                    let done = min(seconds, Int((ContinuousClock.now - begin) / .seconds(1)))
                    Progress.shared.show("\(name)  \(Progress.bar(done, of: seconds))  \(done) of \(seconds) s")
                    // Woken by cancellation too, which ends the loop.
                    try? await Task.sleep(for: .milliseconds(250))
                }
                return nil
            }
            while let value = try await group.next() {
                guard let value else { continue }
                group.cancelAll()
                return value
            }
            throw CancellationError()
        }
    }

    private func table(_ stacks: FoldedStacks) -> String {
        let samples = stacks.samples
        guard samples > 0 else { return "no samples: the process used no processor time" }
        func share(_ count: Int) -> String { String(format: "%.1f%%", 100 * Double(count) / Double(samples)) }
        let rows = stacks.functions.prefix(max(top, 0)).map { [share($0.own), share($0.total), $0.name] }
        let core = Double(samples) / Double(seconds * hertz)
        let words =
            FileManager.default.fileExists(atPath: source)
            ? "\(Terminal.grouped(samples)) samples"
            : "\(Terminal.grouped(samples)) samples in \(seconds) s: \(String(format: "%.2f", core)) processors in use"
        return Terminal.table(["self", "total", "function"], rows) + "\n\n" + words
    }
}

/// `gaia profile memory`
struct ProfileMemoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "memory", abstract: "Show what a process's memory is made of.")

    @Argument(help: ArgumentHelp("The process's admin listener.", valueName: "url"))
    var source: String
    @OptionGroup var target: ProfileTarget
    @Option(name: .long, help: ArgumentHelp("Write the JSON.", valueName: "file"))
    var output: String?

    func run() async throws {
        try await report {
            let snapshot = try await target.document(ProfilePages.memoryPath, MemorySnapshot.self, source, output)
            Terminal.print(snapshot.text)
        }
    }
}

/// `gaia profile tasks`
struct ProfileTasksCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tasks", abstract: "Show what a process does now, what waits in it, and its threads.")

    @Argument(help: ArgumentHelp("The process's admin listener.", valueName: "url"))
    var source: String
    @OptionGroup var target: ProfileTarget
    @Option(name: .long, help: ArgumentHelp("Write the JSON.", valueName: "file"))
    var output: String?

    func run() async throws {
        try await report {
            let tasks = try await target.document(ProfilePages.tasksPath, ProcessTasks.self, source, output)
            Terminal.print(tasks.text)
        }
    }
}

/// - Throws: ``CommandFailure``
func writeFile(_ text: String, to path: String) throws {
    do { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) } catch {
        throw CommandFailure(.usage, "\(path) cannot be written")
    }
}

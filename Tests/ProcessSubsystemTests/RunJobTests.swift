import FleetModel
import Foundation
import ProcessSubsystem
import RootedFiles
import Testing

/// Runs jobs as a worker would.
private struct Workshop: ~Copyable {
    static let executables = [
        "/bin/sh", "/bin/cat", "/bin/echo", "/usr/bin/env", "/bin/pwd", "/bin/sleep", "/usr/bin/yes",
    ]
    let directory: String
    private let threads = FileThreads(named: "test", count: 1)
    private let roots: FileRoots

    init() throws {
        directory = NSTemporaryDirectory() + "gaia-process-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory + "/work", withIntermediateDirectories: true)
        // The user that programs run as has to get there.
        for path in [directory, directory + "/work"] {
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        }
        roots = try FileRoots([try FileRoot(name: "data", directory: directory)])
    }

    consuming func end() async throws {
        await threads.close()
        try FileManager.default.removeItem(atPath: directory)
    }

    func run(
        _ payload: String, once: Bool = false, _ change: (inout ProcessSettings) -> Void = { _ in }
    ) async throws -> RunOutput {
        var settings = ProcessSettings()
        settings.executables = Self.executables
        change(&settings)
        let subsystem = try ProcessSubsystem(settings, roots: roots, threads: threads)
        let context = JobContext(
            type: RunParameters.type, key: "order-17", attempt: 2, token: 9, subject: nil, traceparent: nil)
        let result: Result<String, any Error>
        do {
            let type = once ? RunParameters.onceType : RunParameters.type
            let definition = try #require(subsystem.definitions.first { $0.type == type })
            #expect(definition.isRepeatable != once)
            result = .success(try await definition.prepare(Array(payload.utf8))(context))
        } catch {
            result = .failure(error)
        }
        await subsystem.close()
        return try JSONDecoder().decode(RunOutput.self, from: Data(try result.get().utf8))
    }

    func failure(
        _ payload: String, once: Bool = false, _ change: (inout ProcessSettings) -> Void = { _ in }
    ) async throws -> JobFailure {
        do {
            let output = try await run(payload, once: once, change)
            Issue.record("it succeeded: \(output)")
            return JobFailure(.permanent, code: "none", message: "")
        } catch let failure as JobFailure {
            return failure
        }
    }

    static func use(_ body: (borrowing Workshop) async throws -> Void) async throws {
        let workshop = try Workshop()
        do { try await body(workshop) } catch {
            try await workshop.end()
            throw error
        }
        try await workshop.end()
    }
}

private func shell(_ script: String, _ more: String = "") -> String {
    let text = script.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    return #"{"executable":"/bin/sh","arguments":["-c","\#(text)"]\#(more)}"#
}

@Suite("process.run.v1", .timeLimit(.minutes(2)))
struct RunJobTests {
    @Test("gives what the program wrote, how it ended and what it used")
    func output() async throws {
        try await Workshop.use { workshop in
            let output = try await workshop.run(
                #"{"executable":"/bin/sh","arguments":["-c","cat; echo no >&2; exit 3"],"stdin":"hällo","expected_exit":[3]}"#
            )
            #expect(output.exit == 3)
            #expect(output.stdout.text == "hällo" && output.stdout.bytes == 6 && !output.stdout.truncated)
            #expect(output.stderr.text == "no\n")
            #expect(output.residentBytesMax > 0)
            let bytes = try await workshop.run(#"{"executable":"/bin/cat","stdin_base64":"AP8="}"#)
            #expect(bytes.stdout.text == nil && bytes.stdout.base64 == "AP8=")
        }
    }

    @Test("tells the program its job, and nothing of the worker's own environment")
    func environment() async throws {
        setenv("GAIA_PROCESS_TEST_SECRET", "secret", 1)
        try await Workshop.use { workshop in
            let output = try await workshop.run(
                #"{"executable":"/usr/bin/env","environment":{"COLOUR":"blue"}}"#
            ) { $0.variables = ["COLOUR"] }
            let lines = Set((output.stdout.text ?? "").split(separator: "\n").map(String.init))
            #expect(
                lines == [
                    "PATH=/usr/bin:/bin", "LANG=C.UTF-8", "GAIA_JOB_KEY=order-17", "GAIA_JOB_ATTEMPT=2",
                    "GAIA_JOB_TOKEN=9", "COLOUR=blue",
                ])
            let refused = try await workshop.failure(
                #"{"executable":"/usr/bin/env","environment":{"LD_PRELOAD":"/tmp/x.so"}}"#)
            #expect(refused.code == "process.variable" && refused.kind == .permanent)
        }
    }

    @Test("runs what the list names and nothing else")
    func allowed() async throws {
        try await Workshop.use { workshop in
            for path in ["/bin/ls", "/bin/../bin/sh", "/bin/echo "] {
                let failure = try await workshop.failure(#"{"executable":"\#(path)"}"#)
                #expect(failure.code == "process.not-allowed", "\(path)")
            }
        }
        try await Workshop.use { workshop in
            await #expect(throws: ProcessSettingsError.self) {
                _ = try await workshop.run(#"{"executable":"/bin/sh"}"#) { $0.executables = ["/nowhere/program"] }
            }
            await #expect(throws: ProcessSettingsError.self) {
                _ = try await workshop.run(#"{"executable":"/bin/sh"}"#) { $0.executables = [workshop.directory] }
            }
        }
    }

    @Test("runs in a directory beneath a root, and in none outside")
    func directory() async throws {
        try await Workshop.use { workshop in
            let output = try await workshop.run(#"{"executable":"/bin/pwd","directory":"data:work"}"#)
            #expect(output.stdout.text == "\(workshop.directory)/work\n")
            try FileManager.default.createSymbolicLink(
                atPath: "\(workshop.directory)/out", withDestinationPath: "/")
            for (path, code) in [
                ("data:../..", "file.invalid-path"), ("data:missing", "file.not-found"),
                ("else:work", "file.unknown-root"), ("/etc", "file.invalid-path"), ("data:out", "file.not-a-directory"),
                ("data:out/etc", "file.symlink"),
            ] {
                let failure = try await workshop.failure(#"{"executable":"/bin/pwd","directory":"\#(path)"}"#)
                #expect(failure.code == code && failure.kind == .permanent, "\(path)")
            }
        }
    }

    @Test("keeps the beginning of a flood of output and counts the rest")
    func flood() async throws {
        try await Workshop.use { workshop in
            let output = try await workshop.run(
                shell("head -c 50000000 /dev/zero | tr '\\\\0' a", #","output_bytes":1000"#))
            #expect(output.stdout.text?.utf8.count == 1_000)
            #expect(output.stdout.bytes == 50_000_000 && output.stdout.truncated)
        }
    }

    @Test("an exit that was not expected is permanent, or transient when the job says so")
    func exits() async throws {
        try await Workshop.use { workshop in
            let failure = try await workshop.failure(shell("echo broken >&2; exit 7"))
            #expect(failure.code == "process.exit-7" && failure.kind == .permanent)
            #expect(failure.message.contains("broken"))
            #expect(try await workshop.failure(shell("exit 75", #","retry_exit":[75]"#)).kind == .transient)
            let killed = try await workshop.failure(shell("kill -9 $$"))
            #expect(killed.code == "process.killed" && killed.kind == .transient)
            #expect(try await workshop.failure(shell("kill -8 $$")).code == "process.signal-8")
        }
    }

    @Test("a program that ignores SIGTERM is killed after its grace, with all that it started")
    func timeout() async throws {
        try await Workshop.use { workshop in
            let failure = try await workshop.failure(
                shell("trap '' TERM; sleep 1000 & sleep 1000", #","timeout_ms":200,"grace_ms":100"#))
            #expect(failure.code == "process.timeout" && failure.kind == .transient)
        }
    }

    @Test("what outlives the program is killed and counted, also in a session of its own")
    func strays() async throws {
        try await Workshop.use { workshop in
            let output = try await workshop.run(shell("setsid sleep 1000 >/dev/null 2>&1 & exit 0"))
            #expect(output.strays == 1)
        }
    }

    @Test("limits hold: files, descriptors, processor time, processes")
    func limits() async throws {
        try await Workshop.use { workshop in
            // Under another user's name in a directory that anybody may write to: a file in it is his own.
            let path = "/tmp/gaia-limit-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: path) }
            let file = try await workshop.failure(
                shell("exec head -c 2000000 /dev/zero >\(path)", #","limits":{"file_bytes":1000}"#))
            #expect(file.code == "process.file-size" && file.kind == .permanent)
            #expect(try await workshop.run(shell("ulimit -n", #","limits":{"open_files":33}"#)).stdout.text == "33\n")
            let cpu = try await workshop.failure(shell("while :; do :; done", #","limits":{"cpu_seconds":1}"#))
            #expect(cpu.code == "process.cpu" && cpu.kind == .permanent)
            let many = try await workshop.failure(
                shell("for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; wait", #","limits":{"processes":4}"#))
            #expect(many.code == "process.processes")
        }
    }

    @Test("all that a program writes goes into a file where the job wants it, whole or not at all")
    func files() async throws {
        try await Workshop.use { workshop in
            let output = try await workshop.run(
                shell(
                    "head -c 3000000 /dev/zero; echo note >&2", #","stdout_file":"data:made/zeros","output_bytes":10"#))
            let file = try #require(output.stdout.file)
            #expect(file.path == "data:made/zeros" && file.bytes == 3_000_000)
            #expect(output.stdout.text == nil && output.stdout.bytes == 3_000_000 && !output.stdout.truncated)
            #expect(output.stderr.text == "note\n")
            let written = try Data(contentsOf: URL(filePath: "\(workshop.directory)/made/zeros"))
            #expect(written == Data(count: 3_000_000))

            let failed = try await workshop.failure(
                shell("echo half; exit 1", #","stdout_file":"data:made/half""#))
            #expect(failed.code == "process.exit-1")
            let large = try await workshop.failure(
                #"{"executable":"/usr/bin/yes","stdout_file":"data:made/large"}"#
            ) { $0.fileBytesMax = 1 << 20 }
            #expect(large.code == "file.too-large" && large.kind == .permanent)
            #expect(large.message.contains("larger than 1048576 bytes"))
            let names = try FileManager.default.contentsOfDirectory(atPath: "\(workshop.directory)/made")
            #expect(names == ["zeros"], "neither a half file nor a temporary one is left")
        }
    }

    @Test("of a program that must not be repeated the job is set aside when it was cut off, not when it ended")
    func once() async throws {
        try await Workshop.use { workshop in
            #expect(try await workshop.run(shell("exit 0"), once: true).exit == 0)
            for (script, more, code) in [
                ("sleep 100", #","timeout_ms":100"#, "process.timeout"), ("kill -9 $$", "", "process.killed"),
                ("kill -8 $$", "", "process.signal-8"),
            ] {
                let failure = try await workshop.failure(shell(script, more), once: true)
                #expect(failure.code == code && failure.kind == .unsafe, "\(script)")
            }
            #expect(try await workshop.failure(shell("exit 7"), once: true).kind == .permanent)
            #expect(try await workshop.failure(shell("exit 75", #","retry_exit":[75]"#), once: true).kind == .transient)
        }
    }

    @Test("text that is cut in the middle of a character stays text")
    func cutText() async throws {
        try await Workshop.use { workshop in
            for bytes in 1...9 {
                let output = try await workshop.run(shell("printf 'aä€𝄞z'", #","output_bytes":\#(bytes)"#))
                let text = try #require(output.stdout.text, "\(bytes)")
                #expect("aä€𝄞z".hasPrefix(text) && bytes - text.utf8.count < 4 && output.stdout.truncated)
            }
        }
    }

    @Test("an argument of 100,000 characters arrives")
    func longArgument() async throws {
        try await Workshop.use { workshop in
            let long = String(repeating: "x", count: 100_000)
            let output = try await workshop.run(
                #"{"executable":"/bin/echo","arguments":["\#(long)"],"output_bytes":10}"#)
            #expect(output.stdout.bytes == 100_001)
        }
    }
}

@Suite("Parameters of process.run.v1")
struct RunParametersTests {
    private static let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Resources/golden/process.run.v1")

    @Test("golden examples are taken, and flawed ones refused with a sentence")
    func examples() async throws {
        let definition = JobDefinition(RunParameters.self) { (_: RunParameters, _: JobContext) -> Void in }
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.golden.path)
        #expect(files.count { $0.hasPrefix("valid") } >= 3 && files.count { $0.hasPrefix("invalid") } >= 9)
        for name in files {
            let payload = Array(try Data(contentsOf: Self.golden.appendingPathComponent(name)))
            if name.hasPrefix("valid") {
                _ = try definition.prepare(payload)
            } else {
                let error = #expect(throws: InvalidParameters.self, "\(name)") { _ = try definition.prepare(payload) }
                #expect(error?.description.isEmpty == false)
            }
        }
    }
}

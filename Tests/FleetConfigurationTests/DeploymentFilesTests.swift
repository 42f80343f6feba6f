import FleetConfiguration
import FleetStack
import Foundation
import Testing

/// The examples in `configs/`, by the means of those who will read them.
@Suite("Files for systemd and Kubernetes")
struct DeploymentFilesTests {
    private static let configs = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().appending(path: "configs")

    private static func files(_ directory: String) throws -> [URL] {
        let place = configs.appending(path: directory)
        let files = try FileManager.default.contentsOfDirectory(at: place, includingPropertiesForKeys: nil)
        try #require(!files.isEmpty)
        return files.sorted { $0.path < $1.path }
    }

    private static let patience: Duration = .seconds(120)

    /// What a validator has to say, and whether it is content.
    private static func verdict(
        _ executable: String, _ arguments: [String]
    ) async throws -> (isGood: Bool, words: String) {
        let process = try ChildProcess.start(executable: executable, arguments: arguments, output: .capture)
        let status = await process.exitStatus(within: patience)
        return (status?.isSuccess == true, process.standardOutput + process.standardError)
    }

    @Test("systemd finds nothing to say about the units")
    func units() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "units-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { #expect(throws: Never.self) { try FileManager.default.removeItem(at: directory) } }
        func checked(_ edit: (String) -> String) async throws -> String {
            var units: [String] = []
            for file in try Self.files("systemd") {
                // systemd looks whether the program is there.
                let text = try String(contentsOf: file, encoding: .utf8)
                    .replacing("/usr/local/bin/gaia", with: "/bin/true")
                let unit = directory.appending(path: file.lastPathComponent.replacing("@.", with: "@1."))
                try edit(text).write(to: unit, atomically: false, encoding: .utf8)
                units.append(unit.path)
            }
            return try await Self.verdict("/usr/bin/systemd-analyze", ["verify", "--man=no"] + units).words
        }
        #expect(try await checked { $0 } == "")
        #expect(try await checked { $0.replacing("KillMode=", with: "KilMode=") }.contains("KilMode"))
    }

    @Test("Kubernetes' own schemas hold for the manifests, with nothing that they do not know")
    func manifests() async throws {
        let python = try #require(
            ProcessInfo.processInfo.environment["GAIA_TEST_PYTHON"],
            "no Python with kubernetes-validate: ./gaia test makes one, or name one in GAIA_TEST_PYTHON that has it")
        let files = try Self.files("kubernetes").map(\.path)
        let good = try await Self.verdict(python, ["-m", "kubernetes_validate", "--strict"] + files)
        #expect(good.isGood, "\(good.words)")
        let bad = FileManager.default.temporaryDirectory.appending(path: "manifest-\(UUID().uuidString).yaml")
        defer { #expect(throws: Never.self) { try FileManager.default.removeItem(at: bad) } }
        try String(contentsOfFile: try #require(files.first), encoding: .utf8)
            .replacing("replicas:", with: "replikas:").write(to: bad, atomically: false, encoding: .utf8)
        #expect(try await Self.verdict(python, ["-m", "kubernetes_validate", "--strict", bad.path]).isGood == false)
    }

    @Test("Every variable that they set is one of a setting")
    func variables() throws {
        let known = Set(Setting.all.map { Setting.variable(of: $0.key) })
        for file in try Self.files("systemd") + Self.files("kubernetes") {
            let text = try String(contentsOf: file, encoding: .utf8)
            for variable in text.matches(of: /GAIA_[A-Z_]+/).map({ String($0.output) }) {
                #expect(known.contains(variable), "\(file.lastPathComponent): \(variable)")
            }
        }
    }

    @Test("The settings in the manifest are read as settings")
    func settings() throws {
        let manifest = try String(
            contentsOf: Self.configs.appending(path: "kubernetes/fleet.yaml"), encoding: .utf8)
        let lines = manifest.split(separator: "\n", omittingEmptySubsequences: false)
        let begin = try #require(lines.firstIndex { $0.hasPrefix("  gaia.yaml: |") })
        let yaml = lines[(begin + 1)...].prefix { $0.hasPrefix("    ") }.map { $0.dropFirst(4) }.joined(separator: "\n")
        let configuration = try FleetConfiguration(file: ("gaia.yaml", yaml), environment: [:])
        #expect(configuration.amqpURL?.hasPrefix("amqps://") == true)
        #expect(configuration.databaseURL?.contains("sslmode=verify-full") == true)
    }
}

import FleetModel
import Foundation

/// A kind of job of `gaia bench mixed`.
struct MixedKind: Sendable {
    let type: JobType
    /// The payload of its n-th job, as JSON.
    let payload: @Sendable (Int) -> String

    var name: String { type.name }

    /// Files that are written over and over: so many names of each kind.
    private static let names = 1_000

    /// - Parameter port: where the HTTP server listens.
    static func all(port: Int) -> [MixedKind] {
        let document = #""path":"bench:\#(MixedFiles.document)""#
        return [
            MixedKind(type: "api.request.v1") { _ in
                #"{"url":"http://127.0.0.1:\#(port)/effect","method":"POST"}"#
            },
            MixedKind(type: "file.write.v1") { number in
                #"{"path":"bench:written/\#(number % names)","content":"job \#(number)","parents":true}"#
            },
            MixedKind(type: "file.read.v1") { _ in #"{\#(document),"length":4096}"# },
            MixedKind(type: "file.hash.v1") { _ in "{\(document)}" },
            MixedKind(type: "file.parse-json.v1") { _ in #"{\#(document),"pointer":"/500/name"}"# },
            MixedKind(type: "file.parse-xml.v1") { number in
                #"{"path":"bench:\#(MixedFiles.markup)","xpath":"/members/member[500]/name"}"#
            },
            MixedKind(type: "process.run.v1") { number in programPayload("\(number)") },
            MixedKind(type: "network.resolve.v1") { number in #"{"name":"n\#(number % names).many.test"}"# },
            MixedKind(type: "network.probe.v1") { _ in #"{"host":"127.0.0.1","port":\#(port)}"# },
            MixedKind(type: "network.download.v1") { number in
                #"{"url":"http://127.0.0.1:\#(port)/health","path":"bench:loaded-\#(number % names)","if_exists":"replace"}"#
            },
        ]
    }

    /// The program that process jobs run, and its job.
    static let program = "/bin/echo"
    static func programPayload(_ text: String) -> String {
        #"{"executable":"\#(program)","arguments":["job","\#(text)"]}"#
    }

    /// What workers are told.
    static func settings(_ files: MixedFiles, namesPort: UInt16) -> [String: String] {
        [
            "GAIA_API_ALLOW": "127.0.0.1", "GAIA_NETWORK_ALLOW": "127.0.0.1",
            "GAIA_NETWORK_NAMESERVERS": "127.0.0.1:\(namesPort)", "GAIA_PROCESS_EXECUTABLES": program,
        ].merging(files.settings) { $1 }
    }
}

/// The directory that file jobs work in, with two documents of a thousand members in it.
struct MixedFiles: Sendable {
    static let document = "document.json"
    static let markup = "document.xml"
    let directory: String

    init() throws {
        directory = "/var/tmp/gaia-bench-files-\(ProcessInfo.processInfo.processIdentifier)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let members = (0..<1_000).map { #"{"name":"member \#($0)","number":\#($0),"tags":["a","b"]}"# }
        try "[\(members.joined(separator: ","))]".write(
            toFile: "\(directory)/\(Self.document)", atomically: true, encoding: .utf8)
        let elements = (0..<1_000).map { "<member number='\($0)'><name>member \($0)</name></member>" }
        try "<members>\(elements.joined())</members>".write(
            toFile: "\(directory)/\(Self.markup)", atomically: true, encoding: .utf8)
    }

    /// What workers are told of it.
    var settings: [String: String] { ["GAIA_FILE_ROOTS": "bench=\(directory)"] }

    func remove() throws { try FileManager.default.removeItem(atPath: directory) }
}

import Foundation
import RootedFiles

/// A directory of a test's own, gone when the test is.
final class Sandbox: Sendable {
    let directory: String

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "rooted-\(UUID().uuidString)").path
        for name in ["root", "outside"] {
            try FileManager.default.createDirectory(
                atPath: "\(directory)/\(name)", withIntermediateDirectories: true)
        }
        try write("secret", to: "outside/secret")
    }

    deinit {
        do {
            try FileManager.default.removeItem(atPath: directory)
        } catch {
            print("cannot remove \(directory): \(error)")
        }
    }

    /// The absolute path of a place in the sandbox.
    func at(_ place: String) -> String { "\(directory)/\(place)" }

    func roots(_ rules: FileRoots.Rules = .init(), isWritable: Bool = true) throws -> FileRoots {
        try FileRoots([FileRoot(name: "data", directory: at("root"), isWritable: isWritable)], rules: rules)
    }

    func write(_ text: String, to place: String) throws {
        try text.write(toFile: at(place), atomically: false, encoding: .utf8)
    }

    func text(_ place: String) throws -> String { try String(contentsOfFile: at(place), encoding: .utf8) }

    func link(_ place: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(atPath: at(place), withDestinationPath: target)
    }

    func makeDirectory(_ place: String) throws {
        try FileManager.default.createDirectory(atPath: at(place), withIntermediateDirectories: true)
    }

    /// Everything beneath the root, the fleet's own files too.
    func names(_ place: String = "root") throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: at(place)).sorted()
    }
}

extension FileRoots {
    /// The whole content of a file.
    func text(_ path: String) throws -> String {
        let file = try file(RootedPath(path))
        return String(decoding: try file.read(at: 0, count: Int(file.status().bytes)), as: UTF8.self)
    }
}

/// Why `body` failed; nil when it did not.
func reason(_ body: () throws -> Void) throws -> FileError.Reason? {
    do {
        try body()
        return nil
    } catch let error as FileError {
        return error.reason
    }
}

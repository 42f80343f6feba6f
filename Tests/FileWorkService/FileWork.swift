import FileLoad
import Foundation
import Glibc
import RootedFiles

/// What tests of files need a process of its own for: one to be killed, one to be weighed.
@main
struct FileWork {
    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        switch arguments.first {
        case "half" where arguments.count == 4: try writeHalf(arguments[1], arguments[2], token: arguments[3])
        case "large" where arguments.count == 3:
            print(try await FileLoad.large(bytes: Int(arguments[2]) ?? 0, in: arguments[1]).text)
        case "weigh" where arguments.count == 3:
            let figures = try await FileLoad.large(bytes: Int(arguments[2]) ?? 0, in: arguments[1])
            print(figures.residentBytesPeak - figures.residentBytesBefore, figures.residentBytesPeak)
        case "mixed" where arguments.count == 3:
            print(try await FileLoad.mixed(operations: Int(arguments[2]) ?? 0, in: arguments[1]).text)
        default:
            print("half ROOT NAME TOKEN | large DIRECTORY BYTES | weigh DIRECTORY BYTES | mixed DIRECTORY OPERATIONS")
            exit(64)
        }
    }

    /// Writes half of a file, says so, and waits to be killed.
    private static func writeHalf(_ directory: String, _ name: String, token: String) throws {
        let roots = try FileRoots([FileRoot(name: "data", directory: directory)])
        var file = try AtomicFile.open(
            name, in: roots.directory(RootedPath("data:"), for: .writing),
            writer: FileWriter(key: "job", token: Int64(token) ?? 1))
        try [UInt8](repeating: 0x61, count: 1 << 20).withUnsafeBytes { try file.write($0) }
        try file.sync()
        print("half written")
        fflush(nil)
        // Used after the wait, or its life would end before it, and the temporary go with it.
        while true {
            pause()
            try file.sync()
        }
    }
}

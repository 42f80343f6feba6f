import BrowserPool
import FleetStack
import Foundation
import Glibc
import PageServer
import TestPatience
import Testing

extension Browsers {
    /// The program beside this test.
    private static var worker: String {
        let directory = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        return directory.appending(path: "browser-worker").path()
    }

    @Test("When its worker is killed nothing of a browser stays alive, and the next worker removes its files")
    func killedWorker() async throws {
        try await Self.withParent { parent in
            let worker = try ChildProcess.start(executable: Self.worker, arguments: [parent], output: .capture)
            #expect(try await worker.awaitOutput(containing: "\n", within: Self.patience))
            let words = worker.standardOutput.split(whereSeparator: \.isWhitespace)
            let process = try #require(words.last.flatMap { Int32($0) })
            let tree = SeenProcess.tree(process)
            let kinds = ["--type=zygote", "--type=renderer", "--type=gpu-process"]
            for kind in kinds { #expect(tree.contains { $0.text("cmdline").contains(kind) }, "\(kind)") }
            // One that stands still cannot notice anything by itself.
            let renderer = try #require(tree.last { $0.text("cmdline").contains("--type=renderer") })
            #expect(kill(renderer.id, SIGSTOP) == 0)

            // As long as its worker lives, nobody else removes what is its.
            var settings = try Self.settings()
            settings.profileParent = parent
            await (try BrowserPool(settings)).close()
            let left = try FileManager.default.contentsOfDirectory(atPath: parent)
            #expect(left.count == 1)

            try worker.signal(SIGKILL)
            #expect(await worker.exitStatus(within: Self.patience) == .signalled(SIGKILL))
            try await eventually("all of its processes are gone", within: Self.patience) {
                !tree.contains { $0.isAlive }
            }
            await (try BrowserPool(settings)).close()
            #expect(try FileManager.default.contentsOfDirectory(atPath: parent).isEmpty)
        }
    }
}

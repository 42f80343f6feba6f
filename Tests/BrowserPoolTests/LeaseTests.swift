import BrowserPool
import DevTools
import Glibc
import PageServer
import Synchronization
import TestPatience
import Testing

/// Numbers in the order in which they were noted.
private final class Journal: Sendable {
    private let noted = Mutex<[Int]>([])
    var numbers: [Int] { noted.withLock { $0 } }
    func note(_ number: Int) { noted.withLock { $0.append(number) } }
}

extension Browsers {
    @Test("Tabs are lent first come, first served; who waits too long, gives up or is one too many gets none")
    func order() async throws {
        try await Self.withPool {
            $0.tabsMax = 1
            $0.warmTabs = 0
            $0.waitingMax = 3
        } _: { pool in
            let served = Journal()
            try await withThrowingTaskGroup(of: Void.self) { group in
                try await pool.withTab { _ in
                    for number in 1...3 {
                        group.addTask {
                            try await pool.withTab { _ in served.note(number) }
                        }
                        try await eventually("it waits") { pool.status.waiting == number }
                    }
                    #expect(await poolReason { try await pool.withTab { _ in } } == .exhausted, "one too many")
                }
                try await group.waitForAll()
            }
            #expect(served.numbers == [1, 2, 3])
            try await pool.withTab { _ in
                let short = await poolReason { try await pool.withTab(within: .milliseconds(50)) { _ in } }
                #expect(short == .exhausted)
                let task = Task { await poolReason { try await pool.withTab { _ in } } }
                try await eventually("it waits") { pool.status.waiting == 1 }
                task.cancel()
                #expect(await task.value == .cancelled)
                #expect(pool.status.waiting == 0)
            }
            #expect(pool.status.leases == 5)
        }
    }

    @Test("A pool that is closed fails those who use it and those who wait, and leaves no process and no file")
    func closing() async throws {
        var tree: [SeenProcess] = []
        try await Self.withPool {
            $0.tabsMax = 1
        } _: { pool in
            let user = Task {
                try await pool.withTab { tab in
                    await reason { try await tab.session.send(Runtime.Evaluate("new Promise(() => 0)")) }
                }
            }
            try await eventually("it has a tab") { pool.status.leased == 1 }
            let waiter = Task { await poolReason { try await pool.withTab { _ in } } }
            try await eventually("it waits") { pool.status.waiting == 1 }
            tree = SeenProcess.tree(try #require(pool.browserProcesses.first))
            await pool.close()
            #expect(try await user.value == .closed)
            #expect(await waiter.value == .closed)
            #expect(await poolReason { try await pool.withTab { _ in } } == .closed)
        }
        #expect(tree.count > 2 && !tree.contains { $0.isAlive })
    }

    @Test("Many leases leave nothing behind: no tab, no context, no process, no descriptor")
    func manyLeases() async throws {
        try await PageServer.with { _ in
            .page("<title>page</title>")
        } _: { server in
            try await Self.withPool {
                $0.warmTabs = 2
            } _: { pool in
                func lease() async throws {
                    try await pool.withTab { tab in
                        try await tab.open(server.url)
                        #expect(try await tab.value("document.title") == "page")
                    }
                }
                func rest() async throws {
                    try await eventually("it is at rest") { pool.status.tabs == 2 && pool.status.warm == 2 }
                }
                func counts() async throws -> [Int] {
                    let targets = try await pool.withTab {
                        try await $0.browser.send(Target.GetTargets()).targetInfos.count
                    }
                    try await rest()
                    let process = try #require(pool.browserProcesses.first)
                    let descriptors = (0..<4_096).count { fcntl(Int32($0), F_GETFD) >= 0 }
                    return [targets, SeenProcess.tree(process).count, descriptors]
                }
                for _ in 0..<3 { try await lease() }
                let before = try await counts()
                for _ in 0..<25 {
                    try await withThrowingDiscardingTaskGroup { group in
                        for _ in 0..<2 { group.addTask { try await lease() } }
                    }
                }
                try await eventually("all are back where they were") {
                    // Chromium lets go of a process of its own, such as storage's, when it has been idle.
                    try zip(await counts(), before).allSatisfy { $0 <= $1 + 1 }
                }
                #expect(pool.status.leases > 50 && pool.status.instanceCrashes == 0)
            }
        }
    }
}

import BrowserPool
import DevTools
import Foundation
import Glibc
import PageServer
import Synchronization
import TestPatience
import Testing

extension Browsers {
    @Test("A page that crashes fails its own job and no other")
    func crash() async throws {
        try await PageServer.with { _ in
            .page("page")
        } _: { server in
            try await Self.withPool { pool in
                try await pool.withTab { neighbour in
                    try await neighbour.open(server.url)
                    try await pool.withTab { tab in
                        try await tab.open(server.url)
                        async let crash = reason { try await tab.session.send(Page.Crash()) }
                        async let waiting = reason {
                            try await tab.session.send(Runtime.Evaluate("new Promise(() => 0)"))
                        }
                        #expect(await waiting == .crashed)
                        #expect(await crash == .crashed)
                        #expect(tab.isCrashed)
                    }
                    #expect(try await neighbour.value("document.body.innerText") == "page")
                    #expect(try await pool.works())
                }
                #expect(pool.status.tabCrashes == 1 && pool.status.instanceCrashes == 0)
            }
        }
    }

    @Test("A page in an endless loop holds up nobody, and its process goes with its lease")
    func endlessLoop() async throws {
        try await Self.withPool { pool in
            let process = try await pool.withTab { tab in
                // By its time, and the page goes on looping.
                let loop = Runtime.Evaluate("while (true) {}")
                #expect(await reason { try await tab.session.send(loop, within: .milliseconds(300)) } == .timeout)
                return try #require(pool.browserProcesses.first)
            }
            let busy = SeenProcess.tree(process)
            #expect(try await pool.works())
            try await eventually("its tab is gone") { pool.status.tabs == 1 && pool.status.warm == 1 }
            #expect(pool.browserProcesses == [process], "the browser itself is the same")
            // The process that looped has ended; only that of the warm tab is left of the renderers.
            try await eventually("its process is gone") {
                SeenProcess.tree(process).count { $0.text("cmdline").contains("--type=renderer") } == 1
            }
            #expect(busy.contains { !$0.isAlive })
        }
    }

    @Test("A script in an endless loop can be ended, and its page be used further")
    func terminate() async throws {
        try await Self.withPool { pool in
            try await pool.withTab { tab in
                try await tab.session.send(Runtime.Enable())
                let spoken = tab.session.events(Runtime.ConsoleAPICalled.self)
                async let loop = tab.session.send(Runtime.Evaluate("console.log('in'); while (true) {}"))
                // One that comes before the script would end nothing.
                for try await _ in spoken { break }
                try await tab.session.send(Runtime.TerminateExecution())
                _ = try? await loop
                // `try?`: that it was ended is told as an answer or as a refusal.
                #expect(try await tab.value("1 + 1", as: Int.self) == 2)
            }
        }
    }

    @Test("A browser that is killed fails the jobs that use it at once, those of another go on, and it is replaced")
    func killed() async throws {
        try await Self.withPool {
            $0.instancesMax = 2
            $0.tabsPerInstanceMax = 1
            $0.warmTabs = 0
        } _: { pool in
            try await pool.withTab { one in
                let first = try #require(pool.browserProcesses.first)
                let tree = SeenProcess.tree(first)
                #expect(tree.count > 2)
                try await pool.withTab { two in
                    async let waiting = reason { try await one.session.send(Runtime.Evaluate("new Promise(() => 0)")) }
                    #expect(kill(first, SIGKILL) == 0)
                    #expect(await waiting == .closed)
                    #expect(try await two.value("1 + 1", as: Int.self) == 2)
                    try await eventually("nothing of it is left") { !tree.contains { $0.isAlive } }
                    #expect(try await pool.works())
                    #expect(!pool.browserProcesses.contains(first))
                }
                #expect(pool.status.instanceCrashes == 1)
            }
        }
    }

    @Test("A browser that hangs is noticed and replaced")
    func hung() async throws {
        try await Self.withPool {
            $0.checkInterval = .milliseconds(300)
            $0.checkTimeout = .seconds(15)
        } _: { pool in
            let first = try await pool.withTab { tab in
                let first = try #require(pool.browserProcesses.first)
                #expect(kill(first, SIGSTOP) == 0)
                #expect(await reason { try await tab.session.send(Runtime.Evaluate("1")) } == .closed)
                return first
            }
            #expect(try await pool.works())
            #expect(!pool.browserProcesses.contains(first) && SeenProcess(first) == nil)
            #expect(pool.status.instanceCrashes == 1)
        }
    }

    @Test("A browser is replaced after its leases, when the last of its tabs is given back")
    func recycling() async throws {
        try await Self.withPool {
            $0.instancesMax = 2
            $0.leasesPerInstanceMax = 3
        } _: { pool in
            var seen: Set<Int32> = []
            try await pool.withTab { (longest: BrowserTab) async throws in
                let first = pool.browserProcesses
                for _ in 0..<5 {
                    #expect(try await pool.works())
                    seen.formUnion(pool.browserProcesses)
                }
                #expect(pool.status.recycles == 1 || pool.status.recycles == 2)
                #expect(Set(first).isSubset(of: Set(pool.browserProcesses)), "one is in use")
                #expect(try await longest.value("1 + 1", as: Int.self) == 2)
            }
            #expect(seen.count == 2)
            try await eventually("only what is needed runs") { pool.status.instances == 1 }
            #expect(pool.status.instanceCrashes == 0)
        }
    }

    @Test("A browser that holds too much memory takes no more leases, and the job in it goes on")
    func memory() async throws {
        let measured = try await Self.withPool {
            $0.checkInterval = .milliseconds(100)
        } _: { pool in
            try await pool.withTab { tab in
                #expect(try await tab.value("1 + 1", as: Int.self) == 2)
                // One that is still starting holds less than it will.
                var steady = (bytes: 0, since: ContinuousClock.now)
                try await eventually("all its processes are measured, and grow no more") {
                    let bytes = pool.status.memoryBytes
                    if abs(bytes - steady.bytes) > steady.bytes / 20 { steady = (bytes, .now) }
                    return bytes > 0 && pool.status.processes > 4 && .now - steady.since > .seconds(1)
                }
            }
            return pool.status.memoryBytes
        }
        #expect((30 << 20)...(2 << 30) ~= measured)
        try await Self.withPool {
            $0.instancesMax = 2
            $0.checkInterval = .milliseconds(100)
            // It is ended at once at twice as much.
            $0.instanceMemoryBytesMax = measured * 9 / 10
        } _: { pool in
            try await pool.withTab { tab in
                try await eventually("it is recycled") { pool.status.recycles > 0 }
                #expect(try await tab.value("1 + 1", as: Int.self) == 2)
            }
            #expect(pool.status.instanceCrashes == 0)
        }
    }

    @Test("A browser that cannot be started is told, and tried again for the next job")
    func noStart() async throws {
        try await Self.withPool {
            $0.executable = "/bin/false"
        } _: { pool in
            for _ in 0..<2 { #expect(await poolReason { try await pool.withTab { _ in } } == .launchFailed) }
        }
    }

    @Test("As root without another user there is no sandbox, and so no browser", .enabled(if: geteuid() == 0))
    func root() async throws {
        let settings = try Self.settings { $0.user = nil }
        #expect(await poolReason { _ = try BrowserPool(settings) } == .notSandboxed)
        try await Self.withPool {
            $0.user = nil
            $0.sandbox = .off
        } _: { (pool: BrowserPool) async throws in
            #expect(try await pool.works())
        }
    }

    @Test("A machine without user namespaces has no sandbox, unless the settings do without")
    func noNamespaces() async throws {
        let pool = try await Self.withParent { parent in
            // A program that says what Chromium says there.
            let program = "\(parent)/chromium"
            let text = "#!/bin/sh\necho 'FATAL: No usable sandbox! Update your kernel' >&2\nexit 1\n"
            try text.write(toFile: program, atomically: false, encoding: .utf8)
            chmod(program, 0o755)
            return try await Self.withPool {
                $0.executable = program
            } _: { pool in
                await poolReason { try await pool.withTab { _ in } }
            }
        }
        #expect(pool == .notSandboxed)
    }
}

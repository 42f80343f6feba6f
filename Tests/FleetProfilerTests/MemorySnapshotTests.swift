import CProfilerSignals
import Glibc
import Testing

@testable import FleetProfiler

@Suite("Memory snapshots", .serialized)
struct MemorySnapshotTests {
    @Test("A block that is taken is in use, and resident once it is written to; after that it is gone")
    func block() throws {
        let bytes = 64 << 20
        let before = MemorySnapshot.take()
        let block = try #require(malloc(bytes))
        memset(block, 1, bytes)
        let during = MemorySnapshot.take()
        free(block)
        let after = MemorySnapshot.take()
        let slack = 16 << 20
        #expect(during.heap.inUse - before.heap.inUse > bytes - slack)
        #expect(try #require(during.resident) - #require(before.resident) > bytes - slack)
        #expect(during.heap.inUse - after.heap.inUse > bytes - slack)
        #expect(try #require(after.peak) >= #require(during.resident) - slack)
        #expect(during.threads >= 1 && during.descriptors >= 3)
        #expect(during.uses.count <= MemorySnapshot.usesMax && !during.uses.isEmpty)
    }

    @Test("Parts of one use are summed up; what lies above a page that nobody may touch is a stack")
    func uses() {
        let head = "00400000-00402000 r-xp 00000000 08:01 10 /usr/bin/gaia"
        let figures = "Size: 8 kB\nRss: 4 kB\nPss: 2 kB\nPrivate_Dirty: 1 kB\nSwap: 3 kB\nVmFlags: rd ex"
        let smaps = [
            head, figures, head.replacing("004", with: "005"), figures,
            "7f0000000000-7f0000001000 ---p 00000000 00:00 0",
            "Size: 4 kB\nRss: 0 kB", "7f0000001000-7f0000003000 rw-p 00000000 00:00 0", figures,
            "7f0000004000-7f0000005000 rw-p 00000000 00:00 0", figures,
            "7f0000006000-7f0004000000 ---p 00000000 00:00 0", "7f0004000000-7f0004021000 rw-p 00000000 00:00 0",
            figures,
            "7f0004021000-7f0008000000 ---p 00000000 00:00 0", "7f0008000000-7f0008021000 rw-p 00000000 00:00 0",
            figures,
        ].joined(separator: "\n")
        let uses = Dictionary(uniqueKeysWithValues: MemorySnapshot.uses(smaps).map { ($0.name, $0) })
        #expect(
            uses["gaia"]
                == .init(
                    name: "gaia", parts: 2, size: 16_384, resident: 8_192, proportional: 4_096, dirty: 2_048,
                    swapped: 6_144))
        #expect(uses["stacks of threads"]?.size == 8_192 && uses["stacks of threads"]?.parts == 1)
        #expect(uses["anonymous"]?.resident == 4_096)
        #expect(uses["heap areas of threads"]?.parts == 2)
        #expect(uses["reserved"]?.resident == 0)
    }

    @Test("Threads are told by name with their processor time")
    func threads() throws {
        let own = try #require(ProcessThread.all().first { $0.identifier == gaia_test_thread(nil) })
        #expect(own.state == "R")
        #expect(ProcessThread(pid_t.max) == nil)
    }
}

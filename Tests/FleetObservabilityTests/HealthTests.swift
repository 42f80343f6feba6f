import FleetObservability
import Synchronization
import TestPatience
import Testing

@Suite("The health of a process")
struct HealthTests {
    private static func part(_ name: String, _ status: PartHealth.Status, isNeeded: Bool = true) -> HealthPart {
        HealthPart(name, isNeeded: isNeeded) { PartHealth(status, status == .pass ? nil : "\(name) is amiss") }
    }

    @Test(
        "A process is as well as the worst part that it needs; without the others it is impaired at most",
        arguments: [
            ([], PartHealth.Status.pass, true),
            ([("a", .pass, true), ("b", .warn, true)], .warn, true),
            ([("a", .fail, true), ("b", .pass, true)], .fail, false),
            ([("a", .pass, true), ("b", .fail, false)], .warn, true),
        ] as [([(String, PartHealth.Status, Bool)], PartHealth.Status, Bool)])
    func worst(parts: [(String, PartHealth.Status, Bool)], status: PartHealth.Status, isReady: Bool) async {
        let board = HealthBoard()
        board.add(parts.map { Self.part($0.0, $0.1, isNeeded: $0.2) })
        board.stage = .serving
        let report = await board.report()
        #expect(report.status == status)
        #expect(report.isReady == isReady)
        #expect(report.parts.map(\.name) == parts.map(\.0))
    }

    @Test("One that starts or stops is not ready, whatever its parts say")
    func stages() async {
        let board = HealthBoard()
        board.add([Self.part("a", .pass)])
        #expect(await !board.report().isReady)
        board.stage = .serving
        #expect(await board.report().isReady)
        board.stage = .stopping
        #expect(await !board.report().isReady)
    }

    @Test("A part that hangs fails, the others are told all the same, and it is not asked again meanwhile")
    func hanging() async throws {
        let asked = Mutex(0)
        let gate = AsyncStream.makeStream(of: Never.self)
        let board = HealthBoard(patience: .milliseconds(50), freshness: .zero)
        board.add([
            HealthPart("slow", isNeeded: true) {
                asked.withLock { $0 += 1 }
                for await _ in gate.stream {}
                return PartHealth(.pass)
            }, Self.part("quick", .pass),
        ])
        for _ in 0..<3 {
            let report = await board.report()
            #expect(report.parts[0].health.status == .fail)
            #expect(report.parts[0].health.reason?.contains("has not answered") == true)
            #expect(report.parts[1].health.status == .pass)
        }
        #expect(asked.withLock { $0 } == 1)
        gate.continuation.finish()
        try await eventually("it to answer") { await board.report(of: "slow")?.health.status == .pass }
    }

    @Test("Many who ask at once are answered by one look, and for a while by its answer")
    func coalesced() async {
        let asked = Mutex(0)
        let board = HealthBoard(freshness: .seconds(3_600))
        board.add([
            HealthPart("a", isNeeded: true) {
                asked.withLock { $0 += 1 }
                return PartHealth(.warn, "so so")
            }
        ])
        await withTaskGroup(of: PartHealth.Status.self) { group in
            for _ in 0..<100 { group.addTask { await board.report().status } }
            for await status in group { #expect(status == .warn) }
        }
        #expect(asked.withLock { $0 } == 1)
        #expect(await board.report(of: "b") == nil)
    }

    @Test("Parts of one name get a prefix; the worst of several faults counts, and all are told")
    func names() async {
        let board = HealthBoard()
        board.add([Self.part("broker", .pass)])
        board.add([Self.part("broker", .fail), Self.part("other", .pass)], prefix: "second")
        #expect(await board.report().parts.map(\.name) == ["broker", "second-broker", "other"])
        var health = PartHealth(.pass)
        health.worsen(.fail, "one")
        health.worsen(.warn, "two")
        #expect(health.status == .fail && health.reason == "one; two")
    }
}

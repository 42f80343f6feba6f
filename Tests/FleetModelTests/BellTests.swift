import FleetModel
import Testing

@Suite("A bell", .timeLimit(.minutes(2)))
struct BellTests {
    @Test("A pause may be over before its wait has well begun, and ends it all the same")
    func shortPauses() async {
        await withDiscardingTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    let bell = Bell()
                    for _ in 0..<5_000 {
                        let rang = await bell.wait(atMost: .zero)
                        #expect(!rang)
                    }
                }
            }
        }
    }

    @Test("It wakes who waits, and is heard by who comes later, once")
    func rings() async {
        let bell = Bell()
        bell.ring()
        bell.ring()
        #expect(await bell.wait(atMost: .seconds(600)))
        #expect(await !bell.wait(atMost: .milliseconds(1)))
        async let waiting = bell.wait(atMost: .seconds(600))
        bell.ring()
        #expect(await waiting)
    }

    @Test("Cancellation ends the wait, before it has begun too")
    func cancellation() async {
        let bell = Bell()
        let early = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return await bell.wait(atMost: .seconds(600))
        }
        #expect(await !early.value)
        let late = Task { await bell.wait(atMost: .seconds(600)) }
        late.cancel()
        #expect(await !late.value)
    }
}

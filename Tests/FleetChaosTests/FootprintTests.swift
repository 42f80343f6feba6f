import FleetModel
import Testing

@testable import FleetChaos

@Suite("What processes hold in the course of a run")
struct FootprintTests {
    /// An hour of a process, looked at every ten seconds.
    private func footprint(_ memory: (Double) -> Double, sockets: (Double) -> Double = { _ in 9 }) -> Footprint {
        var footprint = Footprint()
        for second in stride(from: 0.0, to: 3_600, by: 10) {
            footprint.samples.append(
                Footprint.Sample(
                    at: second, process: "worker-1.1", residentBytes: Int(memory(second) * 1_048_576), descriptors: 30,
                    threads: 12, sockets: Int(sockets(second))))
            footprint.connections.append(Footprint.Connections(at: second, count: 20))
        }
        return footprint
    }

    private func rising(_ footprint: Footprint) -> [Footprint.Measure] {
        footprint.courses.filter { !$0.isFlat }.map(\.measure)
    }

    @Test("Warming up, noise, and a page more are no growth")
    func flat() {
        var random = SplitMix64(seed: 1)
        #expect(rising(footprint { 30 - 12 * max(0, 1 - $0 / 300) }) == [])
        #expect(rising(footprint { _ in 30 + Double.random(in: -2...2, using: &random) }) == [])
        #expect(rising(footprint { 30 + $0 / 3_600 }) == [])
        #expect(footprint { _ in 30 }.courses.count == 5)
    }

    @Test("A leak of 6 MB an hour, or of a socket every ten minutes, is seen")
    func leaks() {
        #expect(rising(footprint { 30 + 6 * $0 / 3_600 }) == [.memory])
        #expect(rising(footprint({ _ in 30 }, sockets: { 9 + $0 / 400 })) == [.sockets])
    }

    @Test("A process that was hardly seen is not judged")
    func few() {
        var footprint = footprint { _ in 30 }
        footprint.samples.removeLast(footprint.samples.count - 9)
        #expect(footprint.courses.map(\.measure) == [.connections])
    }
}

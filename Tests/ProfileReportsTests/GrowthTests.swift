import Foundation
import FoundationXML
import Testing

@testable import ProfileReports

@Suite("Growth over time")
struct GrowthTests {
    /// A process that does a hundred jobs a second, looked at each five seconds for ten minutes.
    private func process(
        jobsPerSecond: Double = 100, began: (Double) -> Double = { _ in 1 },
        heap: (_ seconds: Double, _ jobs: Double) -> Double
    ) -> GrowthRecord.Process {
        var process = GrowthRecord.Process(name: "worker w")
        for number in 0...120 {
            let seconds = Double(number) * 5
            let jobs = seconds * jobsPerSecond
            process.looks.append(
                .init(
                    seconds: seconds, began: began(seconds), resident: Int(heap(seconds, jobs)) + 20_000_000,
                    heap: Int(heap(seconds, jobs)), descriptors: 30, threads: 12, jobs: Int(jobs)))
        }
        return process
    }

    /// From −1 to 1, the same in each run, without course.
    private func noise(_ seconds: Double) -> Double {
        let value = sin(seconds * 12.9898) * 43_758.5453
        return 2 * (value - value.rounded(.down)) - 1
    }

    @Test("Without noise the line is the line, and its error none")
    func exact() throws {
        let line = try #require(StraightLine((0..<10).map { (Double($0), 3 + 2 * Double($0)) }))
        #expect(abs(line.slope - 2) < 1e-9 && abs(line.intercept - 3) < 1e-9 && line.slopeError < 1e-6)
        #expect(StraightLine([(1, 1), (1, 2), (1, 3)]) == nil)
        #expect(StraightLine([(1, 1), (2, 2)]) == nil)
    }

    @Test("The standard error is that of the textbook when each point is independent")
    func error() throws {
        // Residuals 1, −1, −1, 1 and so on do not repeat each other more than chance.
        let points: [(x: Double, y: Double)] = [(0, 1), (1, -1), (2, 1), (3, -1), (4, 1), (5, -1)]
        let line = try #require(StraightLine(points))
        // The spread of x is 17.5.
        #expect(abs(line.slope + 6.0 / 35) < 1e-9)
        let squares = points.reduce(0) { $0 + pow($1.y - line.y(at: $1.x), 2) }
        #expect(abs(line.slopeError - (squares / 4 / 17.5).squareRoot()) < 1e-9)
    }

    @Test("A level that wavers is flat")
    func flat() {
        let growth = Growth(.heap, of: process { seconds, _ in 5e6 + 400_000 * noise(seconds) })
        #expect(growth.verdict == .flat && growth.per == .thousandJobs, "\(growth.words)")
        #expect(growth.words.hasPrefix("flat: "))
        #expect(Growth(.descriptors, of: process { _, _ in 1 }).verdict == .flat)
    }

    @Test("A leak of sixty-four bytes a job is found within its uncertainty")
    func leak() {
        let growth = Growth(.heap, of: process { seconds, jobs in 5e6 + 64 * jobs + 100_000 * noise(seconds) })
        #expect(growth.verdict == .grows)
        #expect(abs(growth.slope - 64_000) < growth.uncertainty, "\(growth.words)")
        #expect(growth.words.hasPrefix("grows by 6") && growth.words.hasSuffix("KiB per 1,000 jobs"), "\(growth.words)")
    }

    @Test("A step in the warm-up, and growth that ends with it, are flat")
    func warmUp() {
        let step = process { seconds, _ in seconds < 60 ? 5e6 : 25e6 + 50_000 * noise(seconds) }
        #expect(Growth(.heap, of: step).verdict == .flat)
        let rise = process { seconds, _ in 5e6 + min(seconds, 110) * 200_000 + 50_000 * noise(seconds) }
        #expect(Growth(.heap, of: rise).verdict == .flat)
    }

    @Test("With few jobs it is told by the hour; what shrinks is said to; a change of a few bytes is none")
    func others() {
        let slow = Growth(.heap, of: process(jobsPerSecond: 0.5) { seconds, _ in 5e6 + seconds * 1_000 })
        #expect(slow.verdict == .grows && slow.per == .hour && abs(slow.slope - 3_600_000) < 10_000, "\(slow.words)")
        #expect(Growth(.heap, of: process { seconds, _ in 9e6 - seconds * 5_000 }).verdict == .shrinks)
        #expect(Growth(.heap, of: process { seconds, _ in 5e6 + seconds * 10 }).verdict == .flat)
    }

    @Test("After a new start only what came since is judged; too few looks are no verdict")
    func restart() {
        let restarted = process(began: { $0 < 300 ? 1 : 2 }) { seconds, _ in
            seconds < 300 ? 5e6 + seconds * 100_000 : 5e6 + 50_000 * noise(seconds)
        }
        #expect(Growth(.heap, of: restarted).verdict == .flat)
        #expect(Growth(.heap, of: restarted).from > 300)
        let late = process(began: { $0 < 580 ? 1 : 2 }) { _, _ in 5e6 }
        #expect(Growth(.heap, of: late).verdict == .tooFewLooks)
        #expect(Growth(.heap, of: .init(name: "none")).verdict == .tooFewLooks)
    }

    @Test("The report is well-formed and says the verdicts; its looks can be read again")
    func report() throws {
        let record = GrowthRecord([
            process { seconds, jobs in 5e6 + 64 * jobs + 100_000 * noise(seconds) },
            GrowthRecord.Process(name: "<none> & \"such\""),
        ])
        let html = GrowthReport(record, title: "a < b").html
        let body = html.replacing("<!DOCTYPE html>", with: "")
        let parser = XMLParser(data: Data(body.utf8))
        #expect(parser.parse(), "\(String(describing: parser.parserError))")
        #expect(html.contains("grows by ") && html.contains("flat: ") && html.contains("&lt;none&gt;"))
        #expect(html.ranges(of: "<svg").count == 5)
        #expect(
            !html.contains("http://") || html.ranges(of: "http://").count == html.ranges(of: "http://www.w3.org/").count
        )
        #expect(try JSONDecoder().decode(GrowthRecord.self, from: JSONEncoder().encode(record)) == record)
    }

    @Test("Ticks are round numbers within the range")
    func ticks() {
        #expect(TimePlot.ticks(0, 10) == [0, 2, 4, 6, 8, 10])
        for (low, high) in [(0.0, 0.3), (12.2, 12.9), (0, 98_765), (5, 5.001)] {
            let ticks = TimePlot.ticks(low, high)
            #expect((2...8).contains(ticks.count) && ticks.allSatisfy { $0 >= low && $0 <= high + 1e-3 }, "\(ticks)")
        }
    }
}

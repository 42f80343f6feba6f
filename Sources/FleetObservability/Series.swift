import CoreMetrics
import Synchronization

/// One metric with one set of dimensions.
protocol Series: AnyObject, Sendable {
    var value: SeriesValue { get }
}

enum SeriesValue: Sendable {
    case number(Double)
    /// How many were up to each bound, how many there were in all, and their sum.
    case histogram(bounds: [Double], counts: [UInt64], count: UInt64, sum: Double)
}

final class CounterSeries: Series, CounterHandler {
    private let count = Atomic<Int64>(0)

    var value: SeriesValue { .number(Double(count.load(ordering: .relaxed))) }

    func increment(by amount: Int64) { count.wrappingAdd(amount, ordering: .relaxed) }
    func reset() { count.store(0, ordering: .relaxed) }
}

final class GaugeSeries: Series, MeterHandler, RecorderHandler {
    private let number = Mutex(0.0)

    var value: SeriesValue { .number(number.withLock { $0 }) }

    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { number.withLock { $0 = value } }
    func increment(by amount: Double) { number.withLock { $0 += amount } }
    func decrement(by amount: Double) { number.withLock { $0 -= amount } }
    func record(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }
}

final class HistogramSeries: Series, RecorderHandler, TimerHandler {
    private struct State {
        /// Of each bound those that are above the one before it; one more for what is above them all.
        var counts: [UInt64]
        var sum = 0.0
    }

    private let bounds: [Double]
    private let state: Mutex<State>

    init(bounds: [Double]) {
        self.bounds = bounds
        state = Mutex(State(counts: Array(repeating: 0, count: bounds.count + 1)))
    }

    var value: SeriesValue {
        let (counts, sum) = state.withLock { ($0.counts, $0.sum) }
        var running: UInt64 = 0
        let upTo = counts.map { count in
            running += count
            return running
        }
        return .histogram(bounds: bounds, counts: upTo.dropLast(), count: running, sum: sum)
    }

    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        let index = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock { state in
            state.counts[index] += 1
            state.sum += value
        }
    }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
}

/// Where the buckets of a histogram end.
enum HistogramBounds {
    /// From a call on the same machine to the longest attempt.
    static let seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
    /// From a small answer to a large file, in steps of sixteen.
    static let bytes = (2...9).map { Double(1 << (4 * $0)) }
    static let plain = [1.0, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000]

    /// By the unit with which a name ends.
    static func of(_ name: String) -> [Double] {
        if name.hasSuffix("_seconds") { return seconds }
        return name.hasSuffix("_bytes") ? bytes : plain
    }
}

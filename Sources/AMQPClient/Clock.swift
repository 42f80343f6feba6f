import Glibc

/// Nanoseconds on the monotonic clock: what deadlines of IO threads are counted in.
typealias Instant = Int64

extension Instant {
    /// Later than any deadline.
    static let never = Int64.max

    static func now() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    func adding(_ duration: Duration) -> Instant {
        let (sum, overflow) = addingReportingOverflow(duration.nanoseconds)
        return overflow ? .never : sum
    }
}

extension Duration {
    var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : product.addingReportingOverflow(attoseconds / 1_000_000_000).partialValue
    }

    /// At least a microsecond, since a zero `timeval` means "do not wait" or "forever", depending on the call.
    var timeval: timeval {
        let microseconds = Swift.max(nanoseconds / 1000, 1)
        return Glibc.timeval(
            tv_sec: Int(microseconds / 1_000_000), tv_usec: Int(microseconds % 1_000_000))
    }
}

/// Waits before the next round of connects: full jitter, so that a fleet does not come back in step. Pure.
package struct BackoffSchedule {
    private let backoff: AMQPBackoff
    private var ceiling: Duration

    package init(_ backoff: AMQPBackoff) {
        self.backoff = backoff
        ceiling = backoff.initial
    }

    package mutating func reset() { ceiling = backoff.initial }

    /// - Parameter fraction: random, from 0 up to 1.
    package mutating func next(fraction: Double) -> Duration {
        let bounded = min(ceiling, backoff.max)
        ceiling = min(bounded * 2, backoff.max)
        return bounded * fraction
    }

    package mutating func next() -> Duration { next(fraction: Double.random(in: 0..<1)) }
}

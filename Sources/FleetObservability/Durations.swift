import CoreMetrics

extension CoreMetrics.Timer {
    /// For those who know the API's core alone.
    package func took(_ duration: Duration) { recordNanoseconds(duration.nanoseconds) }
}

extension Duration {
    /// Whole nanoseconds; those of 292 years are the most.
    package var nanoseconds: Int64 {
        // Up to nine seconds need no division of 128 bits.
        if let few = Int64(exactly: attoseconds) { return few / 1_000_000_000 }
        return Int64(clamping: attoseconds / 1_000_000_000)
    }
}

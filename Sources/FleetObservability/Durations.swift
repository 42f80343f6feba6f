import CoreMetrics

extension CoreMetrics.Timer {
    /// For those who know the API's core alone.
    package func took(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}

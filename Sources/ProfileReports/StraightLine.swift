/// The straight line that lies nearest to some points, by least squares.
public struct StraightLine: Sendable, Equatable {
    public let slope, intercept: Double
    /// Of the slope. Looks at one process that follow each other say partly the same again, so it is reckoned with as many
    /// points as would be independent: n·(1 − r)/(1 + r), r being how far each residual repeats the one before.
    public let slopeError: Double

    /// - Returns: nil for fewer than three points, or when all have one x.
    public init?(_ points: [(x: Double, y: Double)]) {
        guard points.count >= 3 else { return nil }
        let count = Double(points.count)
        let (meanX, meanY) = (points.reduce(0) { $0 + $1.x } / count, points.reduce(0) { $0 + $1.y } / count)
        let spread = points.reduce(0) { $0 + ($1.x - meanX) * ($1.x - meanX) }
        guard spread > 0 else { return nil }
        let slope = points.reduce(0) { $0 + ($1.x - meanX) * ($1.y - meanY) } / spread
        let intercept = meanY - slope * meanX
        let residuals = points.map { $0.y - intercept - slope * $0.x }
        let squares = residuals.reduce(0) { $0 + $1 * $1 }
        let repeats = zip(residuals, residuals.dropFirst()).reduce(0) { $0 + $1.0 * $1.1 }
        let repetition = squares > 0 ? min(max(repeats / squares, 0), 0.99) : 0
        let independent = max(count * (1 - repetition) / (1 + repetition), 3)
        self.slope = slope
        self.intercept = intercept
        slopeError = (squares / ((independent - 2) * spread)).squareRoot()
    }

    public func y(at x: Double) -> Double { intercept + slope * x }
}

/// How long to pause between tries, by the number of the attempt that failed.
///
/// As text, in settings and in the message header `x-gaia-backoff`:
///
/// | text | pauses |
/// |---|---|
/// | `exponential 1s 10m` | drawn evenly from 0 to 1 s, 2 s, 4 s …, at most 10 min |
/// | `linear 30s 10m` | 30 s, 60 s, 90 s …, at most 10 min |
/// | `fixed 5s` | always 5 s |
/// | `schedule 1s 30s 5m` | 1 s, 30 s, then 5 min each time |
///
/// A time is a whole number with `ms`, `s`, `m`, `h` or `d`.
public enum Backoff: Sendable, Equatable {
    /// Evenly drawn from 0 to `base · 2^(attempt-1)`, at most `cap`.
    case exponentialFullJitter(base: Duration, cap: Duration)
    /// `step · attempt`, at most `cap`.
    case linear(step: Duration, cap: Duration)
    /// Always the same pause.
    case fixed(Duration)
    /// One pause after the other; the last one from then on.
    case schedule([Duration])

    /// The longest pause that a message may ask for.
    public static let pauseMax: Duration = .seconds(24 * 60 * 60)
    /// The longest schedule.
    public static let stepsMax = 50

    /// The pause after attempt number `attempt` (from 1) has failed.
    public func delay(afterAttempt attempt: Int, using random: inout some RandomNumberGenerator) -> Duration {
        let attempt = max(attempt, 1)
        switch self {
        case .fixed(let pause): return pause
        case .linear(let step, let cap):
            let (product, overflow) = step.milliseconds.multipliedReportingOverflow(by: Int64(attempt))
            return overflow ? cap : min(.milliseconds(product), cap)
        case .schedule(let pauses):
            return pauses.isEmpty ? .zero : pauses[min(attempt, pauses.count) - 1]
        case .exponentialFullJitter(let base, let cap):
            // 2^40 milliseconds is thirty years: a larger exponent could only overflow.
            let factor = 1 << min(attempt - 1, 40)
            let baseMilliseconds = max(base.milliseconds, 1)
            let (product, overflow) = baseMilliseconds.multipliedReportingOverflow(by: Int64(factor))
            let ceiling = overflow ? cap.milliseconds : min(product, cap.milliseconds)
            return .milliseconds(Int64.random(in: 0...max(ceiling, 0), using: &random))
        }
    }
}

extension Backoff: CustomStringConvertible {
    /// Reads the text form.
    public init(parsing text: String) throws(InvalidBackoff) {
        let words = text.split(separator: " ").map(String.init)
        var pauses: [Duration] = []
        for word in words.dropFirst() {
            guard let pause = Self.duration(word), pause <= Self.pauseMax else { throw InvalidBackoff(text: text) }
            pauses.append(pause)
        }
        switch (words.first, pauses.count) {
        case ("exponential", 2): self = .exponentialFullJitter(base: pauses[0], cap: pauses[1])
        case ("linear", 2): self = .linear(step: pauses[0], cap: pauses[1])
        case ("fixed", 1): self = .fixed(pauses[0])
        case ("schedule", 1...Self.stepsMax): self = .schedule(pauses)
        default: throw InvalidBackoff(text: text)
        }
    }

    public var description: String {
        switch self {
        case .exponentialFullJitter(let base, let cap): "exponential \(Self.text(base)) \(Self.text(cap))"
        case .linear(let step, let cap): "linear \(Self.text(step)) \(Self.text(cap))"
        case .fixed(let pause): "fixed \(Self.text(pause))"
        case .schedule(let pauses): "schedule \(pauses.map(Self.text).joined(separator: " "))"
        }
    }

    private static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000),
    ]

    private static func duration(_ word: String) -> Duration? {
        for unit in units where word.hasSuffix(unit.name) {
            guard let count = Int64(word.dropLast(unit.name.count)), count >= 0 else { return nil }
            let (product, overflow) = count.multipliedReportingOverflow(by: unit.milliseconds)
            return overflow ? nil : .milliseconds(product)
        }
        return nil
    }

    private static func text(_ pause: Duration) -> String {
        let milliseconds = pause.milliseconds
        let unit = units.dropFirst().first { milliseconds > 0 && milliseconds % $0.milliseconds == 0 } ?? units[0]
        return "\(milliseconds / unit.milliseconds)\(unit.name)"
    }
}

/// A text that is no backoff.
public struct InvalidBackoff: Error, Sendable, Equatable, CustomStringConvertible {
    public let text: String
    public var description: String {
        "'\(text)' is no backoff; write 'exponential BASE CAP', 'linear STEP CAP', 'fixed PAUSE' or "
            + "'schedule PAUSE PAUSE …' with at most \(Backoff.stepsMax) pauses, each like 500ms, 5s, 10m or 24h "
            + "and at most a day"
    }
}

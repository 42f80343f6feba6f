import Foundation

/// Another machine's clock, read at some moment of an exchange with it.
struct ClockReading {
    /// What it showed: a range, when it tells no more than whole seconds.
    var shown: ClosedRange<Date>
    var asked: Date
    var answered: Date

    /// How far it is ahead at least; below zero when it is behind, zero when it may be right.
    var ahead: Duration {
        if shown.lowerBound > answered { return .seconds(shown.lowerBound.timeIntervalSince(answered)) }
        if shown.upperBound < asked { return .seconds(shown.upperBound.timeIntervalSince(asked)) }
        return .zero
    }
}

/// A moment, to the microsecond: what `timestamptz` holds. `timestamp` without zone is read as UTC.
///
/// PostgreSQL's `infinity` and `-infinity` are the extremes of the number.
public struct PostgresTimestamp: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Microseconds since 1970-01-01T00:00:00Z; negative before.
    public var microsecondsSinceUnixEpoch: Int64

    public init(microsecondsSinceUnixEpoch: Int64) { self.microsecondsSinceUnixEpoch = microsecondsSinceUnixEpoch }

    public static func < (left: Self, right: Self) -> Bool {
        left.microsecondsSinceUnixEpoch < right.microsecondsSinceUnixEpoch
    }

    public static let distantFuture = PostgresTimestamp(microsecondsSinceUnixEpoch: .max)
    public static let distantPast = PostgresTimestamp(microsecondsSinceUnixEpoch: .min)

    /// The wire counts from 2000-01-01.
    private static let wireEpochMicroseconds: Int64 = 946_684_800_000_000

    var wireValue: Int64 {
        if self == .distantFuture || self == .distantPast { return microsecondsSinceUnixEpoch }
        let (value, overflow) = microsecondsSinceUnixEpoch.subtractingReportingOverflow(Self.wireEpochMicroseconds)
        return overflow ? .min : value
    }

    init(wireValue: Int64) {
        if wireValue == .max || wireValue == .min {
            microsecondsSinceUnixEpoch = wireValue
        } else {
            let (value, overflow) = wireValue.addingReportingOverflow(Self.wireEpochMicroseconds)
            microsecondsSinceUnixEpoch = overflow ? .max : value
        }
    }

    /// `2024-02-29T12:34:56.000789Z`, always six decimals and UTC, so that texts sort as the moments do.
    public var iso8601: String {
        if self == .distantFuture { return "infinity" }
        if self == .distantPast { return "-infinity" }
        let microsecondsPerDay: Int64 = 86_400_000_000
        var days = microsecondsSinceUnixEpoch / microsecondsPerDay
        var rest = microsecondsSinceUnixEpoch % microsecondsPerDay
        if rest < 0 {
            rest += microsecondsPerDay
            days -= 1
        }
        let (year, month, day) = Self.civil(daysSinceUnixEpoch: days)
        let seconds = rest / 1_000_000
        var text: [UInt8] = []
        text.reserveCapacity(32)
        if year < 0 { text.append(UInt8(ascii: "-")) }
        Self.append(abs(year), 4, "-", to: &text)
        Self.append(month, 2, "-", to: &text)
        Self.append(day, 2, "T", to: &text)
        Self.append(seconds / 3600, 2, ":", to: &text)
        Self.append(seconds / 60 % 60, 2, ":", to: &text)
        Self.append(seconds % 60, 2, ".", to: &text)
        Self.append(rest % 1_000_000, 6, "Z", to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    public var description: String { iso8601 }

    /// Howard Hinnant's `civil_from_days`: the proleptic Gregorian calendar, counted in 400-year eras from a March.
    private static func civil(daysSinceUnixEpoch: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = daysSinceUnixEpoch + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (
            yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        )
    }

    /// Appends decimal digits, with zeros before them to make the width, and a mark.
    private static func append(_ value: Int64, _ width: Int, _ mark: Unicode.Scalar, to text: inout [UInt8]) {
        let begin = text.count
        var rest = value
        while rest > 0 || text.count - begin < width {
            text.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        }
        text[begin...].reverse()
        text.append(UInt8(ascii: mark))
    }
}

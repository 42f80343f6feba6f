/// A schedule in cron's five fields: minute, hour, day of month, month, day of week.
///
/// Each field is `*`, a number, a range `a-b`, a step `*/n` or `a-b/n`, or a list of these. Months and days of the week
/// may be named (`jan`, `mon`); Sunday is 0 or 7. When both days are restricted, a day that fits either is meant, as in
/// Vixie cron (crontab(5)). `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` stand for what they say.
public struct CronExpression: Sendable, Equatable, CustomStringConvertible {
    public let description: String
    private let minutes: Set<Int>
    private let hours: Set<Int>
    private let days: Set<Int>
    private let months: Set<Int>
    /// 0 is Sunday.
    private let weekdays: Set<Int>
    private let isEveryDay: Bool
    private let isEveryWeekday: Bool
    /// Whether each hour of the day is meant: then an hour that comes twice, when clocks are set back, is served twice.
    public let isEveryHour: Bool

    /// How far ahead is looked: a 29th of February may be eight years away.
    static let yearsAhead = 9

    public init(_ text: String) throws(InvalidCronExpression) {
        let macros = [
            "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
            "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
        ]
        let fields = (macros[text.lowercased()] ?? text).split(separator: " ").map { $0.lowercased() }
        guard fields.count == 5 else {
            throw InvalidCronExpression(text: text, problem: "it has \(fields.count) fields, not five")
        }
        func field(_ index: Int, _ name: String, _ range: ClosedRange<Int>, _ names: [String] = [])
            throws(InvalidCronExpression) -> Set<Int>
        {
            guard let values = Self.parse(fields[index], range, names) else {
                throw InvalidCronExpression(
                    text: text,
                    problem: "the \(name) '\(fields[index])' must be from \(range.lowerBound) to \(range.upperBound)")
            }
            return values
        }
        minutes = try field(0, "minute", 0...59)
        hours = try field(1, "hour", 0...23)
        days = try field(2, "day of the month", 1...31)
        months = try field(
            3, "month", 1...12,
            ["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
        weekdays = Set(
            try field(4, "day of the week", 0...7, ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]).map { $0 % 7 })
        isEveryDay = fields[2].hasPrefix("*")
        isEveryWeekday = fields[4].hasPrefix("*")
        isEveryHour = hours.count == 24
        description = text
        guard next(after: CivilMinute(year: 2_024, month: 1, day: 1, hour: 0, minute: 0)) != nil else {
            throw InvalidCronExpression(text: text, problem: "no day ever fits it")
        }
    }

    /// The first fitting minute after `time`, by the wall clock.
    public func next(after time: CivilMinute) -> CivilMinute? {
        var candidate = time.adding(minutes: 1)
        let lastYear = time.year + Self.yearsAhead
        while candidate.year <= lastYear {
            if !months.contains(candidate.month) {
                candidate = candidate.startOfNextMonth
            } else if !fits(day: candidate) {
                candidate = candidate.startOfNextDay
            } else if !hours.contains(candidate.hour) {
                candidate = candidate.startOfNextHour
            } else if !minutes.contains(candidate.minute) {
                candidate = candidate.adding(minutes: 1)
            } else {
                return candidate
            }
        }
        return nil
    }

    private func fits(day time: CivilMinute) -> Bool {
        let (day, weekday) = (days.contains(time.day), weekdays.contains(time.weekday))
        return isEveryDay || isEveryWeekday ? day && weekday : day || weekday
    }

    private static func parse(_ field: String, _ range: ClosedRange<Int>, _ names: [String]) -> Set<Int>? {
        func number(_ text: Substring) -> Int? {
            if let index = names.firstIndex(of: String(text)), !text.isEmpty { return index }
            guard let number = Int(text), range.contains(number) else { return nil }
            return number
        }
        var values: Set<Int> = []
        for part in field.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            var step = 1
            if halves.count == 2 {
                guard let given = Int(halves[1]), given >= 1 else { return nil }
                step = given
            }
            let bounds: ClosedRange<Int>
            if halves[0] == "*" {
                bounds = range
            } else {
                let ends = halves[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
                guard let low = number(ends[0]) else { return nil }
                let high = ends.count == 2 ? number(ends[1]) : halves.count == 2 ? range.upperBound : low
                guard let high, low <= high else { return nil }
                bounds = low...high
            }
            values.formUnion(stride(from: bounds.lowerBound, through: bounds.upperBound, by: step))
        }
        return values.isEmpty ? nil : values
    }
}

/// A text that is no schedule.
public struct InvalidCronExpression: Error, Sendable, Equatable, CustomStringConvertible {
    public let text: String
    let problem: String
    public var description: String {
        "'\(text)' is no cron expression: \(problem); write MINUTE HOUR DAY MONTH WEEKDAY, as in '30 7 * * mon-fri'"
    }
}

/// A minute on a wall clock, in no particular time zone.
public struct CivilMinute: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let year, month, day, hour, minute: Int

    public init(year: Int, month: Int, day: Int, hour: Int, minute: Int) {
        (self.year, self.month, self.day, self.hour, self.minute) = (year, month, day, hour, minute)
    }

    /// Reads `2024-03-31 02:30`; what follows the minute is dropped.
    public init?(_ text: String) {
        let numbers = text.split { "-: T".contains($0) }.prefix(5).map { Int($0) }
        guard numbers.count == 5, let year = numbers[0], let month = numbers[1], let day = numbers[2],
            let hour = numbers[3], let minute = numbers[4]
        else { return nil }
        self.init(year: year, month: month, day: day, hour: hour, minute: minute)
    }

    public var description: String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(day)) \(two(hour)):\(two(minute))"
    }

    public static func < (left: CivilMinute, right: CivilMinute) -> Bool {
        (left.year, left.month, left.day, left.hour, left.minute)
            < (right.year, right.month, right.day, right.hour, right.minute)
    }

    /// 0 is Sunday. Source: T. Sakamoto's method.
    public var weekday: Int {
        let shift = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4][month - 1]
        let year = month < 3 ? year - 1 : year
        return (year + year / 4 - year / 100 + year / 400 + shift + day) % 7
    }

    func adding(minutes count: Int) -> CivilMinute {
        var (hour, minute) = (hour, minute + count)
        hour += minute / 60
        minute %= 60
        guard hour >= 24 else { return CivilMinute(year: year, month: month, day: day, hour: hour, minute: minute) }
        let next = startOfNextDay
        return CivilMinute(year: next.year, month: next.month, day: next.day, hour: hour - 24, minute: minute)
    }

    var startOfNextHour: CivilMinute {
        hour < 23 ? CivilMinute(year: year, month: month, day: day, hour: hour + 1, minute: 0) : startOfNextDay
    }

    var startOfNextDay: CivilMinute {
        day < daysInMonth
            ? CivilMinute(year: year, month: month, day: day + 1, hour: 0, minute: 0) : startOfNextMonth
    }

    var startOfNextMonth: CivilMinute {
        month < 12
            ? CivilMinute(year: year, month: month + 1, day: 1, hour: 0, minute: 0)
            : CivilMinute(year: year + 1, month: 1, day: 1, hour: 0, minute: 0)
    }

    private var daysInMonth: Int {
        let isLeap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0
        return month == 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
    }
}

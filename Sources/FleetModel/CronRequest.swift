/// When the jobs of a schedule are due, as a job document says it in its member `cron`:
///
/// ```json
/// {"every": "30 7 * * mon-fri", "zone": "Europe/Berlin", "catch_up": "skip"}
/// ```
///
/// `every` is required; `zone` is UTC and `catch_up` is `skip` unless said otherwise.
public struct CronRequest: Sendable, Equatable {
    public let expression: CronExpression
    /// As in the database's list of time zones; whether it stands there is found out when the schedule is written.
    public let zone: String
    public let catchUp: CronCatchUp

    /// The longest name of a schedule: it stands in the keys of its jobs.
    public static let nameBytesMax = 100
    /// No time zone has a longer name.
    public static let zoneBytesMax = 100
    /// No expression that a person wrote is longer.
    public static let expressionBytesMax = 500

    public init(expression: CronExpression, zone: String = "UTC", catchUp: CronCatchUp = .skip) {
        self.expression = expression
        self.zone = zone
        self.catchUp = catchUp
    }

    /// Reads canonical JSON text of one object.
    init(canonical text: Substring.UTF8View) throws(InvalidJobDocument) {
        let fields = try DocumentFields(
            text, of: "'cron'", known: ["every", "zone", "catch_up"], otherwise: "'cron' must be an object")
        guard let every = try fields.string("every") else {
            throw InvalidJobDocument("'every' is missing in 'cron': five fields such as '30 7 * * mon-fri'")
        }
        guard every.utf8.count <= Self.expressionBytesMax else {
            throw InvalidJobDocument(
                "'every' has \(every.utf8.count) bytes, at most \(Self.expressionBytesMax) are taken")
        }
        do {
            expression = try CronExpression(every)
        } catch {
            throw InvalidJobDocument("'every': \(error)")
        }
        zone = try fields.string("zone") ?? "UTC"
        guard !zone.isEmpty, zone.utf8.count <= Self.zoneBytesMax, !zone.utf8.contains(where: { $0 < 0x20 }) else {
            throw InvalidJobDocument("'zone' must name a time zone, such as UTC or Europe/Berlin")
        }
        let word = try fields.string("catch_up") ?? CronCatchUp.skip.rawValue
        guard let catchUp = CronCatchUp(rawValue: word) else {
            let words = CronCatchUp.allCases.map(\.rawValue).joined(separator: ", ")
            throw InvalidJobDocument("'catch_up' must be one of \(words)")
        }
        self.catchUp = catchUp
    }
}

/// What becomes of ticks that were missed while no dispatcher ran.
public enum CronCatchUp: String, Sendable, CaseIterable {
    /// None of them is made up for.
    case skip
    /// The last one is.
    case last
    /// Each is.
    case all
}

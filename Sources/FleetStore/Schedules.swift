import FleetModel
import PostgresClient

/// Jobs by the clock: one for each tick of a cron expression in a time zone.
public struct CronSchedule: Sendable {
    public typealias CatchUp = CronCatchUp

    public var name: String
    public var expression: CronExpression
    /// As in the database's list of time zones, such as `Europe/Berlin`.
    public var zone: String
    public var type: JobType
    /// In canonical form.
    public var payload: String
    public var catchUp: CatchUp
    public var replyTo: String?
    public var subject: String?
    /// 0 for the type's own number.
    public var attemptsMax: Int

    public static let nameBytesMax = CronRequest.nameBytesMax

    public init(
        name: String, expression: CronExpression, zone: String = "UTC", type: JobType, payload: String,
        catchUp: CatchUp = .skip, replyTo: String? = nil, subject: String? = nil, attemptsMax: Int = 0
    ) {
        self.name = name
        self.expression = expression
        self.zone = zone
        self.type = type
        self.payload = payload
        self.catchUp = catchUp
        self.replyTo = replyTo
        self.subject = subject
        self.attemptsMax = attemptsMax
    }
}

/// A schedule as `gaia cron list` presents it.
public struct CronRecord: Sendable {
    public let name, expression, zone, type, payload, catchUp: String
    public let paused: Bool
    public let nextAt: String
    public let lastAt: String?
}

/// A tick that is due.
package struct DueTick: Sendable {
    package let name: String
    let expression: CronExpression
    let catchUp: CronSchedule.CatchUp
    let tick: CivilMinute
    let now: CivilMinute
    let at: PostgresTimestamp
    let late: Duration

    /// A tick that is later than this was missed.
    static let missedAfter: Duration = .seconds(60)

    /// Whether this tick makes a job, and which comes next.
    package var decision: (makesJob: Bool, next: CivilMinute?) {
        let following = expression.next(after: tick)
        let isLast = following.map { $0 > now } ?? true
        switch catchUp {
        case .all: return (true, following)
        case .last: return (isLast, following)
        case .skip:
            return late <= Self.missedAfter ? (true, following) : (false, expression.next(after: max(now, tick)))
        }
    }
}

/// A time zone that the database does not know.
public struct UnknownZone: Error, Sendable, CustomStringConvertible {
    public let zone: String
    public var description: String {
        "'\(zone)' is no time zone that the database knows; write one such as UTC or Europe/Berlin"
    }
}

/// A schedule in the database that no program of ours has written, or that has no further tick.
package struct UnfitSchedule: Error, CustomStringConvertible {
    package let name: String
    let reason: String
    package var description: String { "the schedule '\(name)' cannot be followed: \(reason)" }
}

extension FleetStore {
    /// Adds a schedule, or replaces the one of this name.
    ///
    /// - Returns: its first tick.
    @discardableResult
    public func put(_ schedule: CronSchedule) async throws -> String {
        let clock = try await pool.execute(SQL.zoneNow, [.text(schedule.zone)])
        guard let text = try clock.first?.get(0, as: String.self), let now = CivilMinute(text),
            let first = schedule.expression.next(after: now)
        else { throw UnknownZone(zone: schedule.zone) }
        let rows = try await pool.execute(
            SQL.cronPut,
            [
                .text(schedule.name), .text(schedule.expression.description), .text(schedule.zone),
                .text(schedule.type.name), .text(schedule.payload), .text(schedule.catchUp.rawValue),
                .text(first.description), schedule.replyTo.map { .text($0) } ?? .null,
                schedule.subject.map { .text($0) } ?? .null, .int32(Int32(schedule.attemptsMax)),
            ])
        return try rows.only().get(0, as: PostgresTimestamp.self).iso8601
    }

    public func schedules() async throws -> [CronRecord] { try await records(SQL.cronList) }

    /// Schedules in the order of their names, so many of those that come after `name`.
    public func schedules(after name: String, atMost limit: Int) async throws -> [CronRecord] {
        try await records(SQL.cronPage, [.text(name), .int32(Int32(limit))])
    }

    private func records(
        _ statement: PostgresStatement, _ arguments: [PostgresValue] = []
    ) async throws -> [CronRecord] {
        try await pool.execute(statement, arguments).map { row in
            CronRecord(
                name: try row.get("name"), expression: try row.get("expression"), zone: try row.get("zone"),
                type: try row.get("type"), payload: try row.get("payload"), catchUp: try row.get("catch_up"),
                paused: try row.get("paused"), nextAt: try row.get("next_at", as: PostgresTimestamp.self).iso8601,
                lastAt: try row.get("last_at", as: PostgresTimestamp?.self)?.iso8601)
        }
    }

    /// - Returns: false when there is none of this name.
    public func removeSchedule(_ name: String) async throws -> Bool {
        try await !pool.execute(SQL.cronRemove, [.text(name)]).isEmpty
    }

    /// - Returns: false when there is none of this name.
    public func pauseSchedule(_ name: String, _ isPaused: Bool) async throws -> Bool {
        try await !pool.execute(SQL.cronPause, [.text(name), .bool(isPaused)]).isEmpty
    }

    /// - Throws: ``UnfitSchedule`` when one of them can never be made, besides `PostgresError`.
    package func dueTicks(atMost limit: Int) async throws -> [DueTick] {
        try await pool.execute(SQL.cronDue, [.int32(Int32(limit))]).map { row in
            let name: String = try row.get(0)
            do {
                let expression = try CronExpression(row.get(1))
                _ = try JobType(validating: row.get(7))
                guard let catchUp = CronSchedule.CatchUp(rawValue: try row.get(2)),
                    let tick = CivilMinute(try row.get(3)), let now = CivilMinute(try row.get(4))
                else { throw UnfitSchedule(name: name, reason: "its catch_up or its time cannot be read") }
                return DueTick(
                    name: name, expression: expression, catchUp: catchUp, tick: tick, now: now, at: try row.get(5),
                    late: .seconds(try row.get(6, as: Int64.self)))
            } catch let error as InvalidCronExpression {
                throw UnfitSchedule(name: name, reason: error.description)
            } catch let error as JobTypeError {
                throw UnfitSchedule(name: name, reason: error.description)
            }
        }
    }

    /// Makes a tick's job and sets the time of the next.
    ///
    /// - Returns: whether a job was made.
    package func make(_ tick: DueTick, term: Int64) async throws -> Bool {
        let (makesJob, next) = tick.decision
        guard let next else { throw UnfitSchedule(name: tick.name, reason: "no tick ever follows") }
        let row = try await pool.execute(
            SQL.cronTick,
            [
                .int64(term), .text(tick.name), .timestamp(tick.at), .bool(makesJob), .text(next.description),
                .bool(tick.expression.isEveryHour),
            ]
        ).only()
        return try row.get(0, as: Int64.self) > 0
    }
}

import FleetModel
import PostgresClient

/// What is set of one name, or of each name that a pattern stands for.
public struct LimitRule: Sendable, Hashable {
    public let name: String
    /// Units a second; nil where there is no such limit.
    public let rate: Double?
    /// The most units that are saved up while nobody uses them; nil together with the rate.
    public let burst: Double?
    /// How many at once; nil where there is no such limit.
    public let places: Int?

    public init(name: String, rate: Double? = nil, burst: Double? = nil, places: Int? = nil) {
        self.name = name
        self.rate = rate
        self.burst = burst
        self.places = places
    }
}

/// What is set, and what is closed and for how long.
public struct LimitRules: Sendable {
    public var rules: [LimitRule] = []
    public var closed: [(name: String, pause: Duration)] = []

    public init(rules: [LimitRule] = [], closed: [(name: String, pause: Duration)] = []) {
        self.rules = rules
        self.closed = closed
    }
}

/// A worker's question for units of a rate.
public struct UnitsQuestion: Sendable, Equatable {
    public let name: String
    /// The name of the rule that it goes by: its own, or a pattern.
    public let rule: String
    /// What the first in the worker's line lacks; zero when nobody waits.
    public var first: Double
    /// How long that one waits for it.
    public var wait: Duration
    /// What others would use, now or soon.
    public var more: Double
    /// Units given back.
    public var unused: Double

    public init(name: String, rule: String, first: Double, wait: Duration, more: Double, unused: Double) {
        self.name = name
        self.rule = rule
        self.first = first
        self.wait = wait
        self.more = more
        self.unused = unused
    }
}

/// What the ledger says to such a question.
public enum UnitsAnswer: Sendable, Equatable {
    /// Unit number k of these may be used `ahead + k / rate` seconds from now; at once when that is below zero.
    case granted(units: Double, ahead: Double, rate: Double)
    /// The first would have had to wait so long, which is longer than it will.
    case busy(pause: Duration)
    case closed(pause: Duration)
    /// There is no such rule any more.
    case unlimited
    /// The epoch that asks has ended.
    case fenced
}

/// A worker's word on the places of a name.
public struct PlacesQuestion: Sendable, Equatable {
    public let name: String
    public let rule: String
    /// How many it uses at this moment.
    public let used: Int
    /// How many it would use.
    public let wanted: Int

    public init(name: String, rule: String, used: Int, wanted: Int) {
        self.name = name
        self.rule = rule
        self.used = used
        self.wanted = wanted
    }
}

public enum PlacesAnswer: Sendable, Equatable {
    /// So many it may use. If it uses more, none of those that come free.
    case share(Int)
    case unlimited
    /// A later word of the same worker has been heard already.
    case late
    case fenced
}

/// One name as `gaia limit list` presents it.
public struct LimitRecord: Sendable, Hashable {
    public let name: String
    public let rate: Double?
    public let burst: Double?
    public let places: Int?
    /// Places that workers may use at the moment, and how many more they would.
    public let held, short: Int
    /// Units a second, lately: those of ten seconds ago count a third of those of now.
    public let used: Double
    public let closedUntil: String?
    public let reason: String?
}

// MARK: Fleet workers

extension FleetStore {
    /// The channel on which workers hear that limits have changed (an empty payload), or that there may be places of the
    /// name in the payload.
    public static let limitChannel = "gaia_limit"
    /// The most rules, and the most closed names, that a worker holds. What is closed beyond that shows when it asks.
    static let limitRulesMax: Int32 = 10_000

    public func limitRules() async throws -> LimitRules {
        var found = LimitRules()
        for row in try await pool.execute(SQL.limitRules, [.int32(Self.limitRulesMax)]) {
            let name: String = try row.get(0)
            if let closed = try row.get(4, as: Double?.self) {
                found.closed.append((name, .seconds(closed / 1_000)))
            } else {
                found.rules.append(
                    LimitRule(
                        name: name, rate: try row.get(1), burst: try row.get(2),
                        places: try row.get(3, as: Int32?.self).map(Int.init)))
            }
        }
        return found
    }

    /// Asks for units of many names in one round trip.
    ///
    /// - Parameter questions: of pairwise different names.
    /// - Returns: an answer for each, in the same order.
    /// - Throws: `PostgresError`; units that were granted by an answer that is lost are lost too.
    public func takeUnits(_ questions: [UnitsQuestion], by owner: WorkerEpoch) async throws -> [UnitsAnswer] {
        if questions.isEmpty { return [] }
        let rows = try await pool.execute(
            SQL.limitTake,
            [
                .int64(owner.worker), .int32(owner.epoch), .textArray(questions.map { $0.name }),
                .textArray(questions.map { $0.rule }), .doubleArray(questions.map { $0.first }),
                .doubleArray(questions.map { $0.wait.inMilliseconds }), .doubleArray(questions.map { $0.more }),
                .doubleArray(questions.map { $0.unused }),
            ])
        var answers: [String: UnitsAnswer] = [:]
        for row in rows {
            let word: String = try row.get(1)
            let pause = Duration.seconds(try row.get(5, as: Double.self) / 1_000)
            answers[try row.get(0)] =
                switch word {
                case "granted":
                    .granted(
                        units: try row.get(2), ahead: try row.get(3, as: Double.self) / 1_000, rate: try row.get(4))
                case "busy": .busy(pause: pause)
                case "closed": .closed(pause: pause)
                case "unlimited": .unlimited
                case "fenced": .fenced
                default: throw UnknownState(name: word)
                }
        }
        return questions.map { answers[$0.name] ?? .unlimited }
    }

    /// Says how many places are used and wanted of many names, in one round trip.
    ///
    /// - Parameters:
    ///   - questions: of pairwise different names.
    ///   - turn: higher than in every call before under this epoch.
    /// - Returns: an answer for each, in the same order.
    /// - Throws: `PostgresError`; what is to be said then is said again in the next turn.
    public func sharePlaces(
        _ questions: [PlacesQuestion], turn: Int64, by owner: WorkerEpoch
    ) async throws -> [PlacesAnswer] {
        if questions.isEmpty { return [] }
        let rows = try await pool.execute(
            SQL.limitShare,
            [
                .int64(owner.worker), .int32(owner.epoch), .int64(turn), .textArray(questions.map { $0.name }),
                .textArray(questions.map { $0.rule }), .int32Array(questions.map { Int32($0.used) }),
                .int32Array(questions.map { Int32($0.wanted) }),
            ])
        var answers: [String: PlacesAnswer] = [:]
        for row in rows {
            let word: String = try row.get(1)
            answers[try row.get(0)] =
                switch word {
                case "share": .share(Int(try row.get(2, as: Int32.self)))
                case "unlimited": .unlimited
                case "late": .late
                case "fenced": .fenced
                default: throw UnknownState(name: word)
                }
        }
        return questions.map { answers[$0.name] ?? .late }
    }

    /// Whether an attempt still owns its job: nobody has claimed it since, and the epoch that claimed it lives.
    public func confirmClaim(_ identity: JobIdentity, token: Int64, by owner: WorkerEpoch) async throws -> Bool {
        try await !pool.execute(
            SQL.confirmClaim,
            [
                .text(identity.subsystem), .text(identity.key), .int64(token), .int64(owner.worker),
                .int32(owner.epoch),
            ]
        ).isEmpty
    }
}

// MARK: Operators

extension FleetStore {
    /// The most rows of one list.
    public static let limitsListedMax = 1_000

    /// Sets a limit or changes it.
    ///
    /// - Parameters:
    ///   - rate: units a second; 0 takes the rate away, nil leaves it as it is.
    ///   - burst: a tenth of a second's worth, at least 1, when nil and the rate is given.
    ///   - places: how many at once; 0 takes them away, nil leaves them as they are.
    /// - Throws: `PostgresError` of SQLSTATE 22023 for what makes no sense.
    public func setLimit(_ name: String, rate: Double?, burst: Double? = nil, places: Int? = nil) async throws {
        func number(_ value: Double?) -> PostgresValue { value.map { .double($0) } ?? .null }
        _ = try await pool.execute(
            SQL.limitSet,
            [.text(name), number(rate), number(burst), places.map { .int32(Int32(clamping: $0)) } ?? .null])
    }

    /// - Returns: false when there was none.
    public func removeLimit(_ name: String) async throws -> Bool {
        try await pool.execute(SQL.limitRemove, [.text(name)]).only().get(0)
    }

    /// Closes names for the whole fleet.
    public func closeLimits(_ closings: [(name: String, pause: Duration)], reason: String) async throws {
        if closings.isEmpty { return }
        _ = try await pool.execute(
            SQL.limitClose,
            [
                .textArray(closings.map { $0.name }),
                .int64Array(closings.map { max(1, $0.pause.milliseconds) }), .text(reason),
            ])
    }

    /// - Returns: false when it was not closed.
    public func openLimit(_ name: String) async throws -> Bool {
        try await pool.execute(SQL.limitOpen, [.text(name)]).only().get(0)
    }

    /// What is set, closed and in use, limits first.
    public func limits() async throws -> [LimitRecord] {
        try await pool.execute(SQL.limitList, [.int32(Int32(Self.limitsListedMax))]).map { row in
            LimitRecord(
                name: try row.get(0), rate: try row.get(1), burst: try row.get(2),
                places: try row.get(3, as: Int32?.self).map(Int.init),
                held: Int(try row.get(4, as: Int64.self)), short: Int(try row.get(5, as: Int64.self)),
                used: try row.get(6), closedUntil: try row.get(7, as: PostgresTimestamp?.self)?.iso8601,
                reason: try row.get(8))
        }
    }
}

extension Duration {
    fileprivate var inMilliseconds: Double { self / .milliseconds(1) }
}

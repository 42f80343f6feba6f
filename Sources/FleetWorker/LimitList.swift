import FleetModel
import FleetStore

/// The limits that are set and the names that are closed, as a worker holds them in memory.
package struct LimitList {
    /// The end of a pattern's name.
    static let patternEnd = ".*"

    private var rules: [String: LimitRule] = [:]
    /// What the names begin with that a pattern stands for, longest first.
    private var patterns: [(start: String, rule: LimitRule)] = []
    private var closed: [String: ContinuousClock.Instant] = [:]
    private var closedPatterns: [(start: String, until: ContinuousClock.Instant)] = []

    package init() {}

    /// - Parameter now: when it was read.
    package init(_ found: LimitRules, now: ContinuousClock.Instant) {
        for rule in found.rules {
            if let start = Self.start(rule.name) {
                patterns.append((start, rule))
            } else {
                rules[rule.name] = rule
            }
        }
        patterns.sort { $0.start.utf8.count > $1.start.utf8.count }
        for (name, pause) in found.closed { close(name, until: now + pause) }
    }

    private static func start(_ name: String) -> String? {
        name.hasSuffix(patternEnd) ? String(name.dropLast()) : nil
    }

    /// Whether nothing is limited.
    package var isEmpty: Bool { rules.isEmpty && patterns.isEmpty && closed.isEmpty && closedPatterns.isEmpty }

    /// Which limit a name goes by: its own before a pattern's, a longer pattern before a shorter one.
    package func rule(of name: String) -> LimitRule? {
        if let rule = rules[name] { return rule }
        return patterns.first { name.hasPrefix($0.start) }?.rule
    }

    /// One that is closed for longer stays so.
    package mutating func close(_ name: String, until: ContinuousClock.Instant) {
        if let start = Self.start(name) {
            closedPatterns.append((start, until))
        } else {
            closed[name] = max(closed[name] ?? until, until)
        }
    }

    /// Until when a name is closed; nil when it is open.
    package func closing(of name: String, now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        var until = closed[name]
        for pattern in closedPatterns where name.hasPrefix(pattern.start) {
            until = max(until ?? pattern.until, pattern.until)
        }
        return until.flatMap { $0 > now ? $0 : nil }
    }
}

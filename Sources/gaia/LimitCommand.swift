import ArgumentParser
import FleetModel
import FleetStore
import Foundation

/// A number, or `none` to take that part of a limit away.
struct LimitNumber: ExpressibleByArgument {
    /// Zero for none.
    let value: Double

    init?(argument: String) {
        if argument == "none" {
            value = 0
        } else if let number = Double(argument), number > 0, number.isFinite {
            value = number
        } else {
            return nil
        }
    }
}

/// `gaia limit list`, `set`, `remove`, `close` and `open`
struct LimitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limit", abstract: "Look at the limits that the whole fleet shares, and set them.",
        discussion: """
            A name that ends in .* is a pattern: it holds for each name that begins so by itself, as api.host.* for each
            host. The exact name goes before patterns, a longer pattern before a shorter one. Workers hear of a change at
            once, and within a second when they do not.
            """,
        subcommands: [List.self, Set.self, Remove.self, Close.self, Open.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what is limited, what is closed, and what is used of it.",
            discussion: """
                Limits first, then names in use that a pattern stands for. HELD is how many places workers may use at the
                moment, SHORT how many more they would, USED/S how many units a second were used lately.
                """)

        @OptionGroup var settings: SettingsOptions
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func run() async throws {
            try await report {
                let limits = try await settings.load().withStore("gaia limit list") { store in
                    try await store.requireLimits()
                    return try await store.limits()
                }
                if json { return Terminal.print(try Terminal.json(limits.map(LimitView.init))) }
                if limits.isEmpty { return Terminal.print("nothing is limited; gaia limit set sets a limit") }
                Terminal.print(
                    Terminal.table(
                        ["limit", "rate/s", "burst", "places", "held", "short", "used/s", "closed until", "why"],
                        limits.map { limit in
                            [
                                limit.name, limit.rate.map(Self.number) ?? "-", limit.burst.map(Self.number) ?? "-",
                                limit.places.map { "\($0)" } ?? "-", "\(limit.held)", "\(limit.short)",
                                Self.number(limit.used), limit.closedUntil ?? "-", limit.reason ?? "-",
                            ]
                        }))
                if limits.count == FleetStore.limitsListedMax {
                    Terminal.error("gaia: only the first \(Terminal.grouped(limits.count)) are shown")
                }
            }
        }

        static func number(_ value: Double) -> String {
            value >= 100 || value == value.rounded()
                ? Terminal.grouped(Int(value.rounded())) : String(format: "%.2f", value)
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set a limit or change it.",
            discussion: """
                What is not given stays as it is. A unit is what the handlers count by: a call for api.…, a byte for
                network.bytes.

                  gaia limit set 'api.host.*' --rate 10 --places 4
                  gaia limit set network.bytes --rate 10000000
                """)

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "A name, or a pattern that ends in .*")
        var name: String
        @Option(name: .long, help: "Units a second; none takes the rate away.")
        var rate: LimitNumber?
        @Option(
            name: .long, help: "How many may be saved up; a tenth of a second's worth when a rate is given without it.")
        var burst: Double?
        @Option(name: .long, help: "How many at once; none takes the places away.")
        var places: LimitNumber?

        func validate() throws {
            try LimitCommand.check(name)
            if rate == nil, burst == nil, places == nil { throw ValidationError("give --rate, --burst or --places") }
            if let burst, !(burst > 0 && burst.isFinite) { throw ValidationError("the burst must be above 0") }
            if let places, places.value != places.value.rounded() || places.value > 1_000_000 {
                throw ValidationError("places are a whole number up to 1,000,000")
            }
        }

        func run() async throws {
            try await report {
                try await settings.load().withStore("gaia limit set") { [name, rate, burst, places] store in
                    try await store.requireLimits()
                    try await store.setLimit(
                        name, rate: rate?.value, burst: burst, places: places.map { Int($0.value) })
                    guard let rule = try await store.limitRules().rules.first(where: { $0.name == name }) else {
                        return
                    }
                    let parts = [
                        rule.rate.map { "\(List.number($0)) a second, burst \(List.number(rule.burst ?? 0))" },
                        rule.places.map { "\(Terminal.grouped($0)) at once" },
                    ].compactMap(\.self)
                    Terminal.print("\(name): \(parts.joined(separator: "; "))")
                }
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a limit away.", discussion: "Exit status 66 when there is none of this name.")

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "The name or pattern, as it was set.")
        var name: String

        func run() async throws {
            try await report {
                try await settings.load().withStore("gaia limit remove") { [name] store in
                    try await store.requireLimits()
                    guard try await store.removeLimit(name) else {
                        throw CommandFailure(.notFound, "there is no limit '\(name)'; gaia limit list shows all")
                    }
                    Terminal.print("\(name) is limited no more")
                }
            }
        }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let nobody use a name for a while, as a job does that is told to wait by a host.",
            discussion: """
                Calls under way go on to their end. Jobs that want the name come again when it is open, and spend no
                attempt. One that is closed for longer already stays so.
                """)

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "A name, or a pattern for all that begins so.")
        var name: String
        @Option(name: .customLong("for"), help: "For how many seconds, at most a day.")
        var seconds: Double
        @Option(name: .long, help: "Why; shown to whoever asks.")
        var reason = "by an operator"

        func validate() throws {
            try LimitCommand.check(name)
            if !(seconds >= 0.001 && seconds <= 86_400) { throw ValidationError("--for is 0.001 to 86400 seconds") }
        }

        func run() async throws {
            try await report {
                try await settings.load().withStore("gaia limit close") { [name, seconds, reason] store in
                    try await store.requireLimits()
                    try await store.closeLimits([(name, .seconds(seconds))], reason: reason)
                    let until = try await store.limits().first { $0.name == name }?.closedUntil
                    Terminal.print("\(name) is closed until \(until ?? "a moment ago")")
                }
            }
        }
    }

    struct Open: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Open a name before its time.", discussion: "Exit status 66 when it is not closed.")

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "The name or pattern, as it was closed.")
        var name: String

        func run() async throws {
            try await report {
                try await settings.load().withStore("gaia limit open") { [name] store in
                    try await store.requireLimits()
                    guard try await store.openLimit(name) else {
                        throw CommandFailure(.notFound, "'\(name)' is not closed; gaia limit list shows what is")
                    }
                    Terminal.print("\(name) is open")
                }
            }
        }
    }

    fileprivate static func check(_ name: String) throws {
        if LimitBound.isName(name) { return }
        throw ValidationError(
            "'\(name)' is no name of a limit: 1 to \(LimitBound.nameBytesMax) bytes without spaces, as in api.host.example.org; a pattern ends in .*"
        )
    }
}

extension FleetStore {
    /// Says what to do where the schema has no limits yet.
    fileprivate func requireLimits() async throws {
        guard case .behind = try await schemaStatus() else { return }
        throw CommandFailure(.unavailable, "the database has no current schema; run: gaia migrate")
    }
}

/// A limit as it is printed.
private struct LimitView: Encodable {
    let name: String
    let rate, burst: Double?
    let places: Int?
    let held, short: Int
    let used: Double
    let closedUntil, reason: String?

    enum CodingKeys: String, CodingKey {
        case name, rate, burst, places, held, short, reason
        case used = "used_per_second"
        case closedUntil = "closed_until"
    }

    init(_ record: LimitRecord) {
        (name, rate, burst, places) = (record.name, record.rate, record.burst, record.places)
        (held, short, used) = (record.held, record.short, record.used)
        (closedUntil, reason) = (record.closedUntil, record.reason)
    }
}

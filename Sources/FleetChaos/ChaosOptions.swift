import FleetModel

/// What a run consists of.
public struct ChaosOptions: Sendable {
    /// How long faults last: brisk for a run of minutes, full as long as issue trackers tell of.
    public enum Pace: String, Sendable, CaseIterable, Codable { case brisk, full }

    /// Everything that is drawn is drawn from it.
    public var seed: UInt64 = 1
    public var jobs = 4_000
    public var workers = 4
    public var dispatchers = 3
    /// Nodes of the broker.
    public var nodes = 1
    /// What is done, and how often each.
    public var faults: [Fault] = Fault.allCases
    public var injections = 1
    /// Of these, how many once alone, with nothing else going on; the others come as they may.
    public var isEachFirstAlone = true
    public var pace: Pace = .brisk
    /// How long jobs go on coming at least, also when nothing is struck.
    public var length: Duration = .zero
    /// Whether some jobs kill the worker that runs them.
    public var hasPoison = true
    /// How long the fleet may take to end all jobs once the last fault is over.
    public var settleLimit: Duration = .seconds(120)

    public init() {}

    /// Faults that this broker can suffer.
    public var possibleFaults: [Fault] {
        faults.filter { $0.needsCluster == nil || $0.needsCluster == (nodes > 1) }
    }

    /// The worker's lease: short, so that a run meets the end of many.
    static let lease: Duration = .seconds(5)
    /// A worker that is missing without a break for so long is given up.
    static let grace: Duration = .seconds(1)
    static let poll: Duration = .milliseconds(200)
}

/// When which fault comes: drawn from the seed alone, before anything runs.
public struct ChaosPlan: Sendable, Hashable {
    public let strikes: [Strike]
    /// When the last part should be itself again, in milliseconds.
    public let length: Int

    public init(_ options: ChaosOptions) {
        var random = SplitMix64(seed: options.seed).split("strikes")
        var builder = Builder(options: options)
        let faults = options.possibleFaults
        if options.isEachFirstAlone { builder.addAlone(faults.shuffled(using: &random), using: &random) }
        let rest = options.injections - (options.isEachFirstAlone ? 1 : 0)
        builder.addMixed((0..<max(rest, 0)).flatMap { _ in faults }, using: &random)
        strikes = builder.strikes.sorted { ($0.at, $0.number) < ($1.at, $1.number) }.enumerated().map {
            $1.with(number: $0 + 1, at: $1.at)
        }
        length = max((strikes.map(\.end).max() ?? 0) + 1_000, Int(options.length.milliseconds))
    }

    /// A line for each strike.
    public var text: String { strikes.map(\.line).joined(separator: "\n") }

    private struct Builder {
        let options: ChaosOptions
        var strikes: [Strike] = []
        /// When each group of parts is itself again.
        private var free: [String: Int] = [:]

        init(options: ChaosOptions) { self.options = options }

        private var end: Int { strikes.map(\.end).max() ?? 1_500 }

        /// One after the other, each with the fleet to itself.
        mutating func addAlone(_ faults: [Fault], using random: inout SplitMix64) {
            for fault in faults { place(draw(fault, using: &random), at: end) }
        }

        /// Each at any time of a span in which the part that has to bear most has just enough of it.
        mutating func addMixed(_ faults: [Fault], using random: inout SplitMix64) {
            let begin = end
            var drawn: [(strike: Strike, moment: Double)] = []
            for fault in faults {
                drawn.append((draw(fault, using: &random), Double.random(in: 0..<1, using: &random)))
            }
            let burdens = Dictionary(grouping: drawn, by: \.strike.part.group)
                .mapValues { $0.reduce(0) { $0 + $1.strike.end } }
            let span = Double(burdens.values.max() ?? 0) * 1.2
            for (strike, moment) in drawn.sorted(by: { $0.moment < $1.moment }) {
                place(strike, at: begin + Int(moment * span))
            }
        }

        private mutating func place(_ strike: Strike, at start: Int) {
            let strike = strike.with(number: strikes.count, at: max(start, free[strike.part.group] ?? 0))
            free[strike.part.group] = strike.end
            strikes.append(strike)
        }

        /// A strike that is not placed yet.
        private func draw(_ fault: Fault, using random: inout SplitMix64) -> Strike {
            Strike(
                number: 0, at: 0, fault: fault, part: part(of: fault, using: &random),
                milliseconds: Int.random(in: fault.milliseconds(options.pace), using: &random),
                choice: Int.random(in: 0..<1_000, using: &random))
        }

        private func part(of fault: Fault, using random: inout SplitMix64) -> Fault.Part {
            func worker() -> Fault.Part { .worker(Int.random(in: 1...options.workers, using: &random)) }
            func dispatcher() -> Fault.Part { .dispatcher(Int.random(in: 1...options.dispatchers, using: &random)) }
            return switch fault.victim {
            case .worker: worker()
            case .dispatcher: dispatcher()
            case .leader: .leader
            case .process: Bool.random(using: &random) ? worker() : dispatcher()
            case .broker: .broker
            case .database: .database
            }
        }
    }
}

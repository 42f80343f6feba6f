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
        if options.isEachFirstAlone {
            for fault in faults.shuffled(using: &random) { builder.addAlone(fault, using: &random) }
        }
        let rest = options.injections - (options.isEachFirstAlone ? 1 : 0)
        let mixed = (0..<max(rest, 0)).flatMap { _ in faults }
        for fault in mixed.shuffled(using: &random) { builder.addMixed(fault, using: &random) }
        strikes = builder.strikes
        length = (strikes.map(\.end).max() ?? 0) + 1_000
    }

    /// A line for each strike.
    public var text: String { strikes.map(\.line).joined(separator: "\n") }

    private struct Builder {
        let options: ChaosOptions
        var strikes: [Strike] = []
        private var next = 1_500
        private var busy: [Fault.Part: Int] = [:]

        init(options: ChaosOptions) { self.options = options }

        mutating func addAlone(_ fault: Fault, using random: inout SplitMix64) {
            let start = max(next, strikes.map(\.end).max() ?? 0)
            append(fault, at: start, using: &random)
        }

        /// As soon as its part is free, and at times beside others.
        mutating func addMixed(_ fault: Fault, using random: inout SplitMix64) {
            if let alone = strikes.last, alone.at >= next { next = alone.end }
            next += Int.random(in: 200...2_500, using: &random)
            append(fault, at: next, using: &random)
        }

        private mutating func append(_ fault: Fault, at start: Int, using random: inout SplitMix64) {
            let part = part(of: fault, using: &random)
            let strike = Strike(
                number: strikes.count + 1, at: max(start, busy[part] ?? 0), fault: fault, part: part,
                milliseconds: Int.random(in: fault.milliseconds(options.pace), using: &random),
                choice: Int.random(in: 0..<1_000, using: &random))
            // Who leads is seen only when it happens, so nothing else befalls any dispatcher meanwhile.
            for part in [part] + Self.kin(part, options) { busy[part] = strike.end }
            strikes.append(strike)
            next = max(next, strike.at)
        }

        private static func kin(_ part: Fault.Part, _ options: ChaosOptions) -> [Fault.Part] {
            switch part {
            case .leader: (1...options.dispatchers).map { .dispatcher($0) }
            case .dispatcher: [.leader]
            default: []
            }
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

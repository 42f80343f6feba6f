import FleetStore

/// What a subsystem's workers do, as of the last seconds.
public struct SubsystemRates: Sendable, Equatable {
    /// Jobs per second; nil when no worker has told.
    public var ended: Double?
    public var failed: Double?
    public var retried: Double?
    public var queued = LatencyCounts()
    public var run = LatencyCounts()
    /// Live workers whose reports do not tell it, or not yet.
    public var silent = 0

    public init() {}

    mutating func add(_ tally: WorkerTally, over seconds: Double) {
        ended = (ended ?? 0) + Double(tally.ended) / seconds
        failed = (failed ?? 0) + Double(tally.failed) / seconds
        retried = (retried ?? 0) + Double(tally.retried) / seconds
        queued.add(tally.queued)
        run.add(tally.run)
    }
}

/// Makes rates of the workers' counts: of each worker the reports of the last ten seconds are kept, by the time that the
/// database put on them.
public struct History: Sendable {
    private struct Report {
        var at: Double
        var tallies: [String: WorkerTally]
    }

    private struct Track {
        var reports: [Report]
        /// Whether its last report is young enough to say what it does now.
        var isFresh = true
        var subsystems: [String] = []
    }

    /// Rates are of so many seconds.
    public static let window = 10.0
    /// Reports of a worker come twice a second at most.
    private static let reportsMax = 32
    /// Points of the fleet's curve.
    static let curveMax = 240

    private var tracks: [Int64: Track] = [:]
    private var deaths: [(at: Double, dead: Int)] = []
    private var lastNow: Double?
    /// Jobs per second that ended in the whole fleet, the latest last.
    public private(set) var curve: [Double] = []

    public init() {}

    public mutating func add(_ sight: LedgerSight, at now: Double) {
        let present = sight.workers.filter { $0.state != "gone" }
        var kept: [Int64: Track] = [:]
        for worker in present {
            var track = tracks[worker.id] ?? Track(reports: beginning(of: worker))
            track.subsystems = worker.load.map(\.name)
            track.isFresh = worker.now - worker.reported <= Double(worker.leaseWholeMilliseconds) / 2_000 + 1
            let tallies = Dictionary(
                worker.load.compactMap { load in load.tally.map { (load.name, $0) } }, uniquingKeysWith: { $1 })
            Self.append(Report(at: worker.reported, tallies: tallies), to: &track.reports)
            kept[worker.id] = track
        }
        tracks = kept
        if let read = present.first?.now { lastNow = read }
        let known = rates.values.compactMap(\.ended)
        if !known.isEmpty { curve = Array((curve + [known.reduce(0, +)]).suffix(Self.curveMax)) }
        deaths.append((now, sight.glance.dead))
        while deaths.count > 1, deaths[1].at <= now - Self.deathSpan { deaths.removeFirst() }
    }

    /// Over which the growth of the jobs that were given up is told.
    static let deathSpan = 60.0

    /// How many jobs were given up in the last minute, as far as it was watched.
    public var deadGrowth: Int {
        guard let first = deaths.first, let last = deaths.last else { return 0 }
        return max(0, last.dead - first.dead)
    }

    /// A worker that has started since the last look has done in between all that it has done.
    private func beginning(of worker: WorkerRecord) -> [Report] {
        guard let lastNow, worker.started > lastNow else { return [] }
        return [Report(at: worker.started, tallies: [:])]
    }

    private static func append(_ report: Report, to reports: inout [Report]) {
        guard let last = reports.last else {
            reports = [report]
            return
        }
        if report.at <= last.at { return }
        let hasFallen = last.tallies.contains { name, tally in
            report.tallies[name].map { $0.since(tally) == nil } ?? true
        }
        // Another process counts under the same name: it has begun at nothing.
        if hasFallen { reports = [Report(at: last.at, tallies: [:])] }
        reports.append(report)
        while reports.count > 2, reports[0].at < report.at - window || reports.count > reportsMax {
            reports.removeFirst()
        }
    }

    /// By subsystem.
    public var rates: [String: SubsystemRates] {
        var rates: [String: SubsystemRates] = [:]
        for track in tracks.values where track.isFresh {
            guard let first = track.reports.first, let last = track.reports.last else { continue }
            for name in track.subsystems {
                let earlier = first.tallies[name] ?? WorkerTally()
                if first.at < last.at, let difference = last.tallies[name]?.since(earlier) {
                    rates[name, default: SubsystemRates()].add(difference, over: last.at - first.at)
                } else {
                    rates[name, default: SubsystemRates()].silent += 1
                }
            }
        }
        return rates
    }

    /// Jobs per second that ended in one worker; nil when it does not tell.
    public func ended(worker: Int64) -> Double? {
        guard let track = tracks[worker], track.isFresh, let first = track.reports.first,
            let last = track.reports.last, first.at < last.at, !last.tallies.isEmpty
        else { return nil }
        let jobs = last.tallies.reduce(0) { $0 + $1.value.ended - (first.tallies[$1.key]?.ended ?? 0) }
        return Double(jobs) / (last.at - first.at)
    }
}

import FleetModel

/// The jobs of a run, drawn from its seed: what each is, how it is enqueued, and how it must end.
struct Workload: Sendable {
    enum Kind: String, Sendable, CaseIterable, Codable {
        /// One effect at the target; may fail at first.
        case effect
        /// An effect at its beginning and one at its end under a lock that others want too.
        case lock
        /// An effect that must not be repeated.
        case once
        /// Fails for good.
        case doomed
        /// Kills the worker that runs it.
        case poison
    }

    enum Route: String, Sendable, Codable {
        case broker, sql
        case sqlLater = "sql-later"
    }

    struct Item: Sendable {
        let index: Int
        let kind: Kind
        let route: Route
        /// How often the same job is enqueued besides.
        let repeats: Int
        /// Whether another job is enqueued under the same key.
        let hasConflict: Bool
        /// Whether the producer takes the first answer that is no success for its last, and does not try again.
        let givesUp: Bool
        /// Whether the transaction that enqueues it is rolled back.
        let isRolledBack: Bool
        let isUrgent: Bool
        /// How long its handler takes.
        let milliseconds: Int
        /// How many attempts fail before one succeeds.
        let failures: Int
        let lock: String

        var key: String { "\(kind.rawValue)-\(index)" }

        /// Tells this payload from a conflicting one under the same key.
        func nonce(isConflict: Bool) -> String { isConflict ? "other" : "first" }

        func job(isConflict: Bool = false) throws -> Job {
            var job = try parameters(nonce: nonce(isConflict: isConflict))
            job.isUrgent = isUrgent
            job.producer = "chaos"
            return job
        }

        private func parameters(nonce: String) throws -> Job {
            switch kind {
            case .effect:
                try Job(EffectWork(ms: milliseconds, failures: failures, nonce: nonce), key: key)
            case .lock: try Job(LockWork(ms: milliseconds, lock: lock, nonce: nonce), key: key)
            case .once: try Job(OnceWork(ms: milliseconds, nonce: nonce), key: key)
            case .doomed: try Job(DoomedWork(nonce: nonce), key: key)
            case .poison: try Job(PoisonWork(nonce: nonce), key: key)
            }
        }
    }

    let items: [Item]

    /// How many locks the jobs share.
    static let locks = 7

    init(seed: UInt64, jobs: Int, hasPoison: Bool = true) {
        var random = SplitMix64(seed: seed).split("jobs")
        items = (1...jobs).map { index in
            func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
            let draw = Int.random(in: 0..<1_000, using: &random)
            let kind: Kind =
                switch draw {
                case 0..<3: hasPoison ? .poison : .effect
                case 3..<20: .doomed
                case 20..<100: .once
                case 100..<200: .lock
                default: .effect
                }
            let route: Route = chance(80) ? .broker : chance(60) ? .sql : .sqlLater
            // A poison's own turn comes alone: what else happens under its key would only blur it.
            let isPlain = kind == .poison
            return Item(
                index: index, kind: kind, route: route,
                repeats: !isPlain && chance(10) ? Int.random(in: 1...3, using: &random) : 0,
                hasConflict: !isPlain && chance(3), givesUp: chance(10),
                isRolledBack: route == .sql && chance(10), isUrgent: chance(5),
                milliseconds: chance(2)
                    ? Int.random(in: 1_000...4_000, using: &random) : Int.random(in: 0...120, using: &random),
                failures: chance(6) ? Int.random(in: 1...2, using: &random) : 0,
                lock: "lock-\(Int.random(in: 1...Self.locks, using: &random))")
        }
    }
}

// MARK: - Parameters, as they are on the wire

struct EffectWork: JobParameters {
    static let type: JobType = "chaos.effect.v1"
    let ms, failures: Int
    let nonce: String
}

struct LockWork: JobParameters {
    static let type: JobType = "chaos.lock.v1"
    let ms: Int
    let lock, nonce: String
}

struct OnceWork: JobParameters {
    static let type: JobType = "chaos.once.v1"
    let ms: Int
    let nonce: String
}

struct DoomedWork: JobParameters {
    static let type: JobType = "chaos.doomed.v1"
    let nonce: String
}

struct PoisonWork: JobParameters {
    static let type: JobType = "chaos.poison.v1"
    let nonce: String
}

import Synchronization

/// How one part of a process is.
public struct PartHealth: Sendable, Equatable {
    /// As in the draft for a health check response of HTTP APIs (https://inadarei.github.io/rfc-healthcheck).
    public enum Status: String, Sendable, Comparable, CaseIterable {
        case pass
        /// It works, and somebody should look.
        case warn
        case fail

        public static func < (left: Status, right: Status) -> Bool { left.rank < right.rank }
        private var rank: Int { self == .pass ? 0 : self == .warn ? 1 : 2 }
    }

    public enum Fact: Sendable, Equatable {
        case number(Double)
        case text(String)
        case flag(Bool)
    }

    public var status: Status
    /// What is amiss, and what to do: nil when nothing is.
    public var reason: String?
    /// When it last did what it is there for.
    public var lastSuccess: ContinuousClock.Instant?
    /// What else can be told, by names in snake case with their unit at the end.
    public var facts: [String: Fact]

    public init(
        _ status: Status, _ reason: String? = nil, lastSuccess: ContinuousClock.Instant? = nil,
        facts: [String: Fact] = [:]
    ) {
        self.status = status
        self.reason = reason
        self.lastSuccess = lastSuccess
        self.facts = facts
    }

    /// The worst of several: its status and the reasons of all that are amiss.
    public mutating func worsen(_ status: Status, _ reason: String) {
        self.status = max(self.status, status)
        self.reason = self.reason.map { "\($0); \(reason)" } ?? reason
    }
}

/// A part of a process that can be asked how it is.
public struct HealthPart: Sendable {
    public let name: String
    /// Whether the process can do no work without it. Then its failure makes the process unready.
    public let isNeeded: Bool
    let look: @Sendable () async -> PartHealth

    /// - Parameter look: may take its time; it is not asked again before it has answered.
    public init(_ name: String, isNeeded: Bool, look: @escaping @Sendable () async -> PartHealth) {
        self.name = name
        self.isNeeded = isNeeded
        self.look = look
    }

    func renamed(_ name: String) -> HealthPart { HealthPart(name, isNeeded: isNeeded, look: look) }
}

/// How a process and its parts are, as it is asked for from outside.
///
/// ```
///  GET /health, /readyz ──▶ board ──▶ each part's look, all at once ──▶ report
///                             │          answered lately: that answer     no answer in time: fail
/// ```
///
/// However many ask, and however long a part hangs, each part is looked at once at a time.
public final class HealthBoard: Sendable {
    public enum Stage: Sendable, Equatable {
        case starting
        case serving
        case stopping
    }

    /// How long a part may take to answer.
    public static let patience: Duration = .seconds(3)
    /// For how long an answer is given again.
    public static let freshness: Duration = .seconds(1)

    private let watched = Mutex<[Watched]>([])
    private let patience: Duration
    private let freshness: Duration
    private let current = Mutex(Stage.starting)
    private let began = ContinuousClock.now

    public init(patience: Duration = HealthBoard.patience, freshness: Duration = HealthBoard.freshness) {
        self.patience = patience
        self.freshness = freshness
    }

    /// Adds what is to be asked.
    ///
    /// - Parameter prefix: goes before the name of each part whose name is taken, as in a process that is both worker and
    ///   dispatcher.
    public func add(_ parts: [HealthPart], prefix: String = "") {
        watched.withLock { watched in
            for part in parts {
                let isTaken = watched.contains { $0.part.name == part.name }
                precondition(!isTaken || !prefix.isEmpty, "two parts are called '\(part.name)'")
                watched.append(Watched(isTaken ? part.renamed("\(prefix)-\(part.name)") : part))
            }
        }
    }

    /// Whether it serves; a process that starts or stops is alive and not ready.
    public var stage: Stage {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }

    public func report() async -> HealthReport {
        let parts = await withTaskGroup(of: (Int, HealthReport.Part).self) { group in
            for (index, part) in watched.withLock({ $0 }).enumerated() {
                group.addTask { (index, await self.report(part)) }
            }
            var found: [(Int, HealthReport.Part)] = []
            for await part in group { found.append(part) }
            return found.sorted { $0.0 < $1.0 }.map(\.1)
        }
        return HealthReport(stage: stage, uptime: .now - began, parts: parts)
    }

    /// One part alone; nil when there is none of that name.
    public func report(of name: String) async -> HealthReport.Part? {
        guard let part = watched.withLock({ $0 }).first(where: { $0.part.name == name }) else { return nil }
        return await report(part)
    }

    private func report(_ watched: Watched) async -> HealthReport.Part {
        let health =
            await watched.health(patience, freshness)
            ?? PartHealth(.fail, "it has not answered for \(patience.inSeconds) seconds")
        return HealthReport.Part(name: watched.part.name, isNeeded: watched.part.isNeeded, health: health)
    }

    /// Lets many ask a part, one question at a time.
    private final class Watched: Sendable {
        private struct State {
            var isLooking = false
            var last: (at: ContinuousClock.Instant, health: PartHealth)?
            var waiters: [Int: Waiter] = [:]
            var waitersMade = 0
        }

        private enum Turn {
            case known(PartHealth)
            case first
            case waits
        }

        private struct Waiter {
            let continuation: CheckedContinuation<PartHealth?, Never>
            /// Ends its wait when the part does not answer in time.
            let timer: Task<Void, any Error>

            func resume(_ health: PartHealth?) {
                timer.cancel()
                continuation.resume(returning: health)
            }
        }

        let part: HealthPart
        private let state = Mutex(State())

        init(_ part: HealthPart) { self.part = part }

        /// - Returns: nil when it did not answer in time.
        func health(_ patience: Duration, _ freshness: Duration) async -> PartHealth? {
            await withCheckedContinuation { continuation in
                // In one step: between two an answer could come, and the part be looked at twice.
                let turn = state.withLock { state -> Turn in
                    if let last = state.last, .now - last.at < freshness { return .known(last.health) }
                    state.waitersMade += 1
                    let id = state.waitersMade
                    // It finds its waiter, since it cannot look before this lock is free.
                    let timer = Task {
                        try await Task.sleep(for: patience)
                        self.giveUp(id)
                    }
                    state.waiters[id] = Waiter(continuation: continuation, timer: timer)
                    defer { state.isLooking = true }
                    return state.isLooking ? .waits : .first
                }
                switch turn {
                case .known(let health): continuation.resume(returning: health)
                case .first: Task { self.answerAll(await self.part.look()) }
                case .waits: break
                }
            }
        }

        private func giveUp(_ id: Int) { state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(nil) }

        private func answerAll(_ health: PartHealth) {
            let waiters = state.withLock { state in
                state.isLooking = false
                state.last = (.now, health)
                defer { state.waiters = [:] }
                return state.waiters
            }
            for waiter in waiters.values { waiter.resume(health) }
        }
    }
}

/// What a board tells.
public struct HealthReport: Sendable, Equatable {
    public struct Part: Sendable, Equatable {
        public let name: String
        public let isNeeded: Bool
        public let health: PartHealth
    }

    public let stage: HealthBoard.Stage
    public let uptime: Duration
    public let parts: [Part]

    /// The worst that matters: a part that the process can do without makes it warn at most.
    public var status: PartHealth.Status {
        parts.map { $0.isNeeded ? $0.health.status : min($0.health.status, .warn) }.max() ?? .pass
    }

    /// Whether it should be given work.
    public var isReady: Bool { stage == .serving && status < .fail }
}

extension Duration {
    /// For texts: whole seconds where they are whole.
    fileprivate var inSeconds: String {
        let seconds = self / .seconds(1)
        return seconds == seconds.rounded() ? "\(Int(seconds))" : "\(seconds)"
    }
}

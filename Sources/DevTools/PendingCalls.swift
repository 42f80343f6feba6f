/// A command that has no answer yet.
struct PendingCall {
    typealias Answer = Result<JSONSlice, DevToolsError>

    let method: String
    let session: String?
    let deadline: ContinuousClock.Instant
    let limit: Duration
    let continuation: CheckedContinuation<Answer, Never>
}

/// The commands that have no answer yet. Whoever is taken out is resumed by the caller, outside of any lock.
struct PendingCalls {
    private var calls: [Int: PendingCall] = [:]

    var count: Int { calls.count }

    mutating func add(_ id: Int, _ call: PendingCall) { calls[id] = call }

    mutating func take(_ id: Int) -> PendingCall? { calls.removeValue(forKey: id) }

    mutating func takeAll() -> [PendingCall] {
        defer { calls = [:] }
        return Array(calls.values)
    }

    mutating func take(session: String) -> [PendingCall] { take { $0.session == session } }

    mutating func takeDue(_ now: ContinuousClock.Instant) -> [PendingCall] { take { $0.deadline <= now } }

    /// When the next one is due.
    var soonest: ContinuousClock.Instant? { calls.values.lazy.map(\.deadline).min() }

    private mutating func take(where isMeant: (PendingCall) -> Bool) -> [PendingCall] {
        let ids = calls.filter { isMeant($0.value) }.keys
        return ids.compactMap { calls.removeValue(forKey: $0) }
    }
}

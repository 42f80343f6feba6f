import FleetModel
import FleetStore

/// All that jobs of this worker use and wait for of the fleet's limits: finds the limit of a name, and does no I/O itself.
struct LimitTable {
    /// What became of a wish at once.
    enum Answer {
        /// Units are used, or the place of this number is taken: zero where there is no limit.
        case done(place: Int64)
        case failed(LimitError)
        /// In line; or to be put there.
        case wait
    }

    /// What is to be done outside of the lock.
    struct Turn {
        var outcomes: [LimitOutcome] = []
        /// When to have the next; nil when something must happen before.
        var next: ContinuousClock.Instant?
    }

    /// Jobs that wait for limits in one worker; more are refused as busy.
    static let waitersMax = 10_000
    /// Names closed here that wait to be written down; more are closed here alone.
    static let closingsMax = 10_000

    private var list = LimitList()
    /// What was closed here and is not written down yet.
    private var closing: [String: ContinuousClock.Instant] = [:]
    private var rates: [String: RateLine] = [:]
    private var places: [String: PlaceLine] = [:]
    private var waiters: [Int64: (name: String, isForPlace: Bool)] = [:]
    private var lastID: Int64 = 0
    /// Whether any job has asked for a limit since this was read last.
    private var isUsed = false

    var waiting: Int { waiters.count }

    /// The id of the next waiter, or the number of the next place.
    private mutating func nextID() -> Int64 {
        lastID += 1
        return lastID
    }

    // MARK: Jobs

    /// Uses units, or gets in line for them under the id given.
    ///
    /// - Parameter id: nil to look only.
    mutating func spend(
        _ units: Double, of name: String, within limit: Duration, as id: Int64?, now: ContinuousClock.Instant
    ) -> Answer {
        isUsed = true
        if list.isEmpty { return .done(place: 0) }
        if let until = list.closing(of: name, now: now) { return .failed(.closed(name: name, reopens: until - now)) }
        if rates[name] == nil {
            guard let rule = list.rule(of: name), rule.rate != nil else { return .done(place: 0) }
            rates[name] = RateLine(name, rule, now: now)
        }
        if rates[name]?.spend(units, now: now) == true { return .done(place: 0) }
        guard let id else { return .wait }
        if let refusal = crowding(name) ?? rates[name]?.wait(id, units: units, within: limit, now: now) {
            return .failed(refusal)
        }
        waiters[id] = (name, false)
        return .wait
    }

    /// The same of a place.
    mutating func enter(_ name: String, within limit: Duration, as id: Int64?, now: ContinuousClock.Instant) -> Answer {
        isUsed = true
        if list.isEmpty { return .done(place: 0) }
        if let until = list.closing(of: name, now: now) { return .failed(.closed(name: name, reopens: until - now)) }
        if places[name] == nil {
            guard let rule = list.rule(of: name), rule.places != nil else { return .done(place: 0) }
            places[name] = PlaceLine(name, rule, now: now)
        }
        let number = id ?? nextID()
        if places[name]?.enter(number) == true { return .done(place: number) }
        guard let id else { return .wait }
        if let refusal = crowding(name) ?? places[name]?.wait(id, within: limit, now: now) { return .failed(refusal) }
        waiters[id] = (name, true)
        return .wait
    }

    /// For one who has to wait.
    mutating func begin() -> Int64 { nextID() }

    private func crowding(_ name: String) -> LimitError? {
        waiters.count < Self.waitersMax ? nil : .busy(name: name, retryAfter: .seconds(1))
    }

    /// - Returns: whether somebody may be waiting for it.
    mutating func leave(_ place: LimitPlace) -> Bool { places[place.name]?.leave(place.number) ?? false }

    /// - Returns: whether anybody waited under this id.
    mutating func abandon(_ id: Int64) -> Bool {
        guard let (name, isForPlace) = waiters.removeValue(forKey: id) else { return false }
        if isForPlace { places[name]?.abandon(id) } else { rates[name]?.abandon(id) }
        return true
    }

    func isLow(_ name: String, now: ContinuousClock.Instant) -> Bool { rates[name]?.isLow(now) ?? false }

    // MARK: What is set and closed

    mutating func close(_ name: String, until: ContinuousClock.Instant, now: ContinuousClock.Instant) -> Turn {
        list.close(name, until: until)
        if LimitBound.isName(name), closing.count < Self.closingsMax || closing[name] != nil {
            closing[name] = max(closing[name] ?? until, until)
        }
        return enforce(now)
    }

    /// What is to be written down; it counts as known until it is read again.
    func unwritten(now: ContinuousClock.Instant) -> [(name: String, pause: Duration)] {
        closing.filter { $0.value > now }.map { ($0.key, $0.value - now) }
    }

    mutating func written(_ names: [(name: String, pause: Duration)], now: ContinuousClock.Instant) {
        closing = closing.filter { entry in
            entry.value > now && !names.contains { $0.name == entry.key && now + $0.pause >= entry.value }
        }
    }

    mutating func read(_ found: LimitRules, now: ContinuousClock.Instant) -> Turn {
        list = LimitList(found, now: now)
        for (name, until) in closing { list.close(name, until: until) }
        return enforce(now)
    }

    /// Whether any job has asked for a limit since the last time.
    mutating func takeIsUsed() -> Bool {
        defer { isUsed = false }
        return isUsed
    }

    /// Lets those who wait have what the list says now.
    private mutating func enforce(_ now: ContinuousClock.Instant) -> Turn {
        var turn = Turn()
        for name in Array(rates.keys) {
            if let until = list.closing(of: name, now: now) {
                turn.outcomes += rates[name]?.clear(.closed(name: name, reopens: until - now)) ?? []
            }
            if let rule = list.rule(of: name), rule.rate != nil {
                rates[name]?.change(rule)
            } else {
                turn.outcomes += rates[name]?.clear() ?? []
                rates[name] = nil
            }
        }
        for name in Array(places.keys) {
            if let until = list.closing(of: name, now: now) {
                turn.outcomes += places[name]?.clear(.closed(name: name, reopens: until - now)) ?? []
            }
            if let rule = list.rule(of: name), rule.places != nil {
                places[name]?.change(rule)
            } else {
                turn.outcomes += places[name]?.clear() ?? []
                places[name] = nil
            }
        }
        forget(turn.outcomes)
        return turn
    }

    /// There may be places of this name, or a wish for some.
    mutating func hint(_ name: String) { places[name]?.hint() }

    mutating func hintAll() {
        for name in places.keys { places[name]?.hint() }
    }

    /// The epoch has ended.
    mutating func lose() {
        for name in places.keys { places[name]?.lose() }
    }

    // MARK: Time and answers

    private mutating func forget(_ outcomes: [LimitOutcome]) {
        for outcome in outcomes { waiters[outcome.id] = nil }
    }

    mutating func turn(_ now: ContinuousClock.Instant) -> Turn {
        var turn = Turn()
        func sooner(_ other: ContinuousClock.Instant?) {
            turn.next = other.map { min(turn.next ?? $0, $0) } ?? turn.next
        }
        for name in Array(rates.keys) {
            turn.outcomes += rates[name]?.turn(now) ?? []
            sooner(rates[name]?.wake(now))
            if rates[name]?.isIdle(now) == true { rates[name] = nil }
        }
        for name in Array(places.keys) {
            turn.outcomes += places[name]?.turn(now) ?? []
            sooner(places[name]?.wake(now))
            if places[name]?.isIdle == true { places[name] = nil }
        }
        forget(turn.outcomes)
        return turn
    }

    mutating func askForUnits(_ now: ContinuousClock.Instant, atMost limit: Int) -> [UnitsQuestion] {
        var questions: [UnitsQuestion] = []
        for name in Array(rates.keys) where questions.count < limit {
            if let question = rates[name]?.ask(now) { questions.append(question) }
        }
        return questions
    }

    mutating func askForPlaces(_ now: ContinuousClock.Instant, atMost limit: Int) -> [PlacesQuestion] {
        var questions: [PlacesQuestion] = []
        for name in Array(places.keys) where questions.count < limit {
            if let question = places[name]?.ask(now) { questions.append(question) }
        }
        return questions
    }

    mutating func settle(_ answers: [(UnitsQuestion, UnitsAnswer)], _ now: ContinuousClock.Instant) -> Turn {
        var turn = Turn()
        for (question, answer) in answers {
            if case .closed(let pause) = answer { list.close(question.name, until: now + pause) }
            turn.outcomes += rates[question.name]?.settle(answer, now) ?? []
        }
        forget(turn.outcomes)
        return turn
    }

    mutating func settle(_ answers: [(PlacesQuestion, PlacesAnswer)], _ now: ContinuousClock.Instant) -> Turn {
        var turn = Turn()
        for (question, answer) in answers { turn.outcomes += places[question.name]?.settle(answer, now) ?? [] }
        forget(turn.outcomes)
        return turn
    }

    /// The ledger could not be asked.
    mutating func fail(
        units: [UnitsQuestion] = [], places: [PlacesQuestion] = [], _ reason: String, retryAfter pause: Duration,
        _ now: ContinuousClock.Instant
    ) -> Turn {
        var turn = Turn()
        for question in units {
            turn.outcomes += rates[question.name]?.fail(reason, retryAfter: pause, now) ?? []
        }
        for question in places {
            turn.outcomes += self.places[question.name]?.fail(reason, retryAfter: pause, now) ?? []
        }
        forget(turn.outcomes)
        return turn
    }
}

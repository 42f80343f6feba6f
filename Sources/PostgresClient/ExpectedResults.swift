/// Which results a connection still owes, in order: the part of pipelining that libpq leaves to its user.
///
/// Knows nothing of libpq, so that every order of arrivals can be tested without a server. A connection pushes a unit's
/// steps when it hands them to libpq, tells ``accept(_:)`` what came back, and does what the answer says.
///
///     idle ──push──▶ waiting(step) ──result──▶ ending(step) ──end──▶ waiting(next) … sync ──▶ idle or next unit
///
/// Within a unit the first failure makes the server skip everything up to the unit's sync; the steps skipped arrive as
/// `aborted`. The sync itself may fail first, when the implicit transaction's commit does.
struct ExpectedResults {
  enum Step: Equatable {
    /// Prepares a statement under the caller's name for it.
    case prepare(statement: String)
    case execute(statement: String?)
    /// Ends a unit.
    case sync
  }

  enum State: Equatable {
    /// Nothing is owed. To: waiting, by a push.
    case idle
    /// To: ending after a result, or, for a sync, on to the next unit or idle.
    case waiting(Step)
    /// A step has answered; libpq says "no more" once before the next. To: waiting.
    case ending(Step)
    /// The order broke: what comes belongs to nobody. Final.
    case broken
  }

  enum Arrival: Equatable {
    case success
    case failure
    /// Skipped by the server because an earlier step of the unit failed.
    case aborted
    case sync
    /// `PQgetResult` gave nothing: a step's results are complete.
    case end
    /// COPY was begun, which a pipeline cannot carry.
    case copy
  }

  enum Action: Equatable {
    case proceed
    /// This result is the answer to a statement of the unit.
    case keep(statement: String?)
    case prepared(statement: String)
    /// First failure of the unit; nil if it was the commit at the sync that failed.
    case failed(Step)
    case skipped(Step)
    case unitEnded
    case violation(String)
  }

  private(set) var state = State.idle
  private var steps = FIFO<Step>()

  var isWaiting: Bool {
    switch state {
    case .idle, .broken: false
    case .waiting, .ending: true
    }
  }

  /// Whether the step that is waited for is the sync, so that all statements before it have answered.
  var isAtSync: Bool { state == .waiting(.sync) }

  /// Adds a unit's steps and its sync.
  mutating func push(_ unit: [Step]) {
    for step in unit { steps.append(step) }
    steps.append(.sync)
    if state == .idle { advance() }
  }

  mutating func accept(_ arrival: Arrival) -> Action {
    switch (state, arrival) {
    case (.broken, _): return .proceed
    case (_, .copy): return violation("COPY was begun in a pipeline")

    case (.waiting(.sync), .sync):
      advance()
      return .unitEnded
    case (.waiting(.sync), .failure): return .failed(.sync)
    case (.waiting(.sync), .end): return .proceed

    case (.waiting(let step), .success):
      state = .ending(step)
      switch step {
      case .prepare(let statement): return .prepared(statement: statement)
      case .execute(let statement): return .keep(statement: statement)
      case .sync: return violation("a result came where a sync was due")
      }
    case (.waiting(let step), .failure):
      state = .ending(step)
      return .failed(step)
    case (.waiting(let step), .aborted):
      state = .ending(step)
      return .skipped(step)

    case (.ending, .end):
      advance()
      return .proceed

    case (.idle, _), (.waiting, _), (.ending, _):
      return violation("\(arrival) came while \(state)")
    }
  }

  private mutating func advance() {
    if let next = steps.popFirst() { state = .waiting(next) } else { state = .idle }
  }

  private mutating func violation(_ what: String) -> Action {
    state = .broken
    return .violation(what)
  }
}

/// A queue that takes from the front without moving what is behind.
struct FIFO<Element> {
  private var storage: [Element?] = []
  private var head = 0

  var count: Int { storage.count - head }
  var isEmpty: Bool { count == 0 }
  var first: Element? { isEmpty ? nil : storage[head] }

  mutating func append(_ element: Element) { storage.append(element) }

  mutating func prepend(_ element: Element) {
    if head > 0 {
      head -= 1
      storage[head] = element
    } else {
      storage.insert(element, at: 0)
    }
  }

  mutating func popFirst() -> Element? {
    guard !isEmpty else { return nil }
    let element = storage[head]
    storage[head] = nil
    head += 1
    if head == storage.count {
      storage.removeAll(keepingCapacity: true)
      head = 0
    } else if head > 64, head * 2 > storage.count {
      storage.removeFirst(head)
      head = 0
    }
    return element
  }

  mutating func modifyFirst(_ change: (inout Element) -> Void) {
    guard var element = first else { return }
    change(&element)
    storage[head] = element
  }

  mutating func modifyAll(_ change: (inout Element) -> Void) {
    for index in head..<storage.count {
      guard var element = storage[index] else { continue }
      change(&element)
      storage[index] = element
    }
  }

  /// Takes out and returns the first that matches.
  mutating func remove(where matches: (Element) -> Bool) -> Element? {
    for index in head..<storage.count {
      guard let element = storage[index], matches(element) else { continue }
      storage.remove(at: index)
      return element
    }
    return nil
  }

  mutating func removeAll() -> [Element] {
    let all = storage[head...].compactMap { $0 }
    storage.removeAll()
    head = 0
    return all
  }
}

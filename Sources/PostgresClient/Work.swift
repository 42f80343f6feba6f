import Synchronization

/// What one caller wants of a connection: statements up to one sync, a script, or the connection itself.
///
/// A unit is in one place at a time (inbox, waiting line, connection), and whoever has it there answers it; so it is
/// answered exactly once.
final class WorkUnit: Sendable {
  struct Call: Sendable {
    let sql: String
    /// Nil for a statement sent once and not worth preparing.
    let statement: String?
    let parameters: EncodedParameters

    init(sql: String, statement: String? = nil, parameters: EncodedParameters = .none) {
      self.sql = sql
      self.statement = statement
      self.parameters = parameters
    }
  }

  enum Content: Sendable {
    case calls([Call])
    /// Any number of statements by the simple protocol.
    case script(String)
    case lease(Lease)
  }

  /// What becomes of the work when the link is lost after sending.
  enum Setting: Sendable {
    /// It commits by itself.
    case alone
    /// Inside a transaction: lost with it.
    case inTransaction
    /// The commit itself: nothing else is sent until it has answered.
    case commit
    /// Nobody's data depends on it.
    case housekeeping
  }

  typealias Answer = Result<[PostgresRows], PostgresError>

  let content: Content
  let setting: Setting
  /// Starts a transaction together with its first statement, so that no statement can slip in front of a failed BEGIN.
  let begin: String?
  /// Runs on the IO thread: hand over, do not compute.
  let complete: @Sendable (Answer) -> Void
  private let cancelRequested = Atomic<Bool>(false)

  init(
    _ content: Content, setting: Setting = .alone, begin: String? = nil, complete: @escaping @Sendable (Answer) -> Void
  ) {
    self.content = content
    self.setting = setting
    self.begin = begin
    self.complete = complete
  }

  var isCancelled: Bool { cancelRequested.load(ordering: .acquiring) }
  func markCancelled() { cancelRequested.store(true, ordering: .releasing) }

  /// Whether it has to have the connection to itself.
  var isAlone: Bool {
    if case .script = content { return true }
    return begin != nil || setting == .commit
  }

  func fail(_ error: PostgresError) { complete(.failure(error)) }
}

/// A session's right to one connection.
final class Lease: Sendable {
  private let process = Atomic<Int32>(0)

  /// The server process behind the connection; set when the lease is granted.
  var backendProcessID: Int32 { process.load(ordering: .relaxed) }
  func granted(backendProcessID: Int32) { process.store(backendProcessID, ordering: .relaxed) }
}

/// Callers waiting for a connection: first come, first served, each until its deadline, no more than `limit`.
struct WaitingLine<Waiter> {
  private var line = FIFO<(waiter: Waiter, deadline: Moment)>()
  let limit: Int

  init(limit: Int) { self.limit = limit }

  var count: Int { line.count }
  /// All wait equally long, so the first to have come is the first to give up.
  var nextDeadline: Moment? { line.first?.deadline }

  /// - Returns: false if the line is full.
  mutating func append(_ waiter: Waiter, deadline: Moment) -> Bool {
    guard line.count < limit else { return false }
    line.append((waiter, deadline))
    return true
  }

  mutating func popFirst() -> Waiter? { line.popFirst()?.waiter }

  mutating func popExpired(_ now: Moment) -> Waiter? {
    guard let first = line.first, first.deadline <= now else { return nil }
    return line.popFirst()?.waiter
  }

  mutating func remove(where matches: (Waiter) -> Bool) -> Waiter? { line.remove { matches($0.waiter) }?.waiter }

  mutating func removeAll() -> [Waiter] { line.removeAll().map(\.waiter) }
}

/// How many connections there should be, and when to try for the next: decides, opens nothing.
///
/// While none is up only one attempt is made at a time, so that an absent server is asked once per backoff and not once
/// per connection.
struct Roster {
  enum Verdict: Equatable {
    case retry(at: Moment)
    /// No attempt has ever succeeded, and this error is not one that time mends.
    case giveUp
  }

  let size: Int
  let backoff: PostgresBackoff
  private(set) var up = 0
  private(set) var attempts = 0
  private(set) var failures = 0
  private(set) var hasEverConnected = false
  private(set) var nextAttempt: Moment?

  init(size: Int, backoff: PostgresBackoff) {
    self.size = size
    self.backoff = backoff
  }

  /// How many attempts to begin now; they count as begun.
  mutating func attemptsToBegin(_ now: Moment) -> Int {
    if let nextAttempt, now < nextAttempt { return 0 }
    let wanted = size - up - attempts
    let allowed = up == 0 || failures > 0 ? min(wanted, 1 - attempts) : wanted
    guard allowed > 0 else { return 0 }
    nextAttempt = nil
    attempts += allowed
    return allowed
  }

  mutating func succeeded() {
    attempts -= 1
    up += 1
    failures = 0
    nextAttempt = nil
    hasEverConnected = true
  }

  /// - Parameter random: gives a number from 0 to 1.
  mutating func failed(_ error: PostgresError, _ now: Moment, random: () -> Double) -> Verdict {
    attempts -= 1
    failures += 1
    if error.forbidsConnecting, !hasEverConnected { return .giveUp }
    let at = now + backoff.ceiling(failures: failures) * random()
    nextAttempt = at
    return .retry(at: at)
  }

  mutating func lost() { up -= 1 }

  /// When to look again, if an attempt is wanted and put off.
  var nextDeadline: Moment? { up + attempts < size ? nextAttempt : nil }
}

/// What was waited for did not happen in time.
public struct NotInTime: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// How long a test waits for what should come at once: far longer than needed, since the machine may be busy. It is spent
/// in failures alone.
public let patienceOfTests: Duration = .seconds(120)

/// Asks again until the answer is true: for what another process knows and tells nobody about, such as a row or the
/// length of a queue.
///
/// - Throws: ``NotInTime``, or what the question throws.
public func eventually(
    _ what: String, within limit: Duration = patienceOfTests, isolation: isolated (any Actor)? = #isolation,
    _ condition: () async throws -> Bool
) async throws {
    try await eventually(what, within: limit) { try await condition() ? true : nil as Bool? }
}

/// Asks again until there is an answer.
@discardableResult
public func eventually<Value>(
    _ what: String, within limit: Duration = patienceOfTests, isolation: isolated (any Actor)? = #isolation,
    _ question: () async throws -> Value?
) async throws -> Value {
    let deadline = ContinuousClock.now + limit
    while true {
        if let answer = try await question() { return answer }
        guard ContinuousClock.now < deadline else { throw NotInTime("waited \(limit) for \(what)") }
        try await Task.sleep(for: .milliseconds(10))
    }
}

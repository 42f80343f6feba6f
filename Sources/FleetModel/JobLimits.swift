/// Limits that the whole fleet shares: rates, places and closed doors, each by name. A worker brings those of the fleet; a
/// context that a test makes has ``UnsharedLimits``.
///
/// A name for which no limit is set is not limited, and asking for it costs no more than a look into a table.
public protocol JobLimits: Sendable {
    /// Waits until so many units of a rate (calls, bytes) may be used, and uses them.
    ///
    /// - Parameters:
    ///   - name: such as `api.host.example.org` or `network.bytes`.
    ///   - limit: how long to wait at most; zero takes them now or not at all.
    /// - Throws: ``LimitError``, or `CancellationError`; nothing is used then.
    func spend(_ units: Int, of name: String, within limit: Duration) async throws

    /// Waits for one of so many places at once; give it back with ``leave(_:)``.
    ///
    /// - Throws: ``LimitError``, or `CancellationError`; no place is taken then.
    func enter(_ name: String, within limit: Duration) async throws -> LimitPlace

    /// Gives a place back.
    func leave(_ place: LimitPlace)

    /// Closes a name for the whole fleet: until the pause is over whoever wants to spend of it or enter it gets
    /// ``LimitError/closed(name:reopens:)`` at once. A longer pause that is known already stands.
    func close(_ name: String, for pause: Duration)
}

/// A place that is taken.
public struct LimitPlace: Sendable, Hashable {
    public let name: String
    /// Tells one place from another.
    public let number: Int64

    public init(name: String, number: Int64) {
        self.name = name
        self.number = number
    }
}

/// Why a limit did not let a job through. One that a handler lets pass gives its job back for another try, and no attempt is
/// spent: the job did nothing wrong.
public enum LimitError: Error, Sendable, Equatable, CustomStringConvertible {
    /// It would have taken longer than the caller wanted to wait; about so long from now there is room.
    case busy(name: String, retryAfter: Duration)
    /// The name is closed for so much longer.
    case closed(name: String, reopens: Duration)
    /// The database did not answer in time.
    case unavailable(name: String, reason: String)

    public var description: String {
        switch self {
        case .busy(let name, let pause): "the limit '\(name)' has no room before \(pause)"
        case .closed(let name, let pause): "'\(name)' is closed for the whole fleet for another \(pause)"
        case .unavailable(let name, let reason): "the limit '\(name)' could not be asked for: \(reason)"
        }
    }

    /// What it means for an attempt that ends with it.
    public var failure: JobFailure {
        func later(_ pause: Duration, _ code: String) -> JobFailure {
            // Not all at once when it is over.
            JobFailure(
                .throttled(retryAfter: max(.milliseconds(100), pause) * Double.random(in: 1...1.25)), code: code,
                message: description)
        }
        return switch self {
        case .busy(_, let pause): later(pause, "limit.busy")
        case .closed(_, let pause): later(pause, "limit.closed")
        case .unavailable: later(.seconds(1), "limit.unavailable")
        }
    }
}

/// The bounds of limits.
public enum LimitBound {
    /// The longest name in bytes.
    public static let nameBytesMax = 200
    /// How long a handler waits in its slot when it does not say; a longer wait belongs to the queue, not to the slot.
    public static let waitDefault: Duration = .seconds(5)
    /// The longest that a name is closed.
    public static let closeMax: Duration = .seconds(24 * 60 * 60)

    /// Whether it may name a limit: 1 to ``nameBytesMax`` bytes without spaces, an asterisk only in the `.*` that ends a
    /// pattern.
    public static func isName(_ name: String) -> Bool {
        let own = name.hasSuffix(".*") ? name.utf8.dropLast(2) : name.utf8[...]
        return (1...nameBytesMax).contains(name.utf8.count) && own.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != 0x2A }
    }
}

extension JobLimits {
    /// Runs `body` in one of the places of `name`.
    public func withPlace<Value>(
        _ name: String, within limit: Duration = LimitBound.waitDefault, isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Value
    ) async throws -> Value {
        let place = try await enter(name, within: limit)
        defer { leave(place) }
        return try await body()
    }
}

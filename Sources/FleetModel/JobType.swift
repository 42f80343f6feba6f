/// The stable wire name of a kind of job, such as `api.request.v1`.
///
/// Shape: two or more parts joined by dots, the last one `v` and a number. A part starts with a letter and holds
/// lower-case letters, digits and hyphens. The first part is the subsystem, whose queue the job travels through.
public struct JobType: Sendable, Hashable, CustomStringConvertible, ExpressibleByStringLiteral {
    /// The whole name.
    public let name: String
    /// The family of types that shares one queue: the name's first part.
    public let subsystem: String

    /// The longest name accepted, in UTF-8 bytes: AMQP carries it in a short string of at most 255.
    public static let bytesMax = 120
    /// The longest name of a subsystem. A result's `message_id` holds it beside the key and the state.
    public static let subsystemBytesMax = 40

    /// No subsystem is called this: it is the first word in the routing key of an urgent job.
    public static let urgentLane = "urgent"

    /// Checks a name that came from outside.
    public init(validating name: String) throws(JobTypeError) {
        guard name.utf8.count <= Self.bytesMax else {
            throw JobTypeError(name: String(name.prefix(Self.bytesMax)) + "…")
        }
        let parts = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count >= 2, let first = parts.first, let last = parts.last,
            parts.dropLast().allSatisfy(Self.isPart), first.count <= Self.subsystemBytesMax,
            !first.elementsEqual(Self.urgentLane.utf8), last.count >= 2, last.first == UInt8(ascii: "v"),
            last.dropFirst().allSatisfy(Self.isDigit)
        else { throw JobTypeError(name: name) }
        self.name = name
        self.subsystem = String(Substring(first))
    }

    /// For names written in the program; a malformed one is a mistake of the programmer and stops the program.
    public init(stringLiteral value: String) {
        do {
            try self.init(validating: value)
        } catch {
            preconditionFailure(error.description)
        }
    }

    public var description: String { name }

    /// Whether `text` may name a subsystem.
    public static func isSubsystem(_ text: String) -> Bool {
        text.utf8.count <= subsystemBytesMax && text != urgentLane && isPart(text.utf8[...])
    }

    private static func isPart(_ part: Substring.UTF8View) -> Bool {
        guard let first = part.first, isLetter(first) else { return false }
        return part.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
    }
    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}

/// A type name that is not one.
public struct JobTypeError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was given, cut to a length that is safe to print.
    public let name: String
    public var description: String {
        "'\(name)' is no job type: write it as SUBSYSTEM.NAME.vN in lower-case letters, digits and hyphens, "
            + "SUBSYSTEM at most \(JobType.subsystemBytesMax) of them and not '\(JobType.urgentLane)', for example "
            + "api.request.v1"
    }
}

/// What tells one job from every other: the subsystem and the idempotency key within it.
public struct JobIdentity: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let subsystem: String
    public let key: String

    /// The longest idempotency key accepted, in UTF-8 bytes. A result carries subsystem, key and state as its AMQP
    /// `message_id`, which holds 255.
    public static let keyBytesMax = 200

    public init(subsystem: String, key: String) {
        self.subsystem = subsystem
        self.key = key
    }

    public var description: String { "\(subsystem)/\(key)" }

    /// A key alone tells nearly all jobs apart, and each job is looked up half a dozen times on its way.
    public func hash(into hasher: inout Hasher) { hasher.combine(key) }

    public static func < (left: JobIdentity, right: JobIdentity) -> Bool {
        (left.subsystem, left.key) < (right.subsystem, right.key)
    }
}

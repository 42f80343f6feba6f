/// `gaia.noop.v1`: a job that does nothing, for as long as it is told. It is how the path itself is tried and timed: `gaia enqueue` sends one to
/// see that the fleet answers, and the benchmark sends millions.
public struct NoopParameters: JobParameters {
    public static let type: JobType = "gaia.noop.v1"
    public static let schema = JSONSchema.object(
        [
            "note": .string(description: "anything; it is ignored"),
            "ms": .integer(description: "how many milliseconds to do nothing", min: 0, max: waitMax),
            "limit": .string(description: "a limit of the fleet of which it uses one unit"),
            "place": .string(description: "a limit of the fleet in whose places it does nothing"),
        ], required: [], additional: true)

    public var note: String?
    /// How many milliseconds it takes; none when absent.
    public var ms: Int?
    /// A limit of the fleet of which it uses one unit.
    public var limit: String?
    /// A limit of the fleet of which it takes a place while it does nothing.
    public var place: String?

    /// Ten minutes.
    public static let waitMax = 600_000

    public init(note: String? = nil, ms: Int? = nil, limit: String? = nil, place: String? = nil) {
        self.note = note
        self.ms = ms
        self.limit = limit
        self.place = place
    }

    public func validate() throws(InvalidParameters) {
        if let ms, !(0...Self.waitMax).contains(ms) {
            throw InvalidParameters("'ms' must be from 0 to \(Self.waitMax)")
        }
    }

    /// The definition that every worker of ours carries.
    public static let definition = JobDefinition(
        NoopParameters.self, summary: "does nothing; for trying and timing the path", timeout: .seconds(900)
    ) { (parameters: NoopParameters, context: JobContext) async throws -> Void in
        if let limit = parameters.limit {
            try await context.limits.spend(1, of: limit, within: LimitBound.waitDefault)
        }
        guard let place = parameters.place else { return try await parameters.pass() }
        try await context.limits.withPlace(place) { try await parameters.pass() }
    }

    private func pass() async throws {
        if let ms, ms > 0 { try await Task.sleep(for: .milliseconds(ms)) }
    }
}

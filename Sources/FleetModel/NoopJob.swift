/// `gaia.noop.v1`: a job that does nothing. It is how the path itself is tried and timed: `gaia enqueue` sends one to
/// see that the fleet answers, and the benchmark sends millions.
public struct NoopParameters: JobParameters {
    public static let type: JobType = "gaia.noop.v1"
    public static let schema = JSONSchema.object(
        ["note": .string(description: "anything; it is ignored")], required: [], additional: true)

    public var note: String?

    public init(note: String? = nil) { self.note = note }

    /// The definition that every worker of ours carries.
    public static let definition = JobDefinition(
        NoopParameters.self, summary: "does nothing; for trying and timing the path"
    ) { (_: NoopParameters, _: JobContext) -> Void in }
}

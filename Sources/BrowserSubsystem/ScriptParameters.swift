import FleetModel

/// What `browser.script.v1` takes.
public struct ScriptParameters: JobParameters {
    public static let type: JobType = "browser.script.v1"

    /// What follows when an attempt ends half way.
    public enum Retry: String, Codable, Sendable, CaseIterable {
        /// Once a step has begun that may have had an effect outside, the script is not repeated: an operator decides.
        case never
        /// The steps bear being repeated from the first on.
        case always
    }

    public var steps: [ScriptStep]
    /// `never` when absent, unless no step can have an effect.
    public var retry: Retry?
    /// For the whole script, 1 to 1,200,000; 60,000 when absent.
    public var timeoutMilliseconds: Int?
    /// For each step that has none of its own; 10,000 when absent.
    public var stepTimeoutMilliseconds: Int?
    public var page: PageOptions?

    enum CodingKeys: String, CodingKey {
        case steps, retry, page
        case timeoutMilliseconds = "timeout_ms"
        case stepTimeoutMilliseconds = "step_timeout_ms"
    }

    public static let timeoutMillisecondsDefault = 60_000
    public static let timeoutMillisecondsMax = 1_200_000
    public static let stepTimeoutMillisecondsDefault = 10_000
    static let stepsMax = 200

    public static let schema = JSONSchema.object(
        [
            "steps": .array(of: ScriptStep.schema, description: "done one after the other; 1 to \(stepsMax)"),
            "retry": .string(
                description:
                    "what follows when an attempt ends after a step that may have had an effect: never leaves it to "
                    + "an operator, always repeats the script; never when absent, unless no step can have an effect",
                values: Retry.allCases.map(\.rawValue)),
            "timeout_ms": .integer(
                description: "for the whole script; \(timeoutMillisecondsDefault) when absent", min: 1,
                max: timeoutMillisecondsMax),
            "step_timeout_ms": .integer(
                description: "for each step that has none of its own; \(stepTimeoutMillisecondsDefault) when absent",
                min: 1, max: timeoutMillisecondsMax),
            "page": PageOptions.schema,
        ], required: ["steps"])

    public init(
        _ steps: [ScriptStep], retry: Retry? = nil, timeoutMilliseconds: Int? = nil,
        stepTimeoutMilliseconds: Int? = nil, page: PageOptions? = nil
    ) {
        self.steps = steps
        self.retry = retry
        self.timeoutMilliseconds = timeoutMilliseconds
        self.stepTimeoutMilliseconds = stepTimeoutMilliseconds
        self.page = page
    }

    public func validate() throws(InvalidParameters) {
        guard (1...Self.stepsMax).contains(steps.count) else {
            throw InvalidParameters("'steps' must have 1 to \(Self.stepsMax) members, it has \(steps.count)")
        }
        guard case .goto = steps[0].action else {
            throw InvalidParameters("'steps.0' must be a goto: a script begins with an empty page")
        }
        var files: Set<String> = []
        for (index, step) in steps.enumerated() {
            try step.validate("steps.\(index)")
            if let file = step.action.file, !files.insert(file).inserted {
                throw InvalidParameters("'steps.\(index).file' is the file of an earlier step too; name another")
            }
        }
        for (name, value) in [("timeout_ms", timeoutMilliseconds), ("step_timeout_ms", stepTimeoutMilliseconds)] {
            if let value, !(1...Self.timeoutMillisecondsMax).contains(value) {
                throw InvalidParameters("'\(name)' must be from 1 to \(Self.timeoutMillisecondsMax)")
            }
        }
        try page?.validate()
    }

    /// Whether the script may be run again after it was cut off anywhere.
    public var isRepeatable: Bool { retry == .always || !steps.contains { $0.action.mayHaveEffect } }
}

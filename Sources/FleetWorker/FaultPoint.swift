import Glibc

/// A step at which a worker process kills itself by SIGKILL, so that a test can show what the others make of it.
///
/// `GAIA_FAULT_POINT=STEP:KEY` in the environment sets one: the worker dies when the job with that key reaches the step.
/// Without it each step costs one comparison with nil.
public struct FaultPoint: Sendable {
    /// The steps of a job's way, in their order.
    public enum Step: String, Sendable, CaseIterable {
        /// Delivered, its claim not yet sent.
        case claiming
        /// Claimed, its handler about to begin.
        case running
        /// Its completion is committed, its result not yet published.
        case completed
        /// Its result is published and confirmed, its delivery not yet acknowledged. The key is the result's id here.
        case published
    }

    public let step: Step
    public let key: String

    public init(step: Step, key: String) {
        self.step = step
        self.key = key
    }

    /// The one that the environment names, if any.
    public static var ofEnvironment: FaultPoint? {
        guard let value = getenv("GAIA_FAULT_POINT") else { return nil }
        let parts = String(cString: value).split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2, let step = Step(rawValue: parts[0]) else {
            preconditionFailure("GAIA_FAULT_POINT is STEP:KEY, STEP one of \(Step.allCases.map(\.rawValue))")
        }
        return FaultPoint(step: step, key: parts[1])
    }

    func reach(_ step: Step, _ keys: some Sequence<String>) {
        guard step == self.step, keys.contains(key) else { return }
        kill(getpid(), SIGKILL)
    }
}

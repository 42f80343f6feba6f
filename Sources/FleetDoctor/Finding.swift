/// One fault at one place.
public struct Finding: Sendable, Hashable {
    public let fault: Fault
    /// As in `queue gaia.jobs.api`.
    public let place: String
    /// What is wrong, a sentence.
    public let message: String
    /// What to do about it.
    public let remedy: String

    init(_ fault: Fault, _ place: String, _ message: String, remedy: String) {
        self.fault = fault
        self.place = place
        self.message = message
        self.remedy = remedy
    }
}

/// How much a fault matters.
public enum Level: String, Sendable, CaseIterable {
    /// Jobs are lost, stand still, or will.
    case error
    /// The fleet works, but less safely than it could, or not for long.
    case warning
}

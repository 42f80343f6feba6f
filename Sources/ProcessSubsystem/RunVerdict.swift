import FleetModel
import Glibc
import ProcessKeeper
import RootedFiles

/// What an end other than the expected one means for the job.
///
/// An exit status is the program's own word, and means what the job says it means. Everything else cut the program off at a
/// place that nobody knows: repeated where that is allowed and may help, else left to an operator (`unsafe`).
struct RunVerdict {
    /// Statuses that mean success.
    let expectedExit: [Int32]
    /// Statuses after which the job is tried again.
    let retryExit: [Int32]
    /// Whether the program may be run again after it was cut off.
    let isRepeatable: Bool

    init(_ parameters: RunParameters, isRepeatable: Bool) {
        expectedExit = parameters.expectedExit ?? [0]
        retryExit = parameters.retryExit ?? []
        self.isRepeatable = isRepeatable
    }

    /// Nil for an end as expected.
    func failure(_ end: ProcessEnd) -> JobFailure? {
        let said = Self.excerpt(end)
        switch (end.cause, end.status) {
        case (.timeout, _):
            return cutOff(.transient, "timeout", "the time was over, and the program was ended\(said)")
        case (.memory, _):
            return cutOff(.permanent, "memory", "it used more memory than it may, and was killed\(said)")
        case (.processes, _):
            return cutOff(.permanent, "processes", "it had more processes than it may, and was killed\(said)")
        case (_, .signalled(SIGXCPU)):
            return cutOff(.permanent, "cpu", "it used more processor time than it may, and was ended\(said)")
        case (_, .signalled(SIGXFSZ)):
            return cutOff(.permanent, "file-size", "it wrote a larger file than it may, and was ended\(said)")
        case (_, .signalled(SIGKILL)):
            return cutOff(
                .transient, "killed", "somebody killed it: the kernel when memory ran out, or an operator\(said)")
        case (_, .signalled(let signal)):
            return cutOff(.permanent, "signal-\(signal)", "it was ended by signal \(signal)\(said)")
        case (_, .exited(let status)):
            if expectedExit.contains(status) { return nil }
            return JobFailure(
                retryExit.contains(status) ? .transient : .permanent, code: "process.exit-\(status)",
                message: "it ended with exit status \(status)\(said)")
        }
    }

    /// A program that did not run, or of which nobody knows how it ended.
    func failure(_ error: ProcessError) -> JobFailure {
        switch error.reason {
        case .cancelled: JobFailure(CancellationError())
        case .exhausted, .notStarted(_, errno: EAGAIN), .notStarted(_, errno: ENOMEM):
            JobFailure(.throttled(retryAfter: .seconds(1)), code: "process.exhausted", message: error.description)
        case .notStarted: JobFailure(.permanent, code: "process.not-started", message: error.description)
        case .closed: JobFailure(.transient, code: "process.closed", message: error.description)
        case .lost, .unkillable: cutOff(.transient, "lost", error.description)
        }
    }

    private func cutOff(_ kind: JobFailure.Kind, _ code: String, _ message: String) -> JobFailure {
        JobFailure(isRepeatable ? kind : .unsafe, code: "process.\(code)", message: message)
    }

    /// The last that it said, as programs name their reasons at the end.
    private static func excerpt(_ end: ProcessEnd) -> String {
        let words = end.error.bytes.isEmpty ? end.output.bytes : end.error.bytes
        let text = String(decoding: words.suffix(300), as: UTF8.self).split(whereSeparator: \.isNewline)
            .joined(separator: " ")
        return text.isEmpty ? "" : ": \(text)"
    }
}

extension JobFailure {
    /// A directory or a file of output that the job may not have.
    init(_ error: FileError) {
        self.init(error.isTransient ? .transient : .permanent, code: error.code, message: error.description)
    }
}

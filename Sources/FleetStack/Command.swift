import FoundationEssentials
import Glibc

/// A program that is run to its end for what it does or prints.
struct Command: Sendable {
    var executable: String
    var arguments: [String]
    var environment: [String: String]
    var directory: String = "/"
    var account: Account?
    var deadline: Duration = .seconds(60)

    /// The standard output of a run that succeeded; its standard error is the error of one that did not.
    func run() async throws -> String {
        let child = try ChildProcess.start(
            ChildDescription(
                executable: executable,
                arguments: arguments,
                environment: environment,
                directory: directory,
                ownSession: true,
                parentDeathSignal: SIGKILL,
                account: account
            ),
            output: .capture
        )
        let name = executable.split(separator: "/").last.map(String.init) ?? executable
        guard let status = await child.exitStatus(within: deadline) else {
            try child.signal(SIGKILL)
            _ = await child.exitStatus()
            throw StackError(.deadline, "\(name) did not end within \(deadline): \(child.capturedOutput)")
        }
        guard status.isSuccess else {
            let text = child.standardError.isEmpty ? child.standardOutput : child.standardError
            throw StackError(.refused, "\(name) \(status): \(text)")
        }
        guard !child.isOutputTruncated else {
            throw StackError(.refused, "\(name) printed more than \(ChildProcess.captureBytesMax) bytes.")
        }
        return child.standardOutput
    }

    /// The little that programs of the system need, and nothing of ours that could change what they do.
    static var plainEnvironment: [String: String] {
        ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"]
    }
}

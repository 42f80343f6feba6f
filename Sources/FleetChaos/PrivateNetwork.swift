import FleetStack
import FoundationEssentials
import Glibc

/// A network namespace that holds this process and all that it starts: packets between nodes of a broker can be dropped in
/// it by the kernel, and no rule touches the machine's own network. It has a loopback device and nothing else.
public enum PrivateNetwork {
    /// Set for the program inside to the name of its namespace. A variable alone would not do: whoever set it by mistake
    /// would have the machine's own packets dropped.
    private static let mark = "GAIA_CHAOS_NAMESPACE"

    private static var present: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")) ?? ""
    }

    public static var isEntered: Bool { ProcessInfo.processInfo.environment[mark] == present }

    /// Becomes the same program in a new namespace.
    ///
    /// - Parameter arguments: without the program's own name.
    /// - Throws: ``ChaosError`` where that is not allowed or the tools are missing; otherwise it does not return.
    public static func enter(executable: String, arguments: [String]) async throws {
        let setUp = "ip link set lo up && iptables --wait --list-rules INPUT >/dev/null"
        do {
            let trial = try ChildProcess.start(
                executable: "unshare", arguments: ["--net", "sh", "-c", setUp], output: .capture)
            let status = await trial.exitStatus()
            guard status.isSuccess else {
                throw ChaosError(trial.capturedOutput.split(separator: "\n").joined(separator: "; "))
            }
        } catch {
            throw ChaosError(
                "node-partition drops packets in a network namespace of its own: run as root, with iproute2 and iptables "
                    + "installed, or leave it out with --without node-partition (\(error))")
        }
        let script = "\(setUp) && \(mark)=$(readlink /proc/self/ns/net) exec \"$0\" \"$@\""
        let words = ["unshare", "--net", "sh", "-c", script, executable] + arguments
        var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        pointers.append(nil)
        execvp("unshare", pointers)
        throw ChaosError("unshare cannot be executed: \(String(cString: strerror(errno)))")
    }

    // MARK: Rules

    /// Lets nothing pass any more between two nodes of one broker, which otherwise go on.
    ///
    /// - Parameter silently: whether packets vanish, as on a line that is cut; otherwise their sender is told at once, as by
    ///   a firewall.
    static func cut(_ one: PrivateBroker, _ other: PrivateBroker, silently: Bool) async throws {
        // The word of the refusal itself has to get through.
        let action =
            silently
            ? ["--jump", "DROP"] : ["!", "--tcp-flags", "RST", "RST", "--jump", "REJECT", "--reject-with", "tcp-reset"]
        for (near, far) in [(one, other), (other, one)] {
            guard let source = near.distributionSource else { throw ChaosError("\(near.nodeName) is in no cluster") }
            let port = "\(far.distributionPort)"
            for match in [
                ["--source", source, "-p", "tcp", "--dport", port],
                ["--destination", source, "-p", "tcp", "--sport", port],
            ] {
                _ = try await rule(["--append", "INPUT"] + match + action)
            }
        }
    }

    /// How many packets have met a rule since the last ``mend()``.
    static func packetsStopped() async throws -> Int {
        try await rule(["--list", "INPUT", "--verbose", "--numeric", "--exact"]).split(separator: "\n").dropFirst(2)
            .compactMap { $0.split(separator: " ").first.flatMap { Int($0) } }.reduce(0, +)
    }

    static func mend() async throws { _ = try await rule(["--flush", "INPUT"]) }

    private static func rule(_ arguments: [String]) async throws -> String {
        guard isEntered else { throw ChaosError("this process is not in a network namespace of its own") }
        let iptables = try ChildProcess.start(
            executable: "iptables", arguments: ["--wait"] + arguments, output: .capture)
        let status = await iptables.exitStatus()
        guard status.isSuccess else { throw ChaosError("iptables \(status): \(iptables.capturedOutput)") }
        return iptables.standardOutput
    }
}

import AMQPClient
import ArgumentParser
import FleetConfiguration
import FleetDoctor
import FleetModel
import FleetService
import Foundation

extension Fault: ExpressibleByArgument {}

/// `gaia doctor`
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Look at the deployment and name what is wrong with it, with the remedy.",
        discussion: """
            It declares nothing and changes nothing. With management.url (GAIA_MANAGEMENT_URL) it sees most; without it \
            what AMQP and SQL show. docs/doctor.md and --list explain the codes.

            Exit status 0 when there is no error, 1 when there is one (with --strict also for warnings), 69 when a server \
            cannot be reached.
            """)

    @OptionGroup var settings: SettingsOptions
    @OptionGroup var subsystems: SubsystemOptions
    @Option(name: .long, parsing: .upToNextOption, help: ArgumentHelp("Only these faults.", valueName: "code"))
    var only: [Fault] = []
    @Option(name: .long, parsing: .upToNextOption, help: ArgumentHelp("Not these faults.", valueName: "code"))
    var without: [Fault] = []
    @Flag(name: .long, help: "Let warnings count as errors.")
    var strict = false
    @Flag(name: .long, help: "List all faults that are looked for.")
    var list = false
    @Flag(name: .long, help: "Print JSON.")
    var json = false

    func run() async throws {
        try await report {
            if list { return try listFaults() }
            let loaded = try settings.load()
            let examination = await FleetDoctor(try await configuration(loaded), logger: loaded.logger).examine()
                .keeping { (only.isEmpty || only.contains($0)) && !without.contains($0) }
            let view = ExaminationView(examination)
            Terminal.print(json ? try Terminal.json(view) : view.text)
            if !examination.unreachable.isEmpty { throw ExitCode(FailureStatus.unavailable.rawValue) }
            guard examination.findings.contains(where: { strict || $0.fault.level == .error }) else { return }
            throw ExitCode(FailureStatus.workFailed.rawValue)
        }
    }

    private func configuration(_ loaded: FleetConfiguration) async throws -> DoctorConfiguration {
        let amqp = try loaded.amqp("gaia doctor")
        // Directories and programs that the settings name need not be on this machine; the times they give count.
        var described = try FleetConfiguration(environment: [:])
        (described.process.timeoutMax, described.process.graceMax) = (
            loaded.process.timeoutMax, loaded.process.graceMax
        )
        let runs = try await Catalogue.withDefinitions(described) { definitions in
            Dictionary(definitions.map { ($0.type.subsystem, $0.timeout) }, uniquingKeysWith: max)
        }
        return DoctorConfiguration(
            amqp: amqp, database: try loaded.database("gaia doctor"),
            management: try loaded.management(fallback: amqp),
            subsystems: subsystems.all, longestRuns: runs)
    }

    private func listFaults() throws {
        if json {
            let faults = Fault.allCases.map { ["code": $0.code, "level": $0.level.rawValue, "meaning": $0.summary] }
            return Terminal.print(try Terminal.json(faults))
        }
        Terminal.print(
            Terminal.table(
                ["code", "level", "meaning"], Fault.allCases.map { [$0.code, $0.level.rawValue, $0.summary] }))
    }
}

extension FleetConfiguration {
    /// Where the broker's management plugin is; nil when none is configured.
    func management(fallback: AMQPConfiguration) throws -> ManagementAddress? {
        guard let managementURL else { return nil }
        do { return try ManagementAddress(url: managementURL, fallback: fallback) } catch {
            throw ConfigurationError("management.url (\(Setting.variable(of: "management.url"))): \(error)")
        }
    }
}

/// An examination as it is printed.
struct ExaminationView: Encodable {
    struct Entry: Encodable { let code, level, place, message, remedy: String }

    let seen: [String]
    let findings: [Entry]
    let unseen: [String]
    let unreachable: [String]

    init(_ examination: Examination) {
        seen = examination.seen
        findings = examination.findings.map {
            Entry(
                code: $0.fault.code, level: $0.fault.level.rawValue, place: $0.place, message: $0.message,
                remedy: $0.remedy)
        }
        unseen = examination.unseen
        unreachable = examination.unreachable
    }

    /// What fits a terminal of common width.
    private static let columns = 110

    var text: String {
        var parts: [String] = []
        if !seen.isEmpty { parts.append(seen.joined(separator: "\n")) }
        parts += groups.map { group in
            let finding = group[0]
            var lines = [
                "\(finding.level.padding(toLength: 9, withPad: " ", startingAt: 0))\(finding.code)  \(finding.place)",
                Self.wrapped(finding.message, "         ", "         "),
                Self.wrapped(finding.remedy, "         → ", "           "),
            ]
            if group.count > 1 {
                let places = group.dropFirst().map(\.place).joined(separator: ", ")
                lines.append(Self.wrapped("Likewise: \(places)", "         ", "           "))
            }
            return lines.joined(separator: "\n")
        }
        if !unseen.isEmpty {
            parts.append(
                "not looked at\n" + unseen.map { Self.wrapped($0, "         ", "           ") }.joined(separator: "\n"))
        }
        if !unreachable.isEmpty {
            parts.append(
                unreachable.map { Self.wrapped("cannot be reached: \($0)", "", "         ") }.joined(separator: "\n"))
        }
        parts.append(summary)
        return parts.joined(separator: "\n\n")
    }

    /// Those that differ in nothing but the place stand together.
    private var groups: [[Entry]] {
        var groups: [[Entry]] = []
        var indices: [[String]: Int] = [:]
        for finding in findings {
            let name = finding.place.split(separator: " ").last.map(String.init) ?? ""
            let kind = [finding.code] + [finding.message, finding.remedy].map { $0.replacing(name, with: "…") }
            if let index = indices[kind] {
                groups[index].append(finding)
            } else {
                indices[kind] = groups.count
                groups.append([finding])
            }
        }
        return groups
    }

    private var summary: String {
        guard !findings.isEmpty else {
            return unreachable.isEmpty ? "no fault found" : "no fault found in what could be reached"
        }
        let errors = findings.count { $0.level == Level.error.rawValue }
        let warnings = findings.count - errors
        return [(errors, "error"), (warnings, "warning")].filter { $0.0 > 0 }
            .map { "\($0) \($1)\($0 == 1 ? "" : "s")" }.joined(separator: ", ")
    }

    /// Text in lines that are no longer than a terminal; a word that is longer stays whole, to be copied.
    private static func wrapped(_ text: String, _ first: String, _ next: String) -> String {
        var lines: [String] = []
        var line = first
        var isEmpty = true
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            if !isEmpty, line.count + 1 + word.count > columns {
                lines.append(line)
                (line, isEmpty) = (next, true)
            }
            line += isEmpty ? String(word) : " \(word)"
            isEmpty = false
        }
        lines.append(line)
        return lines.joined(separator: "\n")
    }
}

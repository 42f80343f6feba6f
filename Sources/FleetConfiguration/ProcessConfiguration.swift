/// The settings `process.…`, as they were read. What they mean, the subsystem says.
public struct ProcessConfiguration: Sendable {
    public var executables: [String]
    public var variables: [String]
    public var user: String
    public var timeoutMax: Duration
    public var graceMax: Duration
    public var outputBytesMax: Int
    public var memoryBytesMax: Int
    public var addressSpaceBytesMax: Int
    public var cpuSecondsMax: Int
    public var fileBytesMax: Int
    public var openFilesMax: Int
    public var processesMax: Int
    public var userProcessesMax: Int
    public var niceness: Int

    init(_ values: SettingValues) throws(ConfigurationError) {
        executables = values.list("process.executables")
        variables = values.list("process.variables")
        user = values.text("process.user") ?? ""
        timeoutMax = .milliseconds(try values.number("process.timeout_ms"))
        graceMax = .milliseconds(try values.number("process.grace_ms"))
        outputBytesMax = try values.number("process.output_bytes")
        memoryBytesMax = try values.number("process.memory_bytes")
        addressSpaceBytesMax = try values.number("process.address_bytes")
        cpuSecondsMax = try values.number("process.cpu_seconds")
        fileBytesMax = try values.number("process.file_bytes")
        openFilesMax = try values.number("process.open_files")
        processesMax = try values.number("process.processes")
        userProcessesMax = try values.number("process.user_processes")
        niceness = try values.number("process.niceness")
    }
}

import ProcessKeeper

/// What a ``ProcessSubsystem`` lets jobs run, and how much of it. Each has a setting `process.…` that says the same.
public struct ProcessSettings: Sendable {
    /// Programs by absolute path. None: nothing may be run.
    public var executables: [String] = []
    /// Environment variables that a job may set. The worker's own are never passed on.
    public var variables: Set<String> = []
    /// Whom programs run as when the worker is root; as the worker itself when nil, or when it is not root.
    public var user: String? = "nobody"
    /// The longest that a program may run, whatever the job says, and the longest between SIGTERM and SIGKILL.
    public var timeoutMax: Duration = .seconds(3_600)
    public var graceMax: Duration = .seconds(60)
    /// Bytes kept of standard output, and of standard error.
    public var outputBytesMax = 64 << 10
    /// Resident memory of all processes of a job, and address space of each.
    public var memoryBytesMax = 1 << 30
    public var addressSpaceBytesMax = 4 << 30
    /// Processor seconds of each process.
    public var cpuSecondsMax = 3_600
    /// The largest file that a program writes.
    public var fileBytesMax = 1 << 30
    /// Descriptors of each process.
    public var openFilesMax = 256
    /// Processes of a job at once.
    public var processesMax = 64
    /// Processes and threads of the user on the whole machine: what bounds a fork bomb before it is noticed.
    public var userProcessesMax = 1_024
    /// How far behind others programs stand in line for the processor, 0 to 19.
    public var niceness = 5

    public init() {}

    /// What a job asks for, as far as it may have it.
    func limits(_ wanted: RunParameters.Limits?) -> ProcessLimits {
        func least(_ wanted: Int?, _ most: Int) -> Int { min(wanted ?? most, most) }
        return ProcessLimits(
            addressSpaceBytes: addressSpaceBytesMax, cpuSeconds: least(wanted?.cpuSeconds, cpuSecondsMax),
            fileBytes: least(wanted?.fileBytes, fileBytesMax), openFiles: least(wanted?.openFiles, openFilesMax),
            userProcesses: userProcessesMax, treeMemoryBytes: least(wanted?.memoryBytes, memoryBytesMax),
            treeProcesses: least(wanted?.processes, processesMax))
    }
}

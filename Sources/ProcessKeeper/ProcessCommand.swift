/// What shall run, with everything that bounds it.
public struct ProcessCommand: Sendable {
    public var executable: ExecutableFile
    /// Without the program's own name.
    public var arguments: [String]
    /// All of it.
    public var environment: [String: String]
    /// Where it runs, entered as the account that it runs as; the root directory when nil.
    public var directory: OpenDirectory?
    /// Its standard input; empty when nil.
    public var input: [UInt8]?
    public var output: OutputPlan
    public var error: OutputPlan
    /// A socket that is both its standard input and its standard output, in place of `input` and `output`.
    public var channel: HandedSocket?
    /// Until it is told to end.
    public var timeout: Duration
    /// From being told to end (SIGTERM) to being killed.
    public var grace: Duration
    public var limits: ProcessLimits
    /// Whom it runs as; this process's own user when nil.
    public var account: Account?
    /// Added to ours, 0 to 19.
    public var niceness: Int
    /// Up to 1000: how much sooner than others the kernel ends it when memory runs out.
    public var memoryPressureScore: Int

    public init(
        _ executable: ExecutableFile, _ arguments: [String] = [], environment: [String: String] = [:],
        directory: OpenDirectory? = nil, input: [UInt8]? = nil, output: OutputPlan = .capture(bytesMax: 64 << 10),
        error: OutputPlan = .capture(bytesMax: 64 << 10), channel: HandedSocket? = nil,
        timeout: Duration = .seconds(60),
        grace: Duration = .seconds(5), limits: ProcessLimits = ProcessLimits(), account: Account? = nil,
        niceness: Int = 0, memoryPressureScore: Int = 0
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
        self.input = input
        self.output = output
        self.error = error
        self.channel = channel
        self.timeout = timeout
        self.grace = grace
        self.limits = limits
        self.account = account
        self.niceness = niceness
        self.memoryPressureScore = memoryPressureScore
    }

    /// The longest single argument or variable (`NAME=value`) that Linux takes, in bytes without the closing NUL.
    public static let textBytesMax = (128 << 10) - 1
}

/// What becomes of what a process writes.
public enum OutputPlan: Sendable {
    /// The first bytes are kept, the rest are counted.
    case capture(bytesMax: Int)
    /// Each piece is handed over, and no more is read until that returns: the pipe fills and the process waits. What it
    /// throws ends the process, and the run with that error.
    case stream(@Sendable ([UInt8]) async throws -> Void)
}

/// What a process and the tree of all that it starts may use; nil sets no limit.
public struct ProcessLimits: Sendable, Hashable {
    /// Of each process; its allocations fail beyond.
    public var addressSpaceBytes: Int?
    /// Of each process; it is ended by SIGXCPU beyond.
    public var cpuSeconds: Int?
    /// Of each file written; SIGXFSZ beyond.
    public var fileBytes: Int?
    /// Of each process.
    public var openFiles: Int?
    /// Processes and threads of the account on the whole machine; forks fail beyond. The kernel exempts root.
    public var userProcesses: Int?
    /// Resident memory of the whole tree, what is shared counted in each; looked at from time to time, killed beyond.
    public var treeMemoryBytes: Int?
    /// Processes of the tree at once; looked at from time to time, killed beyond.
    public var treeProcesses: Int?

    public init(
        addressSpaceBytes: Int? = nil, cpuSeconds: Int? = nil, fileBytes: Int? = nil, openFiles: Int? = nil,
        userProcesses: Int? = nil, treeMemoryBytes: Int? = nil, treeProcesses: Int? = nil
    ) {
        self.addressSpaceBytes = addressSpaceBytes
        self.cpuSeconds = cpuSeconds
        self.fileBytes = fileBytes
        self.openFiles = openFiles
        self.userProcesses = userProcesses
        self.treeMemoryBytes = treeMemoryBytes
        self.treeProcesses = treeProcesses
    }
}

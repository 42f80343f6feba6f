import FleetModel
import RootedFiles

/// Puts a file in its place whole, once for each job: what writing, copying, and moving between file systems share.
struct Placing: Sendable {
    let path: RootedPath
    let when: AtomicFile.Placement
    /// Of a file that gives way when nil.
    let mode: UInt32?
    /// Whether missing directories are made.
    let parents: Bool
    /// Tells this effect of this job from all others.
    let mark: FileMark
    let context: JobContext

    /// - Parameter fill: writes on with each call, until it says that it is done.
    /// - Returns: false when an earlier attempt of the job put the file there already.
    /// - Throws: ``FileError`` when the place is not as it should be; `ClaimLost` before anything shows.
    func run(
        _ files: FileAccess, fill: @escaping @Sendable (inout AtomicFile) throws -> FileThreads.Step<Void>
    ) async throws -> Bool {
        guard let draft = try await files.threads.run({ try begin(files) }) else { return false }
        do {
            try await files.threads.inSteps {
                try draft.use { file -> FileThreads.Step<Void> in
                    guard case .done = try fill(&file) else { return .more }
                    try file.setMark(mark)
                    if files.settings.syncs { try file.sync() }
                    return .done(())
                }
            }
            try await context.confirmClaim()
            try await files.threads.run { try draft.use { try $0.place(when, syncing: files.settings.syncs) } }
        } catch {
            draft.use { $0.discard() }
            throw error
        }
        return true
    }

    /// Opens the temporary; nil when the job's file is in place already.
    private func begin(_ files: FileAccess) throws -> StepState<AtomicFile>? {
        guard let name = path.name else { throw FileError(.isDirectory, "\(path)", "is the root itself") }
        let directory = try files.roots.parent(of: path, for: .writing, creating: parents)
        if let present = try directory.status(name), present.kind == .file {
            // A first attempt has nothing to find, unless the key was used before and has been forgotten.
            if context.token > 1, try directory.file(name).hasMark(mark) { return nil }
            // Before a gigabyte is copied in vain.
            if when == .absent { throw FileError(.exists, "\(path)", "exists already") }
        }
        return StepState(
            try AtomicFile.open(
                name, in: directory, writer: FileWriter(key: context.key, token: context.token), mode: mode))
    }
}

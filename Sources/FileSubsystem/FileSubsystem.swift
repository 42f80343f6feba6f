import FleetModel
import Metrics
import RootedFiles

/// # FileSubsystem
///
/// Files as jobs: parameters and handlers over ``RootedFiles`` and ``DocumentStreams``. Queues, claims and retries are the
/// worker's.
///
/// ```
///  file.read.v1 … ──▶ FileJob ──▶ FileAccess ──▶ FileThreads   (small steps, in turns)
///  file.parse-… ────────┘                  └───▶ parse threads (documents; never in the way of small reads)
///        └─ FileError, DocumentFlaw ──▶ JobFailure `file.…`
/// ```
///
/// Every job bears repetition. What is written whole appears by one rename, which a stale attempt is kept from by
/// `confirmClaim`; a file tells by its mark which job put it there; appending keeps a journal. `docs/jobs/file.md` says
/// what each type takes and gives.
public struct FileSubsystem: Subsystem {
    let access: FileAccess

    /// - Parameter metrics: where its figures go.
    /// - Throws: a root is missing or named twice.
    public init(
        _ settings: FileSettings, metrics: any MetricsFactory = MetricsSystem.factory
    ) throws(FileError) {
        access = FileAccess(
            roots: try FileRoots(
                settings.roots,
                rules: FileRoots.Rules(
                    followsSymlinks: settings.followsSymlinks, allowsHardLinks: settings.allowsHardLinks)),
            threads: FileThreads(named: "gaia-files", count: settings.threads, queueMax: settings.queueMax),
            parseThreads: FileThreads(named: "gaia-parse", count: settings.parseThreads, queueMax: settings.queueMax),
            settings: settings, metrics: FileMetrics(metrics))
    }

    /// For other subsystems, which put large results into files beneath the same roots.
    public var roots: FileRoots { access.roots }
    public var threads: FileThreads { access.threads }

    /// The kinds of job that this subsystem runs.
    public var definitions: [JobDefinition] {
        [
            access.definition(ReadParameters.self), access.definition(WriteParameters.self),
            access.definition(AppendParameters.self), access.definition(CopyParameters.self),
            access.definition(MoveParameters.self), access.definition(DeleteParameters.self),
            access.definition(ListParameters.self), access.definition(StatParameters.self),
            access.definition(HashParameters.self), access.definition(ParseJSONParameters.self),
            access.definition(ParseXMLParameters.self),
        ]
    }

    /// Finishes what is under way and ends the threads.
    public func close() async {
        await access.threads.close()
        await access.parseThreads.close()
    }
}

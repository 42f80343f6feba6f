import CurlClient
import FleetModel
import Metrics
import NetworkClient
import RootedFiles

/// # NetworkSubsystem
///
/// Names, reachability and files of other people's servers, as jobs. It brings parameters and handlers; queues, claims and
/// retries are the worker's.
///
/// ```
///  network.resolve.v1  ──▶ Resolver ──▶ cache with TTLs, else name servers ──▶ ResolveOutput
///
///  network.probe.v1    ──▶ Resolver ──▶ allowed address ──▶ Prober: connect, TLS ──▶ ProbeOutput
///
///  network.download.v1 ──▶ a place of the fleet's, and of this worker's
///                            └─▶ CurlMulti ── pieces ──▶ bandwidth: the job's, then the fleet's
///                                  ▲  broken: on from there       └─▶ partial file ──▶ checksum ──▶ claim ──▶ rename
/// ```
///
/// A worker holds one `NetworkSubsystem`, and through it one cache of answers, one thread that waits for sockets, and one
/// pool of connections.
public struct NetworkSubsystem: Subsystem {
    let settings: NetworkSettings
    let metrics: NetworkMetrics
    let readiness: Readiness
    let resolver: Resolver
    let prober: Prober
    let curl: CurlMulti
    let roots: FileRoots
    let threads: FileThreads
    /// Probes and downloads of this worker.
    let gate: Gate
    let partials: PartialFiles

    /// - Parameters:
    ///   - settings: what it allows itself.
    ///   - roots: the directories that downloads may go to.
    ///   - threads: where files are written; the caller's to close, after ``close()``.
    ///   - metrics: where counts go.
    /// - Throws: the certificate authorities of the settings cannot be read.
    public init(
        _ settings: NetworkSettings = NetworkSettings(), roots: FileRoots, threads: FileThreads,
        metrics factory: any MetricsFactory = MetricsSystem.factory
    ) throws {
        let metrics = NetworkMetrics(factory)
        self.settings = settings
        self.metrics = metrics
        self.roots = roots
        self.threads = threads
        let readiness = Readiness()
        self.readiness = readiness
        resolver = Resolver(
            settings.resolver { metrics.count($0) }, readiness)
        prober = Prober(readiness, try TLSContext(caFile: settings.caFile))
        curl = CurlMulti(
            CurlConfiguration(
                maxConnections: settings.connections, maxConnectionsPerHost: settings.connections,
                maxInFlight: settings.connections, resolveGuard: CurlConfiguration.guarding(by: settings.addresses)))
        gate = Gate(places: settings.connections, waitingMax: settings.waitingMax)
        partials = PartialFiles(roots: roots, threads: threads, keptFor: settings.partialsKeptFor)
    }

    /// The kinds of job that this subsystem runs.
    public var definitions: [JobDefinition] { [resolve, probe, download] }

    /// Ends all that is under way and closes the connections.
    public func close() async {
        await curl.close()
        await readiness.close()
    }
}

import FleetConfiguration
import FleetModel
import FleetObservability
import FleetTracing
import Foundation
import Logging
import Tracing

extension FleetConfiguration {
    var logger: Logger {
        let format = FleetLogHandler.Format(rawValue: logFormat) ?? .text
        var logger = Logger(label: "gaia") { FleetLogHandler($0, format) }
        logger.logLevel = Logger.Level(rawValue: logLevel) ?? .info
        return logger
    }

    /// Has this process make spans and send them; to be called once, before what is to make them. Nil when no collector is
    /// named.
    ///
    /// - Parameters:
    ///   - kind: what the process is, such as `worker`.
    ///   - name: its own, as it is called in tables and logs.
    func tracing(_ kind: String, _ name: String, _ registry: MetricsRegistry) throws -> SpanExporter? {
        guard let traceURL else { return nil }
        guard let url = URL(string: traceURL), ["http", "https"].contains(url.scheme), url.host != nil else {
            throw ConfigurationError(
                "trace.url (GAIA_TRACE_URL) must be the collector's address for traces, such as "
                    + "http://127.0.0.1:4318/v1/traces")
        }
        let process = ProcessInfo.processInfo
        let exporter = SpanExporter(
            TracingConfiguration(
                url: traceURL, token: try secret("trace", traceToken, traceTokenFile), ratio: traceRatio,
                resource: [
                    "service.name": "gaia-\(kind)", "service.namespace": "gaia", "service.instance.id": name,
                    "service.version": FleetModel.version, "host.name": process.hostName,
                    "process.pid": "\(process.processIdentifier)", "telemetry.sdk.name": "gaia",
                    "telemetry.sdk.language": "swift",
                ]), logger: logger, metrics: registry)
        InstrumentationSystem.bootstrap(exporter.tracer)
        return exporter
    }
}

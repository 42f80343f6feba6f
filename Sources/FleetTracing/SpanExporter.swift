import CoreMetrics
import CurlClient
import FleetModel
import Foundation
import Logging
import ServiceLifecycle
import Tracing

/// Where spans go, and whose they are.
public struct TracingConfiguration: Sendable {
    /// The collector's address for traces, such as `http://127.0.0.1:4318/v1/traces`.
    public var url: String
    /// Shown as `Authorization: Bearer …`.
    public var token: String?
    /// Of the traces that begin here how many are recorded, from 0 to 1.
    public var ratio: Double
    /// What the process is and how it is called, by OpenTelemetry's names (`service.name` …).
    public var resource: [String: String]
    /// A batch that is not full goes out after so long.
    public var interval: Duration = .seconds(5)
    /// Spans that wait for a collector, at most.
    public var queueMax = 2_048
    /// Spans in one request.
    public var batchMax = 512
    /// For one request, and for all that is left when the process shuts down.
    public var patience: Duration = .seconds(10)

    public init(url: String, token: String? = nil, ratio: Double = 1, resource: [String: String]) {
        self.url = url
        self.token = token
        self.ratio = ratio
        self.resource = resource
    }
}

/// Sends spans to a collector as OTLP over HTTP, in JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
///
/// In a service group it stands before all others, so that it is shut down after them. What a collector does not take for
/// now (429, 502, 503, 504, no connection) is sent again, with a pause that grows; what it refuses is given up.
public final class SpanExporter: Service {
    /// What makes the spans; for `InstrumentationSystem.bootstrap(_:)`.
    public let tracer: FleetTracer
    private let configuration: TracingConfiguration
    private let queue: SpanQueue
    private let http: CurlMulti
    private let resource: OTLP.Resource
    private let sent, refused, dropped: Counter
    private let logger: Logger

    public init(_ configuration: TracingConfiguration, logger: Logger, metrics: (any MetricsFactory)? = nil) {
        let metrics = metrics ?? MetricsSystem.factory
        func counter(_ outcome: String) -> Counter {
            Counter(label: "gaia_trace_spans_total", dimensions: [("outcome", outcome)], factory: metrics)
        }
        (sent, refused, dropped) = (counter("sent"), counter("refused"), counter("dropped"))
        self.configuration = configuration
        self.logger = logger
        queue = SpanQueue(limit: configuration.queueMax, batch: configuration.batchMax, dropped: dropped)
        tracer = FleetTracer(ratio: configuration.ratio, queue: queue)
        http = CurlMulti(CurlConfiguration(maxConnections: 1, userAgent: "gaia"))
        resource = OTLP.Resource(configuration.resource)
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown { await self.send() }
        // By now nobody makes spans any more. What is left gets its time, even when everything else was cancelled.
        let rest = Task { await self.sendRest() }
        let alarm = Task {
            try await Task.sleep(for: configuration.patience)
            rest.cancel()
        }
        await rest.value
        alarm.cancel()
        await http.close()
    }

    private func send() async {
        while !Task.isCancelled {
            await queue.wait(atMost: configuration.interval)
            while !Task.isCancelled, case let batch = queue.take(), !batch.isEmpty {
                if await !deliver(batch) { queue.putBack(batch) }
            }
        }
    }

    private func sendRest() async {
        while case let batch = queue.take(), !batch.isEmpty {
            if await !deliver(batch) { dropped.increment(by: batch.count) }
        }
    }

    private enum Answer {
        case taken
        case later(Duration?, String)
        case never(String)
    }

    /// Sends a batch until it is taken or refused.
    ///
    /// - Returns: false when neither has happened because the task was cancelled.
    private func deliver(_ batch: [EndedSpan]) async -> Bool {
        let body: [UInt8]
        do { body = Array(try OTLP.document(batch, resource)) } catch {
            lose(batch.count, "they cannot be written as JSON: \(error)")
            return true
        }
        let patience = Patience(initial: .seconds(1), cap: .seconds(30))
        var failures = 0
        while true {
            // In a task of its own, which ends by its timeout: a request that is cut off half way may have been taken already.
            switch await Task(operation: { await post(body, batch.count) }).value {
            case .taken: return true
            case .never(let reason):
                lose(batch.count, reason)
                return true
            case .later(let wanted, let reason):
                failures += 1
                if failures % 10 == 1 {
                    logger.warning("spans wait for the collector at \(configuration.url): \(reason)")
                }
                do { try await Task.sleep(for: wanted ?? patience.pause(afterFailure: failures)) } catch {
                    return false
                }
            }
        }
    }

    private func lose(_ count: Int, _ reason: String) {
        refused.increment(by: count)
        logger.warning("\(count) spans were not taken by the collector at \(configuration.url): \(reason)")
    }

    private func post(_ body: [UInt8], _ count: Int) async -> Answer {
        var headers = [(name: "Content-Type", value: "application/json")]
        if let token = configuration.token { headers.append(("Authorization", "Bearer \(token)")) }
        let response: CurlResponse
        do {
            response = try await http.perform(
                CurlRequest(
                    method: "POST", url: configuration.url, headers: headers, body: body,
                    timeout: configuration.patience, maxResponseBytes: 64 << 10))
        } catch {
            switch error.kind {
            case .badURL, .badRequest, .protocolNotAllowed, .addressRefused, .tooLarge, .tooManyRedirects:
                return .never("\(error)")
            default: return .later(nil, "\(error)")
            }
        }
        switch response.status {
        case 200...299:
            let turnedDown = min(OTLP.rejected(in: response.body), count)
            sent.increment(by: count - turnedDown)
            if turnedDown > 0 { lose(turnedDown, "it says so in its answer") }
            return .taken
        case 429, 502, 503, 504: return .later(response.retryAfter, "it answered \(response.status)")
        default: return .never("it answered \(response.status)")
        }
    }
}

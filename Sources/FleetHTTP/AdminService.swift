import FleetObservability
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle

/// Where operators and their tools look at a process: health, readiness and metrics.
///
/// ```
///  GET /livez  /liveness     its tasks run                          anyone
///  GET /readyz /readiness    it can do work                         anyone; with ?verbose as below
///  GET /health               every part                             whoever shows the token, if there is one
///  GET /health/{part}
///  GET /metrics              Prometheus' text, or OpenMetrics
///  GET /…                    pages of the process's own
/// ```
///
/// Nothing here tells of a job's payload, and nothing changes anything.
public final class AdminService: Service {
    public struct Configuration: Sendable {
        public var address: HTTPAddress
        /// Needed where others than this machine's users can reach the address.
        public var token: BearerToken?
        /// Of the process, as it is called in tables and logs.
        public var name: String
        /// What the process is, such as `worker`.
        public var kind: String
        public var version: String

        public init(address: HTTPAddress, token: BearerToken?, name: String, kind: String, version: String) {
            self.address = address
            self.token = token
            self.name = name
            self.kind = kind
            self.version = version
        }
    }

    private let configuration: Configuration
    private let listener: Listener
    private let registry: MetricsRegistry
    private let board: HealthBoard
    private let pages: [AdminPage]
    private let onReady: @Sendable (HTTPAddress) -> Void

    /// Scrapers and probes that may be connected at once.
    static let connectionsMax = 64

    /// - Parameter onReady: told the address as soon as it listens.
    public init(
        _ configuration: Configuration, _ registry: MetricsRegistry, _ board: HealthBoard, pages: [AdminPage] = [],
        logger: Logger,
        onReady: @escaping @Sendable (HTTPAddress) -> Void = { _ in }
    ) {
        self.configuration = configuration
        listener = Listener(
            address: configuration.address, connectionsMax: Self.connectionsMax, idleTimeout: .seconds(120),
            name: "administration", logger: logger)
        self.registry = registry
        self.board = board
        self.pages = pages
        self.onReady = onReady
    }

    /// - Throws: ``HTTPListenError``
    public func run() async throws {
        let router = Router()
        for path in ["livez", "liveness"] as [RouterPath] {
            router.get(path) { request, _ in self.liveness(request) }
        }
        for path in ["readyz", "readiness"] as [RouterPath] {
            router.get(path) { request, _ in await self.readiness(request) }
        }
        router.get("health") { request, _ in
            if let refusal = self.refusal(request) { return refusal }
            return self.document(await self.board.report())
        }
        router.get("health/:part") { request, context in
            if let refusal = self.refusal(request) { return refusal }
            let name = context.parameters.get("part") ?? ""
            guard let part = await self.board.report(of: name) else {
                return Self.text(.notFound, "there is no part '\(name.prefix(40))' here; /health lists them\n")
            }
            return Self.json(part.health.status < .fail ? .ok : .serviceUnavailable, HealthDocument.Part(part))
        }
        router.get("metrics") { request, _ in
            if let refusal = self.refusal(request) { return refusal }
            let format = ExpositionFormat(accepting: request.headers[values: .accept])
            return Response(
                status: .ok, headers: [.contentType: format.contentType],
                body: ResponseBody(byteBuffer: ByteBuffer(string: self.registry.exposition(format))))
        }
        for page in pages {
            router.get(RouterPath(page.path)) { request, _ in
                if let refusal = self.refusal(request) { return refusal }
                return await self.answer(page, request)
            }
        }
        try await listener.serve(
            router.buildResponder(), onReady: onReady, onShutdown: { self.board.stage = .stopping })
    }

    // MARK: Answers

    /// That this runs at all is the answer: it needs a thread of those that all tasks need, and nothing else. Neither broker
    /// nor database counts, since to start the process anew would not bring them back.
    private func liveness(_ request: Request) -> Response {
        Self.isVerbose(request)
            ? Self.text(.ok, "[+]tasks ok\nlivez check passed\n") : Self.text(.ok, "ok\n")
    }

    private func readiness(_ request: Request) async -> Response {
        let isVerbose = Self.isVerbose(request)
        if isVerbose, let refusal = refusal(request) { return refusal }
        let report = await board.report()
        let status: HTTPResponse.Status = report.isReady ? .ok : .serviceUnavailable
        guard isVerbose else { return Self.text(status, report.isReady ? "ok\n" : "not ready\n") }
        var lines = [report.stage == .serving ? "[+]stage ok" : "[-]stage \(report.stage)"]
        for part in report.parts {
            let isGood = part.health.status < .fail || !part.isNeeded
            let words = part.health.reason.map { ": \($0)" } ?? ""
            lines.append("[\(isGood ? "+" : "-")]\(part.name) \(part.health.status)\(words)")
        }
        lines.append("readyz check \(report.isReady ? "passed" : "failed")")
        return Self.text(status, lines.joined(separator: "\n") + "\n")
    }

    private func document(_ report: HealthReport) -> Response {
        Self.json(
            report.status < .fail ? .ok : .serviceUnavailable,
            HealthDocument(
                status: report.status.rawValue, process: configuration.kind, name: configuration.name,
                version: configuration.version, stage: "\(report.stage)", uptime: report.uptime / .seconds(1),
                parts: Dictionary(uniqueKeysWithValues: report.parts.map { ($0.name, HealthDocument.Part($0)) })))
    }

    private func answer(_ page: AdminPage, _ request: Request) async -> Response {
        let query = Dictionary(request.uri.queryParameters.map { (String($0.key), String($0.value)) }) { $1 }
        var response: Response
        do {
            let answer = try await request.body.consumeWithCancellationOnInboundClose { _ in
                try await cancelWhenGracefulShutdown { try await page.answer(query) }
            }
            response = Self.text(.init(code: answer.status), answer.text)
            response.headers[.contentType] = answer.contentType
            for (name, value) in answer.headers {
                if let name = HTTPField.Name(name) { response.headers[name] = value }
            }
        } catch is CancellationError {
            response = Self.text(.serviceUnavailable, "this process is told to stop\n")
        } catch {
            response = Self.text(.internalServerError, "\(error)\n")
        }
        // To hear of the client's end, what came behind the request was read.
        response.headers[.connection] = "close"
        return response
    }

    private func refusal(_ request: Request) -> Response? {
        guard let token = configuration.token, token.verdict(on: request.headers) != .shown else { return nil }
        var response = Self.text(
            .unauthorized, "show the token of admin.token or admin.token_file: Authorization: Bearer …\n")
        response.headers[.wwwAuthenticate] = "Bearer"
        return response
    }

    private static func isVerbose(_ request: Request) -> Bool { request.uri.queryParameters["verbose"] != nil }

    private static func text(_ status: HTTPResponse.Status, _ text: String) -> Response {
        Response(
            status: status, headers: [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    private static func json(_ status: HTTPResponse.Status, _ document: some Encodable) -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        // Numbers, texts and flags: nothing here can fail to be encoded but a number that is none, which no part tells.
        guard var data = try? encoder.encode(document) else {
            return text(.internalServerError, "the health of this process cannot be written as JSON\n")
        }
        data.append(UInt8(ascii: "\n"))
        return Response(
            status: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: data)))
    }
}

/// A report as it is sent.
private struct HealthDocument: Encodable {
    struct Part: Encodable {
        let part: HealthReport.Part

        init(_ part: HealthReport.Part) { self.part = part }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            let health = part.health
            try container.encode(health.status.rawValue, forKey: Key("status"))
            try container.encode(part.isNeeded, forKey: Key("needed"))
            try container.encodeIfPresent(health.reason, forKey: Key("reason"))
            try container.encodeIfPresent(
                health.lastSuccess.map { Self.rounded((.now - $0) / .seconds(1)) }, forKey: Key("last_success_age_s"))
            for (name, fact) in health.facts {
                switch fact {
                case .number(let number): try container.encode(Self.rounded(number), forKey: Key(name))
                case .text(let text): try container.encode(text, forKey: Key(name))
                case .flag(let flag): try container.encode(flag, forKey: Key(name))
                }
            }
        }

        private static func rounded(_ number: Double) -> Double { (number * 1_000).rounded() / 1_000 }
    }

    struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    let status, process, name, version, stage: String
    let uptime: Double
    let parts: [String: Part]

    enum CodingKeys: String, CodingKey {
        case status, process, name, version, stage, parts
        case uptime = "uptime_s"
    }
}

import CurlClient
import FleetModel
import FleetObservability
import FoundationEssentials
import RootedFiles
import Tracing

/// Makes one call, for whichever kind of job.
///
/// ```
///  turn (HostGate) ▶ breaker ▶ another worker's hint ▶ the fleet's limits ▶ CurlMulti ▶ ResponseBody ▶ output
///   ▲                   │ open        │ closed                │ none left       │            │
///   │                   └─────────────┴── throttled ◀─────────┘                 ├─ failed ───┴─▶ JobFailure, by kind
///   └──────────────── everything given back, then the same for the next host ───┘ redirect
///  after each hop: breaker and metrics learn how it ended; Retry-After closes the host to the whole fleet
/// ```
struct APICaller: Sendable {
    let curl: CurlMulti
    let gate: HostGate
    let breakers: BreakerTable
    let settings: APISettings
    /// Where large bodies go; nowhere when nil.
    let results: ResultFiles?
    let metrics: APIMetrics

    /// A timeout counts against a host only if the call gave it that long.
    private static let timeoutCountsFrom = Duration.seconds(1)
    /// Bytes that gather for a file that is slower than its server.
    private static let receiveWindow = 64 << 10

    /// - Parameters:
    ///   - key: stable over attempts: the service's idempotency key, and what a file is named after.
    ///   - inlineBytesMax: of a body in the output.
    func call(
        _ parameters: RequestParameters, key: String, inlineBytesMax: Int, _ context: JobContext
    ) async throws -> RequestOutput {
        let begin = ContinuousClock.now
        let result: Result<RequestOutput, any Error>
        do {
            result = .success(try await answered(parameters, key: key, inlineBytesMax: inlineBytesMax, context))
        } catch {
            result = .failure(error)
        }
        metrics.ended(result.map { _ in }, after: ContinuousClock.now - begin)
        metrics.note(curl.statistics, gate.load, of: settings.connections, breakers.counts())
        return try result.get()
    }

    /// What stays the same over all hops of a call.
    private struct Call {
        let inlineBytesMax: Int
        let place: ResponseBody.Place?
        let expects: @Sendable (Int) -> Bool
        let context: JobContext
    }

    /// What became of one hop.
    private enum HopEnd {
        case answer(RequestOutput)
        case redirect(RedirectTrail)
    }

    /// Goes from hop to hop. Each is asked for as if it were a call of its own, since it is one to its host; and none holds
    /// anything while the next one waits, so that hosts which lead to each other cannot lock each other out.
    private func answered(
        _ parameters: RequestParameters, key: String, inlineBytesMax: Int, _ context: JobContext
    ) async throws -> RequestOutput {
        let call = Call(
            inlineBytesMax: inlineBytesMax, place: try place(parameters, key: key, context),
            expects: { [expected = parameters.expectedStatus] status in
                expected?.contains(status) ?? (200...299).contains(status)
            }, context: context)
        let request = try request(parameters, key: key, context)
        var trail: RedirectTrail
        do throws(CurlError) { trail = try RedirectTrail(request) } catch { throw JobFailure(error) }
        var spent = Duration.zero
        while true {
            switch try await admitted(trail, &spent, call) {
            case .answer(let output): return output
            case .redirect(let next): trail = next
            }
        }
    }

    /// Takes everything that a hop needs before it may go out, and gives it back.
    private func admitted(_ trail: RedirectTrail, _ spent: inout Duration, _ call: Call) async throws -> HopEnd {
        let (service, context) = (trail.url.authority, call.context)
        let turn = try await gate.enter(service)
        defer { gate.leave(turn) }

        let pass: CircuitBreaker.Pass
        switch breakers.admit(service) {
        case .go(let granted): pass = granted
        case .wait(let pause): throw Self.circuitOpen(service, pause)
        }
        var end = CircuitBreaker.CallEnd.nothing
        defer {
            if breakers.end(service, pass, end) == .opened {
                metrics.breakerOpened()
                // A hint to the other workers, who may know better: see heed(_:_:_:).
                context.limits.close(LimitName.breaker(service), for: settings.breaker.coolDown)
            }
        }
        if !pass.isProbe { try await heed(service, context) }
        let limit = LimitName.host(trail.url.host)
        try await context.limits.spend(1, of: LimitName.all, within: LimitBound.waitDefault)
        try await context.limits.spend(1, of: limit, within: LimitBound.waitDefault)
        return try await context.limits.withPlace(limit) {
            try await exchange(trail, &spent, call, limit, &end)
        }
    }

    /// Another worker has found the host broken. That may be its own network, so a worker whose calls succeed goes on.
    private func heed(_ service: String, _ context: JobContext) async throws {
        do {
            try await context.limits.spend(1, of: LimitName.breaker(service), within: .zero)
        } catch LimitError.closed(_, let pause) {
            guard !breakers.isProvenWell(service) else { return }
            throw Self.circuitOpen(service, pause)
        } catch is LimitError {
            // A hint that cannot be had is none.
        }
    }

    private static func circuitOpen(_ service: String, _ pause: Duration) -> JobFailure {
        JobFailure(
            // Not all at once when it is over.
            .throttled(retryAfter: max(pause, .milliseconds(100)) * Double.random(in: 1...1.25)),
            code: "api.circuit-open",
            message: "calls to \(service) failed of late; it is left alone for another \(pause)")
    }

    /// - Parameter spent: of the call's time, by the hops so far.
    private func exchange(
        _ trail: RedirectTrail, _ spent: inout Duration, _ call: Call, _ limit: String,
        _ end: inout CircuitBreaker.CallEnd
    ) async throws -> HopEnd {
        var request = trail.step
        // With nothing left it ends as any call that takes too long.
        request.timeout = max(request.timeout - spent, .milliseconds(1))
        let body = ResponseBody(
            trail: trail, hasBody: request.method != "HEAD", inlineBytesMax: call.inlineBytesMax, place: call.place,
            expects: call.expects)
        let span = Self.span(of: &request, trail, call.context)
        do {
            var response: CurlResponse?
            let begin = ContinuousClock.now
            defer { spent += ContinuousClock.now - begin }
            do {
                response = try await curl.perform(request) { try await body.take($0) }
            } catch is ResponseBody.Enough {}
            if let status = response?.status ?? body.head?.status { Self.end(span, status) }
            if let next = body.next {
                end = .success
                return .redirect(next)
            }
            if let head = body.head, !body.isExpected {
                end = head.status >= 500 && head.retryAfter == nil ? .failure : .success
                if [429, 503].contains(head.status), let pause = head.retryAfter, pause > .zero {
                    metrics.retryAfterHonoured()
                    call.context.limits.close(limit, for: pause)
                }
                throw JobFailure(unexpected: head, excerpt: body.excerpt)
            }
            guard var response else { preconditionFailure("only what was not expected is cut short") }
            end = .success
            let content = try await body.finish { try await call.context.confirmClaim() }
            if case .file(let file) = content { metrics.wroteFile(file.bytes) }
            response.redirects = trail.redirects
            response.timing.total += spent
            return .answer(RequestOutput(response, content))
        } catch {
            await body.abandon()
            if let error = error as? CurlError { end = Self.verdict(error, request) }
            // Ignored where the answer has ended it.
            span.fail((error as? CurlError)?.kind.code ?? "\(type(of: error))")
            throw Self.failure(error, isFile: call.place != nil)
        }
    }

    /// The span of a hop, which the other side is told of in place of the job's own.
    private static func span(
        of request: inout CurlRequest, _ trail: RedirectTrail, _ context: JobContext
    ) -> any Span {
        let tracer = InstrumentationSystem.tracer
        let span = tracer.startSpan(request.method, ofKind: .client)
        span.set([
            "http.request.method": .string(request.method), "server.address": .string(trail.url.host),
            "server.port": trail.url.authority.split(separator: ":").last.flatMap { Int64($0) }.map { .int64($0) },
            // A query may hold secrets.
            "url.full": .string(String(trail.url.publicText.prefix { $0 != "?" && $0 != "#" })),
            "http.request.resend_count": trail.redirects > 0 ? .int(Int64(trail.redirects)) : nil,
        ])
        if let text = tracer.traceparent(of: span.context),
            // Not one that the job has brought for this call.
            let own = request.headers.firstIndex(where: { $0 == ("traceparent", context.traceparent ?? "") })
        {
            request.headers[own].value = text
        }
        return span
    }

    private static func end(_ span: any Span, _ status: Int) {
        span.set(["http.response.status_code": .int(Int64(status))])
        if status < 400 { span.end() } else { span.fail("\(status)") }
    }

    private func request(
        _ parameters: RequestParameters, key: String, _ context: JobContext
    ) throws -> CurlRequest {
        var fields = (parameters.headers ?? [:]).sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        func add(_ name: String, _ value: String) {
            if !fields.contains(where: { $0.name.lowercased() == name.lowercased() }) { fields.append((name, value)) }
        }
        // The same over all attempts, so that a service which honours it applies the call once.
        add("Idempotency-Key", key)
        if let traceparent = context.traceparent { add("traceparent", traceparent) }
        var body = parameters.body.map { Array($0.utf8) }
        if let json = parameters.json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            body = Array(try encoder.encode(json))
            add("Content-Type", "application/json")
        }
        return CurlRequest(
            method: parameters.method ?? "GET", url: parameters.url, headers: fields, body: body,
            timeout: .milliseconds(parameters.timeoutMilliseconds ?? RequestParameters.timeoutMillisecondsDefault),
            // Counted by ResponseBody, which knows what is expected.
            maxResponseBytes: .max, receiveWindow: Self.receiveWindow,
            followRedirects: parameters.followRedirects ?? 0,
            tls: CurlTLSOptions(caFile: settings.caFile, verify: settings.verifiesTLS))
    }

    private func place(
        _ parameters: RequestParameters, key: String, _ context: JobContext
    ) throws -> ResponseBody.Place? {
        let destination = parameters.response ?? .automatic
        guard destination != .inline else { return nil }
        guard let results else {
            // Without a place for files, automatic means inline.
            guard destination == .file || parameters.file != nil else { return nil }
            throw JobFailure(
                .permanent, code: "api.no-file-root",
                message: "this worker has no place for files; name a writable directory in file.roots")
        }
        let path: RootedPath?
        do throws(FileError) { path = try parameters.file.map { text throws(FileError) in try RootedPath(text) } } catch
        {
            throw JobFailure(error)
        }
        let (type, token) = (context.type.name, context.token)
        return ResponseBody.Place(
            open: { try await results.sink(type: type, key: key, token: token, at: path) },
            bytesMax: settings.fileBytesMax, isForAll: destination == .file)
    }

    /// What an error says about the host.
    private static func verdict(_ error: CurlError, _ request: CurlRequest) -> CircuitBreaker.CallEnd {
        switch error.kind {
        case .resolve, .connect, .tls, .interrupted: .failure
        case .timeout: request.timeout >= timeoutCountsFrom ? .failure : .nothing
        case .tooLarge, .tooManyRedirects: .success
        case .protocolNotAllowed, .badURL, .badRequest, .addressRefused, .overloaded, .cancelled, .closed: .nothing
        }
    }

    private static func failure(_ error: any Error, isFile: Bool) -> any Error {
        switch error {
        case let error as CurlError: JobFailure(error)
        case let error as ResponseBody.TooLarge: JobFailure(error, isFile: isFile)
        case let error as FileError: JobFailure(error)
        default: error
        }
    }
}

import FleetModel
import FleetObservability
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Synchronization
import Tracing

/// What a response needs to know of its connection.
struct ConnectionContext: InitializableFromSource {
    let channel: any Channel

    init(source: ApplicationRequestContextSource) { channel = source.channel }
}

/// A request whose head has been found good.
struct Call: Sendable {
    let method: HTTPRequest.Method
    let resource: Resource
    let target: RequestTarget
    let hangUp = HangUp()
    /// What the jobs that it makes follow from.
    let traceparent: String?
    /// How long the client is prepared to wait for a job's end; nil when it asks for the present state.
    let wait: Duration?
}

/// Ends a request's wait when its client has gone.
final class HangUp: Sendable {
    private let state = Mutex<(hasHappened: Bool, end: (@Sendable () -> Void)?)>((false, nil))

    func happened() {
        let end = state.withLock { state in
            state.hasHappened = true
            return state.end
        }
        end?()
    }

    /// - Parameter end: called once it has happened, at once when it has already.
    func whenHappened(_ end: @escaping @Sendable () -> Void) {
        let isOver = state.withLock { state in
            state.end = end
            return state.hasHappened
        }
        if isOver { end() }
    }
}

/// Takes a request apart, each step bounded, and has it answered: target, token, method, query, content type, body.
struct Responder: HTTPResponder {
    let api: JobAPI
    let configuration: HTTPConfiguration
    let budget: BodyBudget
    let logger: Logger

    func respond(to request: Request, context: ConnectionContext) async throws -> Response {
        let tracer = InstrumentationSystem.tracer
        let traceparent = request.headers[Self.traceparent].flatMap { Job.flaw(inShortText: $0) == nil ? $0 : nil }
        let span = tracer.startSpan(
            request.method.rawValue, context: tracer.context(from: traceparent), ofKind: .server)
        span.set(["http.request.method": .string(request.method.rawValue), "url.path": .string(request.uri.path)])
        do {
            let response = try await respond(
                to: request, context, span, tracer.traceparent(of: span.context) ?? traceparent)
            span.set(["http.response.status_code": .int(Int64(response.status.code))])
            if response.status.code < 500 { span.end() } else { span.fail("\(response.status.code)") }
            return response
        } catch {
            span.fail("\(type(of: error))")
            throw error
        }
    }

    private static let traceparent = HTTPField.Name("traceparent")!

    private func respond(
        to request: Request, _ context: ConnectionContext, _ span: any Span, _ traceparent: String?
    ) async throws -> Response {
        var response: Response
        var isReadToItsEnd = !request.hasBody
        var isLast = false
        do {
            let call = try open(request, traceparent)
            span.operationName = "\(request.method.rawValue) \(call.resource.route)"
            span.set(["http.route": .string(call.resource.route)])
            if call.wait != nil {
                isLast = true
                // Reads on behind the body, to hear of the client's end; the connection can take no further request then.
                response = try await request.body.consumeWithInboundCloseHandler { body in
                    try await answer(call, request, body, &isReadToItsEnd)
                } onInboundClosed: {
                    call.hangUp.happened()
                }
            } else {
                response = try await answer(call, request, request.body, &isReadToItsEnd)
            }
        } catch let problem as Problem {
            response = problem.response
        }
        // Said with a refusal too, or the client would send its next request to a connection that is about to close.
        if isLast { response.headers[.connection] = "close" }
        if !isReadToItsEnd { closeSoon(&response, context.channel) }
        if request.method == .head {
            response = Response(status: response.status, headers: response.headers)
        }
        return response
    }

    // MARK: The head

    private func open(_ request: Request, _ traceparent: String?) throws(Problem) -> Call {
        let target: Result<RequestTarget, Problem>
        do { target = .success(try RequestTarget(request.head.path)) } catch { target = .failure(error) }
        // Whoever has no token is told nothing else.
        if (try? target.get())?.isPublic != true { try authorize(request) }
        let resource = try target.get().resource()
        guard resource.methods.contains(request.method) else {
            let allowed = resource.methods.map(\.rawValue).joined(separator: ", ")
            var problem = Problem(.methodNotAllowed, "\(request.method.rawValue) is not done here, but \(allowed)")
            problem.headers[.allow] = allowed
            throw problem
        }
        try target.get().checkParameters(resource.parameters(request.method))
        if request.method == .post { try checkContent(request) }
        let seconds = try target.get().number("wait", HTTPConfiguration.waitRange) ?? 0
        return Call(
            method: request.method, resource: resource, target: try target.get(), traceparent: traceparent,
            wait: seconds > 0 ? min(.seconds(seconds), configuration.waitMax) : nil)
    }

    private func authorize(_ request: Request) throws(Problem) {
        switch configuration.token.verdict(on: request.headers) {
        case .shown: return
        case .missing: throw .unauthorized("send the token of this fleet (http.token): 'Authorization: Bearer TOKEN'")
        case .malformed:
            throw .unauthorized("the header must be one, as 'Authorization: Bearer TOKEN'", error: "invalid_request")
        case .wrong: throw .unauthorized("this is not the token of this fleet (http.token)", error: "invalid_token")
        }
    }

    private func checkContent(_ request: Request) throws(Problem) {
        let type = request.headers[.contentType] ?? ""
        let parts = type.lowercased().split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" && $0 != "\"" } }
        guard parts.first == "application/json",
            parts.dropFirst().allSatisfy({ !$0.hasPrefix("charset=") || $0 == "charset=utf-8" })
        else {
            throw Problem(.unsupportedMediaType, "send the jobs as 'Content-Type: application/json', in UTF-8")
        }
        if let coding = request.headers[.contentEncoding], coding.lowercased() != "identity" {
            throw Problem(.unsupportedMediaType, "send the body as it is, without Content-Encoding")
        }
    }

    // MARK: The body

    private func answer(
        _ call: Call, _ request: Request, _ body: RequestBody, _ isReadToItsEnd: inout Bool
    ) async throws -> Response {
        let bytes = request.hasBody ? try await read(call, request, body) : []
        isReadToItsEnd = true
        do {
            return try await api.answer(call, bytes)
        } catch let problem as Problem {
            throw problem
        } catch {
            // A mistake of ours, or a ledger that a later version has written; nothing that the client could mend.
            logger.error("\(call.method) \(call.resource): \(error)")
            throw Problem(.internalServerError, "an error inside; the log of the dispatcher has it")
        }
    }

    private func read(_ call: Call, _ request: Request, _ body: RequestBody) async throws -> [UInt8] {
        let limit = call.method == .post ? configuration.bodyBytesMax : Self.idleBodyBytesMax
        let declared = request.headers[.contentLength].flatMap { Int($0) }
        guard declared ?? 0 <= limit else { throw tooLarge(limit) }
        let share = declared ?? limit
        try budget.take(share)
        defer { budget.giveBack(share) }
        let patience = configuration.bodyPatience
        let bytes = try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
            group.addTask {
                do {
                    let buffer = try await body.collect(upTo: limit)
                    return Array(buffer.readableBytesView)
                } catch is NIOTooManyBytesError {
                    throw tooLarge(limit)
                }
            }
            group.addTask {
                try await Task.sleep(for: patience)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        guard let bytes else {
            throw Problem(.requestTimeout, "the request was not there within \(patience); send it again")
        }
        guard bytes.count == declared ?? bytes.count else {
            throw Problem.badRequest(
                "the request broke off after \(bytes.count) of \(declared ?? 0) bytes; send it again")
        }
        return bytes
    }

    /// Of a request that should have no body.
    private static let idleBodyBytesMax = 64 << 10

    private func tooLarge(_ limit: Int) -> Problem {
        .tooLarge("a request has at most \(limit) bytes (http.body_bytes); send fewer jobs at a time")
    }

    /// A body that was not read stands in the way of the next request. It is thrown away for a while, since closing at once
    /// would take the answer from the client, and then the connection is closed.
    private func closeSoon(_ response: inout Response, _ channel: any Channel) {
        response.headers[.connection] = "close"
        channel.eventLoop.scheduleTask(in: .seconds(HTTPConfiguration.lingering.components.seconds)) {
            channel.close(promise: nil)
        }
    }
}

extension Request {
    fileprivate var hasBody: Bool {
        headers[.transferEncoding] != nil || (headers[.contentLength].map { $0 != "0" } ?? false)
    }
}

/// How many bytes of request bodies may be in memory at once.
final class BodyBudget: Sendable {
    private let free: Mutex<Int>

    init(bytes: Int) { free = Mutex(bytes) }

    func take(_ bytes: Int) throws(Problem) {
        let isTaken = free.withLock { free in
            guard free >= bytes else { return false }
            free -= bytes
            return true
        }
        guard isTaken else { throw .unavailable("too many large requests are in hand; send it again later") }
    }

    func giveBack(_ bytes: Int) { free.withLock { $0 += bytes } }
}

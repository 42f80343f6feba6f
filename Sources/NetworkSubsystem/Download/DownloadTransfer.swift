import CurlClient
import FleetModel
import NetworkClient

/// The requests of one attempt, from the first byte that is missing to the last.
///
/// ```
///  ask for what is missing ──▶ head: judged ──▶ pieces: paid for, then written ──▶ whole
///     ▲   ▲                      │ misfit                │ the connection breaks
///     │   └─ the part discarded ─┘                       │
///     └───────────── pause ◀─────────────────────────────┘  while there is progress, and time
/// ```
actor DownloadTransfer {
    /// What came of it.
    struct Received: Sendable {
        var head: CurlHead?
        /// Of the whole file.
        var bytes: Int64 = 0
        /// Bytes that an attempt before had left.
        var inherited: Int64 = 0
        /// Bytes that were there already when a request went on behind them.
        var resumed: Int64 = 0
        var requests = 0
    }

    /// The part does not fit what the server has now.
    private struct Misfit: Error { let reason: String }

    private let subsystem: NetworkSubsystem
    private let parameters: DownloadParameters
    private let context: JobContext
    private let part: PartialFile
    /// Of the URL, for limits.
    private let host: String
    private let checks: DownloadChecks
    private let bandwidth: Bandwidth
    private let deadline: ContinuousClock.Instant
    private var received = Received()

    /// An attempt that has used up its time with so many new bytes has done its work, and costs the job no attempt.
    static let progressBytes: Int64 = 1 << 20
    /// What gathers for one download while it may not go on, twice at most: memory for a thousand of them.
    static let receiveWindow = 64 << 10

    init(
        _ subsystem: NetworkSubsystem, _ parameters: DownloadParameters, _ context: JobContext, _ part: PartialFile
    ) throws {
        host = try parameters.host()
        self.subsystem = subsystem
        self.parameters = parameters
        self.context = context
        self.part = part
        checks = DownloadChecks(parameters, key: context.key, bytesMax: subsystem.settings.downloadBytesMax)
        bandwidth = Bandwidth(
            bytesPerSecond: parameters.bytesPerSecond, limits: context.limits, limitWait: subsystem.settings.limitWait)
        deadline =
            .now + .milliseconds(parameters.timeoutMilliseconds ?? DownloadParameters.timeoutMillisecondsDefault)
    }

    func run() async throws -> Received {
        received.inherited = part.state.isResumable ? part.state.offset : 0
        let patience = Patience(initial: .milliseconds(200), cap: .seconds(5))
        var fruitless = 0
        while !part.state.isComplete {
            let before = part.state
            do {
                try await ask()
                break
            } catch let misfit as Misfit {
                try await part.discard()
                received.inherited = 0
                received.resumed = 0
                fruitless += 1
                guard fruitless <= subsystem.settings.fruitlessTriesMax else {
                    throw JobFailure(.transient, code: "network.misfit", message: misfit.reason)
                }
            } catch let error as CurlError where error.isTransient {
                let isProgress = part.state.validator != nil && part.state.offset > before.offset
                fruitless = isProgress ? 0 : fruitless + 1
                let pause = patience.pause(afterFailure: fruitless + 1)
                if .now + pause >= deadline { throw outOfTime(error) }
                guard fruitless <= subsystem.settings.fruitlessTriesMax else { throw error }
                try await Task.sleep(for: pause)
            }
        }
        received.bytes = part.state.offset
        return received
    }

    private func outOfTime(_ error: CurlError) -> JobFailure {
        let progress = part.state.offset - received.inherited
        guard part.state.isResumable, progress >= Self.progressBytes else { return JobFailure(error) }
        return JobFailure(
            .throttled(retryAfter: .zero), code: "network.to-be-continued",
            message: "this attempt's time is over with \(progress) bytes more; the next goes on at \(part.state.offset)"
        )
    }

    private func ask() async throws {
        let state = part.state
        try await context.limits.spend(
            1, of: "network.host.\(host)", within: subsystem.settings.limitWait)
        received.requests += 1
        var headers = (parameters.headers ?? [:]).sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        if state.isResumable, let validator = state.validator {
            headers.append(("Range", "bytes=\(state.offset)-"))
            headers.append(("If-Range", validator.text))
        }
        // The rest of its time: a wait for bandwidth counts for it too.
        let left = max(.milliseconds(1), deadline - .now)
        _ = try await subsystem.curl.perform(
            CurlRequest(
                url: parameters.url, headers: headers, timeout: left, idleTimeout: subsystem.settings.idleTimeout,
                maxResponseBytes: Int(subsystem.settings.downloadBytesMax), receiveWindow: Self.receiveWindow,
                followRedirects: 5, acceptEncoding: false,
                tls: CurlTLSOptions(caFile: subsystem.settings.caFile))
        ) { [self] piece in
            switch piece {
            case .head(let head): try await take(head, asked: state)
            case .bytes(let bytes): try await take(bytes)
            }
        }
    }

    private func take(_ head: CurlHead, asked state: PartialState) async throws {
        let retryAfter = head.header("Retry-After").flatMap {
            CurlResponse.retryAfter($0, responseDate: head.header("Date"))
        }
        switch DownloadAnswer.judge(head, state, retryAfter: retryAfter) {
        case .whole(let validator, let total):
            received.inherited = 0
            received.resumed = 0
            try announce(total)
            try await part.begin(validator, total: total)
        case .rest(let total):
            received.resumed = state.offset
            subsystem.metrics.wentOn()
            try announce(total)
        case .complete: received.resumed = state.offset
        case .misfit(let reason): throw Misfit(reason: reason)
        case .failed(let failure):
            if case .throttled(let pause) = failure.kind { context.limits.close("network.host.\(host)", for: pause) }
            throw failure
        }
        received.head = head
    }

    private func announce(_ total: Int64?) throws(JobFailure) {
        if let total { try checks.check(size: total) }
    }

    private func take(_ bytes: [UInt8]) async throws {
        // What comes with an answer that has no bytes of the file, such as a page for 416.
        guard let head = received.head, head.status != 416 else { return }
        try checks.check(atLeast: part.state.offset + Int64(bytes.count))
        try await bandwidth.spend(bytes.count)
        try await part.append(bytes)
        subsystem.metrics.received(bytes.count)
        let state = part.state
        let done = state.total.map { Double(state.offset) / Double(max($0, 1)) } ?? 0
        context.progress(done, "\(state.offset) bytes" + (state.total.map { " of \($0)" } ?? ""))
    }

}

import CurlClient
import FleetModel
import FoundationEssentials
import NetworkClient
import RootedFiles

extension NetworkSubsystem {
    var download: JobDefinition {
        JobDefinition(
            DownloadParameters.self,
            summary: "fetch a file over HTTP, checked and whole, going on after a break",
            timeout: .milliseconds(DownloadParameters.timeoutMillisecondsMax + 60_000)
        ) { [self] (parameters: DownloadParameters, context: JobContext) -> DownloadOutput in
            do {
                return try await metrics.downloading { try await download(parameters, context) }
            } catch {
                metrics.downloaded(.failed)
                switch error {
                case let error as FileError: throw JobFailure(error)
                case let error as CurlError: throw JobFailure(error)
                case let error as NetworkError: throw JobFailure(error)
                default: throw error
                }
            }
        }
    }

    private func download(_ parameters: DownloadParameters, _ context: JobContext) async throws -> DownloadOutput {
        let target = try parameters.target()
        try roots.checkWritable(target)
        let checks = DownloadChecks(parameters, key: context.key, bytesMax: settings.downloadBytesMax)
        if let present = try await present(target, parameters.ifExists ?? .replace, checks) { return present }
        // A place of the fleet's is not held while this worker has none.
        return try await gate.withPlace(within: settings.limitWait) {
            try await context.limits.withPlace("network.connections", within: settings.limitWait) {
                let part = try await partials.open(
                    target, url: parameters.url, writer: FileWriter(key: context.key, token: context.token))
                defer { part.letGo() }
                let transfer = try DownloadTransfer(self, parameters, context, part)
                do {
                    let begin = ContinuousClock.now
                    let received = try await transfer.run()
                    let duration = ContinuousClock.now - begin
                    let sha256 = try await verified(part, checks, isOfOneAttempt: received.resumed == 0)
                    guard try await place(part, parameters, checks, context) else {
                        try await part.discard()
                        if let present = try await present(target, .keep, checks) { return present }
                        throw FileError(.busy, "\(target)", "came and went while the download was placed")
                    }
                    metrics.downloaded(.done(duration))
                    return DownloadOutput(target, sha256, received, duration)
                } catch let failure as JobFailure where failure.kind == .permanent {
                    try await part.discard()
                    throw failure
                }
            }
        }
    }

    /// Checks what was received: its size, its checksum.
    ///
    /// - Parameter isOfOneAttempt: what was put together from several tries may be worth another from the start.
    /// - Returns: its SHA-256.
    private func verified(
        _ part: PartialFile, _ checks: DownloadChecks, isOfOneAttempt: Bool
    ) async throws -> String {
        do {
            try checks.check(size: part.state.offset)
            let sha256 = try await part.digest(.sha256)
            switch checks.checksum {
            case nil: break
            case let checksum? where checksum.algorithm == .sha256: try checks.check(digest: sha256)
            case let checksum?: try checks.check(digest: try await part.digest(checksum.algorithm))
            }
            return sha256
        } catch let failure as JobFailure where failure.kind == .permanent && !isOfOneAttempt {
            try await part.discard()
            throw JobFailure(
                .transient, code: failure.code, message: "\(failure.message); it was put together in parts")
        }
    }

    /// - Returns: false when a file is there that is to be kept.
    private func place(
        _ part: PartialFile, _ parameters: DownloadParameters, _ checks: DownloadChecks, _ context: JobContext
    ) async throws -> Bool {
        let ifExists = parameters.ifExists ?? .replace
        try await context.confirmClaim()
        do {
            try await part.place(replacing: ifExists == .replace, mark: try checks.mark)
            return true
        } catch let error as FileError where error.reason == .exists && ifExists == .keep {
            return false
        } catch let error as FileError where error.reason == .exists {
            throw JobFailure(error)
        }
    }

    /// What there is to say without a download, when a file is in the place.
    private func present(
        _ target: RootedPath, _ ifExists: DownloadParameters.ExistingFile, _ checks: DownloadChecks
    ) async throws -> DownloadOutput? {
        if ifExists == .replace { return nil }
        let mark = try checks.mark
        let found = try await threads.run { [roots] () throws -> (isOurs: Bool, bytes: Int64)? in
            guard try roots.status(target) != nil else { return nil }
            let file = try roots.file(target)
            return (file.hasMark(mark), try file.status().bytes)
        }
        guard let found else { return nil }
        guard ifExists == .keep || found.isOurs else { throw JobFailure(FileError.taken(target)) }
        try checks.check(size: found.bytes)
        let sha256 = try await digest(of: target, .sha256)
        if let checksum = checks.checksum { try checks.check(digest: try await digest(of: target, checksum.algorithm)) }
        metrics.downloaded(.kept)
        return DownloadOutput(target, sha256, bytes: found.bytes, status: found.isOurs ? "repeated" : "kept")
    }

    private func digest(of target: RootedPath, _ algorithm: FileDigest.Algorithm) async throws -> String {
        try await threads.run { [roots] in try FileReading(try roots.file(target), algorithm) }.digest(threads)
    }
}

/// What a job says that its file has to be.
struct DownloadChecks: Sendable {
    let checksum: Checksum?
    private let size: Int64?
    private let bytesMax: Int64
    private let key: String
    private let effect: String

    init(_ parameters: DownloadParameters, key: String, bytesMax: Int64) {
        checksum = parameters.checksum.flatMap { Checksum($0) }
        size = parameters.size
        self.bytesMax = bytesMax
        self.key = key
        effect = "download \(parameters.url) \(parameters.path)"
    }

    /// By which a repeat of the job knows its own file.
    var mark: FileMark { get throws(FileError) { try FileMark(key: key, effect: effect) } }

    /// Before the bytes come, too: a size that is announced wrong need not be waited for.
    func check(size bytes: Int64) throws(JobFailure) {
        try check(atLeast: bytes)
        if let size, bytes != size {
            throw JobFailure(
                .permanent, code: "network.size-mismatch",
                message: "the file has \(bytes) bytes, and 'size' says \(size)")
        }
    }

    /// So much has come, or will.
    func check(atLeast bytes: Int64) throws(JobFailure) {
        if bytes > bytesMax {
            throw JobFailure(
                .permanent, code: "network.too-large",
                message: "the file has more than the \(bytesMax) bytes that are allowed (network.download_bytes)")
        }
        if let size, bytes > size {
            throw JobFailure(
                .permanent, code: "network.size-mismatch",
                message: "the file has more than the \(size) bytes that 'size' says")
        }
    }

    func check(digest: String) throws(JobFailure) {
        if let checksum, digest != checksum.digest {
            throw JobFailure(
                .permanent, code: "network.checksum-mismatch",
                message:
                    "the file's \(checksum.algorithm.rawValue) is \(digest), and 'checksum' says \(checksum.digest)")
        }
    }
}

extension FileError {
    fileprivate static func taken(_ target: RootedPath) -> FileError {
        FileError(.exists, "\(target)", "exists already; remove it, or ask for 'if_exists': 'replace' or 'keep'")
    }
}

extension DownloadOutput {
    init(_ target: RootedPath, _ sha256: String, bytes: Int64, status: String) {
        self.init(
            path: "\(target)", bytes: bytes, sha256: sha256, status: status, resumedBytes: 0, requests: 0,
            finalURL: nil, etag: nil, lastModified: nil, transferMilliseconds: 0, bytesPerSecond: 0)
    }

    init(_ target: RootedPath, _ sha256: String, _ received: DownloadTransfer.Received, _ duration: Duration) {
        let taken = received.bytes - received.inherited
        self.init(
            path: "\(target)", bytes: received.bytes, sha256: sha256, status: "downloaded",
            resumedBytes: received.resumed, requests: received.requests, finalURL: received.head?.finalURL,
            etag: received.head?.header("ETag"), lastModified: received.head?.header("Last-Modified"),
            transferMilliseconds: duration.milliseconds,
            bytesPerSecond: Int64(Double(taken) / max(duration / .seconds(1), 1e-6)))
    }
}

import FleetModel
import RootedFiles

/// What `file.hash.v1` takes.
public struct HashParameters: FileJob {
    public static let type: JobType = "file.hash.v1"
    static let summary = "the checksum of a file"

    public var path: String
    /// `sha256` when absent.
    public var algorithm: FileDigest.Algorithm?
    /// What it should be, in hexadecimal digits; the job fails when it is not.
    public var expected: String?

    public static let schema = JSONSchema.object(
        [
            "path": FileParameters.pathSchema,
            "algorithm": .string(
                description: "sha256 when absent; md5, sha1 and crc32 find accidents, not attackers",
                values: FileDigest.Algorithm.allCases.map(\.rawValue)),
            "expected": .string(description: "hexadecimal digits; the job fails when the file has another checksum"),
        ], required: ["path"])

    public init(path: String, algorithm: FileDigest.Algorithm? = nil, expected: String? = nil) {
        self.path = path
        self.algorithm = algorithm
        self.expected = expected
    }

    public func validate() throws(InvalidParameters) {
        try FileParameters.path(path, "path")
        if let expected {
            let digits = (algorithm ?? .sha256).digits
            guard expected.utf8.count == digits, expected.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
                throw InvalidParameters("'expected' must be \(digits) hexadecimal digits")
            }
        }
    }
}

/// What `file.hash.v1` yields.
public struct HashOutput: Codable, Sendable {
    public let path: String
    public let algorithm: FileDigest.Algorithm
    /// Lower-case hexadecimal digits.
    public let digest: String
    public let bytes: Int64
}

extension HashParameters {
    /// What the steps hand on.
    struct Progress: ~Copyable, Sendable {
        var pieces: FilePieces
        var digest: FileDigest
        let before: FileStatus

        init(_ file: consuming RegularFile, _ algorithm: FileDigest.Algorithm) throws {
            let digest = try FileDigest(algorithm)
            before = try file.status()
            pieces = FilePieces(file)
            self.digest = digest
        }

        /// - Returns: whether the file is at its end.
        mutating func step() throws -> Bool {
            for _ in 0..<(FileAccess.stepBytes / RootedFiles.pieceBytes) {
                let piece: Void? = try pieces.next { digest.update($0) }
                if piece == nil { return true }
            }
            return false
        }
    }

    func run(_ files: FileAccess, _ context: JobContext) async throws -> HashOutput {
        let path = try RootedPath(path)
        let algorithm = algorithm ?? .sha256
        let state = try await files.threads.run {
            StepState<Progress?>(try Progress(try files.roots.file(path), algorithm))
        }
        let output = try await files.threads.inSteps {
            try state.use { state -> FileThreads.Step<HashOutput> in
                guard var progress = state.take() else { preconditionFailure("a step after the last") }
                guard try progress.step() else {
                    if progress.before.bytes > 0 {
                        context.progress(Double(progress.pieces.offset) / Double(progress.before.bytes))
                    }
                    state = consume progress
                    return .more
                }
                let (bytes, after) = (progress.pieces.offset, try progress.pieces.file.status())
                guard bytes == progress.before.bytes, after.modifiedNanoseconds == progress.before.modifiedNanoseconds
                else { throw FileError(.busy, "\(path)", "was changed while it was being read") }
                return .done(
                    HashOutput(
                        path: "\(path)", algorithm: algorithm, digest: progress.digest.hexadecimal(), bytes: bytes))
            }
        }
        files.metrics.read(Int(output.bytes))
        if let expected, expected.lowercased() != output.digest {
            throw JobFailure(
                .permanent, code: "file.checksum-mismatch",
                message: "'\(path)' has the \(algorithm.rawValue) \(output.digest), not \(expected.lowercased())")
        }
        return output
    }
}

extension FileDigest.Algorithm {
    /// Hexadecimal digits of a digest.
    fileprivate var digits: Int {
        switch self {
        case .sha256: 64
        case .sha512: 128
        case .sha1: 40
        case .md5: 32
        case .crc32: 8
        }
    }
}

import CurlClient
import FleetModel
import RootedFiles

/// What `network.download.v1` takes.
public struct DownloadParameters: JobParameters {
    public static let type: JobType = "network.download.v1"

    /// `http://` or `https://`.
    public var url: String
    /// Where the file is to be: a root's name, a colon, and the way beneath it.
    public var path: String
    /// Sent with each request, such as `Authorization`.
    public var headers: [String: String]?
    /// `sha256:`, `sha512:` or `md5:` and the digest in hexadecimal.
    public var checksum: String?
    /// How large the file has to be, in bytes.
    public var size: Int64?
    /// The most that is taken in a second, over this whole download.
    public var bytesPerSecond: Int?
    /// What is done when a file is there already; `replace` when absent.
    public var ifExists: ExistingFile?
    /// For one attempt, 1,000 to 900,000; 600,000 when absent. What an attempt got is kept, and the next one goes on.
    public var timeoutMilliseconds: Int?

    public enum ExistingFile: String, Codable, Sendable, CaseIterable {
        case replace
        /// The job succeeds without a download, if the file is as `checksum` and `size` say.
        case keep
        /// The job fails, unless it was itself that put the file there.
        case fail
    }

    enum CodingKeys: String, CodingKey {
        case url, path, headers, checksum, size
        case bytesPerSecond = "bytes_per_second"
        case ifExists = "if_exists"
        case timeoutMilliseconds = "timeout_ms"
    }

    public static let timeoutMillisecondsDefault = 600_000
    /// Half of what brokers let a delivery go unsettled.
    public static let timeoutMillisecondsMax = 900_000
    public static let bytesPerSecondRange = 1_024...10_000_000_000
    static let headersMax = 64

    public static let schema = JSONSchema.object(
        [
            "url": .string(description: "http:// or https://", format: "uri", lengthMax: CurlRequest.maxURLBytes),
            "path": .string(
                description: "where the file is to be, such as data:images/a.png", lengthMax: RootedPath.bytesMax),
            "headers": .map(of: .string(), description: "sent with each request"),
            "checksum": .string(description: "sha256:, sha512: or md5: and the digest in hexadecimal", lengthMax: 135),
            "size": .integer(description: "how large the file has to be, in bytes", min: 0),
            "bytes_per_second": .integer(
                description: "the most that is taken in a second", min: bytesPerSecondRange.lowerBound,
                max: bytesPerSecondRange.upperBound),
            "if_exists": .string(
                description: "what is done when a file is there already; replace when absent",
                values: ExistingFile.allCases.map(\.rawValue)),
            "timeout_ms": .integer(
                description: "for one attempt; the next one goes on. \(timeoutMillisecondsDefault) when absent",
                min: 1_000, max: timeoutMillisecondsMax),
        ], required: ["url", "path"])

    public init(
        url: String, path: String, headers: [String: String]? = nil, checksum: String? = nil, size: Int64? = nil,
        bytesPerSecond: Int? = nil, ifExists: ExistingFile? = nil, timeoutMilliseconds: Int? = nil
    ) {
        self.url = url
        self.path = path
        self.headers = headers
        self.checksum = checksum
        self.size = size
        self.bytesPerSecond = bytesPerSecond
        self.ifExists = ifExists
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    public func validate() throws(InvalidParameters) {
        _ = try host()
        _ = try target()
        if let checksum, Checksum(checksum) == nil {
            throw InvalidParameters("'checksum' must be sha256:, sha512: or md5: and so many hexadecimal digits")
        }
        if let size, size < 0 { throw InvalidParameters("'size' must not be negative") }
        if let bytesPerSecond, !Self.bytesPerSecondRange.contains(bytesPerSecond) {
            let range = Self.bytesPerSecondRange
            throw InvalidParameters("'bytes_per_second' must be from \(range.lowerBound) to \(range.upperBound)")
        }
        if let timeoutMilliseconds, !(1_000...Self.timeoutMillisecondsMax).contains(timeoutMilliseconds) {
            throw InvalidParameters("'timeout_ms' must be from 1000 to \(Self.timeoutMillisecondsMax)")
        }
        try checkHeaders()
    }

    private func checkHeaders() throws(InvalidParameters) {
        guard let headers else { return }
        guard headers.count <= Self.headersMax else {
            throw InvalidParameters("'headers' must not have more than \(Self.headersMax) members")
        }
        // What decides which bytes come is this handler's business.
        for name in headers.keys where ["range", "if-range", "accept-encoding"].contains(name.lowercased()) {
            throw InvalidParameters("'headers' must not have \(name): ranges and codings are the download's own")
        }
    }

    /// The host of `url`, by which the fleet's limits are named.
    func host() throws(InvalidParameters) -> String {
        do throws(CurlError) {
            // By the parser that the call is made with.
            let origin = try CurlURL(url, rules: CurlURL.Rules(protocols: [.http, .https], credentials: false)).origin
            // `https://host:443`
            return origin.split(separator: "/").last.map {
                String($0.prefix(upTo: $0.lastIndex(of: ":") ?? $0.endIndex))
            }
                ?? origin
        } catch {
            throw InvalidParameters("'url' is none that can be called: \(error.message); write it as http://host/path")
        }
    }

    /// `path`, read.
    func target() throws(InvalidParameters) -> RootedPath {
        do throws(FileError) {
            let path = try RootedPath(self.path)
            guard !path.isRoot else { throw FileError(.isDirectory, self.path, "names no file") }
            return path
        } catch {
            throw InvalidParameters("'path' is none that can be written: \(error.description)")
        }
    }
}

/// What a file's bytes must add up to.
struct Checksum: Sendable, Equatable {
    let algorithm: FileDigest.Algorithm
    /// In lower-case hexadecimal.
    let digest: String

    /// Bytes of a digest.
    private static let sizes: [FileDigest.Algorithm: Int] = [.sha256: 32, .sha512: 64, .md5: 16]

    init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, let algorithm = FileDigest.Algorithm(rawValue: parts[0].lowercased()),
            let size = Self.sizes[algorithm], parts[1].utf8.count == 2 * size,
            parts[1].utf8.allSatisfy({ UnicodeScalar($0).properties.isASCIIHexDigit })
        else { return nil }
        self.algorithm = algorithm
        digest = parts[1].lowercased()
    }
}

/// What `network.download.v1` yields.
public struct DownloadOutput: Codable, Sendable {
    public let path: String
    public let bytes: Int64
    public let sha256: String
    /// `downloaded`; `kept`: a file was there already; `repeated`: an attempt before this one had put it there.
    public let status: String
    /// Bytes that did not have to be taken again after a break, of this attempt or one before.
    public let resumedBytes: Int64
    /// Requests that were made in this attempt.
    public let requests: Int
    /// The URL that gave the file, after redirects.
    public let finalURL: String?
    public let etag: String?
    public let lastModified: String?
    /// Of this attempt: receiving alone, without the checksum.
    public let transferMilliseconds: Int64
    public let bytesPerSecond: Int64

    enum CodingKeys: String, CodingKey {
        case path, bytes, sha256, status, requests, etag
        case resumedBytes = "resumed_bytes"
        case finalURL = "final_url"
        case lastModified = "last_modified"
        case transferMilliseconds = "transfer_ms"
        case bytesPerSecond = "bytes_per_second"
    }
}

/// Takes one hop's answer as it comes in, and says stop when it goes past a limit. Fed by libcurl's callbacks, knows none of
/// libcurl.
package struct ResponseSink {
    package struct Limits {
        package var bodyBytes: Int
        package var headerBytes: Int
        /// Whether libcurl decodes content codings for this transfer.
        package var decodes: Bool
        /// Whether the body is taken out while it comes in, so that no room for all of it is needed.
        package var isStreamed: Bool

        package init(bodyBytes: Int, headerBytes: Int, decodes: Bool, isStreamed: Bool = false) {
            self.isStreamed = isStreamed
            self.bodyBytes = bodyBytes
            self.headerBytes = headerBytes
            self.decodes = decodes
        }
    }

    /// Reserved at most on the word of a `Content-Length`; what really comes beyond it grows step by step.
    private static let maxReserve = 1 << 20

    package let limits: Limits
    package private(set) var status = 0
    package private(set) var headers: [(String, String)] = []
    /// What has come since it was taken out last.
    package private(set) var body: [UInt8] = []
    /// Bytes of body that have come in all.
    package private(set) var bodyBytes = 0
    /// Whether the head is complete, interim answers aside.
    package private(set) var isInBody = false
    /// Why the transfer was stopped.
    package private(set) var refusal: CurlError?
    private var headerBytes = 0
    private var contentLength: Int?
    private var contentCodings = 0

    package init(limits: Limits) { self.limits = limits }

    package var location: String? { headers.first { equalIgnoringCase($0.0, "Location") }?.1 }

    /// Gives the body away: the sink is pooled, its contents are not.
    package mutating func takeBody() -> [UInt8] {
        defer { body = [] }
        return body
    }

    /// One line with its line break. False stops the transfer.
    package mutating func takeHeader(_ line: UnsafeRawBufferPointer) -> Bool {
        // Over all blocks, so that interim answers without end are bounded too.
        headerBytes += line.count
        guard headerBytes <= limits.headerBytes else {
            return refuse(.tooLarge, "the answer has more than \(limits.headerBytes) bytes of headers")
        }
        var text = line[...]
        while let last = text.last, last == 0x0d || last == 0x0a { text.removeLast() }
        if text.isEmpty { return endBlock() }
        if !isInBody, text.starts(with: "HTTP/".utf8) {
            startBlock(text)
            return true
        }
        if text.first == 0x20 || text.first == 0x09 {
            // A folded line goes on where the one before it ended.
            guard let last = headers.popLast() else { return true }
            headers.append((last.0, trimmed(last.1 + " " + trimmed(String(decoding: text, as: UTF8.self)))))
            return true
        }
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else { return true }
        let name = trimmed(String(decoding: text[..<colon], as: UTF8.self))
        let value = trimmed(String(decoding: text[(colon + 1)...], as: UTF8.self))
        headers.append((name, value))
        return inspect(name, value)
    }

    /// Decoded bytes. False stops the transfer.
    package mutating func takeBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count <= limits.bodyBytes - bodyBytes else {
            body = []
            return refuse(.tooLarge, "the answer's body is larger than the \(limits.bodyBytes) bytes allowed")
        }
        bodyBytes += bytes.count
        body.append(contentsOf: bytes)
        return true
    }

    private mutating func startBlock(_ line: Slice<UnsafeRawBufferPointer>) {
        headers.removeAll()
        contentLength = nil
        contentCodings = 0
        let parts = line.split(separator: 0x20, maxSplits: 2, omittingEmptySubsequences: true)
        status = parts.count > 1 ? Int(String(decoding: parts[1], as: UTF8.self)) ?? 0 : 0
    }

    private mutating func endBlock() -> Bool {
        guard status >= 200, !isInBody else { return true }
        isInBody = true
        if let contentLength, contentCodings == 0, status != 204, status != 304 {
            guard contentLength <= limits.bodyBytes else {
                return refuse(
                    .tooLarge, "the answer announces \(contentLength) bytes of body; \(limits.bodyBytes) are allowed")
            }
            if !limits.isStreamed { body.reserveCapacity(min(contentLength, Self.maxReserve)) }
        }
        return true
    }

    private mutating func inspect(_ name: String, _ value: String) -> Bool {
        if equalIgnoringCase(name, "Content-Length") {
            contentLength = Int(value).flatMap { $0 >= 0 ? $0 : nil }
        } else if equalIgnoringCase(name, "Content-Encoding"), limits.decodes {
            for coding in codings(value) where !equalIgnoringCase(coding, "identity") {
                contentCodings += 1
                guard contentCodings == 1,
                    ["gzip", "x-gzip", "deflate"].contains(where: { equalIgnoringCase($0, coding) })
                else {
                    return refuse(.interrupted, "the answer is in a content coding that was not offered, or in several")
                }
            }
        } else if equalIgnoringCase(name, "Transfer-Encoding") {
            for coding in codings(value)
            where !equalIgnoringCase(coding, "chunked") && !equalIgnoringCase(coding, "identity") {
                return refuse(.interrupted, "the answer is in a transfer coding that was not offered")
            }
        }
        return true
    }

    private func codings(_ value: String) -> [String] {
        value.split(separator: ",").map { trimmed(String($0)) }.filter { !$0.isEmpty }
    }

    private mutating func refuse(_ kind: CurlError.Kind, _ message: String) -> Bool {
        if refusal == nil { refusal = CurlError(kind, mayHaveBeenSent: true, message) }
        return false
    }
}

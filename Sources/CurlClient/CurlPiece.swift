/// A part of an answer that is handed over as it comes: first the head, then the body in pieces.
public enum CurlPiece: Sendable {
    case head(CurlHead)
    /// Decoded, never empty. Its size is whatever has come since the last one, within ``CurlRequest/receiveWindow``.
    case bytes([UInt8])
}

/// What is known of an answer before its body.
public struct CurlHead: Sendable {
    public var status: Int
    /// As received, in order, repeated names kept apart.
    public var headers: [(String, String)]
    /// The URL that gives this answer, without credentials.
    public var finalURL: String

    public init(status: Int, headers: [(String, String)], finalURL: String) {
        self.status = status
        self.headers = headers
        self.finalURL = finalURL
    }

    /// The first value under that name, whatever its case.
    public func header(_ name: String) -> String? {
        headers.first { equalIgnoringCase($0.0, name) }?.1
    }
}

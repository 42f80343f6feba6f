/// # DocumentStreams
///
/// JSON and XML documents of any size, read piece by piece: never is more in memory than what was asked for, and that has a
/// bound. It knows neither files nor jobs.
///
/// ```
///  pieces ─▶ JSONScanner (grammar, depth) ──events──▶ JSONSelection (what a JSONPointer names)
///         ─▶ JSONLines   (one document a line) ─────▶ the same, line by line
///         ─▶ XMLReader   (expat; no entities) ──────▶ XMLSelection (what an XPath names)
/// ```
///
/// Documents are hostile until read: nesting, names, tags and selections are bounded, entities are refused, and no number
/// is converted, so that none is too large.
public enum DocumentStreams {}

/// Why a document cannot be read, or not what was asked of it.
public struct DocumentFlaw: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: String, Sendable {
        /// It is not what it should be.
        case malformed
        /// It nests deeper than allowed.
        case tooDeep = "too-deep"
        /// What was asked for is larger than may be returned.
        case tooLarge = "too-large"
        /// It has entities, or needs another file, or more memory than it may have.
        case refused
    }

    public let kind: Kind
    public let description: String

    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

import CExpat

/// Finds what one XPath names in one XML document.
///
/// The document is read by Expat: small, with an interface made for reading piece by piece, and cared for by every
/// distribution. It is given an allocator with a bound, since it keeps every name that it meets, and a document may invent
/// a million of them. A document type declaration is read over, as real documents have them; one that declares an entity
/// is refused, so there is nothing to expand, and nothing outside of the document is ever opened.
public final class XMLReader {
    /// What is taken of a document, and what it may cost.
    public struct Bounds: Sendable, Hashable {
        public var findingsMax: Int
        /// Findings passed over first.
        public var skip: Int
        /// Bytes of all findings together.
        public var bytesMax: Int
        public var depthMax: Int
        /// Whether elements are given as markup too.
        public var wantsMarkup: Bool
        /// Whether the document is read to its end after all was found, to check it and to count.
        public var readsOn: Bool
        /// What Expat may use; a single tag has to fit as well.
        public var parserBytesMax: Int

        public init(
            findingsMax: Int, skip: Int = 0, bytesMax: Int, depthMax: Int, wantsMarkup: Bool = false,
            readsOn: Bool = false, parserBytesMax: Int = 8 << 20
        ) {
            self.findingsMax = findingsMax
            self.skip = skip
            self.bytesMax = bytesMax
            self.depthMax = depthMax
            self.wantsMarkup = wantsMarkup
            self.readsOn = readsOn
            self.parserBytesMax = parserBytesMax
        }
    }

    /// Real ones have some kilobytes.
    static let doctypeBytesMax = 64 << 10

    private var selection: XMLSelection
    private var flaw: DocumentFlaw?
    private var isSatisfied = false
    // Set at the end of the initializer, which needs `self` for it, and never nil afterwards.
    private var parser: OpaquePointer!
    private let bounds: Bounds
    /// Bytes read.
    public private(set) var bytes: Int64 = 0

    public init(_ path: XPath, _ bounds: Bounds) throws(DocumentFlaw) {
        self.bounds = bounds
        selection = XMLSelection(
            path,
            XMLSelection.Bounds(
                findingsMax: bounds.findingsMax, skip: bounds.skip, bytesMax: bounds.bytesMax,
                depthMax: bounds.depthMax, wantsMarkup: bounds.wantsMarkup, readsOn: bounds.readsOn))
        let handlers = gaia_xml_handlers(
            start: { user, name, attributes in
                XMLReader.of(user).tell { (selection) throws(DocumentFlaw) in try selection.start(name, attributes) }
            },
            end: { user, name in XMLReader.of(user).tell { (selection) throws(DocumentFlaw) in try selection.end(name) }
            },
            text: { user, bytes, count in
                XMLReader.of(user).tell { (selection) throws(DocumentFlaw) in
                    try selection.text(UnsafeRawBufferPointer(start: bytes, count: count))
                }
            })
        // Unretained: the parser is closed before this object goes, and calls only within `feed`.
        parser = gaia_xml_open(
            handlers, Unmanaged.passUnretained(self).toOpaque(), bounds.parserBytesMax, Self.doctypeBytesMax)
        if parser == nil { throw DocumentFlaw(.refused, "there is no memory for an XML parser") }
    }

    deinit { if let parser { gaia_xml_close(parser) } }

    public var findings: [XMLFinding] { selection.findings }
    /// All that matched so far, what was passed over too.
    public var matches: Int { selection.matches }

    /// - Returns: true when no more is needed.
    public func feed(_ piece: UnsafeRawBufferPointer) throws(DocumentFlaw) -> Bool {
        if isSatisfied { return true }
        try check(gaia_xml_feed(parser, piece.baseAddress, piece.count, false))
        bytes += Int64(piece.count)
        return isSatisfied
    }

    /// To be called at the end of the document, unless no more was needed.
    public func finish() throws(DocumentFlaw) {
        if !isSatisfied { try check(gaia_xml_feed(parser, nil, 0, true)) }
    }

    private static func of(_ user: UnsafeMutableRawPointer) -> XMLReader {
        Unmanaged<XMLReader>.fromOpaque(user).takeUnretainedValue()
    }

    private func tell(_ body: (inout XMLSelection) throws(DocumentFlaw) -> Void) {
        do throws(DocumentFlaw) {
            try body(&selection)
            isSatisfied = selection.isSatisfied
        } catch {
            flaw = error
        }
        if isSatisfied || flaw != nil { gaia_xml_stop(parser) }
    }

    private func check(_ result: gaia_xml_flaw) throws(DocumentFlaw) {
        switch result {
        case GAIA_XML_SOUND: return
        case GAIA_XML_STOPPED:
            if let flaw { throw flaw }
        case GAIA_XML_ENTITY:
            throw DocumentFlaw(
                .refused, "the document declares or uses entities of its own, which are never read; replace them in it")
        case GAIA_XML_DOCTYPE:
            throw DocumentFlaw(
                .refused, "the document's type declaration is longer than \(Self.doctypeBytesMax) bytes; leave it out")
        case GAIA_XML_MEMORY:
            throw DocumentFlaw(
                .refused,
                "the document needs more than \(bounds.parserBytesMax) bytes for its names, or for one tag; "
                    + "raise file.xml_parser_bytes if it is to be trusted")
        default:
            throw DocumentFlaw(
                .malformed,
                "the document is no XML: \(String(cString: gaia_xml_error(parser))) in line \(gaia_xml_line(parser))")
        }
    }
}

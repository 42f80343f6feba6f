import CExpat

/// Finds what one XPath names in one XML document.
///
/// The document is read by Expat: small, with an interface made for reading piece by piece, and cared for by every
/// distribution. It is given an allocator with a bound, since it keeps every name that it meets, and a document may invent
/// a million of them. A document type declaration is read over, as real documents have them; one that declares an entity
/// is refused, so there is nothing to expand, and nothing outside of the document is ever opened.
public struct XMLReader: ~Copyable, @unchecked Sendable {
    // Sendable: nobody else has the engine, and Expat is bound to no thread.

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

    private let engine: Engine

    public init(_ path: XPath, _ bounds: Bounds) throws(DocumentFlaw) { engine = try Engine(path, bounds) }

    public var findings: [XMLFinding] { engine.selection.findings }
    /// All that matched so far, what was passed over too.
    public var matches: Int { engine.selection.matches }
    /// Bytes read.
    public var bytes: Int64 { engine.bytes }

    /// - Returns: true when no more is needed.
    public mutating func feed(_ piece: UnsafeRawBufferPointer) throws(DocumentFlaw) -> Bool {
        if engine.isSatisfied { return true }
        try engine.parse(piece, isLast: false)
        return engine.isSatisfied
    }

    /// To be called at the end of the document, unless no more was needed.
    public mutating func finish() throws(DocumentFlaw) {
        if !engine.isSatisfied { try engine.parse(UnsafeRawBufferPointer(start: nil, count: 0), isLast: true) }
    }
}

/// What Expat calls back: it keeps its address while the reader moves.
private final class Engine {
    var selection: XMLSelection
    private(set) var isSatisfied = false
    private(set) var bytes: Int64 = 0
    private var flaw: DocumentFlaw?
    private let bounds: XMLReader.Bounds
    // Nil only within the initializer, which needs `self` to make it.
    private var parser: OpaquePointer?

    init(_ path: XPath, _ bounds: XMLReader.Bounds) throws(DocumentFlaw) {
        self.bounds = bounds
        selection = XMLSelection(path, bounds)
        let handlers = gaia_xml_handlers(
            start: { user, name, attributes in
                Engine.of(user).tell { (selection) throws(DocumentFlaw) in try selection.start(name, attributes) }
            },
            end: { user, name in
                Engine.of(user).tell { (selection) throws(DocumentFlaw) in try selection.end(name) }
            },
            text: { user, bytes, count in
                Engine.of(user).tell { (selection) throws(DocumentFlaw) in
                    try selection.text(UnsafeRawBufferPointer(start: bytes, count: count))
                }
            })
        // Unretained: the parser is closed before this object goes, and calls only while it is fed.
        parser = gaia_xml_open(
            handlers, Unmanaged.passUnretained(self).toOpaque(), bounds.parserBytesMax, XMLReader.doctypeBytesMax)
        if parser == nil { throw DocumentFlaw(.refused, "there is no memory for an XML parser") }
    }

    deinit { if let parser { gaia_xml_close(parser) } }

    private static func of(_ user: UnsafeMutableRawPointer) -> Engine {
        Unmanaged<Engine>.fromOpaque(user).takeUnretainedValue()
    }

    private func tell(_ body: (inout XMLSelection) throws(DocumentFlaw) -> Void) {
        do throws(DocumentFlaw) {
            try body(&selection)
            isSatisfied = selection.isSatisfied
        } catch {
            flaw = error
        }
        if let parser, isSatisfied || flaw != nil { gaia_xml_stop(parser) }
    }

    func parse(_ piece: UnsafeRawBufferPointer, isLast: Bool) throws(DocumentFlaw) {
        guard let parser else { preconditionFailure("an XML reader without a parser") }
        bytes += Int64(piece.count)
        switch gaia_xml_feed(parser, piece.baseAddress, piece.count, isLast) {
        case GAIA_XML_SOUND: return
        case GAIA_XML_STOPPED:
            if let flaw { throw flaw }
        case GAIA_XML_ENTITY:
            throw DocumentFlaw(
                .refused, "the document declares or uses entities of its own, which are never read; replace them in it")
        case GAIA_XML_DOCTYPE:
            throw DocumentFlaw(
                .refused,
                "the document's type declaration is longer than \(XMLReader.doctypeBytesMax) bytes; leave it out")
        case GAIA_XML_MEMORY:
            throw DocumentFlaw(
                .refused,
                "the document needs more than \(bounds.parserBytesMax) bytes for its names, or for one tag; raise "
                    + "file.xml_parser_bytes if it is to be trusted")
        default:
            let words = String(cString: gaia_xml_error(parser))
            throw DocumentFlaw(.malformed, "the document is no XML: \(words) in line \(gaia_xml_line(parser))")
        }
    }
}

/// Something that an XPath found.
public struct XMLFinding: Sendable, Hashable {
    /// Of the element, or `@` and that of the attribute.
    public let name: String
    /// The attribute's value, or the text of the element and of all in it (of it alone for `text()`).
    public let text: String
    /// The element's attributes; empty for an attribute.
    public let attributes: [String: String]
    /// The element as markup, when that was wanted.
    public let xml: String?
}

/// Keeps what an XPath names, and of the rest of the document only where the reader stands in it.
struct XMLSelection {
    /// An open element.
    private struct Frame {
        /// Which steps its children may take: bit i means that steps 0..<i lead to this element, or to one above from which
        /// any depth is allowed.
        var steps: UInt64
        /// How many children passed up to each position that is asked for.
        var counters: [Int]
    }

    /// A finding whose element is still open.
    private struct Open {
        var depth: Int
        var name: String
        var attributes: [String: String]
        var text: [UInt8] = []
        var xml: [UInt8] = []
        /// Where it goes among the findings, which are in the order in which their elements begin.
        var place: Int
    }

    private let path: XPath
    private let bounds: XMLReader.Bounds
    /// The first stands for the document.
    private var frames: [Frame]
    private var open: [Open] = []
    private var places: [XMLFinding?] = []
    private var bytesKept = 0
    /// Everything that matched, what was passed over too.
    private(set) var matches = 0
    private(set) var isFull = false

    init(_ path: XPath, _ bounds: XMLReader.Bounds) {
        self.path = path
        self.bounds = bounds
        frames = [Frame(steps: 1, counters: Array(repeating: 0, count: path.counters))]
    }

    /// Nothing that follows matters.
    var isSatisfied: Bool { isFull && !bounds.readsOn && open.isEmpty }
    var findings: [XMLFinding] { places.compactMap { $0 } }

    mutating func start(
        _ name: UnsafePointer<CChar>, _ attributes: UnsafePointer<UnsafePointer<CChar>?>
    ) throws(DocumentFlaw) {
        guard frames.count <= bounds.depthMax else {
            throw DocumentFlaw(.tooDeep, "the document nests deeper than \(bounds.depthMax) levels")
        }
        let parent = frames.count - 1
        var steps: UInt64 = 0
        var isMatch = false
        var left = frames[parent].steps
        while left != 0 {
            let index = left.trailingZeroBitCount
            left &= left - 1
            if path.steps[index].isDescendant { steps |= 1 << UInt64(index) }
            guard passes(path.steps[index], parent, name, attributes) else { continue }
            if index + 1 == path.steps.count { isMatch = true } else { steps |= 1 << UInt64(index + 1) }
        }
        // Beneath an element that no step leads through nothing is counted.
        frames.append(Frame(steps: steps, counters: steps == 0 ? [] : Array(repeating: 0, count: path.counters)))
        if isMatch { try match(name, attributes) }
        if bounds.wantsMarkup, !open.isEmpty { try keepMarkup(Self.startTag(name, attributes)) }
    }

    mutating func end(_ name: UnsafePointer<CChar>) throws(DocumentFlaw) {
        if bounds.wantsMarkup, !open.isEmpty { try keepMarkup(Array("</\(String(cString: name))>".utf8)) }
        if let last = open.last, last.depth == frames.count {
            open.removeLast()
            places[last.place] = XMLFinding(
                name: last.name, text: String(decoding: last.text, as: UTF8.self), attributes: last.attributes,
                xml: bounds.wantsMarkup ? String(decoding: last.xml, as: UTF8.self) : nil)
        }
        frames.removeLast()
    }

    mutating func text(_ bytes: UnsafeRawBufferPointer) throws(DocumentFlaw) {
        for index in open.indices where path.target != .text || open[index].depth == frames.count {
            try spend(bytes.count)
            open[index].text.append(contentsOf: bytes)
        }
        if bounds.wantsMarkup, !open.isEmpty { try keepMarkup(Self.escaped(bytes, inAttribute: false)) }
    }

    private mutating func match(
        _ name: UnsafePointer<CChar>, _ attributes: UnsafePointer<UnsafePointer<CChar>?>
    ) throws(DocumentFlaw) {
        switch path.target {
        case .attribute(let wanted):
            try Self.each(attributes) { (name, value) throws(DocumentFlaw) in
                guard wanted == nil || Self.isEqual(name, wanted ?? ""), isWanted() else { return }
                let finding = XMLFinding(
                    name: "@" + String(cString: name), text: String(cString: value), attributes: [:], xml: nil)
                try spend(finding.name.utf8.count + finding.text.utf8.count)
                places.append(finding)
            }
        case .element, .text:
            guard isWanted() else { return }
            var all: [String: String] = [:]
            if path.target == .element {
                try Self.each(attributes) { (name, value) throws(DocumentFlaw) in
                    all[String(cString: name)] = String(cString: value)
                }
            }
            try spend(all.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count })
            open.append(Open(depth: frames.count, name: String(cString: name), attributes: all, place: places.count))
            places.append(nil)
        }
    }

    /// Counts a match, and tells whether it is one of those to keep.
    private mutating func isWanted() -> Bool {
        matches += 1
        guard matches > bounds.skip, places.count < bounds.findingsMax else { return false }
        if places.count + 1 == bounds.findingsMax { isFull = true }
        return true
    }

    private mutating func passes(
        _ step: XPath.Step, _ parent: Int, _ name: UnsafePointer<CChar>,
        _ attributes: UnsafePointer<UnsafePointer<CChar>?>
    ) -> Bool {
        if let wanted = step.name, !Self.isEqual(name, wanted) { return false }
        var counter = step.firstCounter
        for predicate in step.predicates {
            switch predicate {
            case .position(let position):
                frames[parent].counters[counter] += 1
                if frames[parent].counters[counter] != position { return false }
                counter += 1
            case .hasAttribute(let name):
                if Self.value(of: name, in: attributes) == nil { return false }
            case .attributeEquals(let name, let wanted):
                guard let value = Self.value(of: name, in: attributes), Self.isEqual(value, wanted) else {
                    return false
                }
            case .attributeDiffers(let name, let unwanted):
                guard let value = Self.value(of: name, in: attributes), !Self.isEqual(value, unwanted) else {
                    return false
                }
            }
        }
        return true
    }

    private mutating func keepMarkup(_ bytes: [UInt8]) throws(DocumentFlaw) {
        for index in open.indices {
            try spend(bytes.count)
            open[index].xml.append(contentsOf: bytes)
        }
    }

    private mutating func spend(_ bytes: Int) throws(DocumentFlaw) {
        bytesKept += bytes
        if bytesKept > bounds.bytesMax {
            throw DocumentFlaw(
                .tooLarge,
                "what the XPath names is larger than \(bounds.bytesMax) bytes; name less, or fewer with 'limit'")
        }
    }
}

// MARK: What Expat hands over

extension XMLSelection {
    private static func each(
        _ attributes: UnsafePointer<UnsafePointer<CChar>?>,
        _ body: (UnsafePointer<CChar>, UnsafePointer<CChar>) throws(DocumentFlaw) -> Void
    ) throws(DocumentFlaw) {
        var index = 0
        while let name = attributes[index], let value = attributes[index + 1] {
            try body(name, value)
            index += 2
        }
    }

    private static func value(
        of wanted: String, in attributes: UnsafePointer<UnsafePointer<CChar>?>
    ) -> UnsafePointer<CChar>? {
        var index = 0
        while let name = attributes[index] {
            if isEqual(name, wanted) { return attributes[index + 1] }
            index += 2
        }
        return nil
    }

    /// Without making a string of each name that passes.
    private static func isEqual(_ text: UnsafePointer<CChar>, _ wanted: String) -> Bool {
        var position = text
        for byte in wanted.utf8 {
            if UInt8(bitPattern: position.pointee) != byte { return false }
            position += 1
        }
        return position.pointee == 0
    }

    private static func startTag(
        _ name: UnsafePointer<CChar>, _ attributes: UnsafePointer<UnsafePointer<CChar>?>
    ) throws(DocumentFlaw) -> [UInt8] {
        var tag = Array("<\(String(cString: name))".utf8)
        try each(attributes) { (name, value) throws(DocumentFlaw) in
            tag.append(contentsOf: " \(String(cString: name))=\"".utf8)
            let bytes = UnsafeBufferPointer(start: value, count: String(cString: value).utf8.count)
            tag.append(contentsOf: escaped(UnsafeRawBufferPointer(bytes), inAttribute: true))
            tag.append(UInt8(ascii: "\""))
        }
        tag.append(UInt8(ascii: ">"))
        return tag
    }

    private static func escaped(_ bytes: UnsafeRawBufferPointer, inAttribute: Bool) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count)
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "<"): output.append(contentsOf: "&lt;".utf8)
            case UInt8(ascii: ">"): output.append(contentsOf: "&gt;".utf8)
            case UInt8(ascii: "&"): output.append(contentsOf: "&amp;".utf8)
            case UInt8(ascii: "\"") where inAttribute: output.append(contentsOf: "&quot;".utf8)
            case 0x0A where inAttribute, 0x09 where inAttribute, 0x0D: output.append(contentsOf: "&#\(byte);".utf8)
            default: output.append(byte)
            }
        }
        return output
    }
}

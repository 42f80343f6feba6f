/// A path into an XML document, in the part of XPath 1.0 that can be decided while reading forwards:
///
/// ```
///  /catalog/book            child by child from the root
///  //book  /a//b            at any depth
///  *                        an element of any name
///  book[3]                  the third of its parent's children that pass the test so far
///  book[@lang]  book[@lang='de']  book[@lang!='de']
///  /a/b/@id  /a/b/@*        attributes; only at the end
///  /a/b/text()              the element's own text; only at the end
/// ```
///
/// Names are compared as they are written, prefix included. Predicates may follow one another.
public struct XPath: Sendable, Hashable {
    enum Predicate: Sendable, Hashable {
        case position(Int)
        case hasAttribute(String)
        case attributeEquals(String, String)
        case attributeDiffers(String, String)
    }

    struct Step: Sendable, Hashable {
        /// Nil for any.
        let name: String?
        /// Whether it may lie at any depth beneath the step before.
        let isDescendant: Bool
        let predicates: [Predicate]
        /// Where this step's positions stand among all that are counted.
        var firstCounter = 0
    }

    /// What of the elements that the steps lead to is wanted.
    enum Target: Sendable, Hashable {
        case element
        case attribute(String?)
        case text
    }

    let steps: [Step]
    let target: Target
    /// How many positions are counted.
    let counters: Int

    public static let stepsMax = 32
    public static let predicatesMax = 8

    public init(_ text: String) throws(DocumentFlaw) {
        var reader = XPathReader(text)
        (steps, target) = try reader.path()
        counters = steps.reduce(0) { $0 + $1.counterCount }
    }
}

extension XPath.Step {
    var counterCount: Int { predicates.count { if case .position = $0 { true } else { false } } }
}

/// Reads the text of a path.
private struct XPathReader {
    private let text: String
    private var rest: Substring

    init(_ text: String) {
        self.text = text
        rest = text[...]
    }

    mutating func path() throws(DocumentFlaw) -> ([XPath.Step], XPath.Target) {
        var steps: [XPath.Step] = []
        var counters = 0
        guard rest.hasPrefix("/") else { throw flaw("a path begins with / or //") }
        while take("/") {
            let isDescendant = take("/")
            if take("@") {
                if isDescendant { throw flaw("write //*/@name instead of //@name") }
                let name = take("*") ? nil : try name()
                return (steps, try end(.attribute(name), steps))
            }
            if take("text()") {
                if isDescendant { throw flaw("write //*/text() instead of //text()") }
                return (steps, try end(.text, steps))
            }
            let name = take("*") ? nil : try name()
            var step = XPath.Step(name: name, isDescendant: isDescendant, predicates: try predicates())
            step.firstCounter = counters
            counters += step.counterCount
            steps.append(step)
            if steps.count > XPath.stepsMax { throw flaw("a path has at most \(XPath.stepsMax) steps") }
        }
        return (steps, try end(.element, steps))
    }

    private func end(_ target: XPath.Target, _ steps: [XPath.Step]) throws(DocumentFlaw) -> XPath.Target {
        guard rest.isEmpty else { throw flaw("'\(rest.prefix(40))' cannot stand there") }
        guard !steps.isEmpty else { throw flaw("a path names an element first") }
        return target
    }

    private mutating func predicates() throws(DocumentFlaw) -> [XPath.Predicate] {
        var predicates: [XPath.Predicate] = []
        while take("[") {
            predicates.append(try predicate())
            guard take("]") else { throw flaw("']' is missing") }
            if predicates.count > XPath.predicatesMax {
                throw flaw("a step has at most \(XPath.predicatesMax) predicates")
            }
        }
        return predicates
    }

    private mutating func predicate() throws(DocumentFlaw) -> XPath.Predicate {
        if take("@") {
            let name = try name()
            if take("=") { return .attributeEquals(name, try literal()) }
            if take("!=") { return .attributeDiffers(name, try literal()) }
            return .hasAttribute(name)
        }
        let digits = rest.prefix { $0.isASCII && $0.isNumber }
        guard let position = Int(digits), position > 0 else {
            throw flaw("a predicate is [3], [@name], [@name='value'] or [@name!='value']")
        }
        rest = rest[digits.endIndex...]
        return .position(position)
    }

    private mutating func literal() throws(DocumentFlaw) -> String {
        for quote in ["'", "\""] where take(quote) {
            guard let end = rest.firstIndex(of: Character(quote)) else { break }
            let value = String(rest[..<end])
            rest = rest[rest.index(after: end)...]
            return value
        }
        throw flaw("a value stands in quotes")
    }

    private mutating func name() throws(DocumentFlaw) -> String {
        let name = rest.prefix { $0.isLetter || $0.isNumber || "_-.:".contains($0) }
        guard let first = name.first, first.isLetter || first == "_", !name.contains("::") else {
            throw flaw(
                "a name or * is missing before '\(rest.prefix(40))'; axes and functions are not among what is read")
        }
        rest = rest[name.endIndex...]
        return String(name)
    }

    private mutating func take(_ prefix: String) -> Bool {
        guard rest.hasPrefix(prefix) else { return false }
        rest = rest.dropFirst(prefix.count)
        return true
    }

    private func flaw(_ detail: String) -> DocumentFlaw {
        DocumentFlaw(.malformed, "the XPath '\(text.prefix(200))' cannot be used: \(detail)")
    }
}

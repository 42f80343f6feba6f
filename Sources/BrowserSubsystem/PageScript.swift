import FleetModel

/// What is evaluated in pages: the jobs' own expressions, and `Page.js`.
enum PageScript {
    /// Yields the object whose functions look at a page and wait for its elements.
    static let source = String(decoding: PackageResources.Page_js, as: UTF8.self)
    /// The world that it lives in, apart from the page's own scripts.
    static let world = "gaia"

    static let selectorBytesMax = 4 << 10
    static let expressionBytesMax = 256 << 10

    /// Whether it finds anything, only the page can tell.
    static func check(selector: String?, _ name: String) throws(InvalidParameters) {
        guard let selector else { return }
        guard (1...selectorBytesMax).contains(selector.utf8.count), selector.contains(where: { !$0.isWhitespace })
        else {
            throw InvalidParameters(
                "'\(name)' must be a CSS selector of 1 to \(selectorBytesMax) bytes, it has \(selector.utf8.count)")
        }
    }

    static func check(expression: String?, _ name: String) throws(InvalidParameters) {
        guard let expression else { return }
        guard (1...expressionBytesMax).contains(expression.utf8.count) else {
            throw InvalidParameters(
                "'\(name)' must have 1 to \(expressionBytesMax) bytes, it has \(expression.utf8.count)")
        }
    }
}

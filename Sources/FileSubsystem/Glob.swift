/// A pattern of names: `*` stands for any characters but `/`, `**` for any at all, `?` for one that is not `/`, `[a-z]` and
/// `[!a-z]` for one of a set. A pattern without `/` is held against names, one with it against whole paths beneath the
/// listed directory.
///
/// It is followed along all its ways at once, so that no pattern takes longer than its length times that of the name.
struct Glob: Sendable {
    private enum Part: Sendable, Equatable {
        case character(Unicode.Scalar)
        case any
        case set([ClosedRange<Unicode.Scalar>], isInverted: Bool)
        /// Any number of characters; of `/` too when it crosses.
        case run(crosses: Bool)
        /// Any number of whole names, each with its `/`: what `**/` stands for.
        case directories
    }

    static let lengthMax = 256

    private let parts: [Part]
    let isForPaths: Bool

    /// - Returns: nil when the pattern is none: too long, or a set without an end.
    init?(_ text: String) {
        guard !text.isEmpty, text.unicodeScalars.count <= Self.lengthMax else { return nil }
        var parts: [Part] = []
        var rest = text.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            switch scalar {
            case "*":
                let crosses = rest.first == "*"
                while rest.first == "*" { rest.removeFirst() }
                let isAtStart = parts.isEmpty || parts.last == .character("/") || parts.last == .directories
                if crosses, isAtStart, rest.first == "/" {
                    rest.removeFirst()
                    parts.append(.directories)
                } else {
                    parts.append(.run(crosses: crosses))
                }
            case "?": parts.append(.any)
            case "[":
                guard let set = Self.set(&rest) else { return nil }
                parts.append(set)
            default: parts.append(.character(scalar))
            }
        }
        self.parts = parts
        isForPaths = text.contains("/")
    }

    private static func set(_ rest: inout String.UnicodeScalarView.SubSequence) -> Part? {
        let isInverted = rest.first == "!" || rest.first == "^"
        if isInverted { rest.removeFirst() }
        var ranges: [ClosedRange<Unicode.Scalar>] = []
        while let first = rest.popFirst() {
            // A bracket that comes first is a member.
            if first == "]", !ranges.isEmpty { return .set(ranges, isInverted: isInverted) }
            var last = first
            if rest.first == "-", let end = rest.dropFirst().first, end != "]" {
                rest.removeFirst(2)
                last = end
            }
            guard first <= last else { return nil }
            ranges.append(first...last)
        }
        return nil
    }

    func matches(_ text: String) -> Bool {
        // Whether parts 0..<i lead to where the text is.
        var reached = [Bool](repeating: false, count: parts.count + 1)
        reached[0] = true
        passOver(&reached, isAtStart: true)
        for scalar in text.unicodeScalars {
            var next = [Bool](repeating: false, count: parts.count + 1)
            for (index, part) in parts.enumerated() where reached[index] {
                switch part {
                case .character(let wanted): if scalar == wanted { next[index + 1] = true }
                case .any: if scalar != "/" { next[index + 1] = true }
                case .set(let ranges, let isInverted):
                    if scalar != "/", ranges.contains(where: { $0.contains(scalar) }) != isInverted {
                        next[index + 1] = true
                    }
                case .directories: next[index] = true
                case .run(let crosses): if crosses || scalar != "/" { next[index] = true }
                }
            }
            reached = next
            passOver(&reached, isAtStart: scalar == "/")
        }
        return reached[parts.count]
    }

    /// A run may be of no character, and there may be no more directories where a name begins.
    private func passOver(_ reached: inout [Bool], isAtStart: Bool) {
        for (index, part) in parts.enumerated() where reached[index] {
            switch part {
            case .run: reached[index + 1] = true
            case .directories: if isAtStart { reached[index + 1] = true }
            default: break
            }
        }
    }
}

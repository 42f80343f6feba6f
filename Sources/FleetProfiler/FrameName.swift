import CProfiler
import Glibc

/// The names of functions as a person reads them.
///
/// ```
///  closure #1 @Sendable () async -> () in FleetWorker.Worker.(serve in _5F1C)(Swift.Int64) async throws -> ()
///     ▶ FleetWorker.Worker.serve(_:) {closure 1}
///  (3) suspend resume partial function for FleetWorker.Worker.claim() async -> ()
///     ▶ FleetWorker.Worker.claim() ↻3
/// ```
///
/// The module, the types around and the labels of arguments remain; types of arguments and results, generic parameters and how the
/// compiler came to make a copy of a function are left out. `↻` with a number is the part of an asynchronous function that
/// runs on after its so-manyeth suspension.
enum FrameName {
    /// Of a longer name the beginning.
    static let charactersMax = 160

    /// - Parameter symbol: as it stands in the file.
    static func readable(_ symbol: String) -> String {
        let bare = String(symbol.prefix { $0 != "@" })
        let name: String
        if symbol.hasPrefix("$s") || symbol.hasPrefix("$S") || symbol.hasPrefix("_T0") {
            name = taken(gaia_demangle_swift(symbol, symbol.utf8.count)).map(swift) ?? bare
        } else if symbol.hasPrefix("_Z") {
            name = taken(gaia_demangle_cxx(bare)).map(cxx) ?? bare
        } else {
            name = bare
        }
        return name.count > charactersMax ? name.prefix(charactersMax - 1) + "…" : name
    }

    private static func taken(_ text: UnsafeMutablePointer<CChar>?) -> String? {
        guard let text else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    // MARK: Swift

    /// What the compiler made of a function, by how the demangler words it before the function's name.
    private static let makings: [(words: String, mark: String)] = [
        ("merged ", ""), ("async function pointer to ", ""), ("specialized ", ""),
        ("partial apply forwarder for ", ""), ("dispatch thunk of ", " {dispatch}"),
        ("protocol witness for ", " {witness}"),
        ("method lookup function for ", " {lookup}"), ("@objc ", ""), ("@nonobjc ", ""),
    ]
    private static let specialisations = [
        "generic specialization <", "generic not re-abstracted specialization <", "generic partial specialization <",
        "function signature specialization <", "generic pre-specialization <", "inlined generic function <",
    ]

    /// - Parameter demangled: what Swift's runtime makes of a symbol.
    static func swift(_ demangled: String) -> String {
        var rest = Substring(demangled)
        var marks = ""
        while true {
            if let (number, after) = resumption(rest) {
                marks = " ↻\(number)" + marks
                rest = after
            } else if let making = makings.first(where: { rest.hasPrefix($0.words) }) {
                marks = making.mark + marks
                rest = rest.dropFirst(making.words.count)
            } else if let words = specialisations.first(where: { rest.hasPrefix($0) }),
                let after = afterSpecialisation(rest.dropFirst(words.count - 1))
            {
                rest = after
            } else {
                break
            }
        }
        if rest.hasPrefix("reabstraction thunk") { return "reabstraction thunk" + marks }
        return inner(rest) + marks
    }

    /// `(3) suspend resume partial function for …`
    private static func resumption(_ text: Substring) -> (number: Substring, after: Substring)? {
        guard text.first == "(", let close = text.firstIndex(of: ")") else { return nil }
        let number = text[text.index(after: text.startIndex)..<close]
        let after = text[text.index(after: close)...]
        for words in [" suspend resume partial function for ", " await resume partial function for "]
        where after.hasPrefix(words) && !number.isEmpty && number.allSatisfy(\.isNumber) {
            return (number, after.dropFirst(words.count))
        }
        return nil
    }

    /// - Parameter text: begins with the bracket.
    private static func afterSpecialisation(_ text: Substring) -> Substring? {
        guard let end = closing(text, "<", ">") else { return nil }
        let after = text[text.index(after: end)...]
        return after.hasPrefix(" of ") ? after.dropFirst(4) : nil
    }

    /// A function, perhaps within another.
    private static func inner(_ text: Substring) -> String {
        for (words, called) in [("implicit closure #", "implicit closure "), ("closure #", "closure ")]
        where text.hasPrefix(words) {
            let after = text.dropFirst(words.count)
            let number = after.prefix(while: \.isNumber)
            guard let outer = outerFunction(after) else { break }
            return inner(outer) + " {\(called)\(number)}"
        }
        // `name #1 (…) -> … in outer`: a function that stands in another.
        if let hash = text.firstRange(of: " #"), !text[..<hash.lowerBound].contains(where: { " (<.".contains($0) }),
            let outer = outerFunction(text[hash.upperBound...])
        {
            return inner(outer) + " {\(text[..<hash.lowerBound])}"
        }
        return signature(text)
    }

    /// What follows the last ` in ` that stands in no bracket.
    private static func outerFunction(_ text: Substring) -> Substring? {
        var depth = 0
        var index = text.startIndex
        while index < text.endIndex {
            let character = text[index]
            if character == "(" || character == "<" { depth += 1 }
            if character == ")" || (character == ">" && !text[..<index].hasSuffix("-")) { depth -= 1 }
            if depth == 0, text[index...].hasPrefix(" in ") { return text[index...].dropFirst(4) }
            index = text.index(after: index)
        }
        return nil
    }

    /// `Module.Type<T>.name(label: Type, Type) async -> Type` as `Module.Type.name(label:_:)`.
    private static func signature(_ text: Substring) -> String {
        var name = ""
        var rest = text.hasPrefix("static ") ? text.dropFirst("static ".count) : text
        while let character = rest.first {
            if character == "<", name.last != ".", let end = closing(rest, "<", ">") {
                rest = rest[rest.index(after: end)...]
                continue
            }
            if character == "(", let end = closing(rest, "(", ")") {
                let within = rest[rest.index(after: rest.startIndex)..<end]
                rest = rest[rest.index(after: end)...]
                if within.hasPrefix("extension in ") {
                    if rest.first == ":" { rest.removeFirst() }
                } else if let hidden = within.firstRange(of: " in _"),
                    !within[..<hidden.lowerBound].contains(where: { " (:".contains($0) })
                {
                    // A private name, with a number for its file.
                    name += within[..<hidden.lowerBound]
                } else {
                    return name + "(" + labels(within) + ")"
                }
                continue
            }
            // `name.getter : Type`, `operator infix(…)`
            if rest.hasPrefix(" : ") || rest.hasPrefix(" -> ") || rest.hasPrefix(" async") || rest.hasPrefix(" throws")
            {
                break
            }
            name.append(character)
            rest.removeFirst()
        }
        return name
    }

    private static func labels(_ parameters: Substring) -> String {
        if parameters.isEmpty { return "" }
        var labels = ""
        var depth = 0
        var part = ""
        func end(_ part: String) {
            let label = part.drop { $0 == " " }.prefix { $0 != ":" && $0 != " " && $0 != "(" && $0 != "<" }
            let hasLabel = part.drop { $0 == " " }.dropFirst(label.count).first == ":"
            labels += hasLabel ? "\(label):" : "_:"
        }
        var last: Character = " "
        for character in parameters {
            if "(<[".contains(character) { depth += 1 }
            if ")]".contains(character) || (character == ">" && last != "-") { depth -= 1 }
            if character == ",", depth == 0 {
                end(part)
                part = ""
            } else {
                part.append(character)
            }
            last = character
        }
        end(part)
        return labels
    }

    /// Where the bracket that a text begins with is closed; arrows are no brackets.
    private static func closing(_ text: Substring, _ open: Character, _ close: Character) -> Substring.Index? {
        var depth = 0
        var last: Character = " "
        for index in text.indices {
            let character = text[index]
            if character == open { depth += 1 }
            if character == close, !(close == ">" && last == "-") {
                depth -= 1
                if depth == 0 { return index }
            }
            last = character
        }
        return nil
    }

    // MARK: C++

    /// Without parameters, template arguments and what is in parentheses.
    static func cxx(_ demangled: String) -> String {
        var name = ""
        var depth = 0
        var rest = demangled.replacing("(anonymous namespace)::", with: "")[...]
        while let character = rest.first {
            if rest.hasPrefix("operator") || rest.hasPrefix("~") {
                // Its own name may be a bracket.
                name += rest.prefix { $0 != "(" }
                break
            }
            if character == "<" {
                depth += 1
            } else if character == ">" {
                depth -= 1
            } else if depth == 0 {
                if character == "(" { break }
                name.append(character)
            }
            rest.removeFirst()
        }
        // A template's result stands before its name.
        return name.split(separator: " ").last.map(String.init) ?? demangled
    }
}

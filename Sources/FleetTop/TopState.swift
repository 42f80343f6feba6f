/// Which picture is shown.
public enum TopView: Int, Sendable, CaseIterable {
    case overview, queues, workers, alarms, help

    var title: String {
        switch self {
        case .overview: "overview"
        case .queues: "queues"
        case .workers: "workers"
        case .alarms: "alarms"
        case .help: "help"
        }
    }
}

/// What a person can do.
public enum TopKey: Sendable, Equatable {
    case quit, nextView, help, up, down, pageUp, pageDown, first, last
    case view(TopView)

    /// Reads what a terminal sends: several keys may come at once, and an arrow is three bytes. What means nothing is left
    /// out.
    public static func read(_ bytes: [UInt8]) -> [TopKey] {
        var keys: [TopKey] = []
        var rest = bytes[...]
        while let first = rest.first {
            if first == 0x1B, rest.count > 1 {
                let (key, count) = sequence(rest)
                if let key { keys.append(key) }
                rest = rest.dropFirst(count)
                continue
            }
            rest = rest.dropFirst()
            if let key = plain(first) { keys.append(key) }
        }
        return keys
    }

    /// A sequence that begins with ESC, and how many bytes it has.
    private static func sequence(_ bytes: ArraySlice<UInt8>) -> (TopKey?, Int) {
        let body = Array(bytes.dropFirst())
        guard body[0] == UInt8(ascii: "[") || body[0] == UInt8(ascii: "O") else { return (nil, 2) }
        // Parameters, then the letter that ends it.
        guard let end = body.dropFirst().firstIndex(where: { (0x40...0x7E).contains($0) }) else {
            return (nil, bytes.count)
        }
        let parameter = String(decoding: body[1..<end], as: UTF8.self)
        let key: TopKey? =
            switch (body[end], parameter) {
            case (UInt8(ascii: "A"), _): .up
            case (UInt8(ascii: "B"), _): .down
            case (UInt8(ascii: "H"), _), (UInt8(ascii: "~"), "1"), (UInt8(ascii: "~"), "7"): .first
            case (UInt8(ascii: "F"), _), (UInt8(ascii: "~"), "4"), (UInt8(ascii: "~"), "8"): .last
            case (UInt8(ascii: "~"), "5"): .pageUp
            case (UInt8(ascii: "~"), "6"): .pageDown
            default: nil
            }
        return (key, end + 2)
    }

    private static func plain(_ byte: UInt8) -> TopKey? {
        switch Character(Unicode.Scalar(byte)) {
        case "q", "Q", "\u{3}": .quit
        case "\t": .nextView
        case "?", "h": .help
        case "k": .up
        case "j": .down
        case " ": .pageDown
        case "b": .pageUp
        case "g": .first
        case "G": .last
        case "o", "1": .view(.overview)
        case "u", "2": .view(.queues)
        case "w", "3": .view(.workers)
        case "a", "4": .view(.alarms)
        default: nil
        }
    }
}

/// What is shown, and from which row on.
public struct TopState: Sendable, Equatable {
    public var view = TopView.overview
    /// Of the list that scrolls. A page may find it too great: then it is that of the last row.
    public var offset = 0
    /// Where help was asked for.
    private var before = TopView.overview

    public init() {}

    /// - Parameters:
    ///   - page: what was last shown.
    /// - Returns: false when it is to end.
    public mutating func press(_ key: TopKey, on page: Page?) -> Bool {
        let most = page?.offsetMax ?? 0
        let step = max(1, (page?.listed ?? 2) - 1)
        switch key {
        case .quit: return false
        case .nextView:
            let views = TopView.allCases.filter { $0 != .help }
            let index = views.firstIndex(of: view == .help ? before : view) ?? 0
            show(views[(index + 1) % views.count])
        case .help: view == .help ? show(before) : show(.help)
        case .view(let view): show(view)
        case .up: offset = min(offset, most) - 1
        case .down: offset = min(offset, most) + 1
        case .pageUp: offset = min(offset, most) - step
        case .pageDown: offset = min(offset, most) + step
        case .first: offset = 0
        case .last: offset = most
        }
        offset = max(0, min(offset, most))
        return true
    }

    private mutating func show(_ next: TopView) {
        if next == view { return }
        if next == .help { before = view }
        view = next
        offset = 0
    }
}

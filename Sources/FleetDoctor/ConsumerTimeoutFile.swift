import Foundation

extension ConsumerTimeout {
    /// What a node's configuration files say; nil when one of them cannot be read.
    ///
    /// RabbitMQ shows this setting in no interface but that of its own machine, so its files are all there is to look at.
    ///
    /// - Parameter files: as `/api/nodes` lists them: `rabbitmq.conf` and those beside it, and `advanced.config`, which wins.
    init?(readingFrom files: [String]) {
        guard !files.isEmpty else { return nil }
        var found: ConsumerTimeout?
        for file in files.sorted(by: { !$0.hasSuffix(".config") && $1.hasSuffix(".config") }) {
            // So the broker marks one that it looked for and that is not there.
            if file.hasSuffix("(not found)") { continue }
            guard let text = try? String(contentsOfFile: file, encoding: .utf8) else { return nil }
            found = Self.read(text) ?? found
        }
        self = found ?? .byDefault
    }

    /// The last that a text says, in either of RabbitMQ's two formats; nil when it says nothing.
    static func read(_ text: String) -> ConsumerTimeout? {
        var found: ConsumerTimeout?
        for line in text.split(separator: "\n") {
            let words = line.prefix { $0 != "#" && $0 != "%" }
                .split { !($0.isLetter || $0.isNumber || $0 == "_" || $0 == ".") }
            guard let index = words.firstIndex(of: "consumer_timeout"), index + 1 < words.endIndex else { continue }
            switch words[index + 1] {
            case "undefined", "infinity", "false": found = .never
            case let number:
                if let milliseconds = Int(number) { found = .after(.milliseconds(milliseconds)) }
            }
        }
        return found
    }
}

extension ConsumerTimeout: Comparable {
    static func < (left: ConsumerTimeout, right: ConsumerTimeout) -> Bool {
        switch (left, right) {
        case (.after(let left), .after(let right)): left < right
        case (.after, .never): true
        case (.never, _): false
        }
    }
}

/// Whether a host is this machine, by how it is written.
func isLoopback(_ host: String) -> Bool {
    let bare = host.filter { $0 != "[" && $0 != "]" }
    return bare == "localhost" || bare == "::1" || bare.hasPrefix("127.")
}

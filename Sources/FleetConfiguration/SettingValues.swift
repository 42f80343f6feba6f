import FleetModel
import Yams

/// Settings as they were read, each with the place it came from, so that an error can say where to look.
struct SettingValues {
    private struct Value {
        var text: String
        var place: String
    }

    private var values: [String: Value] = [:]

    // MARK: Reading

    mutating func read(yaml: String, name: String) throws(ConfigurationError) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: yaml)
        } catch {
            throw ConfigurationError("\(name) is no YAML: \(error)")
        }
        guard let root else { return }
        try read(root, path: [], name: name)
    }

    private mutating func read(_ node: Node, path: [String], name: String) throws(ConfigurationError) {
        let place = "\(name):\(node.mark?.line ?? 1)"
        let key = path.joined(separator: ".")
        switch node {
        case .mapping(let mapping):
            for (member, value) in mapping {
                guard let member = member.string else { throw ConfigurationError("\(place): a key must be text") }
                try read(value, path: path + [member], name: name)
            }
        case .sequence(let sequence):
            let setting = try Self.known(key, place)
            guard setting.kind == .names else {
                throw ConfigurationError("\(place): \(key) must be a single value, not a list")
            }
            var names: [String] = []
            for element in sequence {
                guard case .scalar(let scalar) = element else {
                    let place = "\(name):\(element.mark?.line ?? 1)"
                    throw ConfigurationError("\(place): \(key) must list names, nothing deeper")
                }
                names.append(scalar.string)
            }
            values[key] = Value(text: names.joined(separator: ","), place: place)
        case .scalar(let scalar):
            if path.isEmpty {
                throw ConfigurationError("\(place): expected settings such as 'amqp:', found a lone value")
            }
            // A section that is there without content, or a setting without value, means its default.
            if scalar.string.isEmpty || node.tag == Tag(.null) { return }
            _ = try Self.known(key, place)
            values[key] = Value(text: scalar.string, place: place)
        case .alias:
            throw ConfigurationError("\(place): YAML aliases are not read here; write the value out")
        }
    }

    private static func known(_ key: String, _ place: String) throws(ConfigurationError) -> Setting {
        if let setting = Setting.named(key) { return setting }
        if key.hasPrefix(Setting.slotsPrefix), JobType.isSubsystem(String(key.dropFirst(Setting.slotsPrefix.count))) {
            return Setting.known(Setting.slotsPrefix + "default")
        }
        let hint = Setting.nearest(to: key).map { "; did you mean \($0)?" } ?? "; gaia settings lists what there is"
        throw ConfigurationError("\(place): there is no setting \(key)\(hint)")
    }

    mutating func read(environment: [String: String]) throws(ConfigurationError) {
        for setting in Setting.all {
            if let text = environment[setting.variable], !text.isEmpty {
                values[setting.key] = Value(text: text, place: "environment variable \(setting.variable)")
            }
        }
        let prefix = "GAIA_WORKER_SLOTS_"
        for (variable, text) in environment where variable.hasPrefix(prefix) && !text.isEmpty {
            let name = variable.dropFirst(prefix.count).lowercased().map { $0 == "_" ? "-" : String($0) }.joined()
            let place = "environment variable \(variable)"
            let key = Setting.slotsPrefix + name
            _ = try Self.known(key, place)
            values[key] = Value(text: text, place: place)
        }
    }

    // MARK: Typed access

    func text(_ key: String) -> String? { values[key]?.text ?? Setting.named(key)?.fallback }

    /// Parts of a text, separated by commas, without the blanks around them.
    func list(_ key: String) -> [String] {
        (text(key) ?? "").split(separator: ",").map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
    }

    func number(_ key: String) throws(ConfigurationError) -> Int {
        let setting = Setting.known(key)
        guard case .number(let range) = setting.kind else { preconditionFailure("\(key) is no number") }
        return try number(values[key] ?? Value(text: setting.fallback ?? "", place: "the default"), key, range)
    }

    private func number(_ value: Value, _ key: String, _ range: ClosedRange<Int>) throws(ConfigurationError) -> Int {
        guard let number = Int(value.text.filter { $0 != "_" }), range.contains(number) else {
            throw ConfigurationError(
                "\(value.place): \(key) is '\(value.text)', it must be a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound)")
        }
        return number
    }

    func ratio(_ key: String) throws(ConfigurationError) -> Double {
        let setting = Setting.known(key)
        guard setting.kind == .ratio else { preconditionFailure("\(key) is no ratio") }
        let value = values[key] ?? Value(text: setting.fallback ?? "", place: "the default")
        guard let ratio = Double(value.text), (0...1).contains(ratio) else {
            throw ConfigurationError(
                "\(value.place): \(key) is '\(value.text)', it must be a number from 0 to 1, such as 0.01")
        }
        return ratio
    }

    func numbers(under prefix: String) throws(ConfigurationError) -> [String: Int] {
        guard case .number(let range)? = Setting.named(prefix + "default")?.kind else { return [:] }
        var numbers: [String: Int] = [:]
        for (key, value) in values where key.hasPrefix(prefix) && key != prefix + "default" {
            numbers[String(key.dropFirst(prefix.count))] = try number(value, key, range)
        }
        return numbers
    }

    func choice(_ key: String) throws(ConfigurationError) -> String {
        let setting = Setting.known(key)
        guard case .choice(let choices) = setting.kind else { preconditionFailure("\(key) is no choice") }
        guard let value = values[key] else { return setting.fallback ?? "" }
        guard choices.contains(value.text) else {
            throw ConfigurationError(
                "\(value.place): \(key) is '\(value.text)', it must be one of \(choices.joined(separator: ", "))")
        }
        return value.text
    }

    func names(_ key: String) throws(ConfigurationError) -> [String] {
        guard let value = values[key] else { return [] }
        let names = value.text.split(separator: ",").map { String($0.filter { !$0.isWhitespace }) }
        for name in names where !JobType.isSubsystem(name) {
            throw ConfigurationError("\(value.place): \(key) names '\(name)', which cannot be a subsystem")
        }
        return names
    }
}

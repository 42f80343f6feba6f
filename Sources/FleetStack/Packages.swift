import FoundationEssentials
import Glibc

/// RabbitMQ's installed files.
struct BrokerPackage: Sendable {
    let home: String
    let erl: String
    let epmd: String

    static func locate(prefix: String) throws -> BrokerPackage {
        // Debian's scripts are links into the versioned home, where they find everything else beside them.
        let script = "\(prefix)/lib/rabbitmq/bin/rabbitmq-server"
        let erl = "\(prefix)/bin/erl"
        let epmd = "\(prefix)/bin/epmd"
        for (path, package) in [(script, "rabbitmq-server"), (erl, "erlang-base"), (epmd, "erlang-base")]
        where access(path, X_OK) != 0 {
            throw StackError(
                .missingPackage(apt: package),
                "RabbitMQ is not installed (there is no \(path)): run `apt-get install \(package)`."
            )
        }
        let parts = resolvedPath(script).split(separator: "/").dropLast(2)
        return BrokerPackage(home: "/" + parts.joined(separator: "/"), erl: erl, epmd: epmd)
    }

    /// The directories of `plugins` and of all they need, or nil when these cannot be told for certain.
    ///
    /// RabbitMQ looks through every plugin it finds and searches all of them for each module it loads: that is most of
    /// its time to boot. See ``PrivateBroker`` for what this saves.
    func pluginDirectories(for plugins: [String]) -> [String]? {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: "\(home)/plugins") else { return nil }
        var directories: [String: String] = [:]
        for name in names {
            // NAME-VERSION
            guard let dash = name.lastIndex(of: "-") else { continue }
            directories[String(name[..<dash])] = name
        }
        var needed: Set<String> = []
        var open = ["rabbit"] + plugins
        while let application = open.popLast() {
            // What is not among the plugins comes with Erlang.
            guard let directory = directories[application] else {
                if plugins.contains(application) || application == "rabbit" { return nil }
                continue
            }
            guard needed.insert(directory).inserted else { continue }
            let resource = "\(home)/plugins/\(directory)/ebin/\(application).app"
            guard let text = try? readText(resource), let required = Self.required(text) else { return nil }
            open += required
        }
        return needed.sorted()
    }

    /// The names in `{applications, [a, b]}` of an Erlang application resource, those optional included.
    private static func required(_ resource: String) -> [String]? {
        guard let key = resource.firstRange(of: "{applications"),
            let start = resource[key.upperBound...].firstIndex(of: "["),
            let end = resource[start...].firstIndex(of: "]")
        else { return nil }
        return resource[resource.index(after: start)..<end].split(separator: ",").map {
            String($0.filter { !$0.isWhitespace && $0 != "'" })
        }
    }
}

/// PostgreSQL's installed files.
struct DatabasePackage: Sendable {
    let binaries: String
    let psql: String

    /// Takes the highest version that is installed.
    static func locate(prefix: String) throws -> DatabasePackage {
        let root = "\(prefix)/lib/postgresql"
        // No such directory is the same answer as an empty one.
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        let versions = names.compactMap { Int($0) }.filter { access("\(root)/\($0)/bin/postgres", X_OK) == 0 }
        guard let version = versions.max() else {
            throw StackError(
                .missingPackage(apt: "postgresql"),
                "PostgreSQL is not installed (there is no \(root)/VERSION/bin/postgres): "
                    + "run `apt-get install postgresql`."
            )
        }
        let binaries = "\(root)/\(version)/bin"
        guard access("\(binaries)/psql", X_OK) == 0 else {
            throw StackError(
                .missingPackage(apt: "postgresql-client"),
                "psql is not installed (there is no \(binaries)/psql): run `apt-get install postgresql-client`."
            )
        }
        return DatabasePackage(binaries: binaries, psql: "\(binaries)/psql")
    }
}

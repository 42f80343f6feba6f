/// A path as jobs write it: the name of a root, a colon, and the way beneath it, such as `data:lessons/1.json`. `data:`
/// alone is the root itself.
///
/// Each file has one spelling: repeated slashes and `.` are taken out, so that a path can name a lock. Refused are an
/// absolute way, `..`, U+0000, and names that begin with ``RootedFiles/reservedPrefix``. That is courtesy to the writer of
/// a path, who learns of it before the job runs; the guard is how ``FileRoots`` walks it.
public struct RootedPath: Sendable, Hashable, CustomStringConvertible {
    public let root: String
    /// Empty for the root itself.
    public let components: [String]

    /// In UTF-8 bytes, the root's name included.
    public static let bytesMax = 4_000
    /// Of one name; what Linux file systems take.
    public static let nameBytesMax = 255
    public static let componentsMax = 128

    public init(_ text: String) throws(FileError) {
        func flaw(_ detail: String) -> FileError { FileError(.invalidPath, String(text.prefix(200)), detail) }
        guard text.utf8.count <= Self.bytesMax else { throw flaw("is longer than \(Self.bytesMax) bytes") }
        guard !text.utf8.contains(0) else { throw flaw("holds U+0000") }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, FileRoot.isName(parts[0]) else {
            throw flaw("names no root; write ROOT:PATH, for example data:lessons/1.json")
        }
        guard !parts[1].hasPrefix("/") else {
            throw flaw("is absolute; write the path as it is beneath the root, without a slash in front")
        }
        var components: [String] = []
        for part in parts[1].split(separator: "/") where part != "." {
            if part == ".." { throw flaw("has '..' in it; write the path without") }
            if part.utf8.count > Self.nameBytesMax { throw flaw("has a name of over \(Self.nameBytesMax) bytes") }
            if part.hasPrefix(RootedFiles.reservedPrefix) {
                throw flaw("has a name that begins with \(RootedFiles.reservedPrefix), which is the fleet's own")
            }
            components.append(String(part))
        }
        guard components.count <= Self.componentsMax else { throw flaw("is deeper than \(Self.componentsMax) names") }
        self.root = String(parts[0])
        self.components = components
    }

    private init(root: String, components: [String]) {
        self.root = root
        self.components = components
    }

    public var isRoot: Bool { components.isEmpty }

    /// The last name; nil for a root.
    public var name: String? { components.last }

    /// Nil for a root.
    public var parent: RootedPath? {
        isRoot ? nil : RootedPath(root: root, components: Array(components.dropLast()))
    }

    /// The path of an entry as a directory lists it. Its name may be one that no job could write.
    public func appending(_ name: String) -> RootedPath { RootedPath(root: root, components: components + [name]) }

    /// What the kernel walks from the root's descriptor.
    var way: String { isRoot ? "." : components.joined(separator: "/") }

    public var description: String { "\(root):\(components.joined(separator: "/"))" }
}

/// A directory that jobs may use.
public struct FileRoot: Sendable, Hashable {
    /// 1 to 40 lower-case letters, digits and hyphens.
    public let name: String
    /// An absolute path of the machine.
    public let directory: String
    public let isWritable: Bool

    public init(name: String, directory: String, isWritable: Bool = true) throws(FileError) {
        guard Self.isName(name[...]) else {
            throw FileError(.invalidPath, name, "is no name for a root: 1 to 40 lower-case letters, digits and hyphens")
        }
        guard directory.hasPrefix("/") else { throw FileError(.invalidPath, name, "needs an absolute directory") }
        self.name = name
        self.directory = directory
        self.isWritable = isWritable
    }

    /// Roots as a setting lists them: `data=/srv/data,templates=/srv/templates:ro`.
    public static func list(_ text: String) throws(FileError) -> [FileRoot] {
        var roots: [FileRoot] = []
        for item in text.split(separator: ",") {
            let parts = item.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else {
                throw FileError(
                    .invalidPath, String(item), "is no root; write NAME=DIRECTORY, with :ro behind to read only")
            }
            let isReadOnly = parts[1].hasSuffix(":ro")
            roots.append(
                try FileRoot(
                    name: trimmed(parts[0]), directory: trimmed(isReadOnly ? parts[1].dropLast(3) : parts[1]),
                    isWritable: !isReadOnly))
        }
        return roots
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }

    static func isName(_ text: Substring) -> Bool {
        (1...40).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}

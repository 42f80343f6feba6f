import RootedFiles

/// Walks a directory in the order of names, a directory before what is in it, from any place on: so a page needs to know no
/// more than the last entry of the one before. Symbolic links are entries, and never followed.
struct Listing: Sendable {
    struct Wish: Sendable {
        var glob: Glob?
        var types: Set<FileStatus.Kind>?
        var depth: Int
        /// Entries of a page.
        var entriesMax: Int
        /// Entries looked at for it, whether they are wanted or not.
        var examinedMax: Int
        /// Names of one directory held at a time.
        var namesMax: Int
    }

    /// A directory on the way to where the walk is.
    private struct Level: Sendable {
        let directory: OpenDirectory
        /// The next names, in descending order, so that the next is the last.
        var names: [String] = []
        /// The name behind which to read on.
        var after: String?
        /// Whether there may be names behind those at hand.
        var isOpen = true
    }

    private final class OpenDirectory: Sendable {
        let directory: RootedDirectory
        init(_ directory: consuming RootedDirectory) { self.directory = directory }

        /// A directory in this one; nil when it is none, or is gone.
        func inner(_ name: String) throws(FileError) -> OpenDirectory? {
            do throws(FileError) {
                guard try directory.status(name)?.kind == .directory else { return nil }
                return OpenDirectory(try directory.directory(name))
            } catch {
                if [.notFound, .notDirectory, .symlink].contains(error.reason) { return nil }
                throw error
            }
        }
    }

    /// Entries looked at before others have their turn.
    private static let stepEntries = 256

    private let wish: Wish
    private var levels: [Level]
    private(set) var entries: [ListOutput.Entry] = []
    private var examined = 0
    /// The entry looked at last, beneath the listed directory.
    private var last: [String] = []
    private var isOver = false
    private let root: RootedPath

    init(of path: RootedPath, after cursor: [String]?, _ wish: Wish, _ roots: FileRoots) throws {
        self.wish = wish
        root = path
        levels = [Level(directory: OpenDirectory(try roots.directory(path)))]
        guard let cursor else { return }
        last = cursor
        for name in cursor {
            let above = levels[levels.count - 1].directory
            levels[levels.count - 1].after = name
            // The last name's directory as well: its entries come behind itself.
            guard levels.count < wish.depth, let next = try above.inner(name) else { break }
            levels.append(Level(directory: next))
        }
    }

    /// Nil when all has been seen.
    var nextCursor: String? { isOver ? nil : last.joined(separator: "/") }

    /// - Returns: whether the page is done.
    mutating func step() throws -> Bool {
        for _ in 0..<Self.stepEntries {
            if entries.count >= wish.entriesMax || examined >= wish.examinedMax {
                isOver = try !hasMore()
                return true
            }
            guard try hasMore(), let name = levels[levels.count - 1].names.popLast() else {
                isOver = true
                return true
            }
            try visit(name)
        }
        return false
    }

    /// Leaves directories that have been seen, and reads on in the one above.
    private mutating func hasMore() throws -> Bool {
        while let level = levels.last {
            if !level.names.isEmpty { return true }
            if level.isOpen {
                try readOn()
            } else {
                levels.removeLast()
            }
        }
        return false
    }

    private mutating func visit(_ name: String) throws {
        let directory = levels[levels.count - 1].directory
        last = directory.directory.path.components.dropFirst(root.components.count) + [name]
        examined += 1
        // Else it is gone since its name was read.
        guard let status = try directory.directory.status(name) else { return }
        add(name, directory.directory.path, status)
        if status.kind == .directory, levels.count < wish.depth, let inner = try directory.inner(name) {
            levels.append(Level(directory: inner))
        }
    }

    private mutating func add(_ name: String, _ directory: RootedPath, _ status: FileStatus) {
        if let types = wish.types, !types.contains(status.kind) { return }
        if let glob = wish.glob, !glob.matches(glob.isForPaths ? last.joined(separator: "/") : name) { return }
        entries.append(
            ListOutput.Entry(
                path: "\(directory.appending(name))", type: status.kind, bytes: status.bytes,
                modifiedMilliseconds: status.modifiedMilliseconds, mode: status.modeDigits))
    }

    /// Reads the directory for the names that come next.
    private mutating func readOn() throws {
        let level = levels[levels.count - 1]
        var next = NextNames(after: level.after, namesMax: wish.namesMax)
        try level.directory.directory.names { (name) throws(FileError) in
            next.add(name)
            return true
        }
        let names = next.finish()
        levels[levels.count - 1].isOpen = next.isCut
        levels[levels.count - 1].after = names.last ?? level.after
        levels[levels.count - 1].names = names.reversed()
    }
}

/// Of names in no order, the first so many behind a given one.
private struct NextNames {
    private let after: String?
    private let namesMax: Int
    private var names: [String] = []
    /// Whether there were more.
    private(set) var isCut = false

    init(after: String?, namesMax: Int) {
        self.after = after
        self.namesMax = namesMax
    }

    mutating func add(_ name: String) {
        if let after, !Self.precedes(after, name) { return }
        names.append(name)
        if names.count == 2 * namesMax { _ = finish() }
    }

    /// In ascending order.
    mutating func finish() -> [String] {
        names.sort(by: Self.precedes)
        if names.count > namesMax {
            names.removeLast(names.count - namesMax)
            isCut = true
        }
        return names
    }

    /// By bytes, which is the same on every machine.
    private static func precedes(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }
}

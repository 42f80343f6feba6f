import Foundation

/// Much of a program's code runs once, when it starts: parsing arguments, reading settings, building handlers. The kernel
/// counts its pages as the process's memory until it is short of memory itself.
enum StartUpCode {
    /// Gives the pages back. Code that is still in use comes back from the page cache when it is called next, a few dozen
    /// microseconds in all.
    static func release() {
        guard let maps = try? String(contentsOfFile: "/proc/self/maps", encoding: .utf8) else { return }
        for range in ranges(in: maps) {
            madvise(UnsafeMutableRawPointer(bitPattern: range.lowerBound), range.count, MADV_DONTNEED)
        }
    }

    /// Executable mappings of files, which are never written to. Read-only data is left alone: some of it was written when
    /// the program was loaded, and its file knows nothing of that.
    static func ranges(in maps: String) -> [Range<UInt>] {
        maps.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            guard fields.count >= 6, fields[1] == "r-xp", fields[5].hasPrefix("/") else { return nil }
            let ends = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
            return ends.count == 2 ? ends[0]..<ends[1] : nil
        }
    }
}

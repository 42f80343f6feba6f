import Glibc

/// Why a file's functions cannot be told.
enum ELFError: Error, Equatable {
    case unreadable(errno: Int32)
    case notELF
    /// Of another word size or byte order than this program reads: 64 bits, little-endian.
    case foreign
    /// Something lies outside the file, or is larger than anything that could be meant.
    case malformed(String)
}

/// The names of functions in an ELF file.
///
/// Nothing is taken on trust: every offset is checked against the file's size, tables are read in pieces of bounded size with
/// `pread`, and of the names only those that are asked for. So a table of many megabytes costs a few kilobytes of memory,
/// and a file that is cut short, or shrinks meanwhile, is an error and nothing worse.
struct ELFFile: ~Copyable {
    private struct Section {
        let type: UInt32
        let offset, size: UInt64
        let link: UInt32
        let entrySize: UInt64
    }

    private struct Segment {
        let offset, address, fileSize: UInt64
    }

    private let descriptor: Descriptor
    private let size: UInt64
    private let segments: [Segment]
    private let sections: [Section]

    private static let headerBytes = 64
    private static let sectionBytes = 64
    private static let segmentBytes = 56
    private static let symbolBytes = 24
    private static let sectionsMax = 4_096
    private static let segmentsMax = 256
    /// Symbols read at once.
    private static let pieceSymbols = 4_096
    /// Swift's names of generic things are long; of a longer one the beginning.
    static let nameBytesMax = 8_192

    init(path: String) throws(ELFError) {
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard number >= 0 else { throw .unreadable(errno: errno) }
        let descriptor = Descriptor(number: number)
        var status = stat()
        guard fstat(number, &status) == 0 else { throw .unreadable(errno: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notELF }
        let size = UInt64(status.st_size)
        guard size >= Self.headerBytes else { throw .notELF }
        let header = try Self.read(number, size, at: 0, Self.headerBytes, "header")
        guard header.bytes[..<4] == [0x7F, 0x45, 0x4C, 0x46] else { throw .notELF }
        guard header.bytes[4] == 2, header.bytes[5] == 1 else { throw .foreign }
        let (segments, sections) = (
            try Self.segments(number, size, header), try Self.sections(number, size, header)
        )
        self.segments = segments
        self.sections = sections
        self.size = size
        self.descriptor = descriptor
    }

    private static func segments(_ descriptor: Int32, _ size: UInt64, _ header: Bytes) throws(ELFError) -> [Segment] {
        let count = Int(header.number(56, UInt16.self))
        guard count <= segmentsMax, count == 0 || header.number(54, UInt16.self) == segmentBytes else {
            throw .malformed("segments")
        }
        let table = try read(descriptor, size, at: header.number(32, UInt64.self), count * segmentBytes, "segments")
        // Those that are loaded.
        return (0..<count).map { $0 * segmentBytes }.filter { table.number($0, UInt32.self) == 1 }.map {
            Segment(
                offset: table.number($0 + 8, UInt64.self), address: table.number($0 + 16, UInt64.self),
                fileSize: table.number($0 + 32, UInt64.self))
        }
    }

    private static func sections(_ descriptor: Int32, _ size: UInt64, _ header: Bytes) throws(ELFError) -> [Section] {
        let count = Int(header.number(60, UInt16.self))
        guard count <= sectionsMax, count == 0 || header.number(58, UInt16.self) == sectionBytes else {
            throw .malformed("sections")
        }
        let table = try read(descriptor, size, at: header.number(40, UInt64.self), count * sectionBytes, "sections")
        return (0..<count).map { $0 * sectionBytes }.map {
            Section(
                type: table.number($0 + 4, UInt32.self), offset: table.number($0 + 24, UInt64.self),
                size: table.number($0 + 32, UInt64.self), link: table.number($0 + 40, UInt32.self),
                entrySize: table.number($0 + 56, UInt64.self))
        }
    }

    /// Where a byte of the file lies in the addresses that the file's symbols use.
    ///
    /// - Returns: nil when it is not part of what is loaded.
    func address(ofFileOffset offset: UInt64) -> UInt64? {
        for segment in segments where offset >= segment.offset && offset - segment.offset < segment.fileSize {
            return segment.address &+ (offset - segment.offset)
        }
        return nil
    }

    /// The function that each address lies in, as it is called in the file; those that lie in none are left out. Of the
    /// symbols that only linking needs (`.dynsym`), where the others (`.symtab`) were stripped.
    ///
    /// - Parameter addresses: as ``address(ofFileOffset:)`` gives them.
    func functions(at addresses: Set<UInt64>) throws(ELFError) -> [UInt64: String] {
        guard let symbols = sections.first(where: { $0.type == 2 }) ?? sections.first(where: { $0.type == 11 }) else {
            return [:]
        }
        guard symbols.entrySize == Self.symbolBytes, symbols.link < sections.count else { throw .malformed("symbols") }
        let strings = sections[Int(symbols.link)]
        guard strings.type == 3 else { throw .malformed("names") }
        let sorted = addresses.sorted()
        var found: [UInt64: UInt32] = [:]
        let count = symbols.size / UInt64(Self.symbolBytes)
        var first: UInt64 = 0
        while first < count {
            let here = Int(min(UInt64(Self.pieceSymbols), count - first))
            let (offset, isOver) = symbols.offset.addingReportingOverflow(first * UInt64(Self.symbolBytes))
            guard !isOver else { throw .malformed("symbols") }
            let piece = try Self.read(descriptor.number, size, at: offset, here * Self.symbolBytes, "symbols")
            for index in 0..<here { Self.match(piece, index * Self.symbolBytes, sorted, &found) }
            first += UInt64(here)
        }
        var names: [UInt64: String] = [:]
        for (address, place) in found { names[address] = try name(at: place, strings) }
        return names
    }

    private static func match(_ piece: Bytes, _ at: Int, _ addresses: [UInt64], _ found: inout [UInt64: UInt32]) {
        // Functions, and those that the loader chooses among.
        let type = piece.bytes[at + 4] & 0xF
        guard type == 2 || type == 10 else { return }
        let (start, length) = (piece.number(at + 8, UInt64.self), piece.number(at + 16, UInt64.self))
        var (low, high) = (0, addresses.count)
        while low < high {
            let middle = (low + high) / 2
            if addresses[middle] < start { low = middle + 1 } else { high = middle }
        }
        while low < addresses.count, addresses[low] - start < length {
            if found[addresses[low]] == nil { found[addresses[low]] = piece.number(at, UInt32.self) }
            low += 1
        }
    }

    private func name(at place: UInt32, _ strings: Section) throws(ELFError) -> String {
        guard UInt64(place) < strings.size else { throw .malformed("names") }
        let (offset, isOver) = strings.offset.addingReportingOverflow(UInt64(place))
        guard !isOver, offset < size else { throw .malformed("names") }
        let room = min(strings.size - UInt64(place), size - offset)
        var length = 256
        while true {
            let count = Int(min(room, UInt64(length)))
            let bytes = try Self.read(descriptor.number, size, at: offset, count, "names").bytes
            if let end = bytes.firstIndex(of: 0) { return String(decoding: bytes[..<end], as: UTF8.self) }
            if count < length || length >= Self.nameBytesMax { return String(decoding: bytes, as: UTF8.self) }
            length *= 8
        }
    }

    private static func read(
        _ descriptor: Int32, _ size: UInt64, at offset: UInt64, _ count: Int, _ what: String
    ) throws(ELFError) -> Bytes {
        guard offset <= size, UInt64(count) <= size - offset else { throw .malformed(what) }
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let now = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress?.advanced(by: done), count - done, off_t(offset) + done)
            }
            if now < 0, errno == EINTR { continue }
            if now < 0 { throw .unreadable(errno: errno) }
            if now == 0 { throw .malformed(what) }
            done += now
        }
        return Bytes(bytes: bytes)
    }

    struct Descriptor: ~Copyable {
        let number: Int32
        deinit { close(number) }
    }

    /// Bytes of the file, all of which were there.
    private struct Bytes {
        let bytes: [UInt8]

        func number<Number: FixedWidthInteger>(_ offset: Int, _: Number.Type) -> Number {
            bytes.withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self)) }
        }
    }
}

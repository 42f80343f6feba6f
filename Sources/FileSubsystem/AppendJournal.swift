import RootedFiles

/// What makes appending bear repetition: beside the file lies a journal in which each job notes where its bytes go before
/// it writes them.
///
/// ```
///  lock the journal ──▶ repair: the newest note's bytes are not all there? its writer died: cut them off, void the note
///        ──▶ this key has a note? its bytes are there: done
///        ──▶ (the caller confirms its claim) ──▶ note, sync ──▶ bytes, sync
/// ```
///
/// The journal is a ring of notes of 64 bytes, ``FileSettings/appendNotesMax`` of them: a repeat is noticed as long as no more than that many other
/// jobs have appended to the file meanwhile. Notes name the file's inode, so those of a file that was replaced mean
/// nothing. The lock is the kernel's (flock), which goes with its process, so a dead writer blocks nobody.
struct AppendJournal: ~Copyable, Sendable {
    static let noteBytes = 64
    private static let keyDigits = 32

    /// Where the bytes of one job are.
    struct Note: Equatable {
        var offset: Int64
        /// 0 when void.
        var count: Int64
        var inode: UInt64
        /// From 1, rising.
        var number: UInt64
    }

    private let journal: RegularFile
    private let target: RegularFile
    private let key: [UInt8]
    private let notesMax: Int
    /// Where this job's bytes are already.
    let present: Note?
    private let newest: Note?

    /// Opens and locks the journal, and repairs what a dead writer left.
    ///
    /// - Returns: nil when another process appends at the moment.
    static func open(
        _ name: String, key: String, in directory: borrowing RootedDirectory, mode: UInt32, creates: Bool,
        _ settings: FileSettings
    ) throws -> AppendJournal? {
        var journal = try directory.file(try Self.name(of: name), .creating(mode: 0o600))
        guard try journal.tryLock() else { return nil }
        // In the lock, so that of two that make the file only one has made it.
        let isMade = try creates && directory.status(name) == nil
        let target = try directory.file(name, isMade ? .creating(mode: mode) : .writing)
        if isMade && settings.syncs { try directory.sync() }
        return try AppendJournal(journal, target, key: key, notesMax: settings.appendNotesMax)
    }

    /// Of the journal of a file.
    static func name(of name: String) throws(FileError) -> String {
        let digest = try FileDigest.hexadecimal(.sha256, of: Array(name.utf8))
        return "\(RootedFiles.reservedPrefix)append-\(digest.prefix(24))"
    }

    private init(
        _ journal: consuming RegularFile, _ target: consuming RegularFile, key: String, notesMax: Int
    ) throws {
        let digits = Array(try FileDigest.hexadecimal(.sha256, of: Array(key.utf8)).utf8.prefix(Self.keyDigits))
        let status = try target.status()
        var found = try Self.find(digits, inode: status.inode, in: journal, notesMax: notesMax)
        if let newest = found.newest, newest.count > 0, status.bytes < newest.offset + newest.count {
            // Cut short by someone else, it holds nothing of ours any more; cut off nothing then.
            if status.bytes > newest.offset { try target.truncate(to: newest.offset) }
            found.newest?.count = 0
            if found.own?.number == newest.number { found.own = nil }
            try Self.writeCount(0, of: newest, to: journal, notesMax: notesMax)
        }
        present = found.own
        newest = found.newest
        self.key = digits
        self.notesMax = notesMax
        self.journal = journal
        self.target = target
    }

    func bytes() throws -> Int64 { try target.status().bytes }

    /// Appends for this job.
    ///
    /// - Returns: where the bytes are.
    func append(_ bytes: [UInt8], syncs: Bool) throws -> Note {
        let status = try target.status()
        let note = Note(
            offset: status.bytes, count: Int64(bytes.count), inode: status.inode,
            number: (newest?.number ?? 0) + 1)
        try Self.write(note, of: key, to: journal, notesMax: notesMax)
        // Or the bytes could outlast what tells whose they are.
        if syncs { try journal.sync() }
        do {
            try bytes.withUnsafeBytes { try target.write($0, at: note.offset) }
        } catch {
            // A full disk, most likely. The note is voided by whoever comes next.
            try target.truncate(to: note.offset)
            throw error
        }
        if syncs { try target.sync() }
        return note
    }
}

// MARK: Notes as bytes

/// Key, offset, count, inode, number; the numbers with their most significant byte first.
extension AppendJournal {
    /// The newest note of a file, and the one of a key that is not void.
    private static func find(
        _ key: [UInt8], inode: UInt64, in journal: borrowing RegularFile, notesMax: Int
    ) throws -> (newest: Note?, own: Note?) {
        let bytes = try journal.read(at: 0, count: notesMax * noteBytes)
        return bytes.withUnsafeBytes { bytes in
            var (newest, own): (Note?, Note?) = (nil, nil)
            for start in stride(from: 0, through: bytes.count - noteBytes, by: noteBytes) {
                func number(_ index: Int) -> UInt64 {
                    UInt64(
                        bigEndian: bytes.loadUnaligned(fromByteOffset: start + keyDigits + 8 * index, as: UInt64.self))
                }
                guard number(2) == inode, number(3) > 0 else { continue }
                let note = Note(
                    offset: Int64(clamping: number(0)), count: Int64(clamping: number(1)), inode: inode,
                    number: number(3))
                if note.number > newest?.number ?? 0 { newest = note }
                let isOwn = key.indices.allSatisfy { bytes[start + $0] == key[$0] }
                if isOwn && note.count > 0 { own = note }
            }
            return (newest, own)
        }
    }

    private static func write(
        _ note: Note, of key: [UInt8], to journal: borrowing RegularFile, notesMax: Int
    ) throws {
        var bytes = key
        for number in [UInt64(note.offset), UInt64(note.count), note.inode, note.number] {
            withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
        }
        try bytes.withUnsafeBytes { try journal.write($0, at: place(of: note, notesMax)) }
    }

    private static func writeCount(
        _ count: Int64, of note: Note, to journal: borrowing RegularFile, notesMax: Int
    ) throws {
        try withUnsafeBytes(of: count.bigEndian) {
            try journal.write($0, at: place(of: note, notesMax) + Int64(keyDigits) + 8)
        }
    }

    private static func place(of note: Note, _ notesMax: Int) -> Int64 {
        Int64((note.number - 1) % UInt64(notesMax)) * Int64(noteBytes)
    }
}

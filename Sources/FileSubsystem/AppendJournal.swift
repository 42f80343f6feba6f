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
/// The journal is a ring of ``notesMax`` notes of 64 bytes: a repeat is noticed as long as no more than that many other
/// jobs have appended to the file meanwhile. Notes name the file's inode, so those of a file that was replaced mean
/// nothing. The lock is the kernel's (flock), which goes with its process, so a dead writer blocks nobody.
struct AppendJournal: ~Copyable, Sendable {
    static let notesMax = 4_096
    static let noteBytes = 64
    private static let keyDigits = 32

    /// Where the bytes of one job are.
    struct Note: Equatable {
        /// Digits of a digest of the key.
        var key: String
        var offset: Int64
        /// 0 when void.
        var count: Int64
        var inode: UInt64
        /// From 1, rising.
        var number: UInt64
    }

    private let journal: RegularFile
    private let target: RegularFile
    private let key: String
    /// Where this job's bytes are already.
    let present: Note?
    private let newest: Note?

    /// Opens and locks the journal, and repairs what a dead writer left.
    ///
    /// - Returns: nil when another process appends at the moment.
    static func open(
        _ name: String, key: String, in directory: borrowing RootedDirectory, mode: UInt32, creates: Bool, syncs: Bool
    ) throws -> AppendJournal? {
        let journal = try directory.file(try Self.name(of: name), .creating(mode: 0o600))
        guard try journal.tryLock() else { return nil }
        // In the lock, so that of two that make the file only one has made it.
        let isMade = try creates && directory.status(name) == nil
        let target = try directory.file(name, isMade ? .creating(mode: mode) : .writing)
        if isMade && syncs { try directory.sync() }
        return try AppendJournal(journal, target, key: key)
    }

    /// Of the journal of a file.
    static func name(of name: String) throws(FileError) -> String {
        let digest = try FileDigest.hexadecimal(.sha256, of: Array(name.utf8))
        return "\(RootedFiles.reservedPrefix)append-\(digest.prefix(24))"
    }

    private init(
        _ journal: consuming RegularFile, _ target: consuming RegularFile, key: String
    ) throws {
        let digits = String(try FileDigest.hexadecimal(.sha256, of: Array(key.utf8)).prefix(Self.keyDigits))
        let status = try target.status()
        let notes = try Self.notes(of: journal).filter { $0.inode == status.inode }
        var newest = notes.max { $0.number < $1.number }
        if var last = newest, last.count > 0, status.bytes < last.offset + last.count {
            // Cut short by someone else, it holds nothing of ours any more; cut off nothing then.
            if status.bytes > last.offset { try target.truncate(to: last.offset) }
            last.count = 0
            try Self.write(last, to: journal)
            newest = last
        }
        present = notes.first { $0.key == digits && $0.count > 0 && $0.number != newest?.number }
            ?? newest.flatMap { $0.key == digits && $0.count > 0 ? $0 : nil }
        self.newest = newest
        self.key = digits
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
            key: key, offset: status.bytes, count: Int64(bytes.count), inode: status.inode,
            number: (newest?.number ?? 0) + 1)
        try Self.write(note, to: journal)
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

extension AppendJournal {
    private static func notes(of journal: borrowing RegularFile) throws -> [Note] {
        let bytes = try journal.read(at: 0, count: notesMax * noteBytes)
        return stride(from: 0, through: bytes.count - noteBytes, by: noteBytes).compactMap { start in
            let note = bytes[start..<start + noteBytes]
            func number(_ index: Int) -> UInt64 {
                note[(start + keyDigits + 8 * index)...].prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
            }
            let (offset, count) = (Int64(bitPattern: number(0)), Int64(bitPattern: number(1)))
            guard number(3) > 0, offset >= 0, count >= 0 else { return nil }
            return Note(
                key: String(decoding: note.prefix(keyDigits), as: UTF8.self), offset: offset, count: count,
                inode: number(2), number: number(3))
        }
    }

    private static func write(_ note: Note, to journal: borrowing RegularFile) throws {
        var bytes = Array(note.key.utf8)
        for number in [UInt64(note.offset), UInt64(note.count), note.inode, note.number] {
            bytes.append(contentsOf: (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * UInt64($0))) })
        }
        let slot = Int64((note.number - 1) % UInt64(notesMax))
        try bytes.withUnsafeBytes { try journal.write($0, at: slot * Int64(noteBytes)) }
    }
}

/// Finds the value of one pointer in each document of a stream that has one document a line (NDJSON). Blank lines are
/// passed over.
public struct JSONLines: Sendable {
    /// What is taken of the stream.
    public struct Bounds: Sendable, Hashable {
        /// Values returned.
        public var valuesMax: Int
        /// Bytes of all values together.
        public var bytesMax: Int
        public var depthMax: Int
        /// Whether a line that is no JSON is counted and passed over; else it ends the reading.
        public var skipsMalformed: Bool

        public init(valuesMax: Int, bytesMax: Int, depthMax: Int, skipsMalformed: Bool) {
            self.valuesMax = valuesMax
            self.bytesMax = bytesMax
            self.depthMax = depthMax
            self.skipsMalformed = skipsMalformed
        }
    }

    /// Of each line that has the value, in order, compact JSON.
    public private(set) var values: [String] = []
    /// Lines read, blank ones left out.
    public private(set) var lines = 0
    /// Lines without the value.
    public private(set) var missing = 0
    /// Lines that are no JSON.
    public private(set) var malformed = 0
    /// Where the first line begins that was not read, in bytes from the start of the stream; where to read on.
    public private(set) var nextOffset = 0

    private let pointer: JSONPointer
    private let bounds: Bounds
    private var scanner: JSONScanner<JSONSelection>
    private var bytesKept = 0
    private var offset = 0
    private var isFull = false
    /// The rest of this line is passed over.
    private var isSkipping = false

    public init(_ pointer: JSONPointer, _ bounds: Bounds) {
        self.pointer = pointer
        self.bounds = bounds
        scanner = Self.scanner(pointer, bounds, bounds.bytesMax)
    }

    private static func scanner(_ pointer: JSONPointer, _ bounds: Bounds, _ bytesMax: Int) -> JSONScanner<JSONSelection>
    {
        // Each line is read to its end, so that what is no JSON shows.
        JSONScanner(JSONSelection(pointer, bytesMax: bytesMax, readsOn: true), depthMax: bounds.depthMax)
    }

    /// - Returns: true when as much has been found as was wanted.
    public mutating func feed(_ piece: UnsafeRawBufferPointer) throws(DocumentFlaw) -> Bool {
        var rest = piece.assumingMemoryBound(to: UInt8.self)
        while !isFull, let end = rest.firstIndex(of: 0x0A) {
            try feedLine(UnsafeBufferPointer(rebasing: rest[..<end]))
            offset += end + 1
            try endLine()
            rest = UnsafeBufferPointer(rebasing: rest[(end + 1)...])
        }
        if isFull { return true }
        try feedLine(rest)
        offset += rest.count
        return isFull
    }

    /// To be called at the end of the stream, unless no more was needed.
    public mutating func finish() throws(DocumentFlaw) {
        if !isFull { try endLine() }
    }

    private mutating func feedLine(_ bytes: UnsafeBufferPointer<UInt8>) throws(DocumentFlaw) {
        if isSkipping || isFull { return }
        do {
            _ = try scanner.feed(bytes)
        } catch  where error.kind == .tooLarge && !values.isEmpty {
            // This line's value goes with the next page.
            isFull = true
        } catch {
            try pass(error)
        }
    }

    private mutating func endLine() throws(DocumentFlaw) {
        if isFull { return }
        if !isSkipping && !scanner.isBlank {
            do {
                try scanner.finish()
                lines += 1
                if scanner.sink.isWhole {
                    bytesKept += scanner.sink.text.count
                    values.append(String(decoding: scanner.sink.text, as: UTF8.self))
                } else {
                    missing += 1
                }
            } catch {
                try pass(error)
            }
        }
        isSkipping = false
        nextOffset = offset
        isFull = values.count >= bounds.valuesMax
        scanner = Self.scanner(pointer, bounds, bounds.bytesMax - bytesKept)
    }

    private mutating func pass(_ error: DocumentFlaw) throws(DocumentFlaw) {
        guard bounds.skipsMalformed, error.kind == .malformed || error.kind == .tooDeep else {
            throw DocumentFlaw(
                error.kind, "line \(lines + malformed + 1) read, at byte \(nextOffset): \(error.description)")
        }
        lines += 1
        malformed += 1
        isSkipping = true
    }
}

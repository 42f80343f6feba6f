import Glibc

/// Cuts a stream of bytes into messages, each ended by NUL.
struct MessageFrames {
    enum Frame: Equatable {
        case message([UInt8])
        /// One that was larger than allowed: its beginning.
        case tooLarge([UInt8])
    }

    /// How much is kept of a message that is too large: enough to tell whose answer it is.
    private static let beginningBytes = 64

    private let bytesMax: Int
    private var partial: [UInt8] = []
    /// Whether the rest of the message under way is being skipped.
    private var isSkipping = false

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// Takes what came, and returns what is whole by now.
    mutating func take(_ piece: UnsafeRawBufferPointer) -> [Frame] {
        var frames: [Frame] = []
        var rest = piece
        while !rest.isEmpty {
            guard let base = rest.baseAddress, let end = memchr(base, 0, rest.count) else {
                append(rest)
                break
            }
            let count = base.distance(to: UnsafeRawPointer(end))
            append(UnsafeRawBufferPointer(rebasing: rest[..<count]))
            frames.append(isSkipping ? .tooLarge(partial) : .message(partial))
            partial = []
            isSkipping = false
            rest = UnsafeRawBufferPointer(rebasing: rest[(count + 1)...])
        }
        return frames
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if isSkipping { return }
        if partial.count + bytes.count > bytesMax {
            partial = Array((partial.prefix(Self.beginningBytes) + bytes.prefix(Self.beginningBytes)))
            isSkipping = true
        } else {
            partial += bytes
        }
    }
}

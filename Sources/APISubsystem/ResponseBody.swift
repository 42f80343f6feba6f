import CurlClient
import FleetModel
import RootedFiles
import Synchronization

/// Takes a response as it comes in: small bodies into memory, large ones into a file, those of a status that was not
/// expected as far as they explain it.
///
/// ```
///  head ──expected──▶ in memory ──past the limit──▶ in a file ──▶ finish
///    │                                 └─ none to be had: TooLarge
///    ├─ not expected ──▶ the first bytes, for the message ──past the bound──▶ Enough
///    └─ a redirect to follow ──▶ nothing of it ─────────────past the bound──▶ Enough
/// ```
///
/// For one receiver at a time, who awaits each piece.
final class ResponseBody: Sendable {
    /// What became of the body.
    enum Content: Sendable {
        case inline([UInt8])
        case file(FileReference)
    }

    /// It has more bytes than may be kept.
    struct TooLarge: Error { let bytesMax: Int }
    /// Nothing that still comes is of interest.
    struct Enough: Error {}

    /// Where large bodies go.
    struct Place: Sendable {
        let open: @Sendable () async throws -> FileSink
        let bytesMax: Int
        /// Whether small ones go there too.
        let isForAll: Bool
    }

    private struct State {
        var head: CurlHead?
        var isExpected = false
        var next: RedirectTrail?
        var kept: [UInt8] = []
        var bytes = 0
        var sink: FileSink?
    }

    private let state = Mutex(State())
    private let trail: RedirectTrail
    private let expects: @Sendable (Int) -> Bool
    private let hasBody: Bool
    private let inlineBytesMax: Int
    private let place: Place?

    /// Bytes of a body that was not expected that are kept for the message.
    private static let excerptBytes = 1_024
    /// Bytes that are read of such a body so that its connection can be used again.
    static let unexpectedBytesMax = 256 << 10

    /// - Parameters:
    ///   - trail: the hop whose response it is.
    ///   - hasBody: whether the method's answer has the body that its head announces.
    ///   - expects: whether a status means success.
    init(
        trail: RedirectTrail, hasBody: Bool, inlineBytesMax: Int, place: Place?,
        expects: @escaping @Sendable (Int) -> Bool
    ) {
        self.trail = trail
        self.hasBody = hasBody
        self.expects = expects
        self.inlineBytesMax = inlineBytesMax
        self.place = place
    }

    /// Once it is known.
    var head: CurlHead? { state.withLock { $0.head } }
    var isExpected: Bool { state.withLock { $0.isExpected } }
    /// Where it leads, when it is a redirect that is to be followed.
    var next: RedirectTrail? { state.withLock { $0.next } }
    /// The beginning of what was not expected.
    var excerpt: [UInt8] { state.withLock { Array($0.kept.prefix(Self.excerptBytes)) } }

    func take(_ piece: CurlPiece) async throws {
        switch piece {
        case .head(let head): try begin(head)
        case .bytes(let bytes): try await take(bytes)
        }
    }

    private func begin(_ head: CurlHead) throws {
        let next = try trail.next(after: head)
        let isExpected = next == nil && expects(head.status)
        state.withLock { state in
            state.head = head
            state.isExpected = isExpected
            state.next = next
        }
        // Known to be too much before it comes. What is packed is longer than its head says.
        guard isExpected, hasBody, let announced = head.header("content-length").flatMap({ Int($0) }) else { return }
        if announced > bytesMax { throw TooLarge(bytesMax: bytesMax) }
    }

    private var bytesMax: Int { place?.bytesMax ?? inlineBytesMax }

    private func take(_ piece: [UInt8]) async throws {
        enum Next {
            case nothing
            case write(FileSink, [UInt8])
            case open
        }
        let next: Next = try state.withLock { state in
            state.bytes += piece.count
            guard state.isExpected else {
                if state.kept.count < Self.excerptBytes { state.kept += piece.prefix(Self.excerptBytes) }
                if state.bytes > Self.unexpectedBytesMax { throw Enough() }
                return .nothing
            }
            guard state.bytes <= bytesMax else { throw TooLarge(bytesMax: bytesMax) }
            if let sink = state.sink { return .write(sink, piece) }
            state.kept += piece
            return state.kept.count > inlineBytesMax ? .open : .nothing
        }
        switch next {
        case .nothing: break
        case .write(let sink, let piece): try await sink.write(piece)
        case .open: try await moveToFile()
        }
    }

    private func moveToFile() async throws {
        guard let place else { throw TooLarge(bytesMax: inlineBytesMax) }
        let sink = try await place.open()
        let kept = state.withLock { state in
            state.sink = sink
            defer { state.kept = [] }
            return state.kept
        }
        if !kept.isEmpty { try await sink.write(kept) }
    }

    /// The whole body has come.
    ///
    /// - Parameter confirm: called right before a file gets its name.
    func finish(confirm: () async throws -> Void) async throws -> Content {
        if let place, place.isForAll, state.withLock({ $0.sink == nil }) { try await moveToFile() }
        let (sink, kept) = state.withLock { ($0.sink, $0.kept) }
        guard let sink else { return .inline(kept) }
        return .file(try await sink.finish(confirm: confirm))
    }

    /// Leaves no file behind.
    func abandon() async { await state.withLock { $0.sink }?.abandon() }
}

import FoundationEssentials

extension Page {
    /// A picture of the page.
    public struct CaptureScreenshot: DevToolsCommand {
        public static let method = "Page.captureScreenshot"
        public struct Answer: DevToolsAnswer {
            /// The picture's file, decoded.
            public var data: Data
            public init(json: JSONSlice) throws {
                guard let text = json["data"] else { throw DevToolsError(.malformed, "a screenshot without data") }
                data = try text.base64Decoded()
            }
        }
        public enum Format: String, Encodable, Sendable { case png, jpeg, webp }
        public struct Clip: Encodable, Sendable {
            public var x: Double
            public var y: Double
            public var width: Double
            public var height: Double
            public var scale: Double
            public init(_ area: Rectangle, scale: Double = 1) {
                (x, y, width, height) = (area.x, area.y, area.width, area.height)
                self.scale = scale
            }
        }
        public var format: Format
        /// 0 to 100, for jpeg and webp.
        public var quality: Int?
        public var clip: Clip?
        /// Whether the clip may lie outside of what the viewport shows, as for a whole page.
        public var captureBeyondViewport: Bool
        /// Whether the file may be larger and sooner there.
        public var optimizeForSpeed: Bool?
        public init(
            format: Format = .png, quality: Int? = nil, clip: Clip? = nil, captureBeyondViewport: Bool = false,
            optimizeForSpeed: Bool? = nil
        ) {
            self.format = format
            self.quality = quality
            self.clip = clip
            self.captureBeyondViewport = captureBeyondViewport
            self.optimizeForSpeed = optimizeForSpeed
        }
    }

    /// The page as a PDF. Always as a stream: read it by ``DevToolsSession/read(stream:pieceBytes:within:_:)``.
    public struct PrintToPDF: DevToolsCommand {
        public static let method = "Page.printToPDF"
        public struct Answer: DevToolsAnswer, Decodable {
            public var stream: String
        }
        let transferMode = "ReturnAsStream"
        public var landscape: Bool?
        public var printBackground: Bool?
        public var scale: Double?
        /// In inches.
        public var paperWidth: Double?
        public var paperHeight: Double?
        public var marginTop: Double?
        public var marginBottom: Double?
        public var marginLeft: Double?
        public var marginRight: Double?
        /// Such as `1-5, 8`.
        public var pageRanges: String?
        public var preferCSSPageSize: Bool?
        public init() {}
    }
}

/// Streams that the browser holds for us.
public enum IO {
    public struct Read: DevToolsCommand {
        public static let method = "IO.read"
        public struct Answer: DevToolsAnswer {
            public var data: Data
            public var isEnd: Bool
            public init(json: JSONSlice) throws {
                struct Flags: Decodable {
                    var eof: Bool
                    var base64Encoded: Bool?
                }
                // The data is passed over here and decoded below, where it stands.
                let flags = try json.decode(Flags.self)
                guard let text = json["data"] else { throw DevToolsError(.malformed, "a piece without data") }
                isEnd = flags.eof
                data =
                    flags.base64Encoded == true
                    ? try text.base64Decoded() : Data(try text.decode(String.self).utf8)
            }
        }
        public var handle: String
        /// In bytes, before base64.
        public var size: Int?
        public init(handle: String, size: Int? = nil) {
            self.handle = handle
            self.size = size
        }
    }

    public struct Close: DevToolsCommand {
        public static let method = "IO.close"
        public typealias Answer = NoAnswer
        public var handle: String
        public init(handle: String) { self.handle = handle }
    }
}

extension DevToolsSession {
    /// Hands on a stream's content piece by piece, and closes the stream however that ends.
    ///
    /// - Parameters:
    ///   - pieceBytes: how much is asked for at a time.
    ///   - limit: for each piece.
    /// - Throws: ``DevToolsError``, or what `take` throws.
    public func read(
        stream: String, pieceBytes: Int = 1 << 20, within limit: Duration? = nil, _ take: (Data) async throws -> Void
    ) async throws {
        defer { post(IO.Close(handle: stream)) }
        while true {
            let piece = try await send(IO.Read(handle: stream, size: pieceBytes), within: limit)
            if !piece.data.isEmpty { try await take(piece.data) }
            if piece.isEnd { return }
        }
    }
}

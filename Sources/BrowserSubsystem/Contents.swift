import DevTools
import FleetModel
import RootedFiles

/// What is told of a page.
extension OpenPage {
    /// As `collect` of `Page.js` yields it.
    struct Snapshot: Decodable, Sendable {
        struct Held: Decodable, Sendable {
            /// All of it, when it is short enough.
            var text: String?
            /// UTF-16 units of what is held in the page.
            var units: Int?
        }

        struct Links: Decodable, Sendable {
            var list: [PageLink]
            var total: Int
        }

        var url: String
        var title: String
        var status: Int
        var text: Held?
        var html: Held?
        var links: Links?
        var timings: PageTimings?
    }

    /// - Parameter inlineUnits: UTF-16 units of the longest text that comes at once.
    func collect(_ wants: Set<VisitParameters.Want>, inlineUnits: Int, _ deadline: Deadline) async throws -> Snapshot {
        let flags = Dictionary(uniqueKeysWithValues: wants.map { ($0.rawValue, true) })
        return try await call("collect", [.flags(flags), .integer(inlineUnits)], in: top, as: Snapshot.self, deadline)
    }

    private struct Slice: Decodable {
        var text: String
        var end: Int
    }

    /// Code units fetched at once of a text that goes into a file.
    private static let sliceUnits = 1 << 20

    /// Writes a text that is held in the page, by pieces, so that no more than one is in memory.
    func write(_ name: String, units: Int, to sink: FileSink, _ deadline: Deadline) async throws {
        var at = 0
        while at < units {
            let slice = try await call(
                "slice", [.text(name), .integer(at), .integer(Self.sliceUnits)], in: top, as: Slice.self,
                isRepeatable: false, deadline)
            guard slice.end > at else { break }
            try await sink.write(Array(slice.text.utf8))
            at = slice.end
        }
    }

    // MARK: Pictures and print

    private struct Extent: Decodable {
        var width: Double
        var height: Double
    }

    struct Picture: Sendable {
        var png: [UInt8]
        var width: Int
        var height: Int
        /// Whether the page is longer than the picture.
        var isCut: Bool
    }

    /// - Parameter scale: device pixels to a CSS pixel.
    func screenshot(fullPage: Bool, scale: Double, _ deadline: Deadline) async throws -> Picture {
        // A picture that is packed harder is a fifth smaller, and takes a third more of the processor.
        var command = Page.CaptureScreenshot(captureBeyondViewport: fullPage, optimizeForSpeed: true)
        var isCut = false
        if fullPage {
            let extent = try await call("extent", [], in: top, as: Extent.self, deadline)
            let most = Double(ScreenshotWish.heightMax) / scale
            isCut = extent.height > most || extent.width > most
            command.clip = Page.CaptureScreenshot.Clip(
                Page.Rectangle(
                    x: 0, y: 0, width: min(extent.width, most).rounded(.down),
                    height: min(extent.height, most).rounded(.down)))
        }
        let png = Array(try await send(command, deadline).data)
        guard let size = PNGHeader(png) else {
            throw JobFailure(.transient, code: "browser.protocol", message: "the browser's screenshot is no PNG")
        }
        return Picture(png: png, width: size.width, height: size.height, isCut: isCut)
    }

    /// Prints the page.
    func pdf(_ wish: PDFWish, to sink: FileSink, _ deadline: Deadline) async throws {
        let size = (wish.paper ?? .a4).size
        var command = Page.PrintToPDF()
        command.landscape = wish.landscape ?? false
        command.printBackground = wish.background ?? true
        (command.paperWidth, command.paperHeight) = size
        command.preferCSSPageSize = true
        let stream = try await send(command, deadline).stream
        try await session.read(stream: stream, within: try deadline.remaining()) { piece in
            try await sink.write(Array(piece))
        }
    }
}

/// Width and height of a PNG: the first chunk of every PNG (`IHDR`) begins with them.
struct PNGHeader {
    let width: Int
    let height: Int

    init?(_ bytes: [UInt8]) {
        let magic: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
        guard bytes.count >= 24, bytes.starts(with: magic), bytes[12..<16].elementsEqual("IHDR".utf8) else {
            return nil
        }
        func number(_ offset: Int) -> Int { bytes[offset..<(offset + 4)].reduce(0) { $0 << 8 | Int($1) } }
        (width, height) = (number(16), number(20))
    }
}

/// A link of a page.
public struct PageLink: Codable, Sendable, Hashable {
    public let url: String
    public let text: String
}

/// When a page's parts came, in milliseconds from the start of its navigation (Navigation Timing).
public struct PageTimings: Codable, Sendable, Hashable {
    /// The first byte of the answer.
    public let response: Double
    public let domContentLoaded: Double
    /// 0 when it has not loaded yet.
    public let load: Double
    /// Of the document alone, with its headers.
    public let transferredBytes: Int

    enum CodingKeys: String, CodingKey {
        case response = "response_ms"
        case domContentLoaded = "dom_content_loaded_ms"
        case load = "load_ms"
        case transferredBytes = "transferred_bytes"
    }
}

import FleetModel
import RootedFiles

/// A picture of the page that a job asks for.
public struct ScreenshotWish: Codable, Sendable, Hashable {
    /// Whether the picture shows all of the page, not only what the viewport does. A page that is longer than
    /// ``heightMax`` is cut there, and the output says so.
    public var fullPage: Bool?
    /// Where it goes, as `root:path`; a place made of the job's key when absent.
    public var file: String?

    enum CodingKeys: String, CodingKey {
        case file
        case fullPage = "full_page"
    }

    public init(fullPage: Bool? = nil, file: String? = nil) { (self.fullPage, self.file) = (fullPage, file) }

    /// Device pixels of the longest picture: what Chromium can draw in one piece.
    static let heightMax = 16_384

    static let members: [String: JSONSchema] = [
        "full_page": .boolean(
            description: "all of the page, to \(heightMax) pixels, instead of what the viewport shows"),
        "file": .string(description: "where it goes, as root:path; made of the job's key when absent"),
    ]

    func validate(_ name: String) throws(InvalidParameters) { try FilePlace.check(file, "\(name).file") }
}

/// A document for printing that a job asks for.
public struct PDFWish: Codable, Sendable, Hashable {
    public enum Paper: String, Codable, Sendable, CaseIterable {
        case a3, a4, a5, letter, legal

        /// Inches, upright.
        var size: (width: Double, height: Double) {
            switch self {
            case .a3: (11.7, 16.54)
            case .a4: (8.27, 11.7)
            case .a5: (5.83, 8.27)
            case .letter: (8.5, 11)
            case .legal: (8.5, 14)
            }
        }
    }

    /// `a4` when absent. A size in the page's own style sheet (`@page`) goes before it.
    public var paper: Paper?
    public var landscape: Bool?
    /// Whether colours and pictures behind the text are printed; true when absent.
    public var background: Bool?
    /// Where it goes, as `root:path`; a place made of the job's key when absent.
    public var file: String?

    public init(
        paper: Paper? = nil, landscape: Bool? = nil, background: Bool? = nil, file: String? = nil
    ) {
        (self.paper, self.landscape, self.background, self.file) = (paper, landscape, background, file)
    }

    static let members: [String: JSONSchema] = [
        "paper": .string(description: "a4 when absent", values: Paper.allCases.map(\.rawValue)),
        "landscape": .boolean(),
        "background": .boolean(description: "whether colours behind the text are printed; true when absent"),
        "file": .string(description: "where it goes, as root:path; made of the job's key when absent"),
    ]

    func validate(_ name: String) throws(InvalidParameters) { try FilePlace.check(file, "\(name).file") }
}

/// The file that a member of the parameters names.
enum FilePlace {
    static func check(_ file: String?, _ name: String) throws(InvalidParameters) {
        guard let file else { return }
        do throws(FileError) { _ = try RootedPath(file) } catch {
            throw InvalidParameters("'\(name)' is no path within a root: \(error); write it as root:directory/name")
        }
    }
}

import RootedFiles

/// What a page did beside showing itself, of which both kinds of job tell.
public struct PageReport: Codable, Sendable, Hashable {
    public struct Dialog: Codable, Sendable, Hashable {
        /// `alert`, `confirm`, `prompt` or `beforeunload`.
        public let type: String
        public let message: String
        public let accepted: Bool
    }

    /// A file that the page wanted saved.
    public struct Download: Codable, Sendable, Hashable {
        /// As the page calls it: a stranger's choice, so never take it for a path.
        public let name: String
        public let url: String
        public let file: FileReference
    }

    /// The first ``dialogsMax``, in order, and how many there were.
    public internal(set) var dialogs: [Dialog] = []
    public internal(set) var dialogsTotal = 0
    /// Windows that the page opened. Each was closed at once.
    public internal(set) var popups = 0
    /// Files that were saved; absent when none was to be.
    public internal(set) var downloads: [Download]?
    /// Files that the page wanted saved and that were not.
    public internal(set) var downloadsDenied = 0
    /// Hosts that the page, or something in it, was not let to.
    public internal(set) var refusedHosts: [String] = []
    /// The first ``consoleErrorsMax``, and how many there were; absent when not asked for.
    public internal(set) var consoleErrors: [String]?
    public internal(set) var consoleErrorsTotal: Int?

    enum CodingKeys: String, CodingKey {
        case dialogs, popups, downloads
        case dialogsTotal = "dialogs_total"
        case downloadsDenied = "downloads_denied"
        case refusedHosts = "refused_hosts"
        case consoleErrors = "console_errors"
        case consoleErrorsTotal = "console_errors_total"
    }

    static let dialogsMax = 20
    static let consoleErrorsMax = 50
    static let refusedHostsMax = 50
    static let textCharactersMax = 500
}

/// Errors that a page wrote to the console: the first, and how many there were.
struct ConsoleErrors: Sendable, Hashable {
    private(set) var first: [String] = []
    private(set) var total = 0

    mutating func add(_ text: String) {
        total += 1
        guard first.count < PageReport.consoleErrorsMax else { return }
        first.append(String(text.prefix { !$0.isNewline }.prefix(PageReport.textCharactersMax)))
    }
}

import AddressPolicy

/// What a page did beside showing itself, of which both kinds of job tell.
public struct PageReport: Codable, Sendable, Hashable {
    public struct Dialog: Codable, Sendable, Hashable {
        /// `alert`, `confirm`, `prompt` or `beforeunload`.
        public let type: String
        public let message: String
        public let accepted: Bool
    }

    /// The first ``dialogsMax``, in order, and how many there were.
    public internal(set) var dialogs: [Dialog] = []
    public internal(set) var dialogsTotal = 0
    /// Windows that the page opened. Each was closed at once.
    public internal(set) var popups = 0
    /// Files that the page wanted saved and that were not.
    public internal(set) var downloadsDenied = 0
    /// Hosts that the page, or something in it, was not let to.
    public internal(set) var refusedHosts: [String] = []
    /// The first ``consoleErrorsMax``, and how many there were; absent when not asked for.
    public internal(set) var consoleErrors: [String]?
    public internal(set) var consoleErrorsTotal: Int?

    enum CodingKeys: String, CodingKey {
        case dialogs, popups
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

    mutating func add(_ dialog: Dialog) {
        dialogsTotal += 1
        guard dialogs.count < Self.dialogsMax else { return }
        dialogs.append(
            Dialog(
                type: dialog.type, message: String(dialog.message.prefix(Self.textCharactersMax)),
                accepted: dialog.accepted))
    }

    mutating func add(consoleError text: String) {
        guard let total = consoleErrorsTotal else { return }
        consoleErrorsTotal = total + 1
        guard total < Self.consoleErrorsMax else { return }
        consoleErrors?.append(String(text.prefix(Self.textCharactersMax)))
    }

    mutating func countConsoleErrors() { (consoleErrors, consoleErrorsTotal) = ([], 0) }
}

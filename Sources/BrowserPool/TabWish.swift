/// What a job wants of its tab.
public struct TabWish: Sendable, Hashable {
    public enum Downloads: Sendable, Hashable {
        case denied
        /// Into this directory, absolute, which the browser's user may write to. A file is named by the download's `guid`.
        case into(directory: String)
    }

    /// How dialogs of scripts (alert, confirm, prompt) are answered. Whether to leave a page (beforeunload) is always yes.
    public enum Dialogs: Sendable, Hashable {
        /// "OK", a prompt with its default text.
        case accept
        /// "Cancel".
        case dismiss
    }

    public var downloads: Downloads
    public var dialogs: Dialogs

    public init(downloads: Downloads = .denied, dialogs: Dialogs = .accept) {
        self.downloads = downloads
        self.dialogs = dialogs
    }
}

/// A dialog that a script opened; it was answered.
public struct TabDialog: Sendable, Hashable {
    /// `alert`, `confirm`, `prompt` or `beforeunload`.
    public var type: String
    /// At most its first 1,000 characters.
    public var message: String
    public var url: String
}

import Glibc

/// Which program the browsers are.
public enum BrowserExecutable {
    /// The headless shell first: it opens a page in a fraction of the time and memory that the full browser takes, which makes a
    /// window for each, though nobody sees it. But it has no extensions.
    public static let candidates = [
        "/usr/lib/chromium/chromium-headless-shell", "/usr/lib/chromium/chromium", "/opt/google/chrome/chrome",
    ]
    private static let fullCandidates = candidates.filter { !isShell($0) }

    /// Whether it is the shell, which needs no `--headless`.
    static func isShell(_ path: String) -> Bool { path.hasSuffix("headless-shell") || path.hasSuffix("headless_shell") }

    static func located(_ settings: BrowserPoolSettings) throws(BrowserPoolError) -> String {
        if let path = settings.executable {
            guard access(path, X_OK) == 0 else {
                throw BrowserPoolError(
                    .launchFailed, "\(path) cannot be executed; set browser.executable to Chromium's own file")
            }
            return path
        }
        let candidates = settings.extensions.isEmpty ? candidates : fullCandidates
        for path in candidates where access(path, X_OK) == 0 { return path }
        let package = settings.extensions.isEmpty ? "chromium-headless-shell" : "chromium"
        throw BrowserPoolError(
            .launchFailed,
            "there is no browser; install Debian's package \(package), or set browser.executable to Chromium's own file"
        )
    }
}

/// The sandbox of Chromium: user namespaces, since what the worker starts can gain no rights, which its other one
/// (`chrome-sandbox`, set-user-id) would have to.
enum SandboxCheck {
    /// Nil when browsers can have one; else what is missing, and what to do.
    static func flaw(isRoot: Bool, read: (String) -> String? = content) -> String? {
        if isRoot {
            return "Chromium has no sandbox for root; set browser.user to another user, or browser.sandbox to off"
        }
        func number(_ path: String) -> Int? {
            read(path).flatMap { Int($0.split(whereSeparator: \.isWhitespace).first ?? "") }
        }
        if number("/proc/sys/user/max_user_namespaces") == 0 {
            return "Chromium's sandbox needs user namespaces; raise the sysctl user.max_user_namespaces, or set "
                + "browser.sandbox to off"
        }
        if number("/proc/sys/kernel/unprivileged_userns_clone") == 0 {
            return "Chromium's sandbox needs user namespaces; set the sysctl kernel.unprivileged_userns_clone to 1, or "
                + "set browser.sandbox to off"
        }
        if number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1 {
            return "AppArmor keeps user namespaces from Chromium's sandbox; set the sysctl "
                + "kernel.apparmor_restrict_unprivileged_userns to 0 or give Chromium a profile, or set browser.sandbox to off"
        }
        return nil
    }

    private static func content(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = read(file, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}

import BrowserPool
import DevTools
import EgressProxy
import FleetModel
import RootedFiles

/// The failures of browser jobs that have their reason in the browser or the page.
enum BrowserFailure {
    static let noPlace = JobFailure(
        .permanent, code: "browser.no-file-root",
        message: "this worker has no place for files; name a writable directory in file.roots")

    static func tooLarge(_ what: String, _ bytesMax: Int) -> JobFailure {
        JobFailure(
            .permanent, code: "browser.too-large",
            message: "\(what) is larger than \(bytesMax) bytes; ask for less of it")
    }

    /// A script or expression that threw.
    ///
    /// - Parameter words: with a stack, which tells of nobody's code but the page's.
    static func exception(_ words: String) -> JobFailure {
        let first = words.prefix { !$0.isNewline }.prefix(PageReport.textCharactersMax)
        return JobFailure(.permanent, code: "browser.exception", message: "evaluating it threw: \(first)")
    }

    /// An answer of the page to a status of 400 or higher, where that counts as failure.
    ///
    /// - Parameter pause: how long the server asked to be left alone.
    static func status(_ status: Int, retryAfter pause: Duration?) -> JobFailure {
        let kind: JobFailure.Kind =
            switch status {
            case 429, 503: pause.map { .throttled(retryAfter: $0) } ?? .transient
            case 408, 425, 500...: .transient
            default: .permanent
            }
        return JobFailure(
            kind, code: "browser.status-\(status)", message: "the page was answered with status \(status)")
    }

    /// A navigation that failed, by Chromium's name of the reason, and by what became of its connections.
    ///
    /// - Parameter failures: those since it began. The browser is told no reasons, so it has none to tell.
    static func navigation(_ error: String, to url: String, _ failures: [EgressFailure]) -> JobFailure {
        // A redirect may have led to another host: then it is the last.
        if !error.hasPrefix("net::") || error.contains("SOCKS") || error.contains("PROXY"),
            let failure = failures.last(where: { $0.host == PageURL.host(url) }) ?? failures.last
        {
            return connection(failure)
        }
        let name = error.hasPrefix("net::") ? String(error.dropFirst(5)) : error
        let host = PageURL.host(url) ?? url
        func failure(_ kind: JobFailure.Kind, _ code: String, _ words: String) -> JobFailure {
            JobFailure(kind, code: "browser.\(code)", message: "\(host): \(words) (\(name))")
        }
        switch name {
        case "ERR_NAME_NOT_RESOLVED", "ERR_NAME_RESOLUTION_FAILED", "ERR_DNS_TIMED_OUT", "ERR_DNS_SERVER_FAILED":
            return failure(.transient, "dns", "the name has no address just now")
        case "ERR_CERT_AUTHORITY_INVALID", "ERR_CERT_COMMON_NAME_INVALID", "ERR_CERT_DATE_INVALID",
            "ERR_CERT_REVOKED", "ERR_CERT_INVALID", "ERR_CERT_WEAK_SIGNATURE_ALGORITHM", "ERR_CERT_WEAK_KEY":
            return failure(.permanent, "tls", "the server's certificate does not prove its name")
        case let name where name.hasPrefix("ERR_SSL_"):
            return failure(.transient, "tls", "no secure connection could be made")
        case "ERR_ABORTED":
            return failure(.permanent, "no-page", "it is no page: its answer is a download, or empty")
        case "ERR_TOO_MANY_REDIRECTS": return failure(.permanent, "redirects", "it redirects without end")
        case "ERR_INVALID_RESPONSE", "ERR_INVALID_HTTP_RESPONSE", "ERR_UNSAFE_REDIRECT", "ERR_UNSAFE_PORT",
            "ERR_UNKNOWN_URL_SCHEME", "ERR_DISALLOWED_URL_SCHEME", "ERR_INVALID_URL":
            return failure(.permanent, "no-page", "it cannot be opened")
        case "ERR_BLOCKED_BY_ADMINISTRATOR", "ERR_BLOCKED_BY_CLIENT", "ERR_BLOCKED_BY_PRIVATE_NETWORK_ACCESS_CHECKS":
            return failure(.permanent, "refused-address", "it may not be opened")
        case "ERR_CONNECTION_TIMED_OUT", "ERR_TIMED_OUT":
            return failure(.transient, "timeout", "the server took too long")
        default: return failure(.transient, "connection", "it could not be reached, or broke off")
        }
    }
}

extension BrowserFailure {
    private static func connection(_ failure: EgressFailure) -> JobFailure {
        let host = failure.host.prefix(253)
        return switch failure.reason {
        case .refused(let kind):
            JobFailure(
                .permanent, code: "browser.refused-address",
                message:
                    "\(host) has an address that pages may not be fetched from (\(kind)); browser.allow lists exceptions"
            )
        case .noName: JobFailure(.transient, code: "browser.dns", message: "\(host): the name has no address just now")
        case .notReachable(let words): JobFailure(.transient, code: "browser.connection", message: "\(host): \(words)")
        case .timeout:
            JobFailure(.transient, code: "browser.connection", message: "\(host) did not take the connection in time")
        case .limit:
            JobFailure(
                .permanent, code: "browser.egress-limit",
                message: "the page has more connections, or has moved more bytes, than a job may")
        }
    }
}

extension JobFailure {
    /// Whatever ended the use of a tab, in the words of this subsystem.
    static func explaining(_ error: any Error) -> any Error {
        switch error {
        case let error as DevToolsError: error.reason == .cancelled ? CancellationError() : JobFailure(error)
        case let error as BrowserPoolError: error.reason == .cancelled ? CancellationError() : JobFailure(error)
        case let error as FileError: JobFailure(error)
        default: error
        }
    }

    init(browser error: any Error) { self.init(Self.explaining(error)) }

    init(_ error: BrowserPoolError) {
        switch error.reason {
        // No fault of the job's: it comes again when others are through.
        case .exhausted:
            self.init(.throttled(retryAfter: .seconds(1)), code: "browser.exhausted", message: error.message)
        case .launchFailed: self.init(.transient, code: "browser.launch", message: error.message)
        case .notSandboxed: self.init(.permanent, code: "browser.not-sandboxed", message: error.message)
        case .badSetting: self.init(.permanent, code: "browser.setting", message: error.message)
        case .schemeRefused: self.init(.permanent, code: "browser.refused-scheme", message: error.message)
        case .closed: self.init(.transient, code: "browser.closed", message: error.message)
        case .cancelled: self.init(CancellationError())
        }
    }

    /// A file that a result was to go into, or that was to be uploaded.
    init(_ error: FileError) {
        self.init(error.isTransient ? .transient : .permanent, code: error.code, message: error.description)
    }

    init(_ error: DevToolsError) {
        switch error.reason {
        case .cancelled: self.init(CancellationError())
        case .timeout: self.init(.transient, code: "browser.timeout", message: error.message)
        case .crashed, .closed:
            self.init(.transient, code: "browser.crashed", message: "the page or its browser died: \(error.message)")
        case .detached: self.init(.transient, code: "browser.closed", message: "the page closed itself, or was closed")
        case .tooLarge: self.init(.permanent, code: "browser.too-large", message: error.message)
        case .refused(_, let message):
            self.init(.transient, code: "browser.protocol", message: "\(error.message): \(message)")
        case .malformed, .overloaded, .overflow:
            self.init(.transient, code: "browser.protocol", message: error.message)
        }
    }
}

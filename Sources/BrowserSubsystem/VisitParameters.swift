import FleetModel

/// What `browser.visit.v1` takes.
public struct VisitParameters: JobParameters {
    public static let type: JobType = "browser.visit.v1"

    /// When a page counts as there.
    public enum Moment: String, Codable, Sendable, CaseIterable {
        /// The document has been read to its end; pictures and frames may still be on their way.
        case domContentLoaded = "domcontentloaded"
        /// All that the document asked for is there as well.
        case load
        /// After `load`, no request of the page or its frames has been under way for ``idle``. Open WebSockets and event
        /// streams do not count.
        case networkIdle = "network_idle"
        /// After `domcontentloaded`, an element that `selector` finds can be seen.
        case selector

        static let idle = Duration.milliseconds(500)
    }

    /// What may be told of a page, beside its title, status and final URL.
    public enum Want: String, Codable, Sendable, CaseIterable {
        /// As a person reads it (`innerText`).
        case text
        /// As it stands at the moment, not as it came.
        case html
        case links
        case timings
        /// What the page's scripts wrote to the console as errors, exceptions that nobody caught, and requests that failed.
        case consoleErrors = "console_errors"
    }

    public var url: String
    /// `load` when absent, or `selector` when one is given.
    public var waitUntil: Moment?
    /// A CSS selector.
    public var selector: String?
    /// For the whole visit, 1 to 240,000; 30,000 when absent.
    public var timeoutMilliseconds: Int?
    public var want: [Want]?
    /// JavaScript, evaluated in the page; a promise is awaited.
    public var evaluate: String?
    public var screenshot: ScreenshotWish?
    public var pdf: PDFWish?
    /// Whether a page whose status is 400 or higher fails the job; not when absent.
    public var failOnStatus: Bool?
    public var page: PageOptions?

    enum CodingKeys: String, CodingKey {
        case url, selector, want, evaluate, screenshot, pdf, page
        case waitUntil = "wait_until"
        case timeoutMilliseconds = "timeout_ms"
        case failOnStatus = "fail_on_status"
    }

    public static let timeoutMillisecondsDefault = 30_000
    public static let timeoutMillisecondsMax = 240_000

    public static let schema = JSONSchema.object(
        [
            "url": .string(description: "http:// or https://", format: "uri", lengthMax: PageURL.bytesMax),
            "wait_until": .string(
                description: "when the page counts as there; load when absent, selector when one is given",
                values: Moment.allCases.map(\.rawValue)),
            "selector": .string(
                description: "a CSS selector; the page is there when an element that it finds can be seen",
                lengthMax: PageScript.selectorBytesMax),
            "timeout_ms": .integer(
                description: "for the whole visit; \(timeoutMillisecondsDefault) when absent", min: 1,
                max: timeoutMillisecondsMax),
            "want": .array(
                of: .string(values: Want.allCases.map(\.rawValue)),
                description: "what is told beside title, status and final URL"),
            "evaluate": .string(
                description: "JavaScript, evaluated in the page; a promise is awaited, the value must be JSON",
                lengthMax: PageScript.expressionBytesMax),
            "screenshot": .object(ScreenshotWish.members, description: "a PNG, as a file"),
            "pdf": .object(PDFWish.members, description: "the page as it is printed, as a file"),
            "fail_on_status": .boolean(description: "whether a status of 400 or higher fails the job"),
            "page": PageOptions.schema,
        ], required: ["url"])

    public init(
        url: String, waitUntil: Moment? = nil, selector: String? = nil, timeoutMilliseconds: Int? = nil,
        want: [Want]? = nil, evaluate: String? = nil, screenshot: ScreenshotWish? = nil, pdf: PDFWish? = nil,
        failOnStatus: Bool? = nil, page: PageOptions? = nil
    ) {
        self.url = url
        self.waitUntil = waitUntil
        self.selector = selector
        self.timeoutMilliseconds = timeoutMilliseconds
        self.want = want
        self.evaluate = evaluate
        self.screenshot = screenshot
        self.pdf = pdf
        self.failOnStatus = failOnStatus
        self.page = page
    }

    public func validate() throws(InvalidParameters) {
        try PageURL.check(url, "url")
        try PageScript.check(selector: selector, "selector")
        if waitUntil == .selector, selector == nil {
            throw InvalidParameters("'wait_until' is selector, and 'selector' is missing; give a CSS selector")
        }
        if let waitUntil, waitUntil != .selector, selector != nil {
            throw InvalidParameters(
                "'selector' is not used with 'wait_until' \(waitUntil.rawValue); leave one of them out")
        }
        if let timeoutMilliseconds, !(1...Self.timeoutMillisecondsMax).contains(timeoutMilliseconds) {
            throw InvalidParameters("'timeout_ms' must be from 1 to \(Self.timeoutMillisecondsMax)")
        }
        try PageScript.check(expression: evaluate, "evaluate")
        try screenshot?.validate("screenshot")
        try pdf?.validate("pdf")
        if let one = screenshot?.file, one == pdf?.file {
            throw InvalidParameters("'screenshot.file' and 'pdf.file' are one file; name two")
        }
        try page?.validate()
    }

    var moment: Moment { waitUntil ?? (selector == nil ? .load : .selector) }
}

import BrowserPool
import DevTools
import EgressProxy
import FleetModel
import RootedFiles

/// How a job uses its tab.
struct TabUse: Sendable {
    let options: PageOptions
    /// The addresses that the job itself opens: whose origins get its headers.
    let urls: [String]
    let countsConsoleErrors: Bool
    /// Whether requests under way matter.
    let countsRequests: Bool
    /// Whether it matters how long the page's server asks to be left alone.
    let hearsRetryAfter: Bool
    /// For all that is done in the tab.
    let limit: Duration
}

/// Gives jobs a page that is set up as they want it, and tells what the page did.
struct BrowserDesk: Sendable {
    let pool: BrowserPool
    let settings: BrowserSettings
    let roots: FileRoots
    let results: ResultFiles?
    let threads: FileThreads
    let metrics: BrowserMetrics

    /// A page with more dialogs than this is told of when its time is over: they may be why.
    private static let dialogsWorthTelling = 10

    func place(_ context: JobContext) -> ResultPlace {
        ResultPlace(results: results, context: context, metrics: metrics)
    }

    /// Runs `body` with a page of its own, which is gone afterwards.
    ///
    /// - Returns: what `body` returned, and what the page did beside.
    func withPage<Value: Sendable>(
        _ use: TabUse, _ place: ResultPlace, _ body: (OpenPage, Exchange, Deadline) async throws -> Value
    ) async throws -> (Value, PageReport) {
        let exchange = Exchange(in: pool.privateDirectory, user: pool.settings.user, threads)
        let result: Result<(Value, PageReport), any Error>
        do {
            var wish = TabWish(dialogs: use.options.dialogs == .accept ? .accept : .dismiss)
            if use.options.downloads == .save {
                try place.check()
                wish.downloads = .into(directory: try await exchange.directory().path)
            }
            result = .success(
                try await pool.withTab(wish, within: settings.leaseWait) { tab in
                    try await self.use(tab, use, exchange, place, body)
                })
        } catch {
            result = .failure(JobFailure.explaining(error))
        }
        // The tab is gone, and with it whatever read or wrote here.
        try exchange.remove()
        return try result.get()
    }

    private func use<Value: Sendable>(
        _ tab: BrowserTab, _ use: TabUse, _ exchange: Exchange, _ place: ResultPlace,
        _ body: (OpenPage, Exchange, Deadline) async throws -> Value
    ) async throws -> (Value, PageReport) {
        let deadline = Deadline(in: use.limit)
        let page = OpenPage(tab, countsConsoleErrors: use.countsConsoleErrors)
        defer { page.watch.end() }
        let downloads = DownloadWatch(tab, page.watch)
        defer { downloads.end() }
        do {
            let headers = try await PageSetUp(page, use, deadline).apply()
            defer { headers?.end() }
            let value = try await body(page, exchange, deadline)
            try await downloads.begun(deadline)
            var saved: [PageReport.Download]?
            if use.options.downloads == .save {
                let files = try await downloads.finished(atMost: settings.downloadsMax, deadline)
                saved = try await store(files, from: try await exchange.directory(), place)
            }
            var report = report(tab, page, use, downloads)
            report.downloads = saved
            metrics.note(report)
            return (value, report)
        } catch {
            metrics.note(report(tab, page, use, downloads))
            let failure = JobFailure.explaining(error)
            guard let failure = failure as? JobFailure, failure.code == "browser.timeout",
                tab.dialogCount > Self.dialogsWorthTelling
            else { throw failure }
            throw JobFailure(
                failure.kind, code: failure.code,
                message: "\(failure.message); the page opened \(tab.dialogCount) dialogs")
        }
    }

    private func report(_ tab: BrowserTab, _ page: OpenPage, _ use: TabUse, _ downloads: DownloadWatch) -> PageReport {
        var report = PageReport()
        report.dialogs = tab.dialogs.prefix(PageReport.dialogsMax).map { dialog in
            PageReport.Dialog(
                type: dialog.type, message: String(dialog.message.prefix(PageReport.textCharactersMax)),
                accepted: dialog.type == "beforeunload" || use.options.dialogs == .accept)
        }
        report.dialogsTotal = tab.dialogCount
        report.popups = tab.popupCount
        report.downloadsDenied = use.options.downloads == .save ? 0 : downloads.count
        for failure in tab.egress.failures {
            guard case .refused = failure.reason, report.refusedHosts.count < PageReport.refusedHostsMax else {
                continue
            }
            let host = String(failure.host.prefix(PageReport.textCharactersMax))
            if !report.refusedHosts.contains(host) { report.refusedHosts.append(host) }
        }
        let errors = page.watch.page.consoleErrors
        report.consoleErrors = errors?.first
        report.consoleErrorsTotal = errors?.total
        return report
    }

    // MARK: Files

    /// A picture of the page, as a file.
    func screenshot(
        _ wish: ScreenshotWish, of page: OpenPage, _ options: PageOptions, _ suffix: String, _ place: ResultPlace,
        _ deadline: Deadline
    ) async throws -> PagePicture {
        try await metrics.timing(.capture) {
            let picture = try await page.screenshot(
                fullPage: wish.fullPage ?? false, scale: options.viewport?.scale ?? 1, deadline)
            let file = try await place.file(suffix, at: wish.file) { try await $0.write(picture.png) }
            return PagePicture(file: file, width: picture.width, height: picture.height, cut: picture.isCut)
        }
    }

    /// The page as it is printed, as a file.
    func pdf(
        _ wish: PDFWish, of page: OpenPage, _ suffix: String, _ place: ResultPlace, _ deadline: Deadline
    ) async throws -> FileReference {
        try await metrics.timing(.capture) {
            try await place.file(suffix, at: wish.file) { try await page.pdf(wish, to: $0, deadline) }
        }
    }

    /// Copies files beneath the roots to where a browser, which is another user, may read them.
    ///
    /// - Parameter files: as `root:path`.
    /// - Returns: absolute paths.
    func copy(_ files: [String], to exchange: Exchange) async throws -> [String] {
        let directory = try await exchange.directory()
        let bytesMax = Int64(settings.fileBytesMax)
        return try await threads.run { [roots] in
            try files.map { try directory.put(try roots.file(try RootedPath($0)), bytesMax: bytesMax) }
        }
    }

    private func store(
        _ files: [DownloadWatch.File], from directory: ExchangeDirectory, _ place: ResultPlace
    ) async throws -> [PageReport.Download] {
        var stored: [PageReport.Download] = []
        for (index, file) in files.enumerated() {
            let reference = try await place.file("-download-\(index + 1)", at: nil) { sink in
                try await directory.read(file.id, on: threads) { try await sink.write($0) }
            }
            stored.append(PageReport.Download(name: file.name, url: file.url, file: reference))
        }
        return stored
    }
}

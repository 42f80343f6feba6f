import FleetModel
import RootedFiles

/// One visit.
///
/// ```
///  tab ──▶ open, wait ──▶ status as wanted? ──▶ evaluate ──▶ title, text, … ──▶ screenshot, PDF ──▶ output
/// ```
struct VisitRun: Sendable {
    let parameters: VisitParameters
    let desk: BrowserDesk
    let place: ResultPlace

    private var context: JobContext { place.context }

    func run() async throws -> VisitOutput {
        if parameters.screenshot != nil || parameters.pdf != nil { try place.check() }
        let begin = ContinuousClock.now
        let options = parameters.page ?? PageOptions()
        let use = TabUse(
            options: options, urls: [parameters.url],
            countsConsoleErrors: parameters.want?.contains(.consoleErrors) ?? false,
            countsRequests: parameters.moment == .networkIdle, hearsRetryAfter: parameters.failOnStatus == true,
            limit: .milliseconds(parameters.timeoutMilliseconds ?? VisitParameters.timeoutMillisecondsDefault))
        let (output, report) = try await desk.withPage(use, place) { page, _, deadline in
            context.progress(0, "opening \(PageURL.host(parameters.url) ?? "the page")")
            try await desk.metrics.timing(.navigate) {
                try await page.open(parameters.url, until: parameters.moment, selector: parameters.selector, deadline)
            }
            context.progress(0.5, "the page is there")
            return try await results(page, options, deadline)
        }
        var whole = output
        whole.report = report
        whole.durationMilliseconds = (ContinuousClock.now - begin).milliseconds
        return whole
    }

    private func results(_ page: OpenPage, _ options: PageOptions, _ deadline: Deadline) async throws -> VisitOutput {
        let inlineMax = desk.settings.inlineBytesMax
        // First, since it may change what is told of the page.
        var value: String?
        if let expression = parameters.evaluate {
            value = try await page.evaluate(expression, in: page.top, deadline)
            if value?.utf8.count ?? 0 > inlineMax {
                throw BrowserFailure.tooLarge("the value of 'evaluate'", inlineMax)
            }
        }
        let snapshot = try await desk.metrics.timing(.collect) {
            try await page.collect(Set(parameters.want ?? []), inlineUnits: inlineMax, deadline)
        }
        if parameters.failOnStatus == true, snapshot.status >= 400 {
            throw BrowserFailure.status(snapshot.status, retryAfter: page.watch.page.retryAfter)
        }
        var output = VisitOutput(
            finalURL: snapshot.url, status: snapshot.status == 0 ? nil : snapshot.status, title: snapshot.title)
        output.value = value
        output.links = snapshot.links?.list
        output.linksTotal = snapshot.links?.total
        output.timings = snapshot.timings
        output.text = try await text(snapshot.text, "text", ".txt", page, deadline)
        output.html = try await text(snapshot.html, "html", ".html", page, deadline)
        if let wish = parameters.screenshot {
            output.screenshot = try await desk.screenshot(wish, of: page, options, ".png", place, deadline)
        }
        if let wish = parameters.pdf {
            output.pdf = try await desk.pdf(wish, of: page, ".pdf", place, deadline)
        }
        return output
    }

    private func text(
        _ held: OpenPage.Snapshot.Held?, _ name: String, _ suffix: String, _ page: OpenPage, _ deadline: Deadline
    ) async throws -> PageText? {
        guard let held else { return nil }
        if let text = held.text, text.utf8.count <= desk.settings.inlineBytesMax { return PageText(text) }
        return PageText(
            try await place.file(suffix, at: nil) { sink in
                if let text = held.text {
                    try await sink.write(Array(text.utf8))
                } else {
                    try await page.write(name, units: held.units ?? 0, to: sink, deadline)
                }
            })
    }
}

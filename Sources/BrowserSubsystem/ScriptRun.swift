import FleetModel
import RootedFiles
import Synchronization

/// One run of a script.
///
/// ```
///  tab ──▶ step ──▶ step ──▶ … ──▶ output
///           │ failed: a screenshot of the moment
///           ├─ nothing can have had an effect yet, or the script bears repetition ──▶ as the failure is
///           └─ else ──▶ unsafe: left to an operator
/// ```
struct ScriptRun: Sendable {
    let parameters: ScriptParameters
    let desk: BrowserDesk
    let place: ResultPlace

    private var context: JobContext { place.context }

    /// Time for the screenshot of a step that failed.
    private static let failureScreenshotTime = Duration.seconds(5)

    /// What has been done so far. Only the run's own task writes it.
    private final class Log: Sendable {
        struct State {
            var outcomes: [StepOutcome] = []
            var valueBytes = 0
            /// Whether a step has begun that may have an effect.
            var hasActed = false
        }
        let state = Mutex(State())
    }

    func run() async throws -> ScriptOutput {
        if parameters.steps.contains(where: { $0.action.kind == .screenshot || $0.action.kind == .pdf }) {
            try place.check()
        }
        let begin = ContinuousClock.now
        let options = parameters.page ?? PageOptions()
        let urls = parameters.steps.compactMap { step -> String? in
            if case .goto(let url, _, _) = step.action { url } else { nil }
        }
        let use = TabUse(
            options: options, urls: urls, countsConsoleErrors: true,
            countsRequests: parameters.steps.contains { step in
                if case .goto(_, .networkIdle, _) = step.action { true } else { false }
            }, hearsRetryAfter: false,
            limit: .milliseconds(parameters.timeoutMilliseconds ?? ScriptParameters.timeoutMillisecondsDefault))
        let log = Log()
        var (output, report) = try await repeatable(log) {
            try await desk.withPage(use, place) { page, exchange, deadline in
                for (index, step) in parameters.steps.enumerated() {
                    try await take(step, index, page, exchange, options, log, deadline)
                }
                context.progress(1, "all steps are done")
                let end = try await page.collect([], inlineUnits: 0, deadline)
                return ScriptOutput(finalURL: end.url, title: end.title, steps: log.state.withLock { $0.outcomes })
            }
        }
        output.report = report
        output.durationMilliseconds = (ContinuousClock.now - begin).milliseconds
        return output
    }

    /// Says of a failure what it means for the script as a whole.
    private func repeatable<Value>(_ log: Log, _ body: () async throws -> Value) async throws -> Value {
        do { return try await body() } catch {
            let failure = JobFailure(browser: error)
            guard log.state.withLock({ $0.hasActed }), !parameters.isRepeatable else { throw failure }
            throw JobFailure(
                .unsafe, code: failure.code,
                message: "steps before it may have taken effect, so it is not repeated: \(failure.message)")
        }
    }

    private func take(
        _ step: ScriptStep, _ index: Int, _ page: OpenPage, _ exchange: Exchange, _ options: PageOptions, _ log: Log,
        _ whole: Deadline
    ) async throws {
        let words = "step \(index + 1) of \(parameters.steps.count): \(step.action.words)"
        context.progress(Double(index) / Double(parameters.steps.count), words)
        let begin = ContinuousClock.now
        do {
            let deadline = whole.capped(time(of: step))
            var outcome = StepOutcome(step.action.kind)
            try await perform(step, page, exchange, options, index, &outcome, log, deadline)
            outcome.milliseconds = (ContinuousClock.now - begin).milliseconds
            log.state.withLock { $0.outcomes.append(outcome) }
            desk.metrics.step(step.action.kind, isSuccess: true)
        } catch {
            desk.metrics.step(step.action.kind, isSuccess: false)
            let failure = JobFailure(browser: error)
            let picture = await pictureOfFailure(failure, page, options)
            throw JobFailure(
                failure.kind, code: failure.code,
                message: "\(words): \(failure.message)" + (picture.map { "; screenshot: \($0.path)" } ?? ""))
        }
    }

    /// A wait for some time takes that time, and a page as long as a visit may take, if the step does not say otherwise.
    private func time(of step: ScriptStep) -> Duration {
        if let own = step.timeoutMilliseconds { return .milliseconds(own) }
        let common = Duration.milliseconds(
            parameters.stepTimeoutMilliseconds ?? ScriptParameters.stepTimeoutMillisecondsDefault)
        switch step.action {
        case .wait(.milliseconds(let milliseconds)): return max(common, .milliseconds(milliseconds) + .seconds(1))
        case .goto where parameters.stepTimeoutMilliseconds == nil:
            return .milliseconds(VisitParameters.timeoutMillisecondsDefault)
        default: return common
        }
    }

    /// What the page looked like; nil where that cannot be had. The failure is what counts, whatever becomes of this.
    private func pictureOfFailure(
        _ failure: JobFailure, _ page: OpenPage, _ options: PageOptions
    ) async -> FileReference? {
        guard place.results != nil, !["cancelled", "browser.crashed", "browser.closed"].contains(failure.code) else {
            return nil
        }
        return try? await desk.screenshot(
            ScreenshotWish(), of: page, options, "-failed.png", place, Deadline(in: Self.failureScreenshotTime)
        ).file
    }

    private func perform(
        _ step: ScriptStep, _ page: OpenPage, _ exchange: Exchange, _ options: PageOptions, _ index: Int,
        _ outcome: inout StepOutcome, _ log: Log, _ deadline: Deadline
    ) async throws {
        /// To be called right before something that may have an effect.
        func act() async throws {
            try await context.confirmClaim()
            log.state.withLock { $0.hasActed = true }
        }
        if case .goto(let url, let moment, let selector) = step.action {
            try await desk.metrics.timing(.navigate) {
                try await page.open(url, until: moment, selector: selector, deadline)
            }
            let snapshot = try await page.collect([], inlineUnits: 0, deadline)
            outcome.url = snapshot.url
            outcome.status = snapshot.status == 0 ? nil : snapshot.status
            return
        }
        let frame = try await page.frame(step.frame, deadline)
        switch step.action {
        case .goto: break
        case .click(let selector, let count):
            let point = try await page.ready(selector, .click, in: frame, deadline)
            try await act()
            try await page.leading(deadline) {
                try await page.click(selector, at: point, count: count, in: frame, deadline)
            }
            if point.saves { page.watch.expectFile() }
        case .type(let selector, let text, let clear):
            let point = try await page.ready(selector, .click, in: frame, deadline)
            try await act()
            try await page.leading(deadline) {
                try await page.click(selector, at: point, in: frame, deadline)
                if clear { try await page.clear(selector, in: frame, deadline) }
                try await page.type(text, deadline)
            }
        case .press(let key, let selector):
            // Checked with the parameters.
            guard let stroke = KeyStroke(key) else { return }
            if let selector { _ = try await page.ready(selector, .input, in: frame, deadline) }
            try await act()
            if let selector { try await page.focus(selector, in: frame, deadline) }
            try await page.leading(deadline) { try await page.press(stroke, deadline) }
        case .select(let selector, let values):
            _ = try await page.ready(selector, .input, in: frame, deadline)
            try await act()
            try await page.leading(deadline) {
                outcome.values = try await page.choose(values, in: selector, in: frame, deadline)
            }
        case .scroll(.to(let selector)): _ = try await page.ready(selector, .view, in: frame, deadline)
        case .scroll(.by(let x, let y)): try await page.scroll(x: x, y: y, in: frame, deadline)
        case .wait(.selector(let selector, let state)):
            try await page.wait(for: selector, state, in: frame, deadline)
        case .wait(.text(let text)): try await page.wait(forText: text, in: frame, deadline)
        case .wait(.milliseconds(let milliseconds)):
            try await page.watch.wait(
                until: deadline, for: "it was to wait \(milliseconds) ms",
                PageWatch.pause(until: .now + .milliseconds(milliseconds)))
        case .evaluate(let expression):
            try await act()
            var value = "null"
            try await page.leading(deadline) { value = try await page.evaluate(expression, in: frame, deadline) }
            let bytesMax = desk.settings.inlineBytesMax
            let isTooLarge = log.state.withLock { state in
                state.valueBytes += value.utf8.count
                return state.valueBytes > bytesMax
            }
            if isTooLarge { throw BrowserFailure.tooLarge("what this script's expressions yielded", bytesMax) }
            outcome.value = value
        case .screenshot(let wish):
            outcome.picture = try await desk.screenshot(wish, of: page, options, "-\(index + 1).png", place, deadline)
        case .pdf(let wish): outcome.pdf = try await desk.pdf(wish, of: page, "-\(index + 1).pdf", place, deadline)
        case .upload(let selector, let files):
            try await page.wait(for: selector, .attached, in: frame, deadline)
            let paths = try await desk.copy(files, to: exchange)
            try await act()
            try await page.upload(paths, to: selector, in: frame, deadline)
        }
    }
}

import Testing

@testable import BrowserSubsystem

@Suite("How far a page is")
struct PageStateTests {
    private let start = ContinuousClock.now

    private func state(_ events: [PageEvent]) -> PageState {
        var state = PageState(mainFrame: "main", countsConsoleErrors: false)
        for event in events { state.apply(event, at: start) }
        return state
    }

    private let document: [PageEvent] = [
        .navigationStarted(frame: "main"), .requestStarted(id: "document"), .navigated(frame: "main", loader: "1"),
    ]

    @Test("A moment is reached by the document that is there, not by one before or in another frame")
    func moments() {
        #expect(!state(document).has(.domContentLoaded, at: start))
        let read = document + [.lifecycle(frame: "main", loader: "1", .content)]
        #expect(state(read).has(.domContentLoaded, at: start))
        #expect(!state(read).has(.load, at: start))
        #expect(state(read + [.lifecycle(frame: "main", loader: "1", .load)]).has(.load, at: start))
        #expect(!state(read + [.lifecycle(frame: "main", loader: "0", .load)]).has(.load, at: start))
        #expect(!state(read + [.lifecycle(frame: "inner", loader: "1", .load)]).has(.load, at: start))
        #expect(!state(read + [.navigated(frame: "main", loader: "2")]).has(.domContentLoaded, at: start))
        #expect(state(read + [.navigated(frame: "inner", loader: "2")]).has(.domContentLoaded, at: start))
    }

    @Test("A page is quiet when for half a second no request has been under way")
    func quiet() {
        let loaded = document + [.lifecycle(frame: "main", loader: "1", .load)]
        let half = Duration.milliseconds(500)
        #expect(!state(loaded).has(.networkIdle, at: start + half - .nanoseconds(1)))
        #expect(state(loaded).has(.networkIdle, at: start + half))
        let busy = loaded + [.requestStarted(id: "a"), .requestStarted(id: "b"), .requestEnded(id: "a")]
        #expect(!state(busy).has(.networkIdle, at: start + .seconds(60)))
        #expect(state(busy + [.requestEnded(id: "b")]).has(.networkIdle, at: start + half))
        #expect(!state(busy + [.requestEnded(id: "c")]).has(.networkIdle, at: start + half))
        // What was under way for a page that was left never ends for us.
        #expect(
            state(busy + [.navigated(frame: "main", loader: "2"), .lifecycle(frame: "main", loader: "2", .load)])
                .has(.networkIdle, at: start + half))
    }

    @Test("Requests, frames and errors are remembered within bounds")
    func bounds() {
        var state = PageState(mainFrame: "main", countsConsoleErrors: true)
        for number in 0..<20_000 {
            state.apply(.requestStarted(id: "\(number)"), at: start)
            state.apply(.navigated(frame: "f\(number)", loader: "l"), at: start)
            state.apply(.world(frame: "f\(number)", id: number), at: start)
            state.apply(.consoleError(String(repeating: "x", count: 10_000)), at: start)
        }
        #expect(state.frames.count == PageState.framesMax)
        #expect(state.worlds.count == PageState.framesMax)
        #expect(state.consoleErrors?.total == 20_000)
        #expect(state.consoleErrors?.first.count == PageReport.consoleErrorsMax)
        #expect(state.consoleErrors?.first.allSatisfy { $0.count == PageReport.textCharactersMax } == true)
    }
}

@Suite("Addresses of pages")
struct PageURLTests {
    @Test(
        "An origin is compared as browsers do",
        arguments: [
            ("http://Example.org/a?b", "http://example.org"), ("https://example.org:443/", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("http://example.org:8080\\@evil", "http://example.org:8080"),
            ("https://[::1]:8443/", "https://[::1]:8443"), ("file:///etc/passwd", nil), ("about:blank", nil),
        ] as [(String, String?)])
    func origins(_ url: String, _ origin: String?) { #expect(PageURL.origin(url) == origin) }

    @Test("Headers of a job go to its own origins, and are taken off a redirect to others")
    func headers() {
        func sent(_ url: String, _ own: [String: String]) -> [String: String] {
            let headers = HeaderGate.headers(
                of: RequestStopped.Request(url: url, headers: own), ["X-Secret": "s"], ["http://a.example"])
            return Dictionary(uniqueKeysWithValues: headers.map { ($0.name, $0.value) })
        }
        #expect(sent("http://a.example/x", ["Accept": "*/*"]) == ["Accept": "*/*", "X-Secret": "s"])
        #expect(sent("http://a.example:81/x", ["Accept": "*/*"]) == ["Accept": "*/*"])
        #expect(sent("http://b.example/", ["x-secret": "s", "Accept": "*/*"]) == ["Accept": "*/*"])
    }
}

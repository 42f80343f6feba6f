import BrowserPool
import Glibc
import ProcessKeeper

/// The floor beneath a pool: a bare script in Python that speaks the same protocol over the same kind of socket, with the same
/// command line, and does nothing else.
public enum BrowserFloor {
    /// In seconds.
    public struct Figures: Sendable {
        public var coldTabs = 0.0
        public var coldPages = 0.0
        /// One tab in a browser context of its own, opened in a browser that runs.
        public var tabMedian = 0.0
        public var tabMax = 0.0
        /// All visits, each in a tab of its own that is opened, used and thrown away.
        public var visits = 0.0
        /// All visits in tabs that were opened before, and stay.
        public var warmVisits = 0.0
        /// All screenshots, each in a tab of its own that is opened, used and thrown away.
        public var screenshots = 0.0

        public init() {}
    }

    /// What is visited.
    public struct Visits: Sendable {
        public var url: String
        public var count: Int
        public var screenshots: Int
        /// At once.
        public var slots: Int

        public init(url: String, count: Int, screenshots: Int, slots: Int) {
            self.url = url
            self.count = count
            self.screenshots = screenshots
            self.slots = slots
        }
    }

    private static let arguments = [
        "--remote-debugging-pipe", "--disable-gpu", "--process-per-site", "--renderer-process-limit=4",
        "--disable-features=SpareRendererForSitePerProcess,BackForwardCache",
    ]

    static func measure(
        _ settings: BrowserPoolSettings, _ tabs: Int, _ visits: Visits
    ) async throws -> Figures {
        guard let browser = settings.executable ?? BrowserExecutable.candidates.first(where: { access($0, X_OK) == 0 })
        else { throw LoadFailure("there is no browser") }
        let user = geteuid() == 0 ? settings.user ?? "" : ""
        let sandbox = settings.sandbox == .off ? ["--no-sandbox"] : []
        // As large as the pool's: a larger picture takes longer.
        let window = ["--window-size=\(settings.windowWidth),\(settings.windowHeight)"]
        let counts = [tabs, visits.count, visits.screenshots, visits.slots].map(String.init)
        let directory = "\(settings.profileParent)/floor"
        let keeper = ProcessKeeper()
        let result: Result<ProcessEnd, any Error>
        do {
            let python = try ExecutableFile(path: "/usr/bin/python3")
            let command = ProcessCommand(
                python,
                ["-c", script, user, directory, visits.url] + counts + [browser] + arguments + window + sandbox,
                environment: ["PATH": "/usr/bin:/bin"], timeout: .seconds(300))
            result = .success(try await keeper.run(command))
        } catch { result = .failure(error) }
        await keeper.close()
        let end = try result.get()
        let numbers = String(decoding: end.output.bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            .compactMap { Double($0) }
        guard numbers.count == 7 else {
            throw LoadFailure("the script failed: \(String(decoding: end.error.bytes, as: UTF8.self).suffix(500))")
        }
        var figures = Figures()
        (figures.coldTabs, figures.coldPages) = (numbers[0], numbers[1])
        (figures.tabMedian, figures.tabMax) = (numbers[2], numbers[3])
        (figures.visits, figures.warmVisits, figures.screenshots) = (numbers[4], numbers[5], numbers[6])
        return figures
    }

    /// Run as `python3 -c SCRIPT USER PROFILE URL TABS VISITS SCREENSHOTS SLOTS BROWSER ARGUMENT…`; writes seven numbers, in
    /// seconds, the members of ``Figures``: so many tabs from nothing, each in a context of its own; the same pages in one
    /// context; of ten opened one after the other in contexts of their own, the median and the slowest; visits in tabs opened
    /// for them; visits in tabs that are there; and screenshots in tabs opened for them.
    static let script = """
        import json, os, pwd, shutil, socket, subprocess, sys, time
        user, profile, url = sys.argv[1:4]
        tabs, visits, screenshots, slots = map(int, sys.argv[4:8])
        arguments = sys.argv[8:]

        class Browser:
            def __init__(self, number):
                ours, theirs = socket.socketpair()
                directory = f'{profile}/{number}'
                os.makedirs(directory)
                os.chmod(profile, 0o711)
                account = pwd.getpwnam(user) if user else None
                if account: os.chown(directory, account.pw_uid, account.pw_gid)
                def become():
                    os.dup2(theirs.fileno(), 3); os.dup2(theirs.fileno(), 4)
                    os.set_inheritable(3, True); os.set_inheritable(4, True)
                    if account: os.setgroups([]); os.setgid(account.pw_gid); os.setuid(account.pw_uid)
                self.process = subprocess.Popen(
                    arguments + [f'--user-data-dir={directory}'], preexec_fn=become, close_fds=False,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env={'HOME': directory, 'PATH': '/usr/bin:/bin'})
                theirs.close()
                self.socket, self.buffer, self.id, self.answers = ours, b'', 0, {}
            def send(self, method, session=None, **params):
                self.id += 1
                message = {'id': self.id, 'method': method, 'params': params}
                if session: message['sessionId'] = session
                self.socket.sendall(json.dumps(message).encode() + b'\\0')
                return self.id
            def read(self):
                while b'\\0' not in self.buffer: self.buffer += self.socket.recv(1 << 20)
                message, self.buffer = self.buffer.split(b'\\0', 1)
                return json.loads(message)
            def wait(self, id):
                while id not in self.answers:
                    message = self.read()
                    if 'id' in message: self.answers[message['id']] = message['result']
                return self.answers.pop(id)
            # Jobs are generators that yield what they wait for: a command's id, or a session whose page is to be loaded.
            def run(self, jobs, slots):
                waiting, jobs, running = {}, iter(jobs), 0
                def go(job, value=None):
                    try: waiting[job.send(value)] = job
                    except StopIteration: return 0
                    return 1
                while True:
                    while running < slots and (job := next(jobs, None)): running += go(job)
                    if not running: return
                    message = self.read()
                    loaded = message.get('method') == 'Page.loadEventFired'
                    job = waiting.pop(message['sessionId'] if loaded else message.get('id'), None)
                    if job: running += go(job, message.get('result')) - 1
            def call(self, method, **params): return self.wait(self.send(method, **params))
            def close(self): self.process.kill(); self.process.wait()

        def contexts():
            browser = Browser(1)
            ids = [browser.send('Target.createBrowserContext', disposeOnDetach=True) for _ in range(tabs)]
            made = [browser.wait(id)['browserContextId'] for id in ids]
            ids = [browser.send('Target.createTarget', url='about:blank', browserContextId=c) for c in made]
            pages = [browser.wait(id)['targetId'] for id in ids]
            for id in [browser.send('Target.attachToTarget', targetId=p, flatten=True) for p in pages]: browser.wait(id)
            return browser

        def one():
            browser = Browser(2)
            for id in [browser.send('Target.createTarget', url='about:blank') for _ in range(tabs)]: browser.wait(id)
            return browser

        def timed(body):
            start = time.monotonic()
            browser = body()
            took = time.monotonic() - start
            browser.close()
            return took

        first, second = timed(contexts), timed(one)
        browser, single = Browser(3), []
        browser.call('Browser.getVersion')
        for _ in range(10):
            start = time.monotonic()
            context = browser.call('Target.createBrowserContext', disposeOnDetach=True)['browserContextId']
            page = browser.call('Target.createTarget', url='about:blank', browserContextId=context)['targetId']
            browser.call('Target.attachToTarget', targetId=page, flatten=True)
            single.append(time.monotonic() - start)
            browser.call('Target.disposeBrowserContext', browserContextId=context)
        browser.close()
        single.sort()

        def opened(browser):
            context = (yield browser.send('Target.createBrowserContext', disposeOnDetach=True))['browserContextId']
            page = (yield browser.send('Target.createTarget', url='about:blank', browserContextId=context))['targetId']
            session = (yield browser.send('Target.attachToTarget', targetId=page, flatten=True))['sessionId']
            yield browser.send('Page.enable', session)
            return context, session
        def seen(browser, session):
            yield browser.send('Page.navigate', session, url=url)
            yield session
        def visit(browser, session):
            yield from seen(browser, session)
            text = 'document.title + document.body.innerText + document.links.length'
            yield browser.send('Runtime.evaluate', session, expression=text, returnByValue=True)
        def picture(browser, session):
            yield from seen(browser, session)
            size = (yield browser.send('Page.getLayoutMetrics', session))['cssContentSize']
            clip = {'x': 0, 'y': 0, 'width': size['width'], 'height': size['height'], 'scale': 1}
            yield browser.send('Page.captureScreenshot', session, clip=clip, captureBeyondViewport=True,
                optimizeForSpeed=True)
        def whole(browser, body):
            context, session = yield from opened(browser)
            yield from body(browser, session)
            yield browser.send('Target.disposeBrowserContext', browserContextId=context)
        def taking(jobs):
            start = time.monotonic()
            browser.run(jobs, slots)
            return time.monotonic() - start

        browser, ready = Browser(4), []
        browser.run([whole(browser, visit)], 1)
        cold = taking([whole(browser, visit) for _ in range(visits)])
        def keep(): ready.append((yield from opened(browser)))
        browser.run([keep() for _ in range(visits)], slots)
        warm = taking([visit(browser, session) for _, session in ready])
        for context, _ in ready: browser.call('Target.disposeBrowserContext', browserContextId=context)
        pictures = taking([whole(browser, picture) for _ in range(screenshots)])
        browser.close()
        shutil.rmtree(profile)
        print(first, second, single[5], single[9], cold, warm, pictures)
        """
}

/// Why nothing was measured.
public struct LoadFailure: Error, Sendable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

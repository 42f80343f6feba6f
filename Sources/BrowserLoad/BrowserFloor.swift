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

        public init() {}
    }

    private static let arguments = [
        "--remote-debugging-pipe", "--disable-gpu", "--process-per-site", "--renderer-process-limit=4",
        "--disable-features=SpareRendererForSitePerProcess,BackForwardCache",
    ]

    static func measure(_ settings: BrowserPoolSettings, _ tabs: Int) async throws -> Figures {
        guard let browser = settings.executable ?? BrowserExecutable.candidates.first(where: { access($0, X_OK) == 0 })
        else { throw LoadFailure("there is no browser") }
        let user = geteuid() == 0 ? settings.user ?? "" : ""
        let sandbox = settings.sandbox == .off ? ["--no-sandbox"] : []
        let directory = "\(settings.profileParent)/floor"
        let keeper = ProcessKeeper()
        let result: Result<ProcessEnd, any Error>
        do {
            let python = try ExecutableFile(path: "/usr/bin/python3")
            let command = ProcessCommand(
                python, ["-c", script, user, directory, String(tabs), browser] + arguments + sandbox,
                environment: ["PATH": "/usr/bin:/bin"], timeout: .seconds(120))
            result = .success(try await keeper.run(command))
        } catch { result = .failure(error) }
        await keeper.close()
        let end = try result.get()
        let numbers = String(decoding: end.output.bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            .compactMap { Double($0) }
        guard numbers.count == 4 else {
            throw LoadFailure("the script failed: \(String(decoding: end.error.bytes, as: UTF8.self).suffix(500))")
        }
        var figures = Figures()
        (figures.coldTabs, figures.coldPages) = (numbers[0], numbers[1])
        (figures.tabMedian, figures.tabMax) = (numbers[2], numbers[3])
        return figures
    }

    /// Run as `python3 -c SCRIPT USER PROFILE TABS BROWSER ARGUMENT…`; writes four numbers, in seconds: a hundred tabs from
    /// nothing, each in a context of its own; the same pages in one context; and of ten opened one after the other in contexts
    /// of their own, the median and the slowest.
    static let script = """
        import json, os, pwd, shutil, socket, subprocess, sys, time
        user, profile, tabs, arguments = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]

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
            def send(self, method, **params):
                self.id += 1
                self.socket.sendall(json.dumps({'id': self.id, 'method': method, 'params': params}).encode() + b'\\0')
                return self.id
            def wait(self, id):
                while id not in self.answers:
                    while b'\\0' not in self.buffer: self.buffer += self.socket.recv(1 << 20)
                    message, self.buffer = self.buffer.split(b'\\0', 1)
                    message = json.loads(message)
                    if 'id' in message: self.answers[message['id']] = message['result']
                return self.answers.pop(id)
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
        shutil.rmtree(profile)
        print(first, second, single[5], single[9])
        """
}

/// Why nothing was measured.
public struct LoadFailure: Error, Sendable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

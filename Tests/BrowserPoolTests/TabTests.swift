import BrowserPool
import DevTools
import Foundation
import Glibc
import PageServer
import TestPatience
import Testing

extension Browsers {
    @Test("A job finds nothing of what the one before it left: cookies, storage, caches")
    func isolation() async throws {
        let pages: @Sendable (PageServer.Request) -> PageServer.Answer? = { request in
            switch request.path {
            case "/": .page("<title>page</title>", headers: ["set-cookie": "served=1; Max-Age=9999"])
            case "/cached": .page("cached", headers: ["cache-control": "max-age=9999"])
            default: nil
            }
        }
        let store = """
            (async () => {
                document.cookie = 'made=1; Max-Age=9999'; localStorage.a = 1; sessionStorage.b = 2
                await (await caches.open('c')).put('/x', new Response('y'))
                await new Promise((done, fail) => { const r = indexedDB.open('d'); r.onsuccess = done; r.onerror = fail })
                await (await fetch('/cached')).text(); await (await fetch('/cached')).text()
                return 'stored'
            })()
            """
        let look = """
            (async () => [document.cookie.replace('served=1', ''), Object.keys(localStorage), Object.keys(sessionStorage),
                await caches.keys(), (await indexedDB.databases()).map(d => d.name)].flat().join())()
            """
        try await PageServer.with(pages) { server in
            try await Self.withPool { pool in
                try await pool.withTab { tab in
                    try await tab.open(server.url)
                    #expect(try await tab.value(store) == "stored")
                    #expect(try await tab.value(look).contains("made=1"))
                }
                #expect(server.requests.count { $0.path == "/cached" } == 1, "the second came from the cache")
                try await pool.withTab { tab in
                    try await tab.open(server.url)
                    #expect(try await tab.value(look).filter { $0 != "," }.isEmpty)
                    #expect(try await tab.value("fetch('/cached').then(r => r.text())") == "cached")
                }
                #expect(server.requests.count { $0.path == "/cached" } == 2)
                #expect(server.requests.allSatisfy { $0.path != "/" || $0.headers["cookie"] == nil })
            }
        }
    }

    @Test("Two jobs at once in one browser see nothing of each other")
    func neighbours() async throws {
        try await PageServer.with { _ in
            .page("page")
        } _: { server in
            try await Self.withPool { pool in
                try await pool.withTab { one in
                    try await one.open(server.url)
                    #expect(try await one.value("localStorage.secret = document.cookie = 'one=1'") == "one=1")
                    try await pool.withTab { two in
                        #expect(one.contextID != two.contextID && pool.status.instances == 1)
                        try await two.open(server.url)
                        #expect(try await two.value("document.cookie + Object.keys(localStorage)") == "")
                    }
                }
            }
        }
    }

    @Test("Local files and the browser's own pages are refused, by the tab, by the browser, and to scripts")
    func localSchemes() async throws {
        try await PageServer.with { _ in
            .page("<title>page</title>")
        } _: { server in
            try await Self.withPool { pool in
                try await pool.withTab { tab in
                    for url in [
                        "file:///etc/passwd", "chrome://version", "view-source:file:///etc/passwd", " file:///",
                    ] {
                        #expect(await poolReason { try await tab.navigate(to: url) } == .schemeRefused)
                    }
                    for url in ["file:///etc/passwd", "view-source:file:///etc/passwd"] {
                        let answer = try await tab.session.send(Page.Navigate(url: url))
                        #expect(answer.errorText == "net::ERR_BLOCKED_BY_CLIENT")
                    }
                    #expect(tab.blockedCount == 2)
                }
                try await pool.withTab { tab in
                    try await tab.open(server.url)
                    let attempts = """
                        (async () => {
                            const results = []
                            for (const url of ['file:///etc/passwd', 'chrome://version'])
                                results.push(await fetch(url).then(r => r.text(), e => e.name))
                            const frame = document.body.appendChild(document.createElement('iframe'))
                            const loaded = new Promise(done => frame.onload = done)
                            frame.src = 'file:///etc/passwd'
                            await Promise.race([loaded, new Promise(done => setTimeout(done, 1000))])
                            try { results.push(frame.contentDocument.body.innerText) } catch (e) { results.push(e.name) }
                            location = 'file:///etc/passwd'
                            return results.join()
                        })()
                        """
                    let found = try await tab.value(attempts)
                    #expect(found.hasPrefix("TypeError,TypeError,") && !found.contains("root:"))
                    let place = try await tab.value("document.title + location")
                    #expect(place == "page\(server.url)/")
                }
            }
        }
    }

    @Test("Dialogs are answered as the job wishes, a storm of them too, and none keeps a page from being left")
    func dialogs() async throws {
        let leaving =
            "<script>addEventListener('beforeunload', e => { e.preventDefault(); e.returnValue = 'x' })</script>"
        try await PageServer.with {
            $0.path == "/leaving" ? .page(leaving) : .page("<title>next</title>")
        } _: { server in
            try await Self.withPool { pool in
                try await pool.withTab { tab in
                    try await tab.open("\(server.url)/leaving")
                    let storm =
                        "for (let i = 0; i < 300; i++) alert(i); [confirm('sure?'), prompt('name?', 'me')].join()"
                    #expect(try await tab.value(storm) == "true,me")
                    #expect(tab.dialogCount == 302 && tab.dialogs.count == 100)
                    #expect(tab.dialogs.first?.message == "0" && tab.dialogs.first?.type == "alert")
                    // Only who was touched may ask.
                    try await tab.session.send(
                        Input.DispatchMouseEvent(.mousePressed, x: 9, y: 9, button: .left, clickCount: 1))
                    try await tab.session.send(
                        Input.DispatchMouseEvent(.mouseReleased, x: 9, y: 9, button: .left, clickCount: 1))
                    try await tab.open(server.url)
                    #expect(try await tab.value("document.title") == "next")
                }
                try await pool.withTab(TabWish(dialogs: .dismiss)) { tab in
                    try await tab.open(server.url)
                    #expect(try await tab.value("[confirm('sure?'), prompt('name?', 'me')].join()") == "false,")
                }
            }
        }
    }

    @Test("Pop-ups are closed and counted, with or without an opener")
    func popups() async throws {
        try await PageServer.with { _ in
            .page("page")
        } _: { server in
            try await Self.withPool { pool in
                try await pool.withTab { tab in
                    try await tab.open(server.url)
                    _ = try await tab.session.send(
                        Runtime.Evaluate(
                            "for (let i = 0; i < 3; i++) open('/p' + i); open('/q', '', 'noopener')", userGesture: true)
                    )
                    try await eventually("all are closed") {
                        let pages = try await tab.browser.send(Target.GetTargets()).targetInfos.filter {
                            $0.browserContextId == tab.contextID && $0.type == "page"
                        }
                        return tab.popupCount == 4 && pages.map(\.targetId) == [tab.targetID]
                    }
                    #expect(try await tab.value("document.body.innerText") == "page")
                }
            }
        }
    }

    @Test("A download is denied unless the job wishes it, and then its file is named by the browser")
    func downloads() async throws {
        let file = PageServer.Answer.bytes(
            Array("content".utf8), type: "application/octet-stream",
            headers: ["content-disposition": "attachment; filename=evil.sh"])
        try await PageServer.with {
            $0.path == "/file" ? file : .page("page")
        } _: { server in
            try await Self.withPool { pool in
                try await Self.withParent { directory in
                    #expect(chmod(directory, 0o777) == 0)
                    for wish in [TabWish(), TabWish(downloads: .into(directory: directory))] {
                        let state = try await pool.withTab(wish) { tab in
                            try await tab.open(server.url)
                            let progress = tab.browser.events(Browser.DownloadProgress.self)
                            _ = try await tab.session.send(Runtime.Evaluate("location = '/file'"))
                            for try await event in progress {
                                let state = try event.decode(Browser.DownloadProgress.self).state
                                if state != "inProgress" { return state }
                            }
                            return "nothing"
                        }
                        let files = try FileManager.default.contentsOfDirectory(atPath: directory)
                        #expect(state == (wish.downloads == .denied ? "canceled" : "completed"))
                        #expect(files.count == (wish.downloads == .denied ? 0 : 1))
                        #expect(!files.contains { $0.contains("evil") })
                    }
                }
            }
        }
    }

    @Test("Every page's process is in the sandbox, as another user", .enabled(if: geteuid() == 0))
    func sandbox() async throws {
        try await Self.withPool { pool in
            try await pool.withTab { tab in
                _ = try await tab.value("1", as: Int.self)
                let process = try #require(pool.browserProcesses.first)
                let tree = SeenProcess.tree(process)
                let renderers = tree.filter { $0.text("cmdline").contains("--type=renderer") }
                #expect(!renderers.isEmpty)
                for renderer in renderers {
                    let status = renderer.text("status")
                    #expect(status.contains("Seccomp:\t2\n"))
                    #expect(status.contains("NoNewPrivs:\t1\n"))
                }
                let user = try #require(getpwnam("nobody")).pointee.pw_uid
                for process in tree {
                    #expect(process.text("status").contains("Uid:\t\(user)\t\(user)\t\(user)\t\(user)\n"))
                }
            }
        }
    }
}

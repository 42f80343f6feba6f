import BrowserPool
import DevTools
import Glibc
import PageServer
import TestSockets
import Testing

extension Browsers {
    /// All ways to reach a server that a page has, each told as text when it is over.
    private static func attempts(_ forbidden: PageServer, redirect: String) -> String {
        """
        (async () => {
            const bad = '\(forbidden.url)'
            const until = (start) => Promise.race(
                [new Promise(start), new Promise(done => setTimeout(() => done('late'), 20000))])
            const element = (name, key, value, more = {}) => until(done => {
                const e = Object.assign(document.createElement(name), more)
                e.onload = () => done('loaded'); e.onerror = () => done('error'); e[key] = value
                document.body.appendChild(e)
            })
            const results = {
                image: await element('img', 'src', bad + '/image'),
                script: await element('script', 'src', bad + '/script'),
                style: await element('link', 'href', bad + '/style', { rel: 'stylesheet' }),
                frame: (await element('iframe', 'src', bad + '/frame'), 'over'),
                preload: await element('link', 'href', bad + '/preload', { rel: 'preload', as: 'script' }),
                fetch: await fetch(bad + '/fetch', { mode: 'no-cors' }).then(() => 'loaded', () => 'error'),
                redirect: await fetch('\(redirect)', { mode: 'no-cors' }).then(() => 'loaded', () => 'error'),
                request: await until(done => {
                    const r = new XMLHttpRequest(); r.open('GET', bad + '/xhr')
                    r.onload = () => done('loaded'); r.onerror = () => done('error'); r.send()
                }),
                socket: await until(done => {
                    const s = new WebSocket(bad.replace('http', 'ws') + '/socket')
                    s.onopen = () => done('loaded'); s.onerror = () => done('error')
                }),
                events: await until(done => {
                    const s = new EventSource(bad + '/events')
                    s.onopen = () => done('loaded'); s.onerror = () => { s.close(); done('error') }
                }),
                worker: await until(done => {
                    const code = `fetch('${bad}/worker', { mode: 'no-cors' })
                        .then(() => postMessage('loaded'), () => postMessage('error'))`
                    new Worker(URL.createObjectURL(new Blob([code]))).onmessage = e => done(e.data)
                }),
                service: await until(async done => {
                    navigator.serviceWorker.onmessage = e => done(e.data)
                    await navigator.serviceWorker.register('/service.js')
                    const ready = await navigator.serviceWorker.ready
                    ready.active.postMessage(bad + '/service')
                }),
                secure: await fetch(bad.replace('http', 'https') + '/secure', { mode: 'no-cors' })
                    .then(() => 'loaded', () => 'error'),
            }
            navigator.sendBeacon(bad + '/beacon', 'x')
            for (const rel of ['preconnect', 'dns-prefetch', 'prefetch'])
                document.head.appendChild(Object.assign(document.createElement('link'), { rel, href: bad + '/' + rel }))
            return results
        })()
        """
    }

    @Test("Whatever a page tries, it reaches no address that is not allowed; each attempt is refused and counted")
    func network() async throws {
        try await PageServer.with(host: "127.0.0.2") { _ in
            .page("secret")
        } _: { forbidden in
            let service = """
                addEventListener('install', () => skipWaiting())
                addEventListener('activate', e => e.waitUntil(clients.claim()))
                addEventListener('message', e => fetch(e.data, { mode: 'no-cors' })
                    .then(() => e.source.postMessage('loaded'), () => e.source.postMessage('error')))
                """
            let (target, bytes) = (forbidden.url, Array(service.utf8))
            let pages: @Sendable (PageServer.Request) -> PageServer.Answer? = { request in
                switch request.path {
                case "/": .page("page")
                case "/redirect": .redirect(to: "\(target)/redirected")
                case "/service.js": .bytes(bytes, type: "text/javascript")
                default: nil
                }
            }
            try await PageServer.with(pages) { server in
                try await Self.withPool { pool in
                    try await pool.withTab { tab in
                        try await tab.open(server.url)
                        let script = Self.attempts(forbidden, redirect: "\(server.url)/redirect")
                        let results = try await tab.value(script, as: [String: String].self)
                        #expect(results.count == 13)
                        for (way, result) in results {
                            #expect(result == (way == "frame" ? "over" : "error"), "\(way): \(result)")
                        }
                        // Of its own accord, by a redirect, and when asked by the job itself.
                        for url in ["\(server.url)/redirect", forbidden.url, "http://localhost.localdomain.test/"] {
                            #expect(try await tab.navigate(to: url).errorText?.hasPrefix("net::ERR_SOCKS") == true)
                        }
                        let egress = tab.egress
                        #expect(egress.refusedCount >= 13)
                        #expect(egress.failures.contains { $0.host == "127.0.0.2" && $0.reason == .refused(.loopback) })
                        #expect(egress.failures.last?.reason == .noName)
                    }
                    #expect(pool.status.refusedConnections >= 13)
                }
                #expect(forbidden.acceptedCount == 0)
            }
        }
    }

    @Test("Nothing goes by UDP, nor past the gate by TCP: neither WebRTC nor WebTransport")
    func datagrams() async throws {
        let receiver = try LoopbackSocket.bound(datagrams: true)
        let port = receiver.port
        try await PageServer.with(host: "127.0.0.2") { _ in
            .page("secret")
        } _: { forbidden in
            let gather = """
                (async () => {
                    const c = new RTCPeerConnection({ iceServers: [
                        { urls: 'stun:127.0.0.1:\(port)' },
                        { urls: 'turn:127.0.0.2:\(forbidden.port)?transport=tcp', username: 'a', credential: 'b' } ] })
                    const found = []
                    c.onicecandidate = e => { if (e.candidate) found.push(e.candidate.candidate) }
                    c.createDataChannel('d')
                    const over = new Promise(done => {
                        c.onicegatheringstatechange = () => { if (c.iceGatheringState == 'complete') done() }
                        setTimeout(done, 12000)
                    })
                    await c.setLocalDescription(await c.createOffer())
                    await over
                    const transport = await Promise.race([
                        new WebTransport('https://127.0.0.1:\(port)').ready.then(() => 'ready', e => 'error'),
                        new Promise(done => setTimeout(() => done('late'), 5000)) ])
                    return [found.filter(f => / udp /i.test(f)).length, transport].join()
                })()
                """
            try await PageServer.with { _ in
                .page("page")
            } _: { server in
                try await Self.withPool { pool in
                    try await pool.withTab { tab in
                        try await tab.open(server.url)
                        #expect(try await tab.value(gather) == "0,error")
                    }
                }
            }
            #expect(forbidden.acceptedCount == 0)
        }
        #expect(throws: SocketFailure(call: "recv", code: EAGAIN), "a datagram came") { try receiver.receive() }
    }
}

import Glibc

/// The command line of a browser.
enum BrowserArguments {
    /// Where nothing listens: for what does not belong to a tab. Tabs have gates of their own.
    private static let nowhere = "socks5://127.0.0.1:1"

    /// Less than this in /dev/shm, as containers have it, is not enough for pages.
    private static let sharedMemoryBytesMin: UInt = 512 << 20

    static func list(_ settings: BrowserPoolSettings, executable: String, profile: String) -> [String] {
        var arguments = network + quiet + alike
        if !BrowserExecutable.isShell(executable) { arguments += ["--headless=new", "--no-startup-window"] }
        if settings.sandbox == .off { arguments.append("--no-sandbox") }
        if settings.extensions.isEmpty {
            arguments.append("--disable-extensions")
        } else {
            let directories = settings.extensions.joined(separator: ",")
            // Loaded by the pipe; this flag lets nothing else be.
            arguments += ["--enable-unsafe-extension-debugging", "--disable-extensions-except=\(directories)"]
        }
        if !hasSharedMemory { arguments.append("--disable-dev-shm-usage") }
        return arguments + [
            "--remote-debugging-pipe", "--user-data-dir=\(profile)",
            "--window-size=\(settings.windowWidth),\(settings.windowHeight)",
        ]
    }

    /// Every connection goes through a gate, or nowhere.
    private static let network = [
        "--proxy-server=\(nowhere)",
        // Without this the browser goes to local addresses by itself.
        "--proxy-bypass-list=<-loopback>",
        // The gate looks names up. Should anything in the browser try to, it finds none.
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        // What goes by UDP goes by no proxy.
        "--disable-quic",
        "--webrtc-ip-handling-policy=disable_non_proxied_udp",
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
        "--no-pings", "--disable-background-networking", "--disable-domain-reliability", "--disable-component-update",
        "--disable-sync", "--disable-client-side-phishing-detection",
    ]

    /// Nothing that is meant for a person.
    private static let quiet = [
        "--no-first-run", "--no-default-browser-check", "--disable-default-apps", "--disable-breakpad",
        "--disable-crash-reporter", "--disable-gpu", "--mute-audio", "--noerrdialogs", "--disable-hang-monitor",
        "--disable-prompt-on-repost", "--password-store=basic", "--disable-search-engine-choice-screen",
        "--disable-component-extensions-with-background-pages", "--disable-logging", "--log-level=3",
        // Pages of one site in one browser context share a process: always, and not only when memory runs short. Those of
        // different contexts never do.
        "--process-per-site", "--renderer-process-limit=4",
        "--disable-features=SpareRendererForSitePerProcess,BackForwardCache,Translate,MediaRouter,OptimizationHints,"
            + "DialMediaRouteProvider,AcceptCHFrame,GlobalMediaControls",
    ]

    /// A page looks and runs alike, whether somebody looks at it or not.
    private static let alike = [
        "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows",
        "--disable-renderer-backgrounding", "--font-render-hinting=none", "--force-color-profile=srgb",
        "--hide-scrollbars",
    ]

    static func environment(profile: String) -> [String: String] {
        [
            "HOME": profile, "TMPDIR": profile, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
            // There is none, and it is not looked for.
            "DBUS_SESSION_BUS_ADDRESS": "disabled:", "DBUS_SYSTEM_BUS_ADDRESS": "disabled:",
        ]
    }

    private static var hasSharedMemory: Bool {
        var status = statvfs()
        guard statvfs("/dev/shm", &status) == 0 else { return false }
        return status.f_bavail * status.f_frsize >= sharedMemoryBytesMin
    }
}

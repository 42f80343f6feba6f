// A worker with a pool of browsers, for the tests that kill it: `browser-worker PARENT` lends itself a tab whose page is in an
// endless loop, says "ready", the browser's process id and then stays.

import BrowserPool
import DevTools
import Glibc

let pool = try BrowserPool(
    BrowserPoolSettings(
        instancesMax: 1, warmTabs: 2, startTimeout: .seconds(120), profileParent: CommandLine.arguments[1]))
try await pool.withTab(within: .seconds(120)) { tab in
    tab.session.post(Runtime.Evaluate("while (true) {}"))
    let text = "ready \(pool.browserProcesses.first ?? 0)\n"
    _ = write(STDOUT_FILENO, text, text.utf8.count)
    try await Task.sleep(for: .seconds(3_600))
}

import ArgumentParser
import BrowserLoad
import BrowserPool
import FleetConfiguration
import FleetModel
import FleetStack
import FleetStore
import Foundation

extension BenchCommand {
    /// `gaia bench browser`
    struct Browser: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Browsers: tabs from nothing, leases of warm ones, and visits through the queue.",
            discussion: """
                First the pool in this process, beside a bare script that drives the same browser over the same kind of
                pipe; then visits to a page of nginx as jobs through a broker, a ledger and a worker process, and what that
                process holds before and after many of them. Needs the packages chromium-headless-shell, fonts-dejavu-core
                and nginx-light. The settings browser.executable, browser.user and browser.sandbox hold.
                """)

        @OptionGroup var settings: SettingsOptions
        @Option(name: .long, help: "How many tabs are opened from nothing.")
        var tabs = 100
        @Option(name: .long, help: "How many leases of warm tabs are made.")
        var leases = 1_000
        @Option(name: .long, help: "How many visits are published at once.")
        var visits = 100
        @Option(name: .long, help: "How many full-page screenshots.")
        var screenshots = 20
        @Option(name: .long, help: "How many jobs until what is held is looked at again.")
        var jobs = 1_000
        @Option(name: .long, help: "How many browser jobs the worker runs at once.")
        var slots = 8
        @Option(name: .long, help: "How many tabs the worker keeps ready.")
        var warm = 8
        @Option(name: .long, help: "How many rounds of visits and screenshots.")
        var rounds = 3
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if [tabs, leases, visits, screenshots, slots, warm, rounds].contains(where: { $0 < 1 }) || jobs < 0 {
                throw ValidationError("counts must be positive")
            }
        }

        func run() async throws {
            try await output.report(title: "browser jobs") {
                let loaded = try settings.load()
                if let lack = try loaded.browserLack() { throw CommandFailure(.unavailable, lack) }
                let directory = "/var/tmp/gaia-bench-browser-\(ProcessInfo.processInfo.processIdentifier)"
                try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
                let result = await Result {
                    try await PrivateWebServer.with { web in
                        let url = try web.page("page.html", Self.page)
                        let alone = try await poolFigures(loaded, url, directory)
                        return try await measure(loaded, alone, url, directory)
                    }
                }
                try FileManager.default.removeItem(atPath: directory)
                return try result.get()
            }
        }

        private func poolFigures(
            _ loaded: FleetConfiguration, _ url: String, _ directory: String
        ) async throws -> LoadFigures {
            Progress.shared.show("tabs and leases without a queue …")
            var pool = try loaded.browserSettings().pool
            pool.profileParent = "\(directory)/profiles"
            // The browsers' user passes through it.
            try FileManager.default.createDirectory(
                atPath: pool.profileParent, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o1777])
            let alone = try await BrowserLoad.measure(
                pool, tabs: tabs, leases: leases,
                visits: BrowserFloor.Visits(url: url, count: visits, screenshots: screenshots, slots: slots))
            var figures = LoadFigures()
            figures.rows = [
                .init("bare script: \(tabs) tabs from nothing, a context each", "s", [alone.floor.coldTabs]),
                .init("\(tabs) tabs from nothing, a context each", "s", [alone.coldTabs]),
                .init("bare script: \(tabs) tabs from nothing, one context", "s", [alone.floor.coldPages]),
                .init("\(tabs) tabs from nothing, one context", "s", [alone.coldPages], target: 1.5),
                .init("first tab from nothing", "s", [alone.coldLease]),
                .init("lease of a warm tab, median", "ms", [alone.leaseMedian * 1_000]),
                .init("lease of a warm tab, p99", "ms", [alone.leaseP99 * 1_000], target: 50),
                .init("leases", "/s", [alone.leasesPerSecond]),
                .init("memory of an idle tab", "MB", [Double(alone.bytesPerIdleTab) / 1e6]),
                .init("bare script: \(visits) visits, a tab and a context each", "ms", [alone.floor.visits * 1_000]),
                .init("bare script: \(visits) visits, all tabs opened before", "ms", [alone.floor.warmVisits * 1_000]),
                .init("bare script: \(screenshots) full-page screenshots", "ms", [alone.floor.screenshots * 1_000]),
            ]
            figures.notes.append(
                "\(leases) leases, before and after: \(alone.before.text); \(alone.after.text).")
            return figures
        }

        private func measure(
            _ loaded: FleetConfiguration, _ alone: LoadFigures, _ url: String, _ directory: String
        ) async throws -> (Machine, LoadFigures) {
            var told = [
                "GAIA_BROWSER_ALLOW": "127.0.0.1", "GAIA_WORKER_SUBSYSTEMS": "browser",
                "GAIA_WORKER_SLOTS_BROWSER": "\(slots)", "GAIA_BROWSER_WARM_TABS": "\(warm)",
                "GAIA_BROWSER_TABS": "\(warm + slots)", "GAIA_BROWSER_TABS_PER_INSTANCE": "\(warm + slots)",
                // What it holds is told with its lease.
                "GAIA_WORKER_LEASE_MS": "1500",
                "GAIA_BROWSER_SANDBOX": loaded.browser.sandbox, "GAIA_BROWSER_USER": loaded.browser.user,
                "GAIA_FILE_ROOTS": "bench=\(directory)",
            ]
            told["GAIA_BROWSER_EXECUTABLE"] = loaded.browser.executable
            let (machine, figures) = try await BurstRun.with(workers: 1, settings: told) { run, store in
                var figures = alone
                let visited = try await warmRounds(run, store, "visits") { round in
                    visit(
                        visits, "visit-\(round)",
                        #"{"url":"\#(url)","want":["text"],"evaluate":"document.links.length"}"#)
                }
                figures.add(
                    "\(visits) visits, \(warm) tabs ready", visited, jobs: visits, workers: 1, target: 2_000)
                let shot = try await warmRounds(run, store, "screenshots") { round in
                    visit(screenshots, "shot-\(round)", #"{"url":"\#(url)","screenshot":{"full_page":true}}"#)
                }
                figures.add("\(screenshots) full-page screenshots", shot, jobs: screenshots, workers: 1, target: 5_000)
                if jobs > 0 {
                    let before = Holdings(run)
                    Progress.shared.show("\(jobs) jobs …")
                    let many = try await run.run(visit(jobs, "many", #"{"url":"\#(url)"}"#))
                    figures.add("\(jobs) visits in a row", [many], jobs: jobs, workers: 1)
                    figures.notes.append(
                        "The worker and its browsers, before and after \(jobs) jobs: \(before.text); \(Holdings(run).text)."
                    )
                }
                return figures
            }
            return (machine, figures)
        }

        /// Rounds that begin when the tabs are ready; the first of all only starts the browser.
        private func warmRounds(
            _ run: BurstRun, _ store: FleetStore, _ what: String, jobs: (Int) -> [Job]
        ) async throws -> [BurstRun.Round] {
            var measured: [BurstRun.Round] = []
            for round in 0...rounds {
                Progress.shared.show("\(what) through the queue: round \(round) of \(rounds) …")
                let one = try await run.run(round == 0 ? Array(jobs(round).prefix(2)) : jobs(round))
                if round > 0 { measured.append(one) }
                let deadline = ContinuousClock.now + .seconds(120)
                while !(try await store.workers().flatMap(\.load).compactMap(\.holdings)).contains(where: {
                    $0.contains(" 0 leased, \(warm) ready")
                }) {
                    guard .now < deadline else { throw CommandFailure(.inside, "\(warm) tabs do not get ready") }
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
            return measured
        }

        private func visit(_ count: Int, _ name: String, _ payload: String) -> [Job] {
            (0..<count).map { Job(type: "browser.visit.v1", key: "\(name)-\($0)", payload: Array(payload.utf8)) }
        }

        /// A page with what pages have: styles, a script that builds a part of it, links, a picture.
        private static let page = """
            <!doctype html><html lang="en"><head><meta charset="utf-8"><title>A small page</title>
            <style>body { font: 16px/1.5 sans-serif; max-width: 40em; margin: 2em auto } li { color: #335 }</style></head>
            <body><h1>A small page</h1>
            <svg width="120" height="60"><rect width="120" height="60" fill="#47a"/><circle cx="60" cy="30" r="20"/></svg>
            <p>With a list that a script makes, and <a href="#first">a few</a> <a href="#last">links</a>.</p><ul id="list"></ul>
            <script>
            for (let number = 1; number <= 200; number++) {
                const item = document.createElement("li")
                item.textContent = `Item ${number} of a list that is long enough to be scrolled`
                document.getElementById("list").append(item)
            }
            </script></body></html>
            """
    }
}

/// What a worker holds, its browsers counted in.
private struct Holdings {
    let processes, descriptors, residentBytes: Int

    init(_ run: BurstRun) {
        let worker = run.workers.first.flatMap { run.fleet.processID(of: $0) } ?? 0
        var children: [Int: [Int]] = [:]
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let process = Int(name),
                let stat = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8),
                // The program's name may have blanks and parentheses in it.
                let parent = stat.split(separator: ")").last?.split(separator: " ").dropFirst().first.flatMap({
                    Int($0)
                })
            else { continue }
            children[parent, default: []].append(process)
        }
        var below: [Int] = []
        var open = [Int(worker)]
        while let process = open.popLast() {
            below += children[process] ?? []
            open += children[process] ?? []
        }
        processes = below.count
        descriptors = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(worker)/fd")) ?? []).count
        residentBytes = run.fleet.residentBytes(of: run.workers.first ?? "") ?? 0
    }

    var text: String {
        "\(processes) processes below it, \(descriptors) descriptors, \(Terminal.megabytes(residentBytes)) of its own"
    }
}

extension BrowserLoad.Footprint {
    fileprivate var text: String {
        "\(processes) processes, \(descriptors) descriptors, \(files) files, \(Terminal.megabytes(memoryBytes))"
    }
}

import AddressPolicy
import ArgumentParser
import CHTTPFloor
import FleetModel
import FleetStack
import FleetStore
import Foundation
import NetworkClient
import NetworkSubsystem
import RootedFiles

extension BenchCommand {
    /// `gaia bench network`
    struct Network: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "How exactly bandwidth limits hold, many connections, and the cache of names.",
            discussion: """
                Downloads from nginx under limits of their own, beside curl's --limit-rate, and then by several workers under
                one limit of the fleet; connections held open at once; names as people ask for them, of dnsmasq. Needs the
                packages nginx-light, dnsmasq-base and curl.
                """)

        @Option(name: .long, parsing: .upToNextOption, help: "Bytes a second, one after the other.")
        var rates = [1_000_000, 10_000_000, 100_000_000]
        @Option(name: .long, help: "For how many seconds each.")
        var seconds = 10
        @Option(name: .long, help: "How many connections at once.")
        var connections = 1_000
        @Option(name: .long, help: "How many worker processes.")
        var workers = 4
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if rates.contains(where: { $0 < 10_000 }) || seconds < 1 || connections < 1 || workers < 1 {
                throw ValidationError("--rates must be 10000 at least, the other counts positive")
            }
        }

        func run() async throws {
            try await output.report(title: "downloads under limits") {
                let directory = "/var/tmp/gaia-bench-network-\(ProcessInfo.processInfo.processIdentifier)"
                try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
                let result = await Result { try await PrivateWebServer.with { try await measure($0, directory) } }
                try FileManager.default.removeItem(atPath: directory)
                return try result.get()
            }
        }

        private func measure(_ web: PrivateWebServer, _ directory: String) async throws -> (Machine, LoadFigures) {
            var figures = LoadFigures()
            let names = try await PrivateNameServer(["--local-ttl=600", "--address=/many.test/192.0.2.7"])
            let alone = await Result { try await rowsAlone(web, directory, namesPort: names.port) }
            try await names.stop()
            for row in try alone.get() {
                let isRate = row.unit == "B/s"
                let (unit, scale) = isRate ? ("MB/s", 1e6) : (row.unit, 1)
                if let floor = row.floor {
                    figures.rows.append(.init("plain means: \(row.title)", unit, [floor / scale]))
                }
                figures.rows.append(
                    .init(row.title, unit, [row.measured / scale], target: row.setting.map { $0 / scale }))
            }
            guard let server = gaia_delay_server_start(1_000) else {
                throw CommandFailure(.inside, "a server could not be started: errno \(errno)")
            }
            defer { gaia_delay_server_stop(server) }
            let slow = "http://127.0.0.1:\(gaia_delay_server_port(server))/"
            let settings = [
                "GAIA_FILE_ROOTS": "bench=\(directory)", "GAIA_NETWORK_ALLOW": "127.0.0.1",
                "GAIA_NETWORK_LIMIT_WAIT_MS": "60000", "GAIA_WORKER_SLOTS_NETWORK": "\(connections)",
            ]
            let (machine, (shares, rounds)) = try await BurstRun.with(workers: workers, settings: settings) {
                run, store in
                var shares: [LoadFigures.Row] = []
                for (number, rate) in rates.enumerated() {
                    shares.append(try await shared(rate, number, web, run, store))
                }
                let rounds = try await run.rounds(3, "connections") { number in
                    (0..<connections).map { job("open-\(number)-\($0)", slow) }
                }
                return (shares, rounds)
            }
            figures.rows += shares
            figures.add("\(connections) downloads, each a second long", rounds, jobs: connections, workers: workers)
            figures.notes.append("plain means: curl --limit-rate; the name server asked for each name.")
            return (machine, figures)
        }

        /// In this process.
        private func rowsAlone(
            _ web: PrivateWebServer, _ directory: String, namesPort: UInt16
        ) async throws -> [NetworkLoad.Row] {
            var settings = NetworkSettings()
            settings.addresses = try AddressPolicy(allowing: ["127.0.0.1"])
            settings.nameservers = Endpoint(address: "127.0.0.1", port: namesPort).map { [$0] } ?? []
            let threads = FileThreads(named: "bench-files", count: 4)
            let roots = try FileRoots([try FileRoot(name: "bench", directory: directory)])
            let subsystem = try NetworkSubsystem(settings, roots: roots, threads: threads)
            let result = await Result {
                let load = NetworkLoad(subsystem)
                Progress.shared.show("downloads under limits of their own …")
                let throttled = try await load.throttle(
                    rates: rates, seconds: Double(seconds) / 3, url: { try web.url($0) }, root: "bench",
                    floor: Self.curl)
                Progress.shared.show("names …")
                return throttled + (try await load.cache(questions: 50_000, names: 5_000) { "n\($0).many.test" })
            }
            await subsystem.close()
            await threads.close()
            return try result.get()
        }

        private static func curl(_ url: String, _ bytesPerSecond: Int) async throws -> Int64 {
            let curl = try ChildProcess.start(
                executable: "curl",
                arguments: [
                    "-sS", "--limit-rate", "\(bytesPerSecond)", "-o", "/dev/null", "-w", "%{size_download}", url,
                ], output: .capture)
            guard await curl.exitStatus().isSuccess, let bytes = Int64(curl.standardOutput) else {
                throw CommandFailure(.inside, "curl: \(curl.capturedOutput)")
            }
            return bytes
        }

        /// Downloads by all workers under one limit: what they take together.
        private func shared(
            _ rate: Int, _ number: Int, _ web: PrivateWebServer, _ run: BurstRun, _ store: FleetStore
        ) async throws -> LoadFigures.Row {
            Progress.shared.show("\(rate / 1_000) kB/s shared by \(workers) workers …")
            let downloads = 2 * workers
            let bytes = rate * seconds / downloads
            try await store.setLimit("network.bytes", rate: Double(rate))
            let url = try web.url(bytes)
            let round = try await run.run((0..<downloads).map { job("shared-\(number)-\($0)", url) })
            _ = try await store.removeLimit("network.bytes")
            if let failure = round.failures.first { throw CommandFailure(.workFailed, failure) }
            let measured = Double(bytes * downloads) / round.milliseconds * 1_000 / 1e6
            return .init(
                "\(downloads) downloads by \(workers) workers, one limit", "MB/s", [measured],
                target: Double(rate) / 1e6)
        }

        private func job(_ name: String, _ url: String) -> Job {
            Job(
                type: "network.download.v1", key: name,
                payload: Array(#"{"url":"\#(url)","path":"bench:\#(name)","timeout_ms":120000}"#.utf8))
        }
    }
}

import FleetStack
import Foundation
import Testing

@testable import NetworkSubsystem

@Suite("Load of the network", .serialized, .timeLimit(.minutes(3)))
struct NetworkLoadTests {
    @Test("The cache answers more than four in five of questions as people ask them")
    func cache() async throws {
        let names = try await NameService(isAuthority: false)
        try await Desk.with({ $0.nameservers = [names.endpoint] }) { desk in
            let rows = try await NetworkLoad(desk.subsystem).cache(questions: 20_000, names: 2_000) {
                "n\($0).many.test"
            }
            report(rows)
            #expect(rows[0].measured > 0.8)
        }
        try await names.stop()
    }

    @Test("Limits are kept beside curl's own, and a thousand connections held")
    func transfers() async throws {
        try await PrivateWebServer.with { nginx in
            let server = try await FileServer()
            try await Desk.with({ $0.idleTimeout = .seconds(60) }) { desk in
                let load = NetworkLoad(desk.subsystem)
                var rows = try await load.throttle(
                    rates: [1_000_000, 10_000_000, 100_000_000], seconds: 3, url: { try nginx.url($0) }, root: "data"
                ) { url, rate in
                    let curl = try ChildProcess.start(
                        executable: "curl",
                        arguments: [
                            "-sS", "--limit-rate", "\(rate)", "-o", "/dev/null", "-w", "%{size_download}", url,
                        ],
                        output: .capture)
                    guard await curl.exitStatus().isSuccess, let bytes = Int64(curl.standardOutput) else {
                        throw Failure("curl: \(curl.capturedOutput)")
                    }
                    return bytes
                }
                rows.append(
                    try await load.connections(
                        1_000, url: { server.url(10_000, "hold=1000", id: "\($0)").url }, root: "data"))
                report(rows)
                for row in rows {
                    guard let setting = row.setting else { continue }
                    #expect(row.measured < setting * 1.05, "\(row)")
                }
            }
            try await server.stop()
        }
    }

    private func report(_ rows: [NetworkLoad.Row]) {
        for row in rows {
            let floor = row.floor.map { ", floor \(Int($0))" } ?? ""
            let setting = row.setting.map { ", set to \(Int($0))" } ?? ""
            print(
                "\(row.title): \(row.measured < 10 ? "\(row.measured)" : "\(Int(row.measured))") \(row.unit)\(setting)\(floor)"
            )
        }
    }
}

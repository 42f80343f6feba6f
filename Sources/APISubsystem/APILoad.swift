import CHTTPFloor
import FleetModel
import Glibc
import SystemThreads

/// Many calls at once through the subsystem, to a server that takes its time, and beside them the least that they could cost:
/// a loop in C that writes and reads the same bytes over as many sockets. Both in one process and one run, against one
/// server in it.
package struct APILoad: Sendable {
    /// One go.
    package struct Round: Sendable {
        package let name: String
        /// From the first call's start to the last one's end.
        package let seconds: Double
        package let succeeded: Int
    }

    package struct Report: Sendable {
        package let calls: Int
        package let delayMilliseconds: Int
        /// The subsystem's: the first makes its connections, the others find them in the pool.
        package let rounds: [Round]
        package let floor: [Round]
        /// Connections that the server accepted from the subsystem.
        package let connections: Int
        /// How much more of this process was in memory at the end of the subsystem's rounds than before.
        package let residentBytes: Int

        package var successShare: Double {
            Double(rounds.reduce(0) { $0 + $1.succeeded }) / Double(calls * rounds.count)
        }
    }

    package var calls = 1_000
    package var delayMilliseconds = 50
    /// Of the subsystem, the first one among them.
    package var rounds = 3

    package init() {}

    /// - Throws: when the system refuses the server or the floor its sockets.
    package func run() async throws -> Report {
        guard let server = gaia_delay_server_start(Int32(delayMilliseconds)) else {
            throw Refused(what: "the server", code: errno)
        }
        defer { gaia_delay_server_stop(server) }
        let port = gaia_delay_server_port(server)
        let floor = try await floorRounds(port)
        let acceptedBefore = gaia_delay_server_accepted(server)
        let before = ResidentMemory.bytes()

        var settings = APISettings()
        (settings.connections, settings.connectionsPerHost) = (calls, calls)
        settings.addresses = try .init(allowing: ["127.0.0.0/8"])
        let subsystem = APISubsystem(settings)
        let call: JobDefinition.Prepared
        do {
            call = try subsystem.request.prepare(Array(#"{"url":"http://127.0.0.1:\#(port)/"}"#.utf8))
        } catch {
            await subsystem.close()
            throw error
        }
        var measured: [Round] = []
        for number in 1...rounds {
            let name = number == 1 ? "new connections" : "pooled connections"
            measured.append(await round(name, call))
        }
        let resident = ResidentMemory.bytes() - before
        await subsystem.close()
        return Report(
            calls: calls, delayMilliseconds: delayMilliseconds, rounds: measured, floor: floor,
            connections: gaia_delay_server_accepted(server) - acceptedBefore, residentBytes: resident)
    }

    /// As a worker would: each call a prepared job in a task of its own.
    private func round(_ name: String, _ call: JobDefinition.Prepared) async -> Round {
        let begin = ContinuousClock.now
        let succeeded = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<calls {
                group.addTask {
                    let context = JobContext(
                        type: RequestParameters.type, key: "load-\(number)", attempt: 1, token: 1, subject: nil,
                        traceparent: nil)
                    do {
                        _ = try await call(context)
                        return true
                    } catch {
                        return false
                    }
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        return Round(name: name, seconds: (ContinuousClock.now - begin) / .seconds(1), succeeded: succeeded)
    }

    /// On a thread of its own, since it blocks.
    private func floorRounds(_ port: UInt16) async throws -> [Round] {
        let calls = calls
        return try await withCheckedThrowingContinuation { continuation in
            let rounds: @Sendable () -> Void = {
                var seconds = [0.0, 0.0]
                let answered = gaia_http_floor(port, Int32(calls), 60_000, &seconds)
                guard answered >= 0 else {
                    return continuation.resume(throwing: Refused(what: "the floor", code: errno))
                }
                // The count is of both rounds; a connection that fails in the first has no second.
                continuation.resume(returning: [
                    Round(name: "new connections", seconds: seconds[0], succeeded: min(Int(answered), calls)),
                    Round(name: "pooled connections", seconds: seconds[1], succeeded: Int(answered) - calls),
                ])
            }
            do { try SystemThread.start("http-floor", rounds) } catch { continuation.resume(throwing: error) }
        }
    }

    package struct Refused: Error, CustomStringConvertible {
        let what: String
        let code: Int32
        package var description: String { "the system refused \(what): \(String(cString: strerror(code)))" }
    }
}

import CurlClient
import Foundation
import Synchronization
import TestPatience
import Testing

extension ServerTests {
    @Suite("An answer handed over in pieces")
    struct StreamTests {
        @Test("comes whole and in order, head first")
        func whole() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let taker = Taker()
                    let response = try await client.perform(flow(server, mib: 8)) { taker.take($0) }
                    #expect(taker.heads.map(\.status) == [200])
                    #expect(taker.heads.first?.header("content-length") == "\(8 << 20)")
                    #expect(taker.heads.first?.finalURL == server.url("/flow?mib=8"))
                    #expect(taker.body == (0..<8).flatMap { [UInt8](repeating: 97 + UInt8($0), count: 1 << 20) })
                    #expect(response.status == 200 && response.body.isEmpty)
                }
            }
        }

        @Test("of no body at all, and of a status that is no success")
        func small() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    for (path, status) in [
                        ("/status?code=204", 204), ("/status?code=503", 503), ("/bytes?count=0", 200),
                    ] {
                        let taker = Taker()
                        let response = try await client.perform(CurlRequest(url: server.url(path))) { taker.take($0) }
                        #expect(response.status == status)
                        #expect(taker.heads.map(\.status) == [status])
                        #expect(taker.body.isEmpty)
                    }
                }
            }
        }

        @Test("takes no more memory than its window, whatever its size")
        func memory() async throws {
            // In a process that nothing else takes memory of.
            await #expect(processExitsWith: .success) {
                try await TestServer.with { server async throws in
                    try await withClient { client async throws in
                        let before = residentBytes()
                        let peak = Atomic(before)
                        let bytes = Atomic(0)
                        _ = try await client.perform(flow(server, mib: 512)) { piece in
                            guard case .bytes(let piece) = piece else { return }
                            bytes.wrappingAdd(piece.count, ordering: .relaxed)
                            peak.max(residentBytes(), ordering: .relaxed)
                        }
                        #expect(bytes.load(ordering: .relaxed) == 512 << 20)
                        #expect(peak.load(ordering: .relaxed) - before < 96 << 20)
                    }
                }
            }
        }

        @Test("waits for a slow receiver, and makes the server wait")
        func slowReceiver() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let total = 64 << 20
                    var request = flow(server, mib: 64)
                    request.receiveWindow = 100_000
                    let largest = Atomic(0)
                    let flowedMeanwhile = Atomic(0)
                    let bytes = Atomic(0)
                    _ = try await client.perform(request) { piece in
                        guard case .bytes(let piece) = piece else { return }
                        if bytes.wrappingAdd(piece.count, ordering: .relaxed).oldValue == 0 {
                            let flowed = try await server.flowStopped(total: total)
                            flowedMeanwhile.store(flowed, ordering: .relaxed)
                        }
                        largest.max(piece.count, ordering: .relaxed)
                    }
                    #expect(bytes.load(ordering: .relaxed) == total)
                    #expect(largest.load(ordering: .relaxed) <= 100_000 + (80 << 10))
                    // What the kernel buffers on both sides.
                    #expect(flowedMeanwhile.load(ordering: .relaxed) < 24 << 20)
                }
            }
        }

        @Test("does not gather what a packed answer unpacks to")
        func packed() async throws {
            // In a process that nothing else takes memory of.
            await #expect(processExitsWith: .success) {
                try await TestServer.with { server async throws in
                    try await withClient { client async throws in
                        let largest = Atomic(0)
                        let bytes = Atomic(0)
                        let before = residentBytes()
                        let peak = Atomic(before)
                        var request = CurlRequest(url: server.url("/gzip?mib=256"))
                        request.maxResponseBytes = 256 << 20
                        _ = try await client.perform(request) { piece in
                            guard case .bytes(let piece) = piece else { return }
                            bytes.wrappingAdd(piece.count, ordering: .relaxed)
                            largest.max(piece.count, ordering: .relaxed)
                            peak.max(residentBytes(), ordering: .relaxed)
                        }
                        #expect(bytes.load(ordering: .relaxed) == 256 << 20)
                        #expect(largest.load(ordering: .relaxed) <= (336 << 10))
                        #expect(peak.load(ordering: .relaxed) - before < 96 << 20)
                    }
                }
            }
        }

        @Test("ends with the error of its receiver, and the server sees the connection go", arguments: [0, 3])
        func receiverFails(after pieces: Int) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let seen = Atomic(0)
                    await #expect(throws: Failure.self) {
                        try await client.perform(flow(server, mib: 512)) { _ in
                            guard seen.wrappingAdd(1, ordering: .relaxed).oldValue < pieces else {
                                throw Failure("enough")
                            }
                        }
                    }
                    #expect(seen.load(ordering: .relaxed) == pieces + 1, "nothing is handed over after that")
                    #expect(client.outstanding == 0)
                    try await server.eventually("the connection is gone") { $0.open == 0 && $0.abandoned == 1 }
                }
            }
        }

        @Test("ends when its task is cancelled, also while the receiver holds it up", arguments: [true, false])
        func cancelled(whileHeld: Bool) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let request = flow(server, mib: 512)
                    let task = Task {
                        try await client.perform(request) { _ in
                            if whileHeld { try await Task.sleep(for: .seconds(3600)) }
                        }
                    }
                    try await server.eventually("it flows") { $0.flowed > 1 << 20 }
                    task.cancel()
                    let result = await task.result
                    #expect(throws: (any Error).self) { try result.get() }
                    if !whileHeld, case .failure(let error) = result {
                        #expect((error as? CurlError)?.kind == .cancelled)
                    }
                    #expect(client.outstanding == 0)
                    try await server.eventually("the connection is gone") { $0.open == 0 && $0.abandoned == 1 }
                }
            }
        }

        @Test("ends as broken when the connection breaks, after what came before is handed over")
        func broken() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let taker = Taker()
                    let error = await #expect(throws: CurlError.self) {
                        try await client.perform(CurlRequest(url: server.url("/drop"))) { taker.take($0) }
                    }
                    #expect(error?.kind == .interrupted)
                    #expect(taker.heads.count == 1)
                    #expect(taker.body == Array("half".utf8))
                }
            }
        }

        @Test("ends when nothing comes in for the idle time, from the start or later on", arguments: [0, 1])
        func stalled(after mib: Int) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    var request = CurlRequest(url: server.url("/flow?mib=2&stop=\(mib)"), timeout: .seconds(60))
                    request.idleTimeout = .milliseconds(200)
                    let taker = Taker()
                    let error = await #expect(throws: CurlError.self) {
                        try await client.perform(request) { taker.take($0) }
                    }
                    #expect(error?.kind == .timeout)
                    #expect(
                        error?.message.contains("nothing came in for 0.2 seconds") == true, "\(error.debugDescription)")
                    #expect(taker.body.count == mib << 20)
                }
            }
        }

        @Test("is not idle while bytes trickle in, nor while its receiver is behind, nor while it waits for its turn")
        func notIdle() async throws {
            try await TestServer.with { server async throws in
                try await withClient(CurlConfiguration(maxConnectionsPerHost: 1)) { client async throws in
                    // 100 bytes, one every 10 ms, is long past 50 ms.
                    var request = CurlRequest(url: server.url("/drip"), timeout: .milliseconds(1_000))
                    request.idleTimeout = .milliseconds(500)
                    let error = await #expect(throws: CurlError.self) { try await client.perform(request) { _ in } }
                    #expect(error?.message.contains("ran out while the answer came in") == true)

                    request = flow(server, mib: 32)
                    request.idleTimeout = .milliseconds(100)
                    let isFirst = Atomic(true)
                    let held = request
                    _ = try await client.perform(held) { piece in
                        guard case .bytes = piece, isFirst.exchange(false, ordering: .relaxed) else { return }
                        _ = try await server.flowStopped(total: 32 << 20)
                        // The next one waits for this connection all the while.
                        let waiting = CurlRequest(url: server.url("/echo"), timeout: .milliseconds(400))
                        var impatient = waiting
                        impatient.idleTimeout = .milliseconds(100)
                        let error = try await failure(client, impatient)
                        #expect(error.message.contains("ran out while waiting for a turn"))
                    }
                }
            }
        }

        @Test("is of the last hop alone, and a redirect's own body is short")
        func redirects() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let taker = Taker()
                    var request = CurlRequest(url: server.url("/count-down?left=3"), followRedirects: 5)
                    let response = try await client.perform(request) { taker.take($0) }
                    #expect(response.redirects == 3)
                    #expect(taker.heads.map(\.status) == [200])
                    #expect(taker.body == Array("landed".utf8))

                    request = CurlRequest(url: server.url("/redirect?times=1000000&to=/echo"), followRedirects: 5)
                    let long = request
                    let error = await #expect(throws: CurlError.self) { try await client.perform(long) { _ in } }
                    #expect(error?.kind == .tooLarge)

                    // Not followed, it is the answer.
                    let own = Taker()
                    let unfollowed = CurlRequest(url: server.url("/redirect?times=2&to=/echo"))
                    #expect(try await client.perform(unfollowed) { own.take($0) }.status == 302)
                    #expect(own.body == Array("movedmoved".utf8))
                }
            }
        }

        @Test("is cut off past its limit")
        func limit() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    var request = CurlRequest(url: server.url("/endless"))
                    request.maxResponseBytes = 3 << 20
                    let bytes = Atomic(0)
                    let limited = request
                    let error = await #expect(throws: CurlError.self) {
                        try await client.perform(limited) { piece in
                            if case .bytes(let piece) = piece { bytes.wrappingAdd(piece.count, ordering: .relaxed) }
                        }
                    }
                    #expect(error?.kind == .tooLarge)
                    #expect(bytes.load(ordering: .relaxed) <= 3 << 20)
                }
            }
        }

        @Test("of many at once, each held up now and then, mixes nothing up")
        func many() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let request = { () -> CurlRequest in
                        var request = flow(server, mib: 2)
                        request.receiveWindow = 30_000
                        return request
                    }()
                    let lengths = try await withThrowingTaskGroup(of: Int.self) { group in
                        for _ in 0..<40 {
                            group.addTask {
                                let bytes = Atomic(0)
                                _ = try await client.perform(request) { piece in
                                    guard case .bytes(let piece) = piece else { return }
                                    let offset = bytes.wrappingAdd(piece.count, ordering: .relaxed).oldValue
                                    guard piece[0] == 97 + UInt8(offset >> 20) else { throw Failure("mixed up") }
                                    if offset % 7 == 0 { await Task.yield() }
                                }
                                return bytes.load(ordering: .relaxed)
                            }
                        }
                        return try await group.reduce(into: []) { $0.append($1) }
                    }
                    #expect(lengths == Array(repeating: 2 << 20, count: 40))
                }
            }
        }

        @Test("ends when the client is closed, with the receiver at work")
        func closed() async throws {
            try await TestServer.with { server async throws in
                let client = CurlMulti()
                let error = await #expect(throws: CurlError.self) {
                    try await client.perform(flow(server, mib: 512)) { piece in
                        if case .bytes = piece { await client.close() }
                    }
                }
                #expect(error?.kind == .closed)
            }
        }
    }
}

private func flow(_ server: TestServer, mib: Int) -> CurlRequest {
    CurlRequest(url: server.url("/flow?mib=\(mib)"), timeout: .seconds(60), maxResponseBytes: mib << 20)
}

/// Keeps what it is handed.
private final class Taker: Sendable {
    private let pieces = Notes<CurlPiece>()

    func take(_ piece: CurlPiece) { pieces.add(piece) }

    var heads: [CurlHead] {
        pieces.all.compactMap { if case .head(let head) = $0 { head } else { nil } }
    }
    var body: [UInt8] {
        pieces.all.flatMap { if case .bytes(let bytes) = $0 { bytes } else { [UInt8]() } }
    }
}

extension TestServer {
    /// Waits until /flow waits for its client, for many looks on end, or has written all; says what it has written.
    fileprivate func flowStopped(total: Int) async throws -> Int {
        var (looks, flowed) = (0, 0)
        try await TestPatience.eventually("the flow stops") {
            let stats = try await self.stats()
            looks = stats.isBlocked && stats.flowed == flowed ? looks + 1 : 0
            flowed = stats.flowed
            return looks == 30 || flowed >= total
        }
        return flowed
    }
}

/// What of this process is in memory now.
private func residentBytes() -> Int {
    // Without /proc the test that looks at it fails, as nothing grows then and nothing is proved.
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? .max
    return pages.multipliedReportingOverflow(by: 4096).partialValue
}

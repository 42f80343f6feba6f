import Foundation
import Glibc
import Synchronization

@testable import DevTools

/// The other end of a connection: answers as it is told to.
final class FakeBrowser: Sendable {
    struct Command: Decodable, Sendable {
        var id: Int
        var method: String
        var sessionId: String?
    }

    private struct State {
        var commands: [Command] = []
        var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let socket: Int32
    private let state = Mutex(State())
    private let answer: @Sendable (Command) -> [String]

    /// Runs `body` with a connection to a browser that says `answer` to each command; both end with it.
    static func with<Value>(
        limits: DevToolsLimits = DevToolsLimits(commandTimeout: .seconds(60)),
        _ answer: @escaping @Sendable (Command) -> [String],
        isolation: isolated (any Actor)? = #isolation,
        _ body: (FakeBrowser, DevToolsConnection) async throws -> Value
    ) async throws -> Value {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw POSIXError(.EMFILE)
        }
        let connection = try DevToolsConnection(adopting: ends[0], limits: limits)
        let browser = FakeBrowser(ends[1], answer)
        Thread.detachNewThread { browser.serve() }
        defer {
            connection.close()
            browser.hangUp()
        }
        return try await body(browser, connection)
    }

    private init(_ socket: Int32, _ answer: @escaping @Sendable (Command) -> [String]) {
        self.socket = socket
        self.answer = answer
    }

    deinit { close(socket) }

    var commands: [Command] { state.withLock { $0.commands } }

    /// Returns once so many commands have come.
    func received(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.commands.count >= count { return true }
                state.waiters.append((count, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    /// Says something, as it is and then NUL.
    func say(_ text: String) { send(Array(text.utf8) + [0]) }

    func send(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    func hangUp() { shutdown(socket, Int32(SHUT_RDWR)) }

    private func serve() {
        var received: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(socket, &piece, piece.count, 0)
            guard count > 0 else { return }
            received += piece[..<count]
            while let end = received.firstIndex(of: 0) {
                guard let command = try? JSONDecoder().decode(Command.self, from: Data(received[..<end])) else {
                    return
                }
                // `try?`: a test that waits for the answer fails.
                received.removeFirst(end + 1)
                let due = state.withLock { state in
                    state.commands.append(command)
                    let due = state.waiters.filter { $0.count <= state.commands.count }
                    state.waiters.removeAll { $0.count <= state.commands.count }
                    return due
                }
                for text in answer(command) { say(text) }
                for waiter in due { waiter.continuation.resume() }
            }
        }
    }
}

/// The error that something throws; nil when it throws none.
func failure<Value>(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
) async -> DevToolsError.Reason? {
    do { _ = try await body() } catch let error as DevToolsError { return error.reason } catch { return nil }
    return nil
}

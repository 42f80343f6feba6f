import AddressPolicy
import Dispatch
import Glibc
import Synchronization
import SystemThreads

/// Looks up names as every program of the machine does (`getaddrinfo`: hosts file, name servers), on a few threads, since that
/// blocks.
final class NameThreads: Sendable {
    private struct Question: Sendable {
        let host: String
        let answer: @Sendable ([IPAddress]) -> Void
    }

    private final class Shared: Sendable {
        struct State {
            var questions: [Question] = []
            var isClosed = false
        }
        let state = Mutex(State())
        /// One count for each question, and one for each thread at the end.
        let signal = DispatchSemaphore(value: 0)
    }

    private let shared = Shared()
    private let threads: Int
    private let waitingMax: Int

    /// - Parameter lookUp: the addresses of a name, in the order in which they are to be tried; may block.
    init(
        threads: Int, waitingMax: Int, lookUp: @escaping @Sendable (String) -> [IPAddress] = NameThreads.addresses
    ) {
        self.threads = threads
        self.waitingMax = waitingMax
        for _ in 0..<threads { startThread(named: "egress-names") { [shared] in Self.serve(shared, lookUp) } }
    }

    deinit { close() }

    /// Calls `answer` on one of the threads, with no address when there is none. False when too many questions wait.
    func resolve(_ host: String, _ answer: @escaping @Sendable ([IPAddress]) -> Void) -> Bool {
        let isTaken = shared.state.withLock { state in
            guard !state.isClosed, state.questions.count < waitingMax else { return false }
            state.questions.append(Question(host: host, answer: answer))
            return true
        }
        if isTaken { shared.signal.signal() }
        return isTaken
    }

    /// The threads end once they have answered what they are at.
    func close() {
        let isFirst = shared.state.withLock { state in
            defer {
                state.isClosed = true
                state.questions = []
            }
            return !state.isClosed
        }
        if isFirst { for _ in 0..<threads { shared.signal.signal() } }
    }

    private static func serve(_ shared: Shared, _ lookUp: (String) -> [IPAddress]) {
        while true {
            shared.signal.wait()
            let (question, isClosed) = shared.state.withLock { state in
                (state.questions.isEmpty ? nil : state.questions.removeFirst(), state.isClosed)
            }
            if let question { question.answer(lookUp(question.host)) } else if isClosed { return }
        }
    }

    @Sendable static func addresses(of host: String) -> [IPAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_family = AF_UNSPEC
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [IPAddress] = []
        var entry = list
        while let info = entry?.pointee {
            let raw = UnsafeRawPointer(info.ai_addr)
            if let raw, let address = address(info.ai_family, raw), !addresses.contains(address) {
                addresses.append(address)
            }
            entry = info.ai_next
        }
        return addresses
    }

    private static func address(_ family: Int32, _ raw: UnsafeRawPointer) -> IPAddress? {
        switch family {
        case AF_INET:
            withUnsafeBytes(of: raw.load(as: sockaddr_in.self).sin_addr) { IPAddress(bytes: Array($0)) }
        case AF_INET6:
            withUnsafeBytes(of: raw.load(as: sockaddr_in6.self).sin6_addr) { IPAddress(bytes: Array($0)) }
        default: nil
        }
    }
}

/// A proxy without its threads would let nothing through and say nothing.
func startThread(named name: String, _ body: @escaping @Sendable () -> Void) {
    do { try SystemThread.start(name, body) } catch { preconditionFailure("for connections \(error)") }
}

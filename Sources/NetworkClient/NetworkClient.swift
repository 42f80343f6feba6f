/// # NetworkClient
///
/// Names, connections and certificates, asked for without blocking a thread. It knows no jobs.
///
/// ```
///  Resolver.resolve ──▶ DNSCache (pure: TTLs, LRU) ── known ──▶ answer and the time it still holds
///        │ unknown
///        ├─ asked for already ──▶ wait for that answer
///        └─ DNSExchange ──▶ UDP, a fresh socket and id for each try ── DNSReply judges what comes ──▶ answer
///                             └─ truncated, or the case of the name is lost ──▶ TCP
///
///  Prober.probe ──▶ connect ──▶ TLSHandshake ──▶ PeerCertificate
///
///  all of them ──▶ Readiness (one thread, epoll): resumes who waits for a socket, or tells that the time is up
/// ```
///
/// Why an own DNS client: a caller is to learn how long an answer holds, and `getaddrinfo` does not say.
///
/// The wire format is read by pure code, since every byte of it comes from strangers: see ``DNSName`` and `DNSReader`.
public enum NetworkClient {}

/// Why there is no answer or no connection.
public struct NetworkError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Kind: Sendable, Hashable {
        /// A name that could never be asked for.
        case badName
        /// The time was up.
        case timeout
        /// No name server gave a usable answer.
        case noAnswer
        /// Nobody listens there, or the way is barred.
        case unreachable
        /// The other side spoke no TLS, or none that we speak.
        case handshake
        /// As many run as may, and the wait for a place took too long.
        case overloaded
        /// The task was cancelled.
        case cancelled
        /// The client was closed before or during the call.
        case closed
        /// The system refused a socket, a thread or a file.
        case system
    }

    public var kind: Kind
    /// For a person; names the other side at most.
    public var message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }
}

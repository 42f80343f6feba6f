/// # CurlClient
///
/// HTTP/1.1 for handlers that call other people's services: libcurl's multi interface behind `async`/`await`. It knows no
/// jobs and no retries. It answers one question, "what did that server say to this request", within a time, a size and
/// a set of rules that the caller states and the other side cannot stretch.
///
/// ```
///  tasks                                 one thread per CurlMulti, owner of every curl handle
///  ─────                                 ────────────────────────────────────────────────────
///  perform(request)
///    check   method, headers, URL
///    ask ──▶ Inbox (Mutex) ──eventfd──▶  take the inbox, one wakeup however many asked
///                                        Admission   FIFO per host, round robin over hosts, bounded in all
///                                        Easy        a pooled handle is set up for one hop
///                                        libcurl ◀──▶ epoll   sockets and curl's timer
///                                          open socket: the guard sees the resolved address
///                                          header, write: bytes counted after decoding
///                                        Redirect    status 3xx: next hop checked like the first, back to Admission
///    ◀── continuation resumed ─────────  result, straight from the thread
///  perform(request, receiving:)
///    ◀── BodyStream ──────────────────  head and body as they come in, within a window
///        receiver behind ────────────▶  the transfer pauses; a letter in the Inbox when it has caught up
///
///  task cancelled ──▶ Inbox ──eventfd──▶  transfer removed, its connection closed
///  request.timeout ────────────────────▶  DeadlineHeap: covers waiting, resolving, every hop
///  close() ────────────────────────────▶  all in flight end with .closed; thread joined
/// ```
///
/// Why a thread and epoll: libcurl's handles belong to one thread, and `curl_multi_poll` looks at every transfer on every
/// turn, which is most of the work when thousands of transfers mostly wait. With the socket interface a turn costs only what
/// has become ready.
///
/// What the caller can lean on:
/// - only `http` and `https`; credentials in a URL only when asked for; no proxy, `.netrc` or cookie jar from the environment;
/// - names are resolved off this thread (libcurl's threaded resolver), and the guard sees the address that will be connected
///   to, not the name, so a name that resolves to a private address is caught, on every hop;
/// - a request is on the wire once. The exception is a pooled connection which turns out to be dead before a byte of the
///   answer came: libcurl sends again on a fresh one, but only if ``CurlRequest/isRepeatable``;
/// - errors say what happened without URL paths, queries, header values or bodies, since any of them may hold secrets.
///
/// Start with ``CurlMulti/perform(_:)``, ``CurlMulti/perform(_:receiving:)``, ``CurlRequest`` and ``CurlError``.
public enum CurlClient {
    /// The version of libcurl that runs, for example `7.88.1`: not the one this was built against.
    public static var libraryVersion: String { CurlLibrary.version }
}

internal import AddressPolicy
internal import CCurl
internal import Glibc

/// One pooled libcurl handle with what its callbacks write to. Lives on the multi's thread alone.
///
/// `configure` sets it up for a hop, `clear` makes it as if unused. In between libcurl holds a pointer to it, so the transfer
/// that runs on it keeps it alive.
final class Easy {
    struct Settings {
        var userAgent: String
        var maxHeaderBytes: Int
        var guardian: (@Sendable (CurlAddress) -> Bool)?
        var idleConnectionSeconds: Int
    }

    private enum SocketFailure {
        case refused(CurlAddress)
        case system(errno: Int32)
    }

    let handle: EasyHandle
    private let settings: Settings
    private(set) var transfer: UInt64 = 0
    private(set) var sink = ResponseSink(limits: .init(bodyBytes: 0, headerBytes: 0, decodes: false))
    /// Filled by callbacks, emptied by the engine.
    private let news: TurnNews
    private let errorText: UnsafeMutablePointer<CChar>
    private var headerList: UnsafeMutablePointer<curl_slist>?
    /// What is sent by callback, see `setBody`.
    private var upload: [UInt8] = []
    private var uploaded = 0
    private var opened = 0
    private var socketFailure: SocketFailure?
    private var origin = ""
    private var host = ""
    private var connectTo: UnsafeMutablePointer<curl_slist>?
    /// Whether a receiver waits for what comes in; then at most so many bytes are taken before these have been handed over.
    private var bytesPerHandOver: Int?
    /// Whether libcurl was told to keep back what it had for us.
    private(set) var isHeldUp = false
    private var watchesIdleness = false
    /// When something came in last; kept only for a request with an idle timeout.
    private(set) var receivedAt: Nanoseconds = 0

    init(settings: Settings, news: TurnNews) throws(CurlError) {
        handle = try EasyHandle()
        self.settings = settings
        self.news = news
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    }

    deinit {
        curl_slist_free_all(headerList)
        curl_slist_free_all(connectTo)
        errorText.deallocate()
    }

    /// Sets every option for one hop. A handle that could not be set up must be cleared before its next use.
    func configure(
        _ hop: Hop, of request: CurlRequest, transfer: UInt64, connectTimeout: Nanoseconds, isStreamed: Bool
    ) throws(CurlError) {
        self.transfer = transfer
        bytesPerHandOver = isStreamed ? min(request.receiveWindow, Self.bytesPerHandOverMax) : nil
        watchesIdleness = request.idleTimeout != nil
        origin = hop.url.origin
        host = hop.url.host
        sink = ResponseSink(
            limits: .init(
                bodyBytes: request.maxResponseBytes, headerBytes: settings.maxHeaderBytes,
                decodes: request.acceptEncoding, isStreamed: isStreamed))
        let me = Unmanaged.passUnretained(self).toOpaque()
        try handle.set(CURLOPT_PRIVATE, pointer: me)
        try handle.set(CURLOPT_ERRORBUFFER, pointer: errorText)
        try setRules(hop, request)
        try setCallbacks(me)
        try handle.set(CURLOPT_URL, hop.url.text)
        try handle.set(CURLOPT_USERAGENT, settings.userAgent)
        // At least 1 ms: 0 would mean libcurl's own default of five minutes.
        try handle.set(CURLOPT_CONNECTTIMEOUT_MS, max(1, Int(connectTimeout / 1_000_000)))
        if request.acceptEncoding { try handle.set(CURLOPT_ACCEPT_ENCODING, "gzip, deflate") }
        // Gzip packs a thousandfold at most, and libcurl has to keep what one read decodes to and we do not take.
        if isStreamed, request.acceptEncoding { try handle.set(CURLOPT_BUFFERSIZE, 4 << 10) }
        if let pin = hop.pin { try setConnectTo(pin.origin, pin.address) }
        if hop.url.isHTTPS { try setTLS(request.tls) }
        try setMethod(hop, me)
        try setHeaders(hop)
    }

    private func setRules(_ hop: Hop, _ request: CurlRequest) throws(CurlError) {
        // Signals belong to the process; the thread has them all blocked.
        try handle.set(CURLOPT_NOSIGNAL, 1)
        try handle.set(CURLOPT_PROTOCOLS_STR, hop.url.isHTTPS ? "https" : "http")
        try handle.set(CURLOPT_FOLLOWLOCATION, 0)
        if !request.allowCredentialsInURL { try handle.set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1) }
        // Empty is not unset: it keeps http_proxy and its kin in the environment from being read.
        try handle.set(CURLOPT_PROXY, "")
        // HTTP/2 of 7.88 can end a transfer early and call it whole.
        try handle.set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        // A removed transfer must not wait for its resolver thread, which no one can hurry.
        try handle.set(CURLOPT_QUICK_EXIT, 1)
        try handle.set(CURLOPT_TCP_KEEPALIVE, 1)
        try handle.set(CURLOPT_MAXAGE_CONN, settings.idleConnectionSeconds)
    }

    private func setConnectTo(_ origin: String, _ address: IPAddress) throws(CurlError) {
        let host = origin.drop { $0 != "/" }.drop { $0 == "/" }
        connectTo = curl_slist_append(nil, "\(host):\(address.isIPv6 ? "[\(address)]" : "\(address)"):")
        guard connectTo != nil else { throw CurlError(.interrupted, "out of memory adding an address") }
        try handle.check(CURLOPT_CONNECT_TO, ccurl_easy_set_list(handle.raw, CURLOPT_CONNECT_TO, connectTo))
    }

    private func setTLS(_ tls: CurlTLSOptions) throws(CurlError) {
        try handle.set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        try handle.set(CURLOPT_SSL_VERIFYPEER, tls.verify ? 1 : 0)
        try handle.set(CURLOPT_SSL_VERIFYHOST, tls.verify ? 2 : 0)
        guard let file = tls.caFile else { return }
        try handle.set(CURLOPT_CAINFO, file)
        // Else the system's directory of authorities would stay trusted next to the file.
        try handle.set(CURLOPT_CAPATH, nil)
    }

    private func setMethod(_ hop: Hop, _ me: UnsafeMutableRawPointer) throws(CurlError) {
        let hasBody = !(hop.body ?? []).isEmpty || hop.method == "POST" || hop.method == "PUT" || hop.method == "PATCH"
        if hop.method == "HEAD" {
            try handle.set(CURLOPT_NOBODY, 1)
        } else if hasBody {
            try setBody(hop, me)
            if hop.method != "POST" { try handle.set(CURLOPT_CUSTOMREQUEST, hop.method) }
        } else {
            try handle.set(CURLOPT_HTTPGET, 1)
            if hop.method != "GET" { try handle.set(CURLOPT_CUSTOMREQUEST, hop.method) }
        }
    }

    /// libcurl sends a request again by itself when a pooled connection dies before the first byte of the answer. For a
    /// request that must not go out twice the body is given by callbacks of which the rewind fails, and with no body to
    /// rewind no pooled connection is used.
    private func setBody(_ hop: Hop, _ me: UnsafeMutableRawPointer) throws(CurlError) {
        let body = hop.body ?? []
        try handle.set(CURLOPT_POST, 1)
        try handle.set(CURLOPT_POSTFIELDSIZE_LARGE, offset: body.count)
        if hop.isRepeatable {
            try body.withUnsafeBufferPointer { bytes throws(CurlError) in
                // Copied by libcurl: headers and a small body then leave in one packet. The pointer of an empty array may be
                // nil, which would mean "ask the callback".
                let start = bytes.baseAddress.map { UnsafeRawPointer($0) } ?? UnsafeRawPointer(errorText)
                try handle.set(CURLOPT_COPYPOSTFIELDS, pointer: UnsafeMutableRawPointer(mutating: start))
            }
        } else if body.isEmpty {
            try handle.set(CURLOPT_COPYPOSTFIELDS, "")
            try handle.set(CURLOPT_FRESH_CONNECT, 1)
        } else {
            upload = body
            uploaded = 0
            try handle.set(CURLOPT_READDATA, pointer: me)
            try handle.check(CURLOPT_READFUNCTION, ccurl_easy_set_read(handle.raw, easyRead))
            try handle.set(CURLOPT_SEEKDATA, pointer: me)
            try handle.check(CURLOPT_SEEKFUNCTION, ccurl_easy_set_seek(handle.raw, easyRefusesRewind))
        }
    }

    private func setHeaders(_ hop: Hop) throws(CurlError) {
        for header in hop.headers { try append(HeaderRules.line(header.name, header.value)) }
        // Waiting for 100 Continue costs a round trip, and a second with servers that never send it.
        try append("Expect:")
        if !hop.headers.contains(where: { equalIgnoringCase($0.name, "Content-Type") }) {
            // libcurl would call every body a form.
            try append("Content-Type:")
        }
        try handle.check(CURLOPT_HTTPHEADER, ccurl_easy_set_list(handle.raw, CURLOPT_HTTPHEADER, headerList))
    }

    private func append(_ line: String) throws(CurlError) {
        guard let longer = curl_slist_append(headerList, line) else {
            throw CurlError(.interrupted, "out of memory adding headers")
        }
        headerList = longer
    }

    private func setCallbacks(_ me: UnsafeMutableRawPointer) throws(CurlError) {
        try handle.set(CURLOPT_WRITEDATA, pointer: me)
        try handle.check(CURLOPT_WRITEFUNCTION, ccurl_easy_set_write(handle.raw, CURLOPT_WRITEFUNCTION, easyWrite))
        try handle.set(CURLOPT_HEADERDATA, pointer: me)
        try handle.check(CURLOPT_HEADERFUNCTION, ccurl_easy_set_write(handle.raw, CURLOPT_HEADERFUNCTION, easyHeader))
        try handle.set(CURLOPT_OPENSOCKETDATA, pointer: me)
        try handle.check(CURLOPT_OPENSOCKETFUNCTION, ccurl_easy_set_open_socket(handle.raw, easyOpenSocket))
        try handle.set(CURLOPT_PREREQDATA, pointer: me)
        try handle.check(CURLOPT_PREREQFUNCTION, ccurl_easy_set_prerequest(handle.raw, easyHasConnection))
    }

    /// Forgets the hop. Must not be attached to a multi.
    func clear() {
        curl_easy_reset(handle.raw)
        curl_slist_free_all(headerList)
        headerList = nil
        curl_slist_free_all(connectTo)
        connectTo = nil
        bytesPerHandOver = nil
        isHeldUp = false
        watchesIdleness = false
        receivedAt = 0
        errorText[0] = 0
        upload = []
        uploaded = 0
        opened = 0
        socketFailure = nil
        transfer = 0
        sink = ResponseSink(limits: .init(bodyBytes: 0, headerBytes: 0, decodes: false))
    }

    /// Sockets opened for this hop, sizes of what went over the wire.
    var traffic: (opened: Int, sent: Int, received: Int) {
        (
            opened, handle.long(CURLINFO_REQUEST_SIZE) + handle.offset(CURLINFO_SIZE_UPLOAD_T),
            handle.long(CURLINFO_HEADER_SIZE) + handle.offset(CURLINFO_SIZE_DOWNLOAD_T)
        )
    }

    /// Whether the request may have left this machine.
    var mayHaveBeenSent: Bool {
        handle.microseconds(CURLINFO_PRETRANSFER_TIME_T) > .zero || handle.long(CURLINFO_REQUEST_SIZE) > 0
    }

    func takeBody() -> [UInt8] { sink.takeBody() }

    /// libcurl reads up to a hundred times before it returns, so a hand-over a turn would not bound what gathers.
    private static let bytesPerHandOverMax = 64 << 10

    /// Reads nothing more for now.
    ///
    /// - Returns: false if the transfer has no connection any more, as when it has just ended.
    func pause() -> Bool { isHeldUp || curl_easy_pause(handle.raw, CURLPAUSE_RECV) == CURLE_OK }

    func goOn() {
        isHeldUp = false
        // Fails for a transfer that has just ended, which goes nowhere in any case.
        _ = curl_easy_pause(handle.raw, CURLPAUSE_CONT)
    }

    /// `nil` when the hop ended well.
    func error(_ code: CURLcode) -> CurlError? {
        guard code != CURLE_OK else { return nil }
        if var refusal = sink.refusal {
            refusal.message = "\(origin): \(refusal.message)"
            return refusal
        }
        if code == CURLE_COULDNT_CONNECT, opened == 0, let socketFailure {
            switch socketFailure {
            case .refused(let address):
                return CurlError(
                    .addressRefused,
                    "\(origin): the name stands for \(address.ip), to which this client may not connect")
            case .system(let number):
                return CurlError(.connect, "\(origin): no socket could be opened: \(String(cString: strerror(number)))")
            }
        }
        return CurlLibrary.error(
            code, detail: String(cString: errorText), origin: origin, mayHaveBeenSent: mayHaveBeenSent)
    }

    /// What the hop was doing, for the message of a timeout.
    var progress: String {
        if sink.status > 0 { return "while the answer came in (\(sink.bodyBytes) bytes of body so far)" }
        if mayHaveBeenSent { return "while waiting for the answer" }
        if handle.microseconds(CURLINFO_CONNECT_TIME_T) > .zero { return "during the TLS handshake" }
        return handle.microseconds(CURLINFO_NAMELOOKUP_TIME_T) > .zero
            ? "while connecting" : "while the name was looked up"
    }

    // MARK: What libcurl calls

    fileprivate func take(header line: UnsafeRawBufferPointer) -> Bool {
        noteReceived()
        return sink.takeHeader(line)
    }

    /// What libcurl's write callback is to return.
    fileprivate func take(body bytes: UnsafeRawBufferPointer) -> Int {
        noteReceived()
        if let bytesPerHandOver, sink.body.count >= bytesPerHandOver {
            isHeldUp = true
            return Int(CURL_WRITEFUNC_PAUSE)
        }
        return sink.takeBody(bytes) ? bytes.count : 0
    }

    private func noteReceived() {
        if watchesIdleness { receivedAt = monotonicNow() }
        if bytesPerHandOver != nil { news.received.insert(transfer) }
    }

    fileprivate func give(_ room: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(room.count, upload.count - uploaded)
        upload.withUnsafeBytes {
            room.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[uploaded..<(uploaded + count)]))
        }
        uploaded += count
        return count
    }

    fileprivate func noteLookup() { news.lookedUp.append(transfer) }

    /// The one place where a connection begins, after the name has become an address.
    fileprivate func openSocket(_ target: UnsafePointer<curl_sockaddr>) -> curl_socket_t {
        noteLookup()
        let address = ccurl_socket_address(target).flatMap { IPAddress.read($0) }.map {
            CurlAddress($0.ip, port: $0.port, urlHost: host)
        }
        if let guardian = settings.guardian {
            guard let address, guardian(address) else {
                if let address { socketFailure = .refused(address) }
                return CURL_SOCKET_BAD
            }
        }
        // libcurl's own socket would be handed down to every child process.
        let descriptor = socket(
            target.pointee.family, target.pointee.socktype | Int32(SOCK_CLOEXEC.rawValue), target.pointee.protocol)
        if descriptor < 0 { socketFailure = .system(errno: errno) } else { opened += 1 }
        return descriptor
    }
}

/// What libcurl's callbacks tell during one turn.
final class TurnNews {
    /// Transfers whose host turned out to have an address.
    var lookedUp: [UInt64] = []
    /// Transfers of which a receiver may get more.
    var received: Set<UInt64> = []
}

// libcurl is C: it gets functions without context and a pointer, which is the Easy that the engine keeps alive meanwhile.

private func easy(_ user: UnsafeMutableRawPointer) -> Easy { Unmanaged<Easy>.fromOpaque(user).takeUnretainedValue() }

private func easyWrite(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ user: UnsafeMutableRawPointer?
) -> Int {
    guard let user else { return 0 }
    return easy(user).take(body: UnsafeRawBufferPointer(start: data, count: size * count))
}

private func easyHeader(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ user: UnsafeMutableRawPointer?
) -> Int {
    guard let user else { return 0 }
    return easy(user).take(header: UnsafeRawBufferPointer(start: data, count: size * count)) ? size * count : 0
}

private func easyRead(_ room: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ user: UnsafeMutableRawPointer?)
    -> Int
{
    guard let user else { return Int(CURL_READFUNC_ABORT) }
    return easy(user).give(UnsafeMutableRawBufferPointer(start: room, count: size * count))
}

private func easyRefusesRewind(_ user: UnsafeMutableRawPointer?, _ offset: curl_off_t, _ origin: Int32) -> Int32 {
    CURL_SEEKFUNC_FAIL
}

private func easyOpenSocket(
    _ user: UnsafeMutableRawPointer?, _ purpose: curlsocktype, _ target: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
    guard let user, let target else { return CURL_SOCKET_BAD }
    return easy(user).openSocket(target)
}

/// Just before the request is sent. On a pooled connection no socket was opened, and nothing needed looking up.
private func easyHasConnection(
    _ user: UnsafeMutableRawPointer?, _ address: UnsafeMutablePointer<CChar>?,
    _ localAddress: UnsafeMutablePointer<CChar>?, _ port: Int32, _ localPort: Int32
) -> Int32 {
    if let user { easy(user).noteLookup() }
    return CURL_PREREQFUNC_OK
}

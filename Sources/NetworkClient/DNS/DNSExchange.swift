/// Asks name servers until one answers: each try has a socket, an id and a time limit of its own.
struct DNSExchange: Sendable {
    let servers: [Endpoint]
    let tryTimeout: Duration
    let tries: Int
    let readiness: Readiness
    let observe: @Sendable (ResolverEvent) -> Void

    /// Datagrams that are no answer to the query, and that are passed over before the try is given up: whoever floods a socket
    /// must not keep its task busy.
    static let ignoredMax = 64
    /// The greatest length that the two bytes before a message over TCP can tell.
    static let streamBytesMax = 65_535

    /// - Returns: `answer` or `alias`.
    func ask(_ question: DNSQuestion) async throws(NetworkError) -> DNSReply {
        var flaws: [String] = []
        var offersSize = true
        var turn = 0
        for _ in 0..<tries {
            let server = servers[turn % servers.count]
            let reply: DNSReply
            do {
                reply = try await ask(question, server, offersSize: offersSize)
            } catch {
                if error.kind == .cancelled || error.kind == .closed { throw error }
                flaws.append(error.message)
                turn += 1
                continue
            }
            switch reply {
            case .answer, .alias: return reply
            case .offerRefused where offersSize:
                // The same once more, in plain words.
                offersSize = false
            case .offerRefused:
                flaws.append("\(server): it does not understand the question")
                turn += 1
            case .refused(let flaw):
                flaws.append("\(server): \(flaw)")
                turn += 1
            // The two that are no end were dealt with by the call.
            case .ignored, .caseLost, .truncated:
                flaws.append("\(server): no usable answer")
                turn += 1
            }
        }
        throw NetworkError(.noAnswer, "no name server answered for \(question): \(flaws.joined(separator: "; "))")
    }

    private func ask(_ question: DNSQuestion, _ server: Endpoint, offersSize: Bool) async throws(NetworkError)
        -> DNSReply
    {
        let begin = ContinuousClock.now
        do throws(NetworkError) {
            var reply = try await byDatagram(question, server, offersSize: offersSize)
            if reply == .truncated || reply == .caseLost {
                reply = try await byStream(question, server, offersSize: offersSize)
            }
            observe(.asked(ContinuousClock.now - begin, isAnswered: reply.isFinal))
            return reply
        } catch {
            observe(.asked(ContinuousClock.now - begin, isAnswered: false))
            throw error
        }
    }

    private func byDatagram(_ question: DNSQuestion, _ server: Endpoint, offersSize: Bool)
        async throws(NetworkError) -> DNSReply
    {
        // The system's own randomness, which an onlooker of ids and ports cannot foretell.
        var random = SystemRandomNumberGenerator()
        let query = DNSQuery(question, offersSize: offersSize, randomisesCase: true, using: &random)
        let deadline = ContinuousClock.now + tryTimeout
        let socket = try Socket(.datagrams, to: server)
        _ = try socket.send(query.bytes[...])
        var ignored = 0
        while ignored <= Self.ignoredMax {
            guard try await readiness.wait(socket, for: .read, until: deadline) != nil else {
                throw NetworkError(.timeout, "\(server): no answer within \(tryTimeout)")
            }
            guard case .bytes(let bytes) = try socket.receive(atMost: DNSQuery.datagramBytesMax) else {
                // Longer than was offered, so not what was asked for.
                ignored += 1
                continue
            }
            let reply = DNSReply.judge(bytes, query)
            if case .ignored = reply {
                ignored += 1
                continue
            }
            return reply
        }
        throw NetworkError(.noAnswer, "\(server): more than \(Self.ignoredMax) datagrams that answer nothing")
    }

    private func byStream(_ question: DNSQuestion, _ server: Endpoint, offersSize: Bool)
        async throws(NetworkError) -> DNSReply
    {
        observe(.askedByStream)
        var random = SystemRandomNumberGenerator()
        let query = DNSQuery(question, offersSize: offersSize, randomisesCase: false, using: &random)
        let deadline = ContinuousClock.now + tryTimeout
        let stream = SocketStream(try Socket(.stream, to: server), readiness, until: deadline)
        _ = try await stream.connected()
        let length = UInt16(query.bytes.count)
        try await stream.send([UInt8(length >> 8), UInt8(length & 0xFF)] + query.bytes)
        let head = try await stream.receive(exactly: 2)
        let bytes = try await stream.receive(exactly: Int(head[0]) << 8 | Int(head[1]))
        return DNSReply.judge(bytes, query)
    }
}

extension DNSReply {
    var isFinal: Bool {
        switch self {
        case .answer, .alias: true
        case .ignored, .caseLost, .truncated, .offerRefused, .refused: false
        }
    }
}

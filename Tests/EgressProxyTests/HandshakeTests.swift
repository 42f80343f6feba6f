import Testing

@testable import EgressProxy

@Suite("What a client says before its connection")
struct HandshakeTests {
    private static let greeting: [UInt8] = [5, 1, 0]

    /// After the greeting.
    private func greeted() -> SocksHandshake {
        var handshake = SocksHandshake()
        #expect(handshake.take(Self.greeting) == .answer([5, 0]))
        return handshake
    }

    private func connect(_ address: [UInt8], port: [UInt8] = [0x1f, 0x90]) -> SocksHandshake.Step {
        var handshake = greeted()
        return handshake.take([5, 1, 0] + address + port)
    }

    @Test("It is read however it is cut, and what follows it is kept")
    func pieces() {
        let name = Array("page.test".utf8)
        let bytes = Self.greeting + [5, 1, 0, 3, UInt8(name.count)] + name + [0, 80] + Array("early".utf8)
        var handshake = SocksHandshake()
        var steps: [SocksHandshake.Step] = []
        for byte in bytes.dropLast(5) { steps.append(handshake.take([byte])) }
        #expect(steps.filter { $0 != .wait } == [.answer([5, 0]), .connect(host: "page.test", port: 80)])
        var whole = greeted()
        #expect(whole.take(bytes.dropFirst(3)) == .connect(host: "page.test", port: 80))
        #expect(whole.rest == Array("early".utf8))
    }

    @Test("Addresses of both kinds are read")
    func addresses() {
        #expect(connect([1, 192, 0, 2, 1]) == .connect(host: "192.0.2.1", port: 8_080))
        let six: [UInt8] = [0x20, 1, 0xd, 0xb8] + Array(repeating: 0, count: 11) + [1]
        #expect(connect([4] + six) == .connect(host: "2001:db8::1", port: 8_080))
        #expect(connect([3, 5] + Array("[::1]".utf8)) == .connect(host: "::1", port: 8_080))
    }

    @Test(
        "Names that C would read otherwise, no name and no port are refused",
        arguments: [[3, 4, 0x61, 0, 0x62, 0x63], [3, 3, 0x61, 0x20, 0x62], [3, 2, 0xc3, 0xa4], [3, 0], [9, 1, 2]]
            as [[UInt8]])
    func oddNames(_ address: [UInt8]) {
        #expect(connect(address) == .refuse(SocksHandshake.Reply.addressUnknown.bytes))
    }

    @Test("Port 0 leads nowhere")
    func noPort() {
        #expect(connect([1, 192, 0, 2, 1], port: [0, 0]) == .refuse(SocksHandshake.Reply.addressUnknown.bytes))
    }

    @Test("Other protocols, other commands and passwords are refused")
    func others() {
        var http = SocksHandshake()
        #expect(http.take(Array("GET / HTTP/1.1\r\n".utf8)) == .refuse([]))
        var four = SocksHandshake()
        #expect(four.take([4, 1, 0, 80]) == .refuse([]))
        var password = SocksHandshake()
        #expect(password.take([5, 1, 2]) == .refuse([5, 0xff]))
        for command: UInt8 in [2, 3] {
            var handshake = greeted()
            #expect(
                handshake.take([5, command, 0, 1, 0, 0, 0, 0, 0, 1])
                    == .refuse(SocksHandshake.Reply.commandUnknown.bytes))
        }
    }
}

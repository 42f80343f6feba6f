import AMQPClient
import Testing

@Suite struct ChannelMachineTests {
    private let start = ContentStart(
        origin: .delivery(tag: 7, redelivered: false), exchange: "e", routingKey: "k")

    private func receive(_ machine: inout ChannelMachine, _ frame: InboundFrame, limit: Int = 100) -> ChannelAction {
        machine.receive(frame, maxBodyBytes: limit)
    }

    private func receive(_ machine: inout ChannelMachine, body: [UInt8], limit: Int = 100) -> ChannelAction {
        body.withUnsafeBytes { machine.receive(.body($0), maxBodyBytes: limit) }
    }

    private func header(_ bytes: UInt64) -> ContentHeader {
        ContentHeader(bodyBytes: bytes, properties: AMQPProperties())
    }

    @Test func `a body is put together from all its frames`() {
        var machine = ChannelMachine.idle
        #expect(receive(&machine, .content(start)) == .none)
        #expect(receive(&machine, .header(header(5))) == .none)
        #expect(receive(&machine, body: [1, 2, 3]) == .none)
        #expect(
            receive(&machine, body: [4, 5])
                == .content(AssembledContent(start: start, header: header(5), body: [1, 2, 3, 4, 5])))
        #expect(receive(&machine, .content(start)) == .none)
    }

    @Test func `an empty body needs no frame`() {
        var machine = ChannelMachine.idle
        _ = receive(&machine, .content(start))
        #expect(
            receive(&machine, .header(header(0)))
                == .content(AssembledContent(start: start, header: header(0), body: [])))
    }

    @Test func `a body over the limit is counted but not kept`() {
        var machine = ChannelMachine.idle
        _ = receive(&machine, .content(start), limit: 4)
        _ = receive(&machine, .header(header(5)), limit: 4)
        _ = receive(&machine, body: [1, 2, 3], limit: 4)
        var flawed = header(5)
        flawed.flaws = .oversize
        #expect(
            receive(&machine, body: [4, 5], limit: 4)
                == .content(AssembledContent(start: start, header: flawed, body: [])))
    }

    @Test func `frames out of order are violations`() {
        var machine = ChannelMachine.idle
        #expect(receive(&machine, .header(header(1))).isViolation)
        #expect(receive(&machine, body: [1]).isViolation)
        _ = receive(&machine, .content(start))
        #expect(receive(&machine, .content(start)).isViolation)
        #expect(receive(&machine, .confirm(tag: 1, multiple: false, positive: true)).isViolation)
        _ = receive(&machine, .header(header(1)))
        #expect(receive(&machine, body: [1, 2]).isViolation)
    }

    @Test func `methods pass through between messages`() {
        var machine = ChannelMachine.idle
        #expect(
            receive(&machine, .confirm(tag: 3, multiple: true, positive: false))
                == .confirm(tag: 3, multiple: true, positive: false))
        #expect(receive(&machine, .cancelledByBroker(consumerTag: "t")) == .cancelledByBroker(consumerTag: "t"))
        #expect(receive(&machine, .cancelOk) == .cancelOk)
        #expect(receive(&machine, .blocked(reason: "disk")) == .blocked(reason: "disk"))
        #expect(receive(&machine, .unblocked) == .unblocked)
        #expect(receive(&machine, .other(1)) == .none)
    }

    @Test func `a closed channel ignores what is still on its way`() {
        var machine = ChannelMachine.idle
        _ = receive(&machine, .content(start))
        let closure = ChannelClosure(code: 404, reason: "NOT_FOUND", method: 0)
        #expect(receive(&machine, .channelClose(closure)) == .channelClosed(closure))
        #expect(receive(&machine, .header(header(1))) == .none)
        #expect(receive(&machine, body: [1]) == .none)
        #expect(
            receive(&machine, .connectionClose(code: 320, reason: "r")) == .connectionClosed(code: 320, reason: "r"))
    }
}

extension ChannelAction {
    fileprivate var isViolation: Bool {
        if case .violation = self { return true }
        return false
    }
}

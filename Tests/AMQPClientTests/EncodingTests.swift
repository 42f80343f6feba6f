import AMQPClient
import FleetModel
import Testing

@Suite struct EncodingTests {
    private func bytes(_ buffer: WireBuffer) -> [UInt8] { Array(buffer.unread) }

    @Test func `an acknowledgement is written as the specification says`() {
        let buffer = WireBuffer()
        MethodEncoder.acknowledge(0x0102, multiple: true, channel: 3, into: buffer)
        #expect(bytes(buffer) == [1, 0, 3, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 1, 2, 1, 0xCE])
    }

    @Test func `a heartbeat is an empty frame on channel 0`() {
        let buffer = WireBuffer()
        MethodEncoder.heartbeat(into: buffer)
        #expect(bytes(buffer) == [8, 0, 0, 0, 0, 0, 0, 0xCE])
    }

    @Test func `a body is cut into frames of at most frame max`() throws {
        let buffer = WireBuffer()
        let message = AMQPMessage(exchange: "e", routingKey: "k", body: [UInt8](repeating: 1, count: 8192 * 2))
        try MethodEncoder.publish(message, channel: 1, frameMax: 8192, into: buffer)
        var sizes: [Int] = []
        var offset = 0
        let all = bytes(buffer)
        while offset < all.count {
            let size = all[offset + 3..<offset + 7].reduce(0) { $0 << 8 | Int($1) } + 8
            #expect(all[offset + size - 1] == 0xCE)
            if all[offset] == 3 { sizes.append(size) }
            offset += size
        }
        #expect(sizes == [8192, 8192, 24])
    }

    @Test func `what does not fit is refused with a reason`() {
        func reason(_ change: (inout AMQPMessage) -> Void) -> String? {
            var message = AMQPMessage(exchange: "", routingKey: "q", body: [])
            change(&message)
            do {
                try MethodEncoder.publish(message, channel: 1, frameMax: 8192, into: WireBuffer())
                return nil
            } catch { return error.reason }
        }
        let long = String(repeating: "x", count: 256)
        #expect(reason { $0.routingKey = long }?.contains("routing key is 256 bytes") == true)
        #expect(reason { $0.properties.messageID = long }?.contains("message id") == true)
        #expect(reason { $0.properties.expiration = "soon" }?.contains("milliseconds") == true)
        #expect(
            reason { $0.properties.headers["h"] = .bytes([UInt8](repeating: 0, count: 9000)) }?.contains("8192") == true
        )
        var deep = AMQPValue.int(1)
        for _ in 0..<100 { deep = .array([deep]) }
        #expect(reason { $0.properties.headers["h"] = deep }?.contains("64 levels") == true)
        #expect(reason { _ in } == nil)
    }

    @Test func `a buffer keeps its bytes while it grows, drains and is patched`() {
        let buffer = WireBuffer()
        var expected: [UInt8] = []
        var random = SplitMix64(seed: 1)
        for round in 0..<2000 {
            let chunk = [UInt8](
                repeating: UInt8(truncatingIfNeeded: round), count: Int.random(in: 0...400, using: &random))
            buffer.append(chunk)
            expected += chunk
            let eaten = Int.random(in: 0...min(expected.count, 350), using: &random)
            buffer.consume(eaten)
            expected.removeFirst(eaten)
            #expect(buffer.count == expected.count)
        }
        #expect(bytes(buffer) == expected)
        let mark = buffer.count
        buffer.append(UInt32(0))
        buffer.patch(0x0102_0304, at: mark)
        #expect(bytes(buffer).suffix(4) == [1, 2, 3, 4])
        buffer.truncate(toCount: mark)
        #expect(bytes(buffer) == expected)
    }

    @Test func `backoff has full jitter under a ceiling that doubles up to its maximum`() {
        var schedule = BackoffSchedule(AMQPBackoff(initial: .milliseconds(100), max: .milliseconds(350)))
        #expect(schedule.next(fraction: 1) == .milliseconds(100))
        #expect(schedule.next(fraction: 0.5) == .milliseconds(100))
        #expect(schedule.next(fraction: 1) == .milliseconds(350))
        #expect(schedule.next(fraction: 0) == .zero)
        schedule.reset()
        #expect(schedule.next(fraction: 1) == .milliseconds(100))
    }
}

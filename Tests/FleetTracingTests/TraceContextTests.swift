import FleetObservability
import Testing

@Suite("Trace contexts")
struct TraceContextTests {
    @Test("What another process sent is read, and written as it was")
    func roundTrip() throws {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        let context = try #require(TraceContext(parsing: text))
        #expect(context.traceText == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(context.span == 0x00f0_67aa_0ba9_02b7)
        #expect(context.isSampled)
        #expect(context.text == text)
        #expect(TraceContext(trace: 1, span: 2, isSampled: false).text.hasSuffix("01-0000000000000002-00"))
    }

    @Test("A later version is read as far as it is known, and of the flags only the first counts")
    func later() {
        let context = TraceContext(parsing: "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02-what")
        #expect(context?.isSampled == false)
        #expect(TraceContext(parsing: "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03") != nil)
    }

    @Test(
        "What is none begins a trace anew",
        arguments: [
            "", "00", "00-1-2-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01", "ééééééééééééééééééééééééééééé",
        ])
    func flawed(_ text: String) { #expect(TraceContext(parsing: text) == nil) }
}

/// Which span of which trace: what travels between processes (W3C Trace Context, https://www.w3.org/TR/trace-context/).
package struct TraceContext: Sendable, Equatable {
    /// 128 bits, not zero.
    package let trace: UInt128
    /// Not zero.
    package let span: UInt64
    /// Whether the trace is recorded.
    package let isSampled: Bool

    package init(trace: UInt128, span: UInt64, isSampled: Bool) {
        self.trace = trace
        self.span = span
        self.isSampled = isSampled
    }

    /// - Returns: nil for what is no `traceparent`; then a trace begins anew.
    package init?(parsing text: String) {
        let bytes = Array(text.utf8)
        let dash = UInt8(ascii: "-")
        guard bytes.count >= 55, bytes[2] == dash, bytes[35] == dash, bytes[52] == dash,
            let version = Self.number(bytes[0..<2], UInt8.self), version != 0xff,
            // A later version may have more behind what this one knows.
            version == 0 ? bytes.count == 55 : bytes.count == 55 || bytes[55] == dash,
            let trace = Self.number(bytes[3..<35], UInt128.self), trace != 0,
            let span = Self.number(bytes[36..<52], UInt64.self), span != 0,
            let flags = Self.number(bytes[53..<55], UInt8.self)
        else { return nil }
        self.init(trace: trace, span: span, isSampled: flags & 1 == 1)
    }

    /// 55 characters.
    package var text: String { "00-\(traceText)-\(Self.text(span))-0\(isSampled ? 1 : 0)" }

    /// 32 hexadecimal digits, small.
    package var traceText: String { Self.text(trace) }

    /// All digits, small.
    package static func text<Number: FixedWidthInteger>(_ number: Number) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: Number.bitWidth / 4 - digits.count) + digits
    }

    private static func number<Number: FixedWidthInteger>(_ digits: ArraySlice<UInt8>, _: Number.Type) -> Number? {
        var number: Number = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number << 4 | Number(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): number = number << 4 | Number(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return number
    }
}

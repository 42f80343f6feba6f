import FoundationEssentials
import ProcessKeeper
import RootedFiles

/// What `process.run.v1` and `process.run-once.v1` yield.
public struct RunOutput: Codable, Sendable {
    /// What a program wrote: text when it is UTF-8, else Base64; or the file that it went into.
    public struct Written: Codable, Sendable {
        public let text: String?
        public let base64: String?
        /// All that was written; more than is kept when `truncated`.
        public let bytes: Int
        public let truncated: Bool
        public let file: FileReference?

        init(_ output: CapturedOutput, _ file: FileReference?) {
            self.file = file
            bytes = output.byteCount
            truncated = file == nil && output.isTruncated
            guard file == nil else {
                (text, base64) = (nil, nil)
                return
            }
            let kept = output.isTruncated ? Self.withoutCutCharacter(output.bytes) : output.bytes[...]
            let text = String(validating: kept, as: UTF8.self)
            self.text = text
            base64 = text == nil ? Data(output.bytes).base64EncodedString() : nil
        }

        /// Text that was cut somewhere may end in the middle of a character, and is text nevertheless.
        static func withoutCutCharacter(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
            let continuations = bytes.reversed().prefix(3).prefix { $0 & 0xC0 == 0x80 }.count
            guard let lead = bytes.dropLast(continuations).last, lead >= 0xC0 else { return bytes[...] }
            let length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2
            return continuations + 1 < length ? bytes.dropLast(continuations + 1) : bytes[...]
        }
    }

    public let exit: Int32
    public let stdout: Written
    public let stderr: Written
    public let durationMilliseconds: Int64
    /// Processor time of all its processes.
    public let userMilliseconds: Int64
    public let systemMilliseconds: Int64
    /// The most resident memory of its largest process.
    public let residentBytesMax: Int
    /// Processes that outlived the program and were killed.
    public let strays: Int

    enum CodingKeys: String, CodingKey {
        case exit, stdout, stderr, strays
        case durationMilliseconds = "duration_ms"
        case userMilliseconds = "user_ms"
        case systemMilliseconds = "system_ms"
        case residentBytesMax = "max_resident_bytes"
    }

    init(_ end: ProcessEnd, stdoutFile: FileReference?, stderrFile: FileReference?) {
        // Signals are failures, and do not come here.
        exit = if case .exited(let status) = end.status { status } else { -1 }
        stdout = Written(end.output, stdoutFile)
        stderr = Written(end.error, stderrFile)
        durationMilliseconds = end.duration.milliseconds
        userMilliseconds = end.userTime.milliseconds
        systemMilliseconds = end.systemTime.milliseconds
        residentBytesMax = end.residentBytesMax
        strays = end.strayCount
    }
}

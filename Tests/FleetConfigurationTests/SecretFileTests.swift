import FleetConfiguration
import Foundation
import Testing

@Suite("A secret in a file")
struct SecretFileTests {
    /// What is read from a file with this content, or why nothing is.
    private func read(_ content: [UInt8]?) throws -> Result<String, ConfigurationError> {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("gaia-secret-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        if let content { try Data(content).write(to: file) }
        return Result { () throws(ConfigurationError) in
            try FleetConfiguration.secret("amqp.password_file", in: file.path)
        }
    }

    @Test("is its content without the blanks and line ends around it")
    func content() throws {
        for text in ["p%40 ss:/", "p%40 ss:/\n", "p%40 ss:/\r\n", " \n p%40 ss:/\t\n\n"] {
            #expect(try read(Array(text.utf8)).get() == "p%40 ss:/")
        }
    }

    @Test("that is not there, holds nothing or is no text is an error that names the setting and not the content")
    func flaws() throws {
        let cases: [([UInt8]?, String)] = [
            (nil, "cannot be read"), ([], "holds nothing"), (Array(" \n".utf8), "holds nothing"),
            (Array("geheim".utf8) + [0xFF], "not UTF-8"),
        ]
        for (content, words) in cases {
            guard case .failure(let error) = try read(content) else {
                Issue.record("accepted \(String(describing: content))")
                continue
            }
            #expect(error.description.contains("amqp.password_file (GAIA_AMQP_PASSWORD_FILE): /"))
            #expect(error.description.contains(words) && !error.description.contains("geheim"))
        }
    }
}

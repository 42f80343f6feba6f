import Foundation
import Glibc

/// A process of Resources/server.py, shared by the tests of this process and ended by its end.
final class WebService: Sendable {
    let url: String
    /// Its other end is the server's standard input; the server ends when this closes.
    private let lifeline: Int32

    static let shared = Result { try WebService() }

    private init() throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "Resources/server.py"
        ).path
        var (input, output): ([Int32], [Int32]) = ([0, 0], [0, 0])
        guard pipe(&input) == 0, pipe(&output) == 0 else { throw Failure(description: "pipe: \(errno)") }
        // Any other process that held the lifeline would keep the server alive.
        for descriptor in input + output { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        defer { for descriptor in [input[0], output[0], output[1]] { close(descriptor) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input[0], 0)
        posix_spawn_file_actions_adddup2(&actions, output[1], 1)
        var words: [UnsafeMutablePointer<CChar>?] = ["python3", script].map { (word: String) in strdup(word) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var process = pid_t()
        let code = posix_spawnp(&process, "python3", &actions, nil, words, environ)
        lifeline = input[1]
        guard code == 0 else { throw Failure(description: "python3 does not start: \(code)") }
        close(output[1])
        output[1] = -1
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while read(output[0], &byte, 1) == 1, byte != UInt8(ascii: "\n") { line.append(byte) }
        guard let port = UInt16(String(decoding: line, as: UTF8.self)) else {
            throw Failure(description: "the server named no port")
        }
        url = "http://127.0.0.1:\(port)"
    }

    struct Failure: Error, CustomStringConvertible { let description: String }
}

/// A port on which nobody listens, kept from others for as long as this object lives.
final class ClosedPort: Sendable {
    let number: UInt16
    private let descriptor: Int32

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 && getsockname(descriptor, address, &length) == 0
            }
        }
        number = UInt16(bigEndian: address.sin_port)
        guard isBound else { throw WebService.Failure(description: "bind: \(errno)") }
    }

    deinit { close(descriptor) }
}

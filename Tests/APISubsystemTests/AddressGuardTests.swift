import APISubsystem
import AddressPolicy
import FleetModel
import Foundation
import Glibc
import Testing

extension ServerTests {
    /// Each attack is made on a server that listens and would answer: what is refused is refused by the guard alone.
    @Suite("Calls to where strangers may not call", .timeLimit(.minutes(2)))
    struct AddressGuardTests {
        private let service: WebService
        private var port: String { service.url.split(separator: ":").last.map(String.init) ?? "" }

        init() async throws { service = try await WebService.shared.value }

        private func settings(_ allowed: [String]) throws -> APISettings {
            try localSettings { $0.addresses = .globalOnly }.allowing(allowed)
        }

        @Test(
            "An address of this machine is refused, however it is written",
            arguments: [
                "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
                "127.0.0.1.", "0.0.0.0", "0", "localhost", "LOCALHOST", "a.localhost", "[::1]", "[::]",
                "[::ffff:127.0.0.1]",
                "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]", "①②⑦.⓪.⓪.①",
            ])
        func loopback(_ host: String) async throws {
            try await withAPI(try settings([])) { api async throws in
                let end = try await api.failure(RequestParameters(url: "http://\(host):\(port)/echo"))
                // An odd spelling may also be taken for no URL, or a name that nobody has: refused in any case.
                #expect(end.code != "api.connect" && end.code != "api.timeout", "\(end)")
                #expect(["api.address-refused", "api.resolve", "api.bad-url"].contains(end.code), "\(end)")
            }
            // The plain spelling is answered once it is allowed, so the server is there.
            try await withAPI(try settings(["127.0.0.0/8"])) { api async throws in
                #expect(try await api.call(RequestParameters(url: "http://127.1:\(port)/echo")).status == 200)
            }
        }

        @Test(
            "Private, link-local, metadata, shared and other unrouted addresses are refused without a packet",
            arguments: [
                "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.1.1", "169.254.169.254", "100.64.0.1",
                "100.100.100.200",
                "192.0.2.2", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "[fd00::2]", "[fd00:ec2::254]",
                "[fe80::1]", "[fec0::1]", "[ff02::1]", "[::ffff:10.0.0.1]", "[64:ff9b::10.0.0.1]", "[2002:a00:1::1]",
                "[2001:0:a00:1::1]", "[2001:db8::1]", "[2606::5efe:10.0.0.1]", "0xa9fea9fe", "0251.0376.0251.0376",
                "2852039166",
            ])
        func unrouted(_ host: String) async throws {
            try await withAPI(try settings([])) { api async throws in
                let end = try await api.failure(RequestParameters(url: "http://\(host):\(port)/latest/meta-data/"))
                #expect((end.kind, end.code) == (.permanent, "api.address-refused"), "\(end)")
                #expect(end.message.hasSuffix("name it in api.allow"))
                #expect(!end.message.contains("meta-data"))
            }
        }

        /// The machine's own name, which the resolver turns into an address that is not global.
        static let name: String = {
            var name = [CChar](repeating: 0, count: 256)
            guard gethostname(&name, name.count) == 0 else { return "localhost.localdomain" }
            return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }()

        @Test("A name is judged by what it resolves to when it is connected to, not by how it looks")
        func name() async throws {
            try await withAPI(try settings([])) { api async throws in
                let end = try await api.failure(RequestParameters(url: "http://\(Self.name):\(port)/echo"))
                #expect(end.code == "api.address-refused", "\(end)")
            }
            // A name that is trusted is trusted wherever it points, and no other with it.
            try await withAPI(try settings([Self.name])) { api async throws in
                #expect(try await api.call(RequestParameters(url: "http://\(Self.name):\(port)/echo")).status == 200)
                #expect(
                    try await api.failure(RequestParameters(url: "http://127.0.0.1:\(port)/echo")).code
                        == "api.address-refused")
            }
        }

        @Test(
            "A redirect is judged like the first hop, whatever its status",
            arguments: ["127.0.0.2", "2130706434", "169.254.169.254", "[::1]"])
        func redirect(_ host: String) async throws {
            let target =
                "http://\(host):\(port)/echo".addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
            try await withAPI(try settings(["127.0.0.1"])) { api async throws in
                let end = try await api.failure(
                    RequestParameters(url: "\(service.url)/to?url=\(target)", followRedirects: 5))
                #expect((end.kind, end.code) == (.permanent, "api.address-refused"), "\(end)")
            }
        }

        @Test(
            "A redirect to another protocol is refused",
            arguments: ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/"])
        func redirectProtocol(_ target: String) async throws {
            let target = target.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
            let end = try await failure(RequestParameters(url: "\(service.url)/to?url=\(target)", followRedirects: 5))
            #expect((end.kind, end.code) == (.permanent, "api.protocol-not-allowed"))
        }

        @Test("A connection in the pool of one that may does not serve one that may not")
        func pooled() async throws {
            try await withAPI(try settings([Self.name])) { api async throws in
                for _ in 0..<3 {
                    #expect(
                        try await api.call(RequestParameters(url: "http://\(Self.name):\(port)/echo")).status == 200)
                    #expect(
                        try await api.failure(RequestParameters(url: "http://localhost:\(port)/echo")).code
                            == "api.address-refused")
                }
            }
        }
    }
}

extension APISettings {
    func allowing(_ entries: [String]) throws -> APISettings {
        var settings = self
        settings.addresses = try AddressPolicy(allowing: entries)
        return settings
    }
}

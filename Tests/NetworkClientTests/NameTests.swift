import NetworkClient
import Testing

@Suite("Domain names")
struct NameTests {
    @Test(
        "A name is read with or without its last dot, and in any case",
        arguments: ["example.org", "example.org.", "EXAMPLE.Org"])
    func taken(_ text: String) throws {
        #expect(try DNSName(text).description == "example.org")
        #expect(try DNSName(text).wire == [7] + Array("example".utf8) + [3] + Array("org".utf8) + [0])
    }

    @Test(
        "What is no name is refused",
        arguments: [
            "", ".", "a..b", ".a", "a b", "ä.org", "a\0b", "a\\b", "*.org", "a@b", String(repeating: "a", count: 64),
            Array(repeating: "abc", count: 64).joined(separator: "."),
        ])
    func refused(_ text: String) {
        #expect(throws: NetworkError.self) { try DNSName(text) }
    }

    @Test("The longest label and the longest name are taken")
    func longest() throws {
        let label = String(repeating: "a", count: 63)
        #expect(try DNSName(label).wire.count == 65)
        let name = [label, label, label, String(repeating: "b", count: 61)].joined(separator: ".")
        #expect(try DNSName(name).wire.count == 255)
        #expect(throws: NetworkError.self) { try DNSName(name + "b") }
    }

    @Test("A name lies within its parents and within no other, however alike they are written")
    func within() throws {
        let name = try DNSName("www.example.org")
        for parent in ["www.example.org", "example.org", "org"] { #expect(name.isWithin(try DNSName(parent))) }
        for other in ["ample.org", "a.www.example.org", "example.net"] { #expect(!name.isWithin(try DNSName(other))) }
        #expect(name.isWithin(.root))
    }

    @Test("An address is looked up backwards under its own name")
    func reverse() throws {
        let v4 = try #require(Endpoint(address: "192.0.2.1", port: 0))
        #expect(DNSName(reverseOf: v4).description == "1.2.0.192.in-addr.arpa")
        let v6 = try #require(Endpoint(address: "2001:db8::1", port: 0))
        #expect(
            DNSName(reverseOf: v6).description
                == "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa")
    }

    @Test("Addresses have one form: shortened, octal and decimal ones are none")
    func addresses() throws {
        for text in ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "1.2.3.4.5", "", "::g", "1.2.3.4\0"] {
            #expect(Endpoint(address: text, port: 1) == nil, "\(text)")
        }
        #expect(try #require(Endpoint(address: "2001:DB8:0::1", port: 5)).description == "[2001:db8::1]:5")
    }

    @Test("resolv.conf gives its first three servers, and the machine itself when it has none")
    func resolvConf() {
        let text = """
            # nameserver 10.0.0.9
            search example.org
            nameserver 192.0.2.1
            nameserver\t2001:db8::1   # second
            nameserver fe80::1%eth0
            nameserver 192.0.2.3
            nameserver 192.0.2.4
            options ndots:2
            """
        #expect(
            Nameservers.parse(resolvConf: text).map(\.description)
                == ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"])
        #expect(Nameservers.parse(resolvConf: "").map(\.description) == ["127.0.0.1:53"])
    }

    @Test("A server of a setting is an address with a port or without")
    func setting() {
        #expect(Nameservers.parse(server: "192.0.2.1")?.description == "192.0.2.1:53")
        #expect(Nameservers.parse(server: "192.0.2.1:5353")?.description == "192.0.2.1:5353")
        #expect(Nameservers.parse(server: "2001:db8::1")?.description == "[2001:db8::1]:53")
        #expect(Nameservers.parse(server: "[2001:db8::1]:99")?.description == "[2001:db8::1]:99")
        for text in ["", "localhost", "192.0.2.1:0", "192.0.2.1:x", "192.0.2.1:65536", "2001:db8::1:x", "[::1]"] {
            #expect(Nameservers.parse(server: text) == nil, "\(text)")
        }
    }
}

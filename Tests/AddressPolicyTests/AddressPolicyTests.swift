import AddressPolicy
import Testing

@Suite("An address policy")
struct AddressPolicyTests {
    @Test(
        "knows what an IPv4 address is for, also when IPv6 carries it",
        arguments: [
            ("127.0.0.1", .loopback), ("127.255.255.255", .loopback), ("128.0.0.0", .global),
            ("126.255.255.255", .global),
            ("10.1.2.3", .private), ("172.15.255.255", .global), ("172.16.0.1", .private), ("172.31.255.255", .private),
            ("172.32.0.1", .global), ("192.168.1.1", .private), ("192.169.0.0", .global),
            ("169.254.169.254", .metadata), ("169.254.169.253", .linkLocal), ("100.100.100.200", .metadata),
            ("192.0.0.192", .metadata), ("192.0.0.1", .reserved), ("100.64.0.1", .shared), ("100.127.255.255", .shared),
            ("100.128.0.1", .global), ("0.0.0.0", .unspecified), ("0.1.2.3", .unspecified),
            ("224.0.0.1", .multicast), ("239.255.255.255", .multicast), ("240.0.0.1", .reserved),
            ("255.255.255.255", .broadcast), ("192.0.2.1", .documentation), ("198.51.100.1", .documentation),
            ("203.0.113.1", .documentation), ("198.18.0.1", .benchmark), ("198.19.255.255", .benchmark),
            ("198.20.0.1", .global), ("192.88.99.1", .transition), ("8.8.8.8", .global),
        ] as [(String, AddressKind)])
    func v4(text: String, kind: AddressKind) throws {
        let address = try #require(IPAddress(text))
        #expect(address.kind == kind)
        #expect(address.description == text)
        let bytes = address.bytes
        let zeros = [UInt8](repeating: 0, count: 8)
        for carrier in [
            zeros + [0, 0, 0xff, 0xff] + bytes,  // mapped
            [0, 0x64, 0xff, 0x9b] + zeros + bytes,  // NAT64
            [0x20, 0x02] + bytes + zeros + [0, 1],  // 6to4
            [0x26, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0x5e, 0xfe] + bytes,  // ISATAP
            [0x26, 0x06, 0, 0, 0, 0, 0, 0, 2, 0, 0x5e, 0xfe] + bytes,
        ] {
            #expect(try #require(IPAddress(bytes: carrier)).kind == kind)
        }
        // Compatible ones, Teredo's and those of a translator of one network lead who knows where.
        for carrier in [
            [0x20, 0x01, 0, 0] + bytes + zeros, [0, 0x64, 0xff, 0x9b, 0, 1] + [0, 0, 0, 0, 0, 0] + bytes,
        ] {
            #expect(try #require(IPAddress(bytes: carrier)).kind == .transition)
        }
        let compatible = try #require(IPAddress(bytes: zeros + [0, 0, 0, 0] + bytes))
        #expect(compatible.kind != .global)
    }

    @Test(
        "knows what an IPv6 address is for",
        arguments: [
            ("::1", .loopback), ("::", .unspecified), ("::2", .transition), ("::7f00:1", .transition),
            ("fe80::1", .linkLocal), ("febf::1", .linkLocal), ("fec0::1", .private), ("fd00::1", .private),
            ("fc00::1", .private), ("fd00:ec2::254", .metadata), ("2001:db8::1", .documentation),
            ("3fff:fff::1", .documentation), ("3fff:1000::1", .global), ("2001::1", .transition),
            ("2001:2::1", .benchmark), ("2001:1ff::1", .reserved), ("2001:200::1", .global), ("100::1", .reserved),
            ("ff02::1", .multicast), ("2606:4700::1111", .global), ("4000::1", .reserved), ("1fff::1", .reserved),
            ("64:ff9b:1::8.8.8.8", .transition), ("::ffff:127.0.0.1", .loopback),
        ] as [(String, AddressKind)])
    func v6(text: String, kind: AddressKind) throws {
        let address = try #require(IPAddress(text))
        #expect(address.isIPv6)
        #expect(address.kind == kind)
    }

    @Test(
        "takes no odd spelling for an address",
        arguments: [
            "127.1", "0177.0.0.1x", "2130706433", "0x7f.0.0.1", "", "::1%lo", "[::1]", "a.example", "1.2.3.4\u{0}",
        ])
    func spelling(text: String) { #expect(IPAddress(text) == nil) }

    @Test("allows what is global and nothing else, unless told")
    func judged() throws {
        let closed = AddressPolicy.globalOnly
        #expect(closed.judge(try #require(IPAddress("8.8.8.8"))) == .allowed)
        for kind in ["10.0.0.1", "::1", "169.254.169.254", "fd00:ec2::254", "::ffff:10.0.0.1"] {
            let address = try #require(IPAddress(kind))
            #expect(closed.judge(address, host: "intranet.example") == .refused(address.kind))
        }
        let open = try AddressPolicy(allowing: ["10.0.0.0/8", "fd12::/16", "127.0.0.1", "Intranet.Example.", "db_1"])
        for (text, isAllowed) in [
            ("10.255.0.1", true), ("::ffff:10.1.1.1", true), ("11.0.0.1", true), ("127.0.0.1", true),
            ("127.0.0.2", false), ("fd12:1::1", true), ("fd13::1", false), ("64:ff9b::10.0.0.1", false),
            ("2002:a00:1::1", false), ("192.168.0.1", false),
        ] {
            #expect((open.judge(try #require(IPAddress(text))) == .allowed) == isAllowed, "\(text)")
        }
        let inside = try #require(IPAddress("192.168.0.1"))
        for host in ["intranet.example", "INTRANET.example.", "db_1"] {
            #expect(open.judge(inside, host: host) == .allowed)
        }
        for host in ["evil.intranet.example", "intranet.example.evil", "", nil] {
            #expect(open.judge(inside, host: host) == .refused(.private))
        }
    }

    @Test(
        "refuses an allow-list that may not mean what it says",
        arguments: [
            "10.1.0.0/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8/8", "fd00::/129", "fd00::1/64",
            "127.1",
            "0x7f.1", "a.0x7f", "2130706433", "*.example", "a..b", "-a", "a b", "", ".", "http://a", "10.0.0.0 /8",
        ])
    func invalid(entry: String) {
        #expect(throws: InvalidAddress.self) { try AddressPolicy(allowing: [entry]) }
    }

    @Test("takes every prefix to the bit", arguments: 0...32)
    func prefixes(prefix: Int) throws {
        let mask = prefix == 0 ? 0 : UInt32.max << UInt32(32 - prefix)
        func address(_ number: UInt32) throws -> IPAddress {
            try #require(IPAddress(bytes: (0..<4).map { UInt8(truncatingIfNeeded: number >> UInt32(24 - 8 * $0)) }))
        }
        let base = 0xA5C3_96E1 & mask
        let block = try AddressBlock("\(try address(base))/\(prefix)")
        #expect(block.contains(try address(base)))
        #expect(block.contains(try address(base | ~mask)))
        if prefix > 0 {
            let flipped = base ^ (1 << UInt32(32 - prefix))
            #expect(!block.contains(try address(flipped)))
        }
        #expect(!block.contains(try #require(IPAddress("::1"))))
    }
}

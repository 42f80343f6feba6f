import AddressPolicy
import CurlClient
import Testing

@Suite("An address to connect to")
struct AddressTests {
    @Test("is written as servers' addresses are", arguments: [("192.0.2.1", "192.0.2.1:80"), ("::1", "[::1]:80")])
    func text(ip: String, expected: String) throws {
        #expect(CurlAddress(try #require(IPAddress(ip)), port: 80, urlHost: "a").description == expected)
    }

    @Test("is guarded by a policy, which is told whose address it is said to be")
    func policy() throws {
        let kinds = Notes<AddressKind>()
        let guardian = CurlConfiguration.guarding(by: try AddressPolicy(allowing: ["inside.example"])) { kinds.add($0) }
        let inside = try #require(IPAddress("10.0.0.1"))
        #expect(guardian(CurlAddress(inside, port: 80, urlHost: "inside.example")))
        #expect(!guardian(CurlAddress(inside, port: 80, urlHost: "outside.example")))
        #expect(guardian(CurlAddress(try #require(IPAddress("8.8.8.8")), port: 80, urlHost: "outside.example")))
        #expect(kinds.all == [.private])
    }
}

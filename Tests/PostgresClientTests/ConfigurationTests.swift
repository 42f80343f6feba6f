import PostgresClient
import Testing

@Suite("Configuration")
struct ConfigurationTests {
    @Test(
        "A URL that makes no sense is refused without showing its password",
        arguments: [
            "postgres://gaia:geh%zzeim@host/db", "postgres://gaia:geheim@host:port:geheim/db",
            "mysql://gaia:geheim@host/db",
            "postgres://gaia:geheim@[host/db", "postgres://gaia:geheim@host/db?wrong=geheim", "",
            "postgres://gaia:geheim@a,b:1,2:3,4/db?port=1,2",
        ])
    func refused(url: String) {
        do throws(PostgresError) {
            _ = try PostgresConfiguration(url: url)
            Issue.record("accepted \(url)")
        } catch {
            #expect(error.kind == .invalidConfiguration)
            for secret in ["geheim", "geh%", "zzeim"] { #expect(!error.description.contains(secret), "\(error)") }
        }
    }

    @Test("No description, mirror or dump of a configuration shows the password")
    func secrecy() throws {
        let configuration = try PostgresConfiguration(
            url: "postgres://gaia:geheim@host1:1,host2:2/db?application_name=me")
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in ["\(configuration)", String(reflecting: configuration), dumped] {
            #expect(!text.contains("geheim"), "\(text)")
        }
        #expect(configuration.description.contains("host1:1/db,host2:2/db"))
        #expect(configuration.applicationName == "me")
    }
}

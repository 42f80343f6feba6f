import AMQPClient
import Testing

@Suite struct AMQPURLTests {
    @Test func `a full URL is read`() throws {
        let it = try AMQPConfiguration(
            url:
                "amqps://us%40er:p%2Fss:w@one:1234,[::1]:99,three/v%2Fh?heartbeat=7&cacertfile=/ca.pem&connection_timeout=1500&name=x"
        )
        #expect(it.user == "us@er")
        #expect(it.password == "p/ss:w")
        #expect(it.virtualHost == "v/h")
        #expect(
            it.endpoints == [
                AMQPEndpoint(host: "one", port: 1234, tls: true), AMQPEndpoint(host: "::1", port: 99, tls: true),
                AMQPEndpoint(host: "three", port: 5671, tls: true),
            ])
        #expect(it.heartbeat == .seconds(7))
        #expect(it.connectTimeout == .milliseconds(1500))
        #expect(it.tls.caFile == "/ca.pem")
        #expect(it.tls.verifyPeer)
        #expect(it.connectionName == "x")
    }

    @Test(arguments: ["amqp://host", "amqp://host/", "amqp://host/%2F"])
    func `no virtual host means the default one`(url: String) throws {
        let it = try AMQPConfiguration(url: url)
        #expect(it.virtualHost == "/")
        #expect(it.endpoints == [AMQPEndpoint(host: "host", port: 5672)])
        #expect(it.user == "guest")
    }

    @Test(arguments: [
        ("http://u:s3cret@h", "scheme"), ("amqp:u:s3cret@h", "begin"), ("amqp://u:s3cret@h:70000", "port"),
        ("amqp://u:s3cret@", "host name"), ("amqp://u:s3cret%4@h", "password"),
        ("amqp://u:s3cret@h?heartbeat=x", "heartbeat"),
        ("amqp://u:s3cret@h?colour=red", "colour"), ("amqp://u:s3cret@h?verify=maybe", "verify"),
        ("amqp://u:s3cret@[::1", "bracket"), ("amqps://u:s3cret@h?certfile=/c", "keyfile"),
    ])
    func `a bad URL is refused, saying what is wrong but never the password`(url: String, part: String) {
        #expect {
            try AMQPConfiguration(url: url)
        } throws: { error in
            let error = error as? AMQPError
            return error?.kind == .invalidURL && error?.isPermanent == true && error?.message.contains(part) == true
                && error?.message.contains("s3cret") == false
        }
    }

    @Test func `a configuration never prints its password`() throws {
        let it = try AMQPConfiguration(url: "amqp://u:s3cret@h")
        var dumped = ""
        dump(it, to: &dumped)
        #expect(!"\(it) \(String(reflecting: it)) \(dumped)".contains("s3cret"))
    }
}

import Glibc

/// Certificates for tests: an authority, a server's for this machine's loopback names, and a client's.
struct TestAuthority: Sendable {
    let directory: String

    var authority: String { "\(directory)/ca.pem" }
    var server: String { "\(directory)/server.pem" }
    var serverKey: String { "\(directory)/server-key.pem" }
    var client: String { "\(directory)/client.pem" }
    var clientKey: String { "\(directory)/client-key.pem" }

    /// Makes all that are not there yet, with the openssl command.
    func make(serverAccount: Account?, prefix: String) async throws {
        guard access(clientKey, F_OK) != 0 else { return }
        let openssl = "\(prefix)/bin/openssl"
        guard access(openssl, X_OK) == 0 else {
            throw StackError(
                .missingPackage(apt: "openssl"),
                "There is no \(openssl) to make certificates with: run `apt-get install openssl`."
            )
        }
        try makeDirectory(directory, mode: 0o755)
        try await run(
            openssl,
            ["req", "-x509", "-subj", "/CN=GAIA test authority", "-keyout", "ca-key.pem", "-out", "ca.pem"]
                + Self.options + ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign"]
        )
        try await issue(openssl, "server", names: "DNS:localhost,IP:127.0.0.1,IP:::1", use: "serverAuth")
        if let serverAccount, chown(serverKey, serverAccount.user, serverAccount.group) != 0 {
            throw systemError("Cannot chown \(serverKey)")
        }
        // Last, as its presence says that all are there.
        try await issue(openssl, "client", names: "DNS:client", use: "clientAuth")
    }

    private static let options = [
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "3650",
    ]

    private func issue(_ openssl: String, _ name: String, names: String, use: String) async throws {
        try await run(
            openssl,
            ["req", "-x509", "-subj", "/CN=\(name)", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-out", "\(name).pem"]
                + ["-keyout", "\(name)-key.pem"] + Self.options
                + ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=\(names)"]
                + ["-addext", "extendedKeyUsage=\(use)"]
        )
    }

    private func run(_ openssl: String, _ arguments: [String]) async throws {
        let command = Command(
            executable: openssl,
            arguments: arguments,
            environment: Command.plainEnvironment,
            directory: directory
        )
        _ = try await command.run()
    }
}

import FleetStack
import FleetTestKit
import Foundation
import Glibc
import Testing

/// The files of `configs/` for servers, on servers.
@Suite("Settings of servers shipped as files", .serialized, .timeLimit(.minutes(5)))
struct ShippedFilesTests {
    /// Lines `name = value` of a file, as the private servers are told them.
    private func settings(_ file: String) throws -> [String: String] {
        let text = try String(contentsOfFile: "\(Program.root)/configs/\(file)", encoding: .utf8)
        var settings: [String: String] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            try #require(parts.count == 2, "\(line)")
            settings[parts[0]] = parts[1]
        }
        return settings
    }

    /// A directory of the test's own, which goes with what is in it.
    private func withDirectory(_ purpose: String, _ body: (String) async throws -> Void) async throws {
        let directory = temporaryDirectory(purpose)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let result: Result<Void, any Error>
        do { result = .success(try await body(directory)) } catch { result = .failure(error) }
        try FileManager.default.removeItem(atPath: directory)
        try result.get()
    }

    @Test("A broker and a database start with them and have what they say")
    func plain() async throws {
        try await withDirectory("files") { directory in
            let stack = try await Stack.up(
                Stack.Options(
                    directory: "\(directory)/stack", brokerSettings: try settings("rabbitmq/rabbitmq.conf"),
                    databaseSettings: try settings("postgresql/postgresql.conf")))
            let result: Result<Void, any Error>
            do {
                let timeout = try await stack.broker.control(["eval", "application:get_env(rabbit, consumer_timeout)."])
                #expect(timeout.contains("{ok,9000000}"))
                #expect(try await stack.database.psql("show idle_in_transaction_session_timeout") == "1min\n")
                let run = try await Program.run(
                    try Program.gaia, ["doctor", "--without", "exchange-missing", "queue-missing", "schema-behind"],
                    environment: stack.environment)
                #expect(run.status == .exited(0) && run.output.contains("no fault found"), "\(run.output)")
                result = .success(())
            } catch {
                result = .failure(error)
            }
            try await stack.down()
            try result.get()
        }
    }

    // MARK: TLS

    /// Certificates for servers at these addresses, by the shipped script.
    private func makeCertificates(_ directory: String, _ addresses: String) async throws {
        let run = try await Program.run(
            "\(Program.root)/configs/tls/make-certificates",
            [directory, "--server", "broker", addresses, "--server", "database", addresses, "--client", "worker"])
        #expect(run.status == .exited(0), "\(run.output)")
    }

    /// Lets a server's user read its key, if tests run as root.
    private func give(_ path: String, to user: String) throws {
        guard geteuid() == 0 else { return }
        let account = try #require(getpwnam(user))
        try #require(chown(path, account.pointee.pw_uid, account.pointee.pw_gid) == 0)
    }

    @Test("make-certificates keeps what is there, and says what is wrong with its arguments")
    func certificates() async throws {
        try await withDirectory("certificates") { directory in
            try await makeCertificates(directory, "localhost,127.0.0.1,::1")
            func content(_ name: String) throws -> String {
                try String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8)
            }
            let (authority, broker) = (try content("ca.pem"), try content("broker.pem"))
            try await makeCertificates(directory, "elsewhere")
            #expect(try content("ca.pem") == authority && content("broker.pem") == broker)
            let verified = try await Program.run(
                "/usr/bin/openssl",
                ["verify", "-CAfile", "\(directory)/ca.pem", "\(directory)/broker.pem", "\(directory)/worker.pem"])
            #expect(verified.status == .exited(0), "\(verified.output)")
            let key = try FileManager.default.attributesOfItem(atPath: "\(directory)/broker-key.pem")
            #expect(key[.posixPermissions] as? Int == 0o600)
            for arguments in [
                [], ["--server", "x"], ["--client"], ["--days", "0"], ["--other"], ["--client", "../x"],
            ] {
                let run = try await Program.run(
                    "\(Program.root)/configs/tls/make-certificates", arguments.isEmpty ? [] : [directory] + arguments)
                #expect(run.status == .exited(64), "\(arguments): \(run.output)")
            }
        }
    }

    @Test("With these certificates a fleet works by amqps and sslmode=verify-full, and trusts no other authority")
    func tls() async throws {
        try await withDirectory("tls") { directory in
            let (own, other) = ("\(directory)/own", "\(directory)/other")
            try await makeCertificates(own, "localhost,127.0.0.1")
            try await makeCertificates(other, "localhost,127.0.0.1")
            try give("\(own)/broker-key.pem", to: "rabbitmq")
            try give("\(own)/database-key.pem", to: "postgres")
            for path in [own, other] { try #require(chmod(path, 0o755) == 0) }
            var broker = try settings("rabbitmq/tls.conf").mapValues { $0.replacing("/etc/gaia/tls", with: own) }
            // The private broker has ports of its own.
            for name in ["listeners.tcp", "listeners.ssl.default"] { broker[name] = nil }
            for name in broker.keys where name.hasPrefix("management.") { broker[name] = nil }
            try await withServers(directory, broker, own) { amqps, database in
                func environment(_ authorities: String) -> [String: String] {
                    [
                        "GAIA_AMQP_URL": "\(amqps)?cacertfile=\(authorities)/ca.pem",
                        "GAIA_DATABASE_URL": "\(database)?sslmode=verify-full&sslrootcert=\(authorities)/ca.pem",
                        "GAIA_WORKER_SUBSYSTEMS": "gaia", "GAIA_START_WAIT_MS": "1000",
                    ]
                }
                let migrated = try await Program.run(try Program.gaia, ["migrate"], environment: environment(own))
                #expect(migrated.status == .exited(0), "\(migrated.output)")
                try await ProgramGroup.use(environment: environment(own)) { programs in
                    _ = try await programs.serve("dispatcher", "dispatcher")
                    _ = try await programs.serve("worker", "worker")
                    let job = try await Program.run(
                        try Program.gaia, ["enqueue", "--type", "gaia.noop.v1", "--key", "k", "--wait"],
                        environment: environment(own))
                    #expect(job.status == .exited(0), "\(job.output)")
                }
                for command in [["migrate"], ["topology", "apply"]] {
                    let run = try await Program.run(try Program.gaia, command, environment: environment(other))
                    #expect(run.status == .exited(69), "\(command): \(run.output)")
                    #expect(run.output.contains("certificate"), "\(command): \(run.output)")
                }
            }
        }
    }

    /// A broker and a database with TLS; `body` gets the address of each.
    private func withServers(
        _ directory: String, _ settings: [String: String], _ certificates: String,
        _ body: (_ amqps: String, _ database: String) async throws -> Void
    ) async throws {
        let broker = try await PrivateBroker.start(
            PrivateBroker.Options(directory: "\(directory)/broker", management: false, tls: true, settings: settings))
        let result: Result<Void, any Error>
        do {
            let database = try await PrivateDatabase.start(
                PrivateDatabase.Options(
                    directory: "\(directory)/database",
                    settings: [
                        "ssl": "on", "ssl_ca_file": "'\(certificates)/ca.pem'",
                        "ssl_cert_file": "'\(certificates)/database.pem'",
                        "ssl_key_file": "'\(certificates)/database-key.pem'",
                    ]))
            let inner: Result<Void, any Error>
            do {  // librabbitmq compares a certificate's names alone, not its addresses.
                let amqps = try #require(broker.amqpsURL).replacing("127.0.0.1", with: "localhost")
                inner = .success(try await body(amqps, database.url))
            } catch {
                inner = .failure(error)
            }
            try await database.stop()
            result = inner
        } catch {
            result = .failure(error)
        }
        try await broker.stop()
        try result.get()
    }
}

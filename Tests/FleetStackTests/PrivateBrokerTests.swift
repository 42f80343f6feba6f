import FleetStack
import Foundation
import Glibc
import TestPatience
import Testing

extension ServerTests {
    @Suite("A private broker")
    struct PrivateBrokerTests {
        @Test("keeps queues and messages when restarted, and when killed and started again")
        func dataIsKept() async throws {
            try await withStackDirectory { directory in
                let broker = try await PrivateBroker.start(PrivateBroker.Options(directory: directory))
                let management = try #require(broker.management)
                _ = try await management.send("PUT", "/api/queues/%2F/kept", body: #"{"durable":true}"#)
                let url = broker.amqpURL
                let first = broker.processID
                #expect(first > 0)
                try await publish(management, "one")

                try await broker.restart()
                #expect(broker.amqpURL == url)
                #expect(broker.processID != first)
                #expect(try await messages(management) == ["one"])

                try broker.kill()
                #expect(broker.processID == 0)
                #expect(!broker.isRunning)
                #expect(try !accepts(port(of: url)))
                try await broker.startAgain()
                #expect(try await messages(management) == ["one"])
                #expect(try await broker.control(["list_queues", "name"]).contains("kept"))
                try await broker.stop()
            }
        }

        @Test("answers nothing while paused, and goes on afterwards")
        func pausing() async throws {
            try await withStackDirectory { directory in
                let broker = try await PrivateBroker.start(
                    PrivateBroker.Options(directory: directory, management: false)
                )
                try await broker.pause()
                try await expectEventually("it is stopped") { state(of: broker.processID) == "T" }
                try broker.resume()
                #expect(try await broker.control(["list_vhosts"]).contains("/"))

                // A paused one can be stopped all the same.
                try await broker.pause()
                try await broker.stop()
                #expect(processes(under: directory).isEmpty)
            }
        }

        @Test("listens on the loopback address only, and frees its ports when stopped")
        func ports() async throws {
            try await withStackDirectory { directory in
                let options = PrivateBroker.Options(
                    directory: directory,
                    tls: true,
                    settings: ["heartbeat": "7"]
                )
                let broker = try await PrivateBroker.start(options)
                let record = try String(contentsOfFile: "\(directory)/broker.json", encoding: .utf8)
                let all = try JSONSerialization.jsonObject(with: Data(record.utf8)) as? [String: Any]
                let numbers = (all ?? [:]).filter { $0.key.hasSuffix("Port") }.compactMap { ($0.value as? NSNumber) }
                let ports = Set(numbers.map { UInt16($0.intValue) })
                #expect(ports.count == 6)
                for port in ports { #expect(try isOnLoopbackOnly(port), "\(port)") }

                let setting = "application:get_env(rabbit, heartbeat)."
                #expect(try await broker.control(["eval", setting]).contains("{ok,7}"))
                try await expectVerifiedTLS(broker)

                try await broker.stop()
                for port in ports { #expect(try !accepts(port)) }
                #expect(processes(under: directory).isEmpty)
            }
        }

        @Test("makes virtual hosts, also without the management plugin")
        func virtualHosts() async throws {
            try await withStackDirectory { directory in
                let broker = try await PrivateBroker.start(
                    PrivateBroker.Options(directory: directory, management: false)
                )
                #expect(broker.managementURL == nil)
                let url = try await broker.createVirtualHost("a b/c")
                #expect(url.hasSuffix("/a%20b%2Fc"))
                #expect(try await broker.control(["list_permissions", "--vhost", "a b/c"]).contains("gaia"))
                try await broker.deleteVirtualHost("a b/c")
                try await broker.stop()

                let managed = try await PrivateBroker.start(PrivateBroker.Options(directory: directory))
                #expect(try await managed.createVirtualHost("tests/1").hasSuffix("/tests%2F1"))
                let management = try #require(managed.management)
                #expect(try await management.send("GET", "/api/vhosts/tests%2F1/permissions").contains("gaia"))
                try await managed.deleteVirtualHost("tests/1")
                try await managed.stop()
            }
        }

        @Test("that cannot start shows the end of its log")
        func failedStart() async throws {
            try await withStackDirectory { directory in
                let options = PrivateBroker.Options(directory: directory, settings: ["no.such.setting": "1"])
                let error = await #expect(throws: StackError.self) { try await PrivateBroker.start(options) }
                #expect(error?.kind == .startFailed)
                #expect("\(error, default: "")".contains("no.such.setting"))
                #expect(processes(under: directory).isEmpty)
            }
        }

        private func publish(_ management: ManagementAPI, _ text: String) async throws {
            let body = """
                {"properties":{"delivery_mode":2},"routing_key":"kept","payload":"\(text)","payload_encoding":"string"}
                """
            let answer = try await management.send("POST", "/api/exchanges/%2F/amq.default/publish", body: body)
            #expect(answer.contains("true"))
        }

        private func messages(_ management: ManagementAPI) async throws -> [String] {
            let body = #"{"count":10,"ackmode":"ack_requeue_true","encoding":"auto"}"#
            let answer = try await management.send("POST", "/api/queues/%2F/kept/get", body: body)
            struct Message: Decodable { let payload: String }
            return try JSONDecoder().decode([Message].self, from: Data(answer.utf8)).map(\.payload)
        }

        private func expectVerifiedTLS(_ broker: PrivateBroker) async throws {
            let client = try #require(broker.tlsClientCertificate)
            let child = try ChildProcess.start(
                executable: "openssl",
                arguments: [
                    "s_client", "-connect", "127.0.0.1:\(try port(of: #require(broker.amqpsURL)))",
                    "-CAfile", try #require(broker.tlsAuthorityFile), "-verify_return_error",
                    "-verify_ip", "127.0.0.1", "-cert", client.certificate, "-key", client.key,
                ],
                output: .capture
            )
            #expect(await child.exitStatus(within: patienceOfTests) == .exited(0))
            #expect(child.standardOutput.contains("Verification: OK"))
        }
    }
}

import FleetStack
import Foundation
import Glibc
import Testing

extension ServerTests {
    @Suite("A private cluster")
    struct PrivateClusterTests {
        /// A quorum queue of one virtual host, and nothing else.
        private static let definitions = """
            {"queues": [{"vhost": "/", "name": "kept", "durable": true, "auto_delete": false,
                         "arguments": {"x-queue-type": "quorum"}}]}
            """

        private func importQueue(_ cluster: PrivateCluster, _ directory: String) async throws {
            let path = "\(directory)/definitions.json"
            try Self.definitions.write(toFile: path, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
            _ = try await cluster.nodes[0].control(["import_definitions", path])
        }

        /// Every port in the records of a directory.
        private func ports(in directory: String, nodes: Int) throws -> Set<UInt16> {
            var found: Set<UInt16> = []
            for file in ["cluster.json"] + (1...nodes).map({ "node-\($0)/broker.json" }) {
                let data = try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(file)"))
                let record = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
                for (name, value) in record where name.hasSuffix("Port") {
                    found.insert(try #require((value as? NSNumber)?.uint16Value))
                }
            }
            return found
        }

        @Test("holds a quorum queue on each node, loses any one of them, and has it back")
        func nodes() async throws {
            try await withStackDirectory { directory in
                let cluster = try await PrivateCluster.start(PrivateCluster.Options(directory: directory))
                let names = ["gaia-1@localhost", "gaia-2@localhost", "gaia-3@localhost"]
                #expect(cluster.nodes.map(\.nodeName) == names)
                let hosts = try cluster.nodes.map { "127.0.0.1:\(try port(of: $0.amqpURL))" }
                #expect(cluster.amqpURL == "amqp://gaia:\(cluster.password)@\(hosts.joined(separator: ","))/")
                let ports = try ports(in: directory, nodes: 3)
                // Five of each node, and the port mapper's.
                #expect(ports.count == 16)
                for port in ports { #expect(try !accepts(port, at: "127.0.0.2"), "\(port)") }

                try await importQueue(cluster, directory)
                let leader = try await cluster.awaitQuorum(of: "kept")
                let members = try await cluster.quorum(of: "kept")
                #expect(Set(members.map(\.node)) == Set(names))
                #expect(members.map(\.state).sorted() == ["follower", "follower", "leader"])

                // Killed: another leads. One that is on its own again knows nothing of the queue, and would not.
                try leader.kill()
                #expect(!cluster.isRunning)
                var successor: String?
                try await expectEventually("another node leads") {
                    let members = try await cluster.quorum(of: "kept")
                    successor = members.first { $0.state == "leader" && $0.node != leader.nodeName }?.node
                    return successor != nil
                }
                try await leader.startAgain()
                try await cluster.awaitQuorum(of: "kept")

                // Paused: it holds its connections and answers nothing, until it goes on.
                try await leader.pause()
                try await expectEventually("it is stopped") { state(of: leader.processID) == "T" }
                try leader.resume()

                // Shut down in order, and all started that do not run.
                let other = try #require(cluster.nodes.first { $0.nodeName != leader.nodeName })
                try await other.stop()
                #expect(other.processID == 0)
                try await cluster.startAgain()
                #expect(cluster.isRunning)
                try await cluster.awaitQuorum(of: "kept")

                try await cluster.nodes[0].pause()
                try await cluster.stop()
                #expect(processes(under: directory).isEmpty)
                for port in ports { #expect(try !accepts(port)) }
            }
        }

        @Test("that cannot start shows the end of a node's log, and leaves nothing running")
        func failedStart() async throws {
            try await withStackDirectory { directory in
                let options = PrivateCluster.Options(directory: directory, settings: ["no.such.setting": "1"])
                let error = await #expect(throws: StackError.self) { try await PrivateCluster.start(options) }
                #expect(error?.kind == .startFailed)
                #expect("\(error, default: "")".contains("no.such.setting"))
                #expect(processes(under: directory).isEmpty)
                for port in try ports(in: directory, nodes: 3) { #expect(try !accepts(port)) }

                // The same place serves once the cause is mended.
                let cluster = try await PrivateCluster.start(PrivateCluster.Options(directory: directory))
                #expect(cluster.isRunning)
                try await cluster.stop()
            }
        }

        @Test("is a stack's broker, ends with its process, keeps its data, and cannot become another size")
        func stack() async throws {
            try await withStackDirectory { directory in
                await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
                    let stack = try await Stack.up(Stack.Options(directory: directory, nodes: 3))
                    _ = try await stack.cluster?.createVirtualHost("v")
                    kill(getpid(), SIGKILL)
                }
                try await expectEventually("all processes end") { processes(under: directory).isEmpty }
                let status = try Stack.status(directory: directory)
                #expect(status.nodes.map(\.processID) == [nil, nil, nil])
                #expect(!status.isRunning)

                let stack = try await Stack.up(directory: directory)
                let cluster = try #require(stack.cluster)
                #expect(try await cluster.nodes[2].control(["list_vhosts"]).contains("v"))
                #expect(stack.addresses.amqpURL == cluster.amqpURL)
                #expect(stack.addresses.nodeAMQPURLs == cluster.nodes.map(\.amqpURL))
                #expect(stack.environment["GAIA_AMQP_URL"] == cluster.amqpURL)

                try cluster.nodes[1].kill()
                let rest = try Stack.status(directory: directory)
                #expect(rest.nodes.map { $0.processID != nil } == [true, false, true])
                #expect(!rest.isRunning)
                #expect(throws: StackError.self) { try Stack.attach(directory: directory) }
                let error = await #expect(throws: StackError.self) {
                    try await Stack.up(Stack.Options(directory: directory, nodes: 1))
                }
                #expect(error?.kind == .directory)
                // What that call did not start it did not stop either.
                #expect(try Stack.status(directory: directory) == rest)
                _ = try await Stack.up(Stack.Options(directory: directory, nodes: 3))
                #expect(try Stack.attach(directory: directory).cluster?.isRunning == true)

                try await Stack.down(directory: directory, remove: true)
                #expect(!FileManager.default.fileExists(atPath: directory))
            }
        }
    }
}

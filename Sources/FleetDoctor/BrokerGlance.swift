import Foundation

/// What only the management plugin tells of queues and nodes, for somebody who looks often.
public struct BrokerGlance: Sendable {
    /// Messages that were delivered and not settled, by queue.
    public let unacknowledged: [String: Int]
    /// Nodes with an alarm, as in `rabbit@host is short of memory`.
    public let alarms: [String]

    /// Who asks.
    public struct Asker: Sendable {
        private let address: ManagementAddress
        private let host: String

        public init(_ address: ManagementAddress, virtualHost: String) {
            self.address = address
            host = ManagementClient.escaped(virtualHost)
        }

        /// - Throws: when the plugin does not answer, or lets this user see nothing.
        public func ask() async throws -> BrokerGlance {
            try await ManagementClient.with(address) { client in
                let queues: [Queue] = try await client.get("queues/\(host)?columns=name,messages_unacknowledged")
                    .content
                let nodes: [ManagementDocument.Node] = try await client.get(
                    "nodes?columns=name,mem_alarm,disk_free_alarm"
                ).content
                return BrokerGlance(
                    unacknowledged: Dictionary(
                        queues.compactMap { queue in queue.unacknowledged.map { (queue.name, $0) } },
                        uniquingKeysWith: { $1 }),
                    alarms: nodes.flatMap { node in
                        (node.memoryAlarm == true ? ["\(node.name) is short of memory"] : [])
                            + (node.diskAlarm == true ? ["\(node.name) is short of disk"] : [])
                    })
            }
        }
    }

    private struct Queue: Sendable, Decodable {
        let name: String
        let unacknowledged: Int?
        enum CodingKeys: String, CodingKey {
            case name
            case unacknowledged = "messages_unacknowledged"
        }
    }
}

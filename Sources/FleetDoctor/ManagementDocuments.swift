/// What the management plugin answers with, as far as it is looked at.
enum ManagementDocument {
    struct Overview: Sendable, Decodable {
        let version: String
        enum CodingKeys: String, CodingKey { case version = "rabbitmq_version" }
    }

    struct Node: Sendable, Decodable {
        let name: String
        let running: Bool?
        let memoryAlarm: Bool?
        let diskAlarm: Bool?
        let memoryUsed: LenientNumber?
        let memoryLimit: LenientNumber?
        let diskFree: LenientNumber?
        let diskFreeLimit: LenientNumber?
        let partitions: [String]?
        /// Paths on the node's machine, those that are not there marked so.
        let configurationFiles: [String]?

        enum CodingKeys: String, CodingKey {
            case name, running, partitions
            case memoryAlarm = "mem_alarm"
            case diskAlarm = "disk_free_alarm"
            case memoryUsed = "mem_used"
            case memoryLimit = "mem_limit"
            case diskFree = "disk_free"
            case diskFreeLimit = "disk_free_limit"
            case configurationFiles = "config_files"
        }
    }

    struct Exchange: Sendable, Decodable {
        let name: String
        let type: String
        let durable: Bool
        let arguments: LenientTable
    }

    struct Queue: Sendable, Decodable {
        let name: String
        let type: String?
        let arguments: LenientTable
        let policy: LenientTable?
        let members: [String]?

        enum CodingKeys: String, CodingKey {
            case name, type, arguments, members
            case policy = "effective_policy_definition"
        }
    }

    struct Binding: Sendable, Decodable {
        let source: String
        let destination: String
        let destinationType: String
        let routingKey: String

        enum CodingKeys: String, CodingKey {
            case source, destination
            case destinationType = "destination_type"
            case routingKey = "routing_key"
        }
    }

    struct Consumer: Sendable, Decodable {
        struct Queue: Sendable, Decodable { let name: String }
        let queue: Queue
        let channel: LenientTable

        enum CodingKeys: String, CodingKey {
            case queue
            case channel = "channel_details"
        }
    }

    struct User: Sendable, Decodable {
        let name: String
        let tags: LenientWords
    }

    struct Permission: Sendable, Decodable {
        let user, configure, write, read: String
    }

    struct FeatureFlag: Sendable, Decodable {
        let name, state, stability: String
    }
}

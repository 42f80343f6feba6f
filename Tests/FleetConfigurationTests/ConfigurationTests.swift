import FleetConfiguration
import Testing

private func read(
    _ yaml: String? = nil, _ environment: [String: String] = [:]
) throws(ConfigurationError) -> FleetConfiguration {
    try FleetConfiguration(file: yaml.map { ("gaia.yaml", $0) }, environment: environment)
}

private func flaw(_ yaml: String? = nil, _ environment: [String: String] = [:]) -> String {
    do throws(ConfigurationError) {
        _ = try read(yaml, environment)
        return ""
    } catch {
        return error.description
    }
}

@Suite("Configuration")
struct ConfigurationTests {
    @Test("Without file and variables every setting has its default")
    func defaults() throws {
        for yaml in [nil, "", "# nothing\n", "worker:\n", "worker:\n  name:\n  slots:\n    default: null\n"] {
            let configuration = try read(yaml)
            #expect(configuration.amqpURL == nil)
            #expect(configuration.databaseURL == nil)
            #expect(configuration.amqpPasswordFile == nil && configuration.databasePasswordFile == nil)
            #expect(configuration.databasePoolSize == 4)
            #expect(configuration.startWait == .seconds(60))
            #expect(configuration.workerName == nil)
            #expect(configuration.workerSubsystems == [])
            #expect(configuration.workerSlotsDefault == 200)
            #expect(configuration.workerSlots == [:])
            #expect(configuration.workerLease == .seconds(30))
            #expect(configuration.workerDrain == .seconds(25))
            #expect(configuration.dispatcherPoll == .milliseconds(200))
            #expect(configuration.dispatcherGrace == .seconds(1))
            #expect(configuration.payloadBytesMax == 1 << 20)
            #expect(configuration.outputBytesMax == 1 << 20)
            #expect(configuration.api.connectionsMax == 1_000)
            #expect(configuration.api.connectionsPerHostMax == 256)
            #expect(configuration.api.responseBytesMax == 256 << 10)
            #expect(configuration.httpListen == nil && configuration.httpToken == nil)
            #expect(configuration.httpTokenFile == nil)
            #expect((configuration.httpConnectionsMax, configuration.httpWaitsMax) == (1_000, 1_000))
            #expect(configuration.httpWaitMax == .seconds(60) && configuration.httpBodyBytesMax == 4 << 20)
            #expect(configuration.logLevel == "info")
        }
    }

    @Test("Every setting is read from the file")
    func file() throws {
        let configuration = try read(
            """
            amqp: {url: "amqp://a:b@h:5672/v", password_file: /a}
            management: {url: "http://h:15672"}
            database:
              url: postgres://h/gaia
              password_file: /d
              pool_size: 7
            start: {wait_ms: 1_500}
            worker:
              name: w-1
              subsystems: [api, lesson-2]
              slots: {default: 10, api: 50, lesson-2: 3}
              lease_ms: 2000
              drain_ms: 0
            dispatcher: {poll_ms: 10, grace_ms: 0}
            limits: {payload_bytes: 10, output_bytes: 20}
            api: {connections: 5, connections_per_host: 2, response_bytes: 0}
            http:
              {listen: "[::1]:80", token: t, token_file: /f, connections: 3, waits: 4, wait_ms: 5, body_bytes: 1024}
            log: {level: debug}
            """)
        #expect(configuration.amqpURL == "amqp://a:b@h:5672/v")
        #expect(configuration.managementURL == "http://h:15672")
        #expect(configuration.databaseURL == "postgres://h/gaia")
        #expect((configuration.amqpPasswordFile, configuration.databasePasswordFile) == ("/a", "/d"))
        #expect(configuration.databasePoolSize == 7)
        #expect(configuration.startWait == .milliseconds(1_500))
        #expect(configuration.workerName == "w-1")
        #expect(configuration.workerSubsystems == ["api", "lesson-2"])
        #expect(configuration.workerSlotsDefault == 10)
        #expect(configuration.workerSlots == ["api": 50, "lesson-2": 3])
        #expect(configuration.workerLease == .seconds(2))
        #expect(configuration.workerDrain == .zero)
        #expect(configuration.dispatcherPoll == .milliseconds(10))
        #expect(configuration.dispatcherGrace == .zero)
        #expect((configuration.payloadBytesMax, configuration.outputBytesMax) == (10, 20))
        #expect((configuration.api.connectionsMax, configuration.api.connectionsPerHostMax) == (5, 2))
        #expect(configuration.api.responseBytesMax == 0)
        #expect(configuration.httpListen == "[::1]:80" && configuration.httpToken == "t")
        #expect(configuration.httpTokenFile == "/f")
        #expect((configuration.httpConnectionsMax, configuration.httpWaitsMax) == (3, 4))
        #expect(configuration.httpWaitMax == .milliseconds(5) && configuration.httpBodyBytesMax == 1_024)
        #expect(configuration.logLevel == "debug")
    }

    @Test("The environment wins over the file; an empty variable says nothing, a foreign one is left alone")
    func environment() throws {
        let configuration = try read(
            "worker: {name: from-file, slots: {default: 1, api: 2, net-work: 3}, drain_ms: 5}",
            [
                "GAIA_WORKER_NAME": "from-environment", "GAIA_WORKER_SLOTS_DEFAULT": "4",
                "GAIA_WORKER_SLOTS_NET_WORK": "5",
                "GAIA_WORKER_DRAIN_MS": "", "GAIA_WORKER_SUBSYSTEMS": "api, net-work,", "GAIA_TEST_AMQP_URL": "x",
                "PATH": "/bin",
                "GAIA_WORKER_SLOTS_API": "",
            ])
        #expect(configuration.workerName == "from-environment")
        #expect(configuration.workerSlotsDefault == 4)
        #expect(configuration.workerSlots == ["api": 2, "net-work": 5])
        #expect(configuration.workerDrain == .milliseconds(5))
        #expect(configuration.workerSubsystems == ["api", "net-work"])
    }

    /// The setting's least and greatest value, or some value of its kind.
    private static func samples(_ setting: Setting) -> [String] {
        switch setting.kind {
        case .text: ["x"]
        case .number(let range): [String(range.lowerBound), String(range.upperBound)]
        case .choice(let choices): choices
        case .ratio: ["0", "0.015", "1"]
        case .names: ["api", "api,gaia"]
        }
    }

    @Test("Every setting may be set by its key and by its variable, within its bounds", arguments: Setting.all)
    func everySetting(_ setting: Setting) {
        let parts = setting.key.split(separator: ".")
        func yaml(_ value: String) -> String {
            parts.enumerated().map { "\n" + String(repeating: "  ", count: $0) + $1 + ":" }.joined() + " \(value)"
        }
        for value in Self.samples(setting) {
            #expect(flaw(yaml(value)) == "")
            #expect(flaw(nil, [setting.variable: value]) == "")
        }
        #expect(!setting.summary.isEmpty)
        if let fallback = setting.fallback, !fallback.isEmpty { #expect(flaw(nil, [setting.variable: fallback]) == "") }
        if setting.kind == .ratio {
            for value in ["-0.1", "1.1", "10%", "nan"] {
                let expected = "\(setting.key) is '\(value)', it must be a number from 0 to 1, such as 0.01"
                #expect(flaw(nil, [setting.variable: value]) == "environment variable \(setting.variable): \(expected)")
            }
        }
        if case .number(let range) = setting.kind {
            for value in [range.lowerBound - 1, range.upperBound + 1] {
                let expected =
                    "\(setting.key) is '\(value)', it must be a whole number from \(range.lowerBound) to \(range.upperBound)"
                #expect(flaw(yaml("\(value)")) == "gaia.yaml:\(parts.count + 1): \(expected)")
                #expect(
                    flaw(nil, [setting.variable: "\(value)"]) == "environment variable \(setting.variable): \(expected)"
                )
            }
        }
    }

    @Test("Keys and variables name one setting each")
    func unique() {
        #expect(Set(Setting.all.map(\.key)).count == Setting.all.count)
        #expect(Set(Setting.all.map(\.variable)).count == Setting.all.count)
        #expect(Setting.all.first { $0.key == "worker.slots.default" }?.variable == "GAIA_WORKER_SLOTS_DEFAULT")
    }

    @Test(
        "An error names the key, the place, and what would be right",
        arguments: [
            ("worker:\n  nmae: x", "gaia.yaml:2: there is no setting worker.nmae; did you mean worker.name?"),
            ("a: 1", "gaia.yaml:1: there is no setting a; gaia settings lists what there is"),
            ("worker:\n\n  slots: 5", "gaia.yaml:3: there is no setting worker.slots"),
            ("worker:\n  slots:\n    API: 5", "gaia.yaml:3: there is no setting worker.slots.API"),
            (
                "worker:\n  slots:\n    api: 0",
                "gaia.yaml:3: worker.slots.api is '0', it must be a whole number from 1 to 10000"
            ),
            (
                "database:\n  pool_size: four",
                "gaia.yaml:2: database.pool_size is 'four', it must be a whole number from 1 to 100"
            ),
            ("database: {pool_size: 1.5}", "gaia.yaml:1: database.pool_size is '1.5'"),
            ("database:\n  pool_size: [1]", "gaia.yaml:2: database.pool_size must be a single value, not a list"),
            ("log:\n  level: loud", "gaia.yaml:2: log.level is 'loud', it must be one of trace, debug"),
            (
                "worker:\n  subsystems: [api, Web]",
                "gaia.yaml:2: worker.subsystems names 'Web', which cannot be a subsystem"
            ),
            ("worker:\n  subsystems:\n    - api\n    - [gaia]", "gaia.yaml:4: worker.subsystems must list names"),
            ("worker: {name: a, name: b}", "gaia.yaml is no YAML"), ("amqp: [", "gaia.yaml is no YAML"),
            ("just text", "gaia.yaml:1: expected settings such as 'amqp:', found a lone value"),
            ("- amqp", "gaia.yaml:1: "), ("[a]: 1", "gaia.yaml:1: a key must be text"),
            (
                "amqp:\n  url:\n    host: x",
                "gaia.yaml:3: there is no setting amqp.url.host; gaia settings lists what there is"
            ),
        ])
    func errors(_ yaml: String, _ expected: String) { #expect(flaw(yaml).hasPrefix(expected), "\(flaw(yaml))") }

    @Test("Errors of variables name the variable")
    func variableErrors() {
        #expect(
            flaw(nil, ["GAIA_LOG_LEVEL": "INFO"]).hasPrefix(
                "environment variable GAIA_LOG_LEVEL: log.level is 'INFO', it must be"))
        #expect(
            flaw(nil, ["GAIA_WORKER_SLOTS_API": "many"])
                == "environment variable GAIA_WORKER_SLOTS_API: worker.slots.api is 'many', it must be a whole number from 1 to 10000"
        )
        #expect(
            flaw(nil, ["GAIA_WORKER_SLOTS_1": "5"]).hasPrefix(
                "environment variable GAIA_WORKER_SLOTS_1: there is no setting"))
        #expect(flaw(nil, ["GAIA_WORKER_SUBSYSTEMS": "a b,C"]).contains("which cannot be a subsystem"))
    }

    @Test("Every spelling of nothing means the default", arguments: ["", "~", "null", "Null", "NULL"])
    func nothing(_ spelling: String) throws {
        #expect(try read("worker: {name: \(spelling)}").workerName == nil)
        #expect(try read("worker:\n  subsystems: \(spelling)\n  lease_ms: \(spelling)").workerLease == .seconds(30))
    }
}

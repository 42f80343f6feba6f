import FleetConfiguration
import FleetModel
import FleetService
import FleetWorker
import Logging
import ServiceLifecycle

/// # ExampleService
///
/// A service with a job of its own, in a worker of its own.
///
/// ```
///  gaia.jobs ──hello.greet.v1──▶ gaia.jobs.hello ──▶ this process ──▶ gaia.results, reply_to
/// ```
///
/// Set `GAIA_AMQP_URL` and `GAIA_DATABASE_URL`, run `gaia migrate` once, start it as often as you like, and try
/// `docs/examples/enqueue.py hello.greet.v1 greet-ada '{"name": "Ada"}'`.
@main
enum ExampleService {
    static func main() async throws {
        // An error names the setting that is missing or wrong.
        let settings = try FleetConfiguration.load()
        let logger = Logger(label: "example-service")
        let worker = Worker(try WorkerConfiguration(settings), definitions: [greet], logger: logger)
        // SIGTERM drains: running jobs may end, the others are handed back.
        try await ServiceGroup(services: [worker], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger).run()
    }
}

/// What a producer sends.
struct Greet: JobParameters {
    static let type: JobType = "hello.greet.v1"
    static let schema = JSONSchema.object(
        ["name": .string(description: "who is greeted", lengthMax: 100)], required: ["name"])

    var name: String

    func validate() throws(InvalidParameters) {
        guard (1...100).contains(name.count) else { throw InvalidParameters("'name' must have 1 to 100 characters") }
    }
}

/// What a producer gets.
struct Greeting: Codable, Sendable {
    var text: String
}

/// The job: its parameters, how it is retried, and what runs it. A handler may be called again for the same key, after
/// a crash or a failure, so whatever it changes elsewhere should be told `context.idempotencyKey`.
let greet = JobDefinition(
    Greet.self, summary: "greets someone by name", retry: RetryPolicy(attemptsMax: 3), timeout: .seconds(10)
) { (parameters: Greet, _: JobContext) -> Greeting in
    Greeting(text: "Hello, \(parameters.name)!")
}

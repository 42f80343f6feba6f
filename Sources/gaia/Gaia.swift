import ArgumentParser
import FleetModel

/// # gaia
///
/// The program: three long-running commands (`worker`, `dispatcher`, `up`) and the tools around them. Each command is a
/// file; only here are clients, stores and services put together.
@main
struct Gaia: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gaia",
        abstract: "A fleet of workers for typed jobs on RabbitMQ, with their ledger in PostgreSQL.",
        discussion: """
            Try it:       gaia demo
            Develop:      gaia up          private servers, a dispatcher and a worker in one
            Run it:       gaia migrate; gaia topology apply; gaia dispatcher; gaia worker
            Use it:       gaia enqueue --type gaia.noop.v1 --key hello

            Settings come from a YAML file (--config, GAIA_CONFIG) and from the environment, which wins;
            'gaia settings' lists them.

            Exit status: 0 done; 1 the work itself failed; 64 wrong usage; 65 it cannot be done as things stand; 66 no
            such job, lock, limit or schedule; 69 broker, database or another needed part is not available; 70 an error inside;
            78 a setting is wrong.
            """,
        version: FleetModel.version,
        subcommands: [
            DemoCommand.self, UpCommand.self, StackCommand.self, WorkerCommand.self, DispatcherCommand.self,
            EnqueueCommand.self, JobCommand.self, DeadCommand.self, PauseCommand.self, ResumeCommand.self,
            CronCommand.self, LockCommand.self, LimitCommand.self, StatusCommand.self, TopCommand.self,
            DoctorCommand.self, ProfileCommand.self, TypesCommand.self, MigrateCommand.self,
            TopologyCommand.self, SettingsCommand.self,
            BenchCommand.self, ChaosCommand.self,
        ])
}

/// # FleetTestKit
///
/// What tests of the fleet are written with: real servers, a place of one's own on them, workers and dispatchers in
/// this process, and ways to wait for what happens instead of sleeping.
///
/// ```
///  TestStack      the broker and the database of this test process: given by the environment, or started here
///    └─ Isolated  a virtual host and a migrated database, removed afterwards
///         └─ TestFleet   workers, a dispatcher, a producer, and a Mailbox that has what the fleet publishes
///
///  Work, Recorder, Gate   a kind of job whose handler does what the test says, and tells when it did
///  Watched, eventually    wait for a state: told of each change, or asked again; both with a deadline
///  Program                the built executables as processes of their own
///  RawPublisher           frames that no proper client would send
/// ```
///
/// | variable | meaning |
/// |---|---|
/// | `GAIA_TEST_AMQP_URL` | the broker; its user is an administrator |
/// | `GAIA_TEST_MANAGEMENT_URL` | its management plugin on the loopback address |
/// | `GAIA_TEST_BROKER_METRICS_URL` | what a Prometheus scrapes of it |
/// | `GAIA_TEST_DATABASE_URL` | the database; its user may create databases |
/// | `GAIA_TEST_LOG` | the least level that the fleet logs in tests; `critical` when absent |
/// | `GAIA_TEST_BINARY` | the `gaia` executable; the one beside the test bundle when absent |
///
/// Without the first four, one stack is started for the process and ends with it.
enum FleetTestKitOverview {}

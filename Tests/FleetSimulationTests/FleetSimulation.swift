/// # FleetSimulationTests
///
/// The fleet's decisions in small worlds where everything fails: claim, lease, rescue, leadership, retry, settling and
/// locks, by a virtual clock and with a broker and a database that lose, delay, repeat and reorder. Ten thousand worlds
/// take seconds, and one seed is one world, always the same.
///
/// ```
///  seed ─▶ Plan ─▶ World ──────────────────────────────────────────────▶ Outcome: History, Violation?
///         jobs,    │  EventQueue: by time, then by chance                       │
///         faults   │                                                            ▼
///                  ├─ SimulatedProducer ──▶ SimulatedBroker            Shrinking: a smaller Plan that
///                  ├─ SimulatedWorker ◀───▶ at least once              breaks the same rule
///                  │      │
///                  │      ▼
///                  ├─ SimulatedDatabase: sessions, lost answers, late commits
///                  │      └─ LedgerModel ◀══ ConformanceTests ══▶ the SQL, in PostgreSQL
///                  ├─ SimulatedDispatcher
///                  └─ Witness: its own account of commits, runs and results; knows every Invariant
/// ```
///
/// Three things keep it honest. The model of the ledger is compared with the database, verb by verb. Decisions that are
/// pure Swift already (`Settlement`, `RetryPolicy`, `Backoff`, `JobResult`) are not modelled: the fleet's own code runs.
/// And each rule has a `Mutant` that breaks it, which the simulation must find, and the comparison too where it is one of
/// the ledger's.
///
/// `Mutant.ofTheFleet` names those that are in the fleet's own code. The simulation runs as if they were not.
///
/// What it does not have: the wire, threads, statements that wait for each other's row locks (each call to the database is
/// one instant), handlers' time limits, pauses, schedules by the clock, and operators' decisions but for calling off.
///
/// | variable | meaning |
/// |---|---|
/// | `GAIA_SIMULATION_SEED` | lets one world happen, and prints its plan and its history |
/// | `GAIA_SIMULATION_WORLDS` | how many worlds happen in the long test, 10000 when absent |
/// | `GAIA_TEST_DATABASE_URL` | the database server of `ConformanceTests`; its user may create databases |
enum FleetSimulationOverview {}

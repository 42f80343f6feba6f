/// # FleetChaos
///
/// Breaks a fleet of real processes on real servers, in the order that a seed gives, and holds what came of it against what
/// is promised. A part of the program (`gaia chaos`) and not of its tests, so that whoever runs a fleet can try the very
/// build that is to be deployed, on the very machine.
///
/// ```
///  seed ─▶ ChaosPlan  when which fault comes               seed ─▶ Workload  which jobs, how enqueued, how they must end
///             │                                                       │
///          Injector ──▶ SIGKILL, SIGSTOP, SIGTERM …               Producers ──▶ Journal: ok, failed, unknown
///             │                 │                                     │
///             │        Seat × n: gaia worker, gaia dispatcher  ◀── RabbitMQ, PostgreSQL
///             └─▶ FaultyLink × 2 n: mute, reset, slow ─┘              │        │
///                               │                            results queue   audit.sql: triggers write each step down
///                        EffectTarget: counts what handlers do        │        │
///                               └─────────────▶ Checker ◀─────────────┴────────┘
///                                                  └─▶ ChaosReport: violations with seed and timelines
/// ```
///
/// Nothing that judges shares code with what is judged: the target is an HTTP server that writes requests down, the audit is
/// done by triggers, and the checker sees what they and the producers have noted. A fault that cannot be brought about ends
/// the run with an error, since a run that only believed to be under fire has shown nothing.
enum FleetChaosOverview {}

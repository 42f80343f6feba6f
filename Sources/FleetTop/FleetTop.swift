/// # FleetTop
///
/// A picture of the live fleet on a terminal: what `gaia top` shows.
///
/// ```
///  LedgerWatch ──SQL──┐              keys, signals
///  BrokerWatch ─AMQP──┼──▶ Sight          │
///     glance ───HTTP──┘      │            ▼
///                            ▼        TopState
///           History ──▶ FleetFrame ──▶ Page (lines) ──▶ Screen
/// ```
///
/// The watches only look, each on its own, so that one server's silence hides nothing of the other. ``Sight`` holds what was
/// seen last and since when, ``History`` makes rates of the workers' growing counts, ``FleetFrame`` says what follows from
/// both, and ``Page`` lays it out: all pure, and tested without a terminal. ``Screen`` alone knows the terminal.
///
/// Nothing here reads the table of jobs: rates and latencies are the workers' own counts, which come with their leases.
/// While somebody looks, the workers are asked to renew them at each look.
enum FleetTop {}

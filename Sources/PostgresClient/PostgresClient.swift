import CPostgres

/// PostgreSQL through libpq, for programs that run many tasks over few connections.
///
/// It knows SQL as text and values as bytes; it knows no tables. Everything waits with a deadline, every queue has a
/// bound, and every error says whether the work may have been applied.
///
///      tasks                                     IO thread (one per pool)                      server
///      ─────                                     ────────────────────────                      ──────
///      execute, pipeline ─ encode ─▶ inbox ─▶ waiting line ─▶ a free connection ─ pipeline ─▶ backend
///                                                                 │  prepare (first time), execute …, sync
///      rows, decoded lazily ◀──────── one continuation ◀── results, matched by ``ExpectedResults``
///
///      withTransaction ─▶ lease of one connection ─▶ BEGIN + first statement … COMMIT ─▶ released if clean
///      cancelled task  ─▶ inbox ─▶ a thread for PQcancel ───────────────────────────────────▶ postmaster
///      connecting      ─▶ a thread for each attempt (a name lookup blocks), then handed over
///
/// A unit is what ends in one sync: one statement, or a pipeline of them. It costs one hop to the IO thread and one
/// continuation back, whatever its number of rows; parameters are encoded and rows decoded by the caller's task. A failed
/// unit fails alone.
///
/// | type | is for |
/// |---|---|
/// | ``PostgresPool`` | statements and transactions of many tasks |
/// | ``PostgresListener`` | notifications, across reconnects |
/// | ``PostgresDedicated`` | one connection whose life means something: session advisory locks |
///
/// What a lost link means is in ``PostgresError/Kind``. A server that does not answer at all (stopped, or cut off by the
/// network) is given up when a unit has been without any answer for the statement timeout and
/// ``PostgresConfiguration/answerMargin``.
public enum PostgresClient {
    /// Version of the libpq this program runs with, as 150020 for 15.20.
    public static var libraryVersion: Int { Int(PQlibVersion()) }
}

/// # FleetModel
///
/// The nouns of the fleet: what a job is, which states it may be in, how a handler is written and what it may
/// answer. It does no I/O and knows neither a queue nor a table, so that a subsystem can be written, and tested,
/// against this target alone.
///
/// ```
///  JobParameters ──decode──▶ JobDefinition ──run──▶ Outcome ──▶ ResultDocument
///   (Codable, a type name)    (handler, retry)       (succeeded, failed, …)   (what is published)
/// ```
///
/// A job moves through these states and no others:
///
/// ```
///  scheduled ─▶ queued ─▶ running ─▶ succeeded
///                 ▲          ├─────▶ discarded      given up: attempts spent or the error is permanent
///                 │          ├─────▶ cancelled
///                 │          ├─────▶ indeterminate  its worker died and it cannot be repeated safely
///                 └ retrying ◀┘
/// ```
public enum FleetModel {
    /// The version of the program, shown by `gaia --version` and at every connection.
    public static let version = "0.1.0"
}

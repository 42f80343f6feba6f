/// What a machine's broker and database give to a plain loop in C over the same libraries: the limit that a worker of ours
/// is held against. No handlers, no retries, no leases; an error ends the loop.
///
/// Each call runs on its caller's thread until it is done.
#ifndef GAIA_CFLOOR_H
#define GAIA_CFLOOR_H

#ifdef __cplusplus
extern "C" {
#endif

/// Versions of the libraries.
const char *_Nonnull gaia_floor_librabbitmq(void);
const char *_Nonnull gaia_floor_libpq(void);

struct gaia_floor_broker {
    const char *_Nonnull host;
    int port;
    const char *_Nonnull virtual_host;
    const char *_Nonnull user;
    const char *_Nonnull password;
};

/// The two statements of a job. The first takes an array of keys (text[]) and returns columns `key` and `token` of those it
/// claimed; the second takes keys (text[]) and their tokens (int8[]) and returns a row for each that it completed.
struct gaia_floor_ledger {
    const char *_Nonnull connection;  // as PQconnectdb takes it
    const char *_Nonnull claim;
    const char *_Nonnull complete;
};

/// Publishes `count` persistent messages of `bytes` bytes to a queue, the keys `prefix`0, `prefix`1, … as their ids, with at
/// most `window` of them unconfirmed.
///
/// All of these return NULL when they are done, and else what went wrong, to be freed by the caller.
char *_Nullable gaia_floor_publish(
    const struct gaia_floor_broker *_Nonnull broker, const char *_Nonnull queue, const char *_Nonnull prefix, long count,
    int bytes, int window, double *_Nonnull seconds);

/// Takes `count` messages from a queue, acknowledging `batch` of them at a time.
char *_Nullable gaia_floor_consume(
    const struct gaia_floor_broker *_Nonnull broker, const char *_Nonnull queue, long count, int prefetch, int batch,
    double *_Nonnull seconds);

/// Claims and completes `count` jobs, `batch` in a statement, each statement a transaction.
char *_Nullable gaia_floor_settle(
    const struct gaia_floor_ledger *_Nonnull ledger, const char *_Nonnull prefix, long count, int batch,
    double *_Nonnull seconds);

/// Takes messages from a queue, at most `batch` at once; claims them, completes them, publishes a result of `bytes` bytes
/// for each to `exchange` and waits for the confirms, and acknowledges them. Ends when none has come for `idle` seconds.
///
/// - Parameters:
///   - count: receives how many were done.
///   - seconds: receives the time from the first message to the last acknowledgement.
char *_Nullable gaia_floor_loop(
    const struct gaia_floor_broker *_Nonnull broker, const struct gaia_floor_ledger *_Nonnull ledger,
    const char *_Nonnull queue, const char *_Nonnull exchange, const char *_Nonnull routing_key, int bytes, int batch,
    double idle, long *_Nonnull count, double *_Nonnull seconds);

#ifdef __cplusplus
}
#endif
#endif

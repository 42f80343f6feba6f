/// Waiting for many descriptors at once (epoll) and a bell to end the wait (eventfd): both are missing from Swift's view
/// of glibc.
#ifndef CWATCH_H
#define CWATCH_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Opens a watch, closed by exec; -1 and errno.
int gaia_watch(void);

/// Has it wake whenever the descriptor can be read or has ended, and tell `token` then; 0, or -1 and errno.
int gaia_watch_add(int watch, int descriptor, uint64_t token);

/// Has it wake when the descriptor can be read, or written, or both; with neither it is watched no more. `is_watched` says
/// whether it is now. 0, or -1 and errno.
int gaia_watch_change(int watch, int descriptor, uint64_t token, bool is_watched, bool reads, bool writes);

/// A descriptor that is closed needs no removal.
int gaia_watch_remove(int watch, int descriptor);

/// Waits for at most so many milliseconds, without end when negative. Returns how many tokens were written; none also
/// when a signal came.
int gaia_watch_wait(int watch, uint64_t *_Nonnull tokens, int tokens_max, int milliseconds);

/// The most tokens that one wait tells.
#define GAIA_WATCH_TOKENS_MAX 256

/// A descriptor that can be read once it has been rung; closed by exec, -1 and errno.
int gaia_bell(void);
void gaia_bell_ring(int bell);
/// Makes it unreadable until it is rung again.
void gaia_bell_still(int bell);

#ifdef __cplusplus
}
#endif

#endif

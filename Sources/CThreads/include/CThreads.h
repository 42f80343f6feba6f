// Threads of the program's own, which no signal interrupts.
#ifndef GAIA_CTHREADS_H
#define GAIA_CTHREADS_H

#include <pthread.h>
#include <stddef.h>

/// Starts a thread that calls `body` with `argument`.
///
/// All signals are blocked there, since handlers belong to the program's other threads, but for SIGPROF, by which threads
/// are sampled. Of the name, which ps and top show, Linux keeps 15 bytes. A stack of 0 bytes is one of the system's size.
///
/// With `thread` given it has to be joined or detached; else it is detached. Returns 0, or an errno.
int gaia_thread_start(
    const char *_Nonnull name, size_t stack_bytes, void (*_Nonnull body)(void *_Nonnull), void *_Nonnull argument,
    pthread_t *_Nullable thread);

#endif

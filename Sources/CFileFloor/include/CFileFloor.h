/// The system calls of file jobs in plain C, without jobs: what the machine itself takes for them.
#ifndef CFILEFLOOR_H
#define CFILEFLOOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The kinds of operations of the mixed load.
enum gaia_floor_kind {
    GAIA_FLOOR_READ,    // open, fstat, read 4 KiB
    GAIA_FLOOR_STAT,
    GAIA_FLOOR_LIST,    // a directory, and the status of each entry
    GAIA_FLOOR_HASH,    // read whole, SHA-256
    GAIA_FLOOR_WRITE,   // temporary of 4 KiB, sync, rename, sync of the directory
    GAIA_FLOOR_COPY,    // the same from another file
    GAIA_FLOOR_APPEND,  // 100 bytes, sync
    GAIA_FLOOR_MOVE,    // rename, sync of the directory
    GAIA_FLOOR_DELETE,  // unlink, sync of the directory
};

/// One operation: on `source`, and `target` where there is one, both paths beneath a directory.
struct gaia_floor_operation {
    enum gaia_floor_kind kind;
    const char *_Nonnull source;
    const char *_Nullable target;
};

/// Does all operations in `directory`, a descriptor, with so many threads that take the next one in turns.
/// Returns nanoseconds from the start of the threads to the end of the last, or -1 when an operation failed (errno).
int64_t gaia_floor_mixed(
    int directory, const struct gaia_floor_operation *_Nonnull operations, int count, int threads);

/// Nanoseconds to read the file in pieces of 64 KiB, to hash it so by SHA-256, to copy it to `target` within the kernel, and
/// to read it as XML by Expat with nothing to tell; -1 on failure.
int64_t gaia_floor_read(const char *_Nonnull path);
int64_t gaia_floor_hash(const char *_Nonnull path);
int64_t gaia_floor_copy(const char *_Nonnull path, const char *_Nonnull target);
int64_t gaia_floor_xml(const char *_Nonnull path);

#ifdef __cplusplus
}
#endif

#endif

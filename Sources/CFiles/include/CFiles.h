/// System calls on files that glibc or Swift's view of it lacks, and checksums by OpenSSL and zlib. Pointers are borrowed
/// for the call. Every function that can fail returns -1 and leaves the reason in errno, unless it says otherwise.
#ifndef CFILES_H
#define CFILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/// How openat2(2) walks a path. A walk that would leave the directory fails with EXDEV, a symbolic link that is not
/// followed with ELOOP, and one that the kernel could not vouch for because of a rename next to it with EAGAIN.
enum gaia_walk {
    GAIA_WALK_BENEATH_WITHOUT_LINKS,  // no symbolic link is followed
    GAIA_WALK_BENEATH,                // those that stay beneath are; never the magic ones of /proc
};

/// Of O_PATH: a descriptor that only stands for a place.
extern const int gaia_open_path_only;

/// Opens `path` beneath `directory`. O_CLOEXEC is added.
int gaia_open_beneath(int directory, const char *_Nonnull path, int flags, mode_t mode, enum gaia_walk walk);

/// renameat2(2) with RENAME_NOREPLACE: EEXIST when the new name is taken.
int gaia_rename_if_absent(
    int old_directory, const char *_Nonnull old_name, int new_directory, const char *_Nonnull new_name);

/// copy_file_range(2): bytes copied, 0 at the end of the input. The descriptors' own positions stay.
ssize_t gaia_copy_range(int input, int64_t input_offset, int output, int64_t output_offset, size_t bytes_max);

/// fsetxattr(2) and fgetxattr(2): extended attributes.
int gaia_set_attribute(int descriptor, const char *_Nonnull name, const void *_Nonnull value, size_t count);
ssize_t gaia_get_attribute(int descriptor, const char *_Nonnull name, void *_Nonnull value, size_t capacity);

/// The names in a directory, one at a time; "." and ".." are left out.
struct gaia_directory_stream;

/// Takes over `descriptor`, which must not be closed by the caller any more. NULL and errno on failure; it is closed then.
struct gaia_directory_stream *_Nullable gaia_directory_stream_open(int descriptor);
/// The next name, valid until the next call; NULL at the end with errno 0, or on failure with errno set.
const char *_Nullable gaia_directory_stream_next(struct gaia_directory_stream *_Nonnull stream);
void gaia_directory_stream_close(struct gaia_directory_stream *_Nonnull stream);

enum gaia_digest_kind {
    GAIA_DIGEST_SHA256,
    GAIA_DIGEST_SHA512,
    GAIA_DIGEST_SHA1,
    GAIA_DIGEST_MD5,
    GAIA_DIGEST_CRC32,
};

/// The most bytes that a digest has.
#define GAIA_DIGEST_BYTES_MAX 64

struct gaia_digest;

/// NULL when there is no memory, or when the machine's OpenSSL is set up to refuse the algorithm.
struct gaia_digest *_Nullable gaia_digest_open(enum gaia_digest_kind kind);
/// 0, or -1 when OpenSSL refuses, which it does not after a successful open.
int gaia_digest_update(struct gaia_digest *_Nonnull digest, const void *_Nullable bytes, size_t count);
/// Writes the digest and returns its length, or -1 as above. Nothing may be added after it.
int gaia_digest_finish(struct gaia_digest *_Nonnull digest, uint8_t output[_Nonnull GAIA_DIGEST_BYTES_MAX]);
void gaia_digest_close(struct gaia_digest *_Nonnull digest);

#ifdef __cplusplus
}
#endif

#endif

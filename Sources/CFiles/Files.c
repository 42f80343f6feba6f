#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "CFiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

const int gaia_open_path_only = O_PATH;

int gaia_open_beneath(int directory, const char *path, int flags, mode_t mode, enum gaia_walk walk) {
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
        // The kernel refuses a mode where no file can be made.
        .mode = (flags & O_CREAT) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    if (walk == GAIA_WALK_BENEATH_WITHOUT_LINKS) how.resolve |= RESOLVE_NO_SYMLINKS;
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

int gaia_rename_if_absent(int old_directory, const char *old_name, int new_directory, const char *new_name) {
    return renameat2(old_directory, old_name, new_directory, new_name, RENAME_NOREPLACE);
}

ssize_t gaia_copy_range(int input, int64_t input_offset, int output, int64_t output_offset, size_t bytes_max) {
    return copy_file_range(input, &input_offset, output, &output_offset, bytes_max, 0);
}

int gaia_set_attribute(int descriptor, const char *name, const void *value, size_t count) {
    return fsetxattr(descriptor, name, value, count, 0);
}

ssize_t gaia_get_attribute(int descriptor, const char *name, void *value, size_t capacity) {
    return fgetxattr(descriptor, name, value, capacity);
}

// A DIR by another name, so that readers of the header need not include <dirent.h>.
static DIR *as_dir(struct gaia_directory_stream *stream) { return (DIR *)stream; }

struct gaia_directory_stream *gaia_directory_stream_open(int descriptor) {
    DIR *dir = fdopendir(descriptor);
    if (dir == NULL) {
        int error = errno;
        close(descriptor);
        errno = error;
    }
    return (struct gaia_directory_stream *)dir;
}

const char *gaia_directory_stream_next(struct gaia_directory_stream *stream) {
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(as_dir(stream));
        if (entry == NULL) return NULL;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) return entry->d_name;
    }
}

void gaia_directory_stream_close(struct gaia_directory_stream *stream) { closedir(as_dir(stream)); }

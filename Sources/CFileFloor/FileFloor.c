#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "CFileFloor.h"

#include <dirent.h>
#include <errno.h>
#include <expat.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 64 << 10, SMALL = 4096, LINE = 100 };

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/// Reads a file to its end; what is read goes to `digest` when there is one.
static bool read_whole(int directory, const char *path, EVP_MD_CTX *digest) {
    int file = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return false;
    char *piece = malloc(PIECE);
    struct stat status;
    bool good = piece != NULL && fstat(file, &status) == 0;
    ssize_t got = 0;
    while (good && (got = read(file, piece, PIECE)) > 0)
        if (digest != NULL) EVP_DigestUpdate(digest, piece, (size_t)got);
    free(piece);
    close(file);
    return good && got == 0;
}

static bool hash(int directory, const char *path) {
    unsigned char output[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool good = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                read_whole(directory, path, digest) && EVP_DigestFinal_ex(digest, output, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return good;
}

static bool list(int directory, const char *path) {
    int descriptor = openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = descriptor < 0 ? NULL : fdopendir(descriptor);
    if (dir == NULL) return false;
    struct dirent *entry;
    struct stat status;
    bool good = true;
    while (good && (entry = readdir(dir)) != NULL)
        good = fstatat(descriptor, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    closedir(dir);
    return good;
}

/// Fills a temporary, and puts it in its place for good.
static bool place(int directory, const char *target, const char *source) {
    char temporary[512];
    snprintf(temporary, sizeof temporary, "%s.part", target);
    int file = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (file < 0) return false;
    bool good = true;
    if (source == NULL) {
        static const char content[SMALL];
        good = write(file, content, SMALL) == SMALL;
    } else {
        int input = openat(directory, source, O_RDONLY | O_CLOEXEC);
        ssize_t got = input < 0 ? -1 : 1;
        while (got > 0) got = copy_file_range(input, NULL, file, NULL, 1 << 20, 0);
        good = got == 0;
        if (input >= 0) close(input);
    }
    good = good && fdatasync(file) == 0;
    close(file);
    return good && renameat(directory, temporary, directory, target) == 0 && fsync(directory) == 0;
}

static bool append(int directory, const char *path) {
    static const char line[LINE];
    int file = openat(directory, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    bool good = file >= 0 && write(file, line, LINE) == LINE && fdatasync(file) == 0;
    if (file >= 0) close(file);
    return good;
}

static bool perform(int directory, const struct gaia_floor_operation *operation) {
    struct stat status;
    switch (operation->kind) {
        case GAIA_FLOOR_READ: return read_whole(directory, operation->source, NULL);
        case GAIA_FLOOR_STAT: return fstatat(directory, operation->source, &status, AT_SYMLINK_NOFOLLOW) == 0;
        case GAIA_FLOOR_LIST: return list(directory, operation->source);
        case GAIA_FLOOR_HASH: return hash(directory, operation->source);
        case GAIA_FLOOR_WRITE: return place(directory, operation->source, NULL);
        case GAIA_FLOOR_COPY: return place(directory, operation->target, operation->source);
        case GAIA_FLOOR_APPEND: return append(directory, operation->source);
        case GAIA_FLOOR_MOVE:
            return renameat(directory, operation->source, directory, operation->target) == 0 && fsync(directory) == 0;
        case GAIA_FLOOR_DELETE: return unlinkat(directory, operation->source, 0) == 0 && fsync(directory) == 0;
    }
    return false;
}

struct shared {
    int directory;
    const struct gaia_floor_operation *operations;
    int count;
    atomic_int next;
    atomic_int error;
};

static void *serve(void *context) {
    struct shared *shared = context;
    int index;
    while ((index = atomic_fetch_add(&shared->next, 1)) < shared->count)
        if (!perform(shared->directory, &shared->operations[index])) atomic_store(&shared->error, errno ? errno : EIO);
    return NULL;
}

int64_t gaia_floor_mixed(
    int directory, const struct gaia_floor_operation *operations, int count, int threads) {
    enum { THREADS_MAX = 256 };
    pthread_t started[THREADS_MAX];
    if (threads > THREADS_MAX) threads = THREADS_MAX;
    struct shared shared = {.directory = directory, .operations = operations, .count = count};
    int64_t begin = now();
    int running = 0;
    while (running < threads && pthread_create(&started[running], NULL, serve, &shared) == 0) running++;
    for (int index = 0; index < running; index++) pthread_join(started[index], NULL);
    int64_t end = now();
    errno = running == 0 ? EAGAIN : atomic_load(&shared.error);
    return errno == 0 ? end - begin : -1;
}

int64_t gaia_floor_read(const char *path) {
    int64_t begin = now();
    return read_whole(AT_FDCWD, path, NULL) ? now() - begin : -1;
}

int64_t gaia_floor_hash(const char *path) {
    int64_t begin = now();
    return hash(AT_FDCWD, path) ? now() - begin : -1;
}

int64_t gaia_floor_copy(const char *path, const char *target) {
    int64_t begin = now();
    int input = open(path, O_RDONLY | O_CLOEXEC);
    int output = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    ssize_t got = input < 0 || output < 0 ? -1 : 1;
    while (got > 0) got = copy_file_range(input, NULL, output, NULL, 1 << 20, 0);
    bool good = got == 0 && fdatasync(output) == 0;
    if (input >= 0) close(input);
    if (output >= 0) close(output);
    return good ? now() - begin : -1;
}

int64_t gaia_floor_xml(const char *path) {
    int64_t begin = now();
    int file = open(path, O_RDONLY | O_CLOEXEC);
    XML_Parser parser = XML_ParserCreate(NULL);
    bool good = file >= 0 && parser != NULL;
    while (good) {
        void *piece = XML_GetBuffer(parser, PIECE);
        ssize_t got = piece == NULL ? -1 : read(file, piece, PIECE);
        good = got >= 0 && XML_ParseBuffer(parser, (int)got, got == 0) == XML_STATUS_OK;
        if (got <= 0) break;
    }
    if (parser != NULL) XML_ParserFree(parser);
    if (file >= 0) close(file);
    return good ? now() - begin : -1;
}

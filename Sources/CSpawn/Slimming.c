#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "Slimming.h"

#include <dirent.h>
#include <errno.h>
#include <link.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/// A library's share of the address space, from its first page to past its last.
struct span {
    uintptr_t begin;
    uintptr_t end;
};

/// Libraries beyond are kept; the program has some forty.
#define SPANS_MAX 256

struct spans {
    struct span items[SPANS_MAX];
    size_t count;
};

static bool holds(struct span span, uintptr_t address) { return span.begin <= address && address < span.end; }

/// Whether something of it is called. Not by its name: a sanitizer or another allocator can stand in for libc's functions,
/// and each of these groups comes from one library then.
static bool is_used(struct span span) {
    const uintptr_t used[] = {
        (uintptr_t)&calloc,   (uintptr_t)&free,   (uintptr_t)&memcpy,  (uintptr_t)&memset, (uintptr_t)&strrchr,
        (uintptr_t)&snprintf, (uintptr_t)&sscanf, (uintptr_t)&opendir, (uintptr_t)&read,   (uintptr_t)&poll,
        (uintptr_t)&waitpid,  (uintptr_t)&mmap,   (uintptr_t)&vfork,   (uintptr_t)&__errno_location,
        (uintptr_t)&clock_gettime,
        // The dynamic linker and the kernel's own page of functions.
        getauxval(AT_BASE),   getauxval(AT_SYSINFO_EHDR),
    };
    for (size_t index = 0; index < sizeof used / sizeof *used; index++)
        if (holds(span, used[index])) return true;
    return false;
}

static int note_library(struct dl_phdr_info *library, size_t size, void *context) {
    (void)size;
    struct spans *spans = context;
    // The program itself has no name.
    if (library->dlpi_name == NULL || library->dlpi_name[0] == '\0' || spans->count == SPANS_MAX) return 0;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct span span = {.begin = UINTPTR_MAX, .end = 0};
    for (size_t index = 0; index < library->dlpi_phnum; index++) {
        const ElfW(Phdr) *part = &library->dlpi_phdr[index];
        if (part->p_type != PT_LOAD) continue;
        uintptr_t begin = (library->dlpi_addr + part->p_vaddr) & ~(page - 1);
        uintptr_t end = (library->dlpi_addr + part->p_vaddr + part->p_memsz + page - 1) & ~(page - 1);
        if (begin < span.begin) span.begin = begin;
        if (end > span.end) span.end = end;
    }
    if (span.begin < span.end && !is_used(span)) spans->items[spans->count++] = span;
    return 0;
}

/// A library may have started a thread as it was loaded, which still runs in it.
static bool has_one_thread(void) {
    struct stat status;
    // The directory's links: its own two and one a thread.
    return stat("/proc/self/task", &status) == 0 && status.st_nlink == 3;
}

void slim(void) {
    // Who is run with another's rights gets no say in how functions are bound: some may not be yet.
    if (getauxval(AT_SECURE) != 0 || !has_one_thread()) return;
    static struct spans spans;
    dl_iterate_phdr(note_library, &spans);
    // A span that stays costs time and nothing else.
    for (size_t index = 0; index < spans.count; index++)
        munmap((void *)spans.items[index].begin, spans.items[index].end - spans.items[index].begin);
}

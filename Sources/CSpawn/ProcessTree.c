#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ProcessTree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "CSpawn.h"

/// A process seen below us, and under whom.
struct seen {
    pid_t id;
    pid_t parent;
};

/// What one walk sees at most. Were there more, the next round of a killing would find them; Linux gives 32,768 ids
/// unless told otherwise. Memory that is never touched costs nothing.
#define SEEN_MAX 65536
static struct seen seen[SEEN_MAX];
static size_t seen_count;

static bool is_spared(struct spared_children spared, pid_t id) {
    for (size_t index = 0; index < spared.count; index++)
        if (spared.ids[index] == id) return true;
    return false;
}

/// Notes the processes of a file of ids with blanks between them, as /proc/…/children is.
static void note_children(const char *path, pid_t parent, struct spared_children spared) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;  // The process has ended: what was below it is found under us in the next round.
    char buffer[4096];
    pid_t id = 0;
    ssize_t count;
    while ((count = read(file, buffer, sizeof buffer)) > 0) {
        for (ssize_t index = 0; index < count; index++) {
            if (buffer[index] >= '0' && buffer[index] <= '9') {
                id = id * 10 + (buffer[index] - '0');
            } else if (id != 0) {
                if (!is_spared(spared, id) && seen_count < SEEN_MAX)
                    seen[seen_count++] = (struct seen){.id = id, .parent = parent};
                id = 0;
            }
        }
    }
    close(file);
}

static void note_children_of_us(struct spared_children spared) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    note_children(path, getpid(), spared);
}

/// What /proc tells of a process in one line.
struct entry {
    char state;
    pid_t parent;
    long threads;
};

/// False when it has gone.
static bool look_at(pid_t process, struct entry *entry) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    char text[512];
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    if (count <= 0) return false;
    text[count] = '\0';
    // The program's name may itself hold blanks and parentheses: what follows the last one counts.
    const char *end = strrchr(text, ')');
    int parent;
    if (end == NULL ||
        sscanf(
            end + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld", &entry->state, &parent,
            &entry->threads) != 3)
        return false;
    entry->parent = parent;
    return true;
}

/// Children belong to the thread that forked them.
static void note_children_of(pid_t process, long threads) {
    const struct spared_children none = {0};
    char path[64];
    if (threads == 1) {
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)process, (int)process);
        note_children(path, process, none);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *directory = opendir(path);
    if (directory == NULL) return;
    struct dirent *thread;
    while ((thread = readdir(directory)) != NULL) {
        if (thread->d_name[0] == '.') continue;
        char children[sizeof path + sizeof thread->d_name + 16];
        snprintf(children, sizeof children, "%s/%s/children", path, thread->d_name);
        note_children(children, process, none);
    }
    closedir(directory);
}

/// Signals the very process that was seen, or none. An id can pass to a stranger once its parent has collected it, so the
/// descriptor is bound first, and only then is it asked whether whom it means belongs to us.
static bool signal_seen(struct seen process, int signal, struct entry *entry) {
    int descriptor = gaia_pidfd_open(process.id);
    if (descriptor < 0) return false;
    bool is_meant = look_at(process.id, entry) && (entry->parent == process.parent || entry->parent == getpid());
    bool has_ended = is_meant && (entry->state == 'Z' || entry->state == 'X');
    bool is_sent = is_meant && !has_ended && gaia_pidfd_send_signal(descriptor, signal) == 0;
    close(descriptor);
    return is_sent;
}

size_t tree_signal(int signal, struct spared_children spared) {
    size_t reached = 0;
    seen_count = 0;
    note_children_of_us(spared);
    for (size_t index = 0; index < seen_count; index++) {
        struct entry entry = {.threads = 1};
        // First the parent, then its children are read: one that stands by then adds none.
        if (signal_seen(seen[index], signal, &entry)) reached++;
        note_children_of(seen[index].id, entry.threads);
    }
    return reached;
}

size_t tree_kill_round(struct spared_children spared) {
    tree_signal(SIGSTOP, spared);
    // The whole list first: as soon as a process is killed its children change places, and a walk would miss them.
    seen_count = 0;
    note_children_of_us(spared);
    struct entry entry;
    for (size_t index = 0; index < seen_count; index++)
        if (look_at(seen[index].id, &entry)) note_children_of(seen[index].id, entry.threads);
    size_t reached = 0;
    for (size_t index = 0; index < seen_count; index++)
        if (signal_seen(seen[index], SIGKILL, &entry)) reached++;
    return reached;
}

static uint64_t resident_bytes(pid_t process) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[128];
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    if (count <= 0) return 0;
    text[count] = '\0';
    unsigned long long pages;
    if (sscanf(text, "%*u %llu", &pages) != 1) return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct tree_size tree_measure(size_t processes_max) {
    const struct spared_children none = {0};
    struct tree_size size = {0};
    seen_count = 0;
    note_children_of_us(none);
    for (size_t index = 0; index < seen_count && seen_count <= processes_max; index++) {
        struct entry entry = {.threads = 1};
        if (!look_at(seen[index].id, &entry)) continue;
        size.resident_bytes += resident_bytes(seen[index].id);
        note_children_of(seen[index].id, entry.threads);
    }
    size.processes = seen_count;
    return size;
}

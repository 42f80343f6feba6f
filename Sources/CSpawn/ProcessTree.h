/// All processes below this one: counting, signalling, killing. For a single-threaded subreaper.
#ifndef PROCESS_TREE_H
#define PROCESS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Children of ours that are not meant, with all below them.
struct spared_children {
    const pid_t *ids;
    size_t count;
};

struct tree_size {
    size_t processes;
    uint64_t resident_bytes;
};

/// How many there are and what memory they hold, as far as /proc told in one walk.
struct tree_size tree_measure(void);

/// Sends a signal to each process below us. Returns how many got it; zombies and, for SIGSTOP, those that stand already
/// are not counted.
size_t tree_signal(int signal, struct spared_children spared);

/// One round of killing: freezes the tree, so that nothing is forked meanwhile, then kills all of it. What it returns is
/// tree_signal's; call it again until there is no child left to wait for.
size_t tree_kill_round(struct spared_children spared);

#endif

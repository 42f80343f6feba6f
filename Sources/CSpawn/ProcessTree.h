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

/// How many there are and what memory they hold, as far as /proc told in one walk. It ends as soon as it has seen more than
/// `processes_max`: a tree that grows could otherwise outrun it.
struct tree_size tree_measure(size_t processes_max);

/// Sends a signal to each process below us. Returns how many got it; zombies are not counted.
size_t tree_signal(int signal, struct spared_children spared);

/// One round of killing: stops all, lists all, kills all. Returns how many it killed; call it again until there is no child
/// left to wait for.
///
/// No walk sees everything in a tree that grows meanwhile, for SIGSTOP lets a fork that has begun succeed. But each round
/// ends all that it has listed, and after a SIGKILL the kernel lets no fork succeed: what is left for the next round are
/// children that were born during this one, of a tree that mostly stood.
size_t tree_kill_round(struct spared_children spared);

#endif

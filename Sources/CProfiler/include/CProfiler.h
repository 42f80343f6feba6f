// Samples of where threads spend processor time: the half of the profiler that runs inside a signal handler.
//
// One profile at a time. `begin` maps the ring and installs the handler, `follow` gives a thread a timer on its own
// processor time, `take` empties the ring, `end` takes the ring away. The handler stays installed: a signal that was on
// its way when its timer went must find one, since SIGPROF ends a process that has none. While a profile is taken, faults are
// looked at first by this: a stack that leads astray must not end the process.
#ifndef GAIA_CPROFILER_H
#define GAIA_CPROFILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    /// Frames kept of a stack; of a deeper one the innermost.
    GAIA_PROFILE_FRAMES_MAX = 192,
    /// Samples that may wait to be taken; a power of two.
    GAIA_PROFILE_SAMPLES_MAX = 4096
};

/// One look at a thread.
struct gaia_profile_sample {
    pid_t thread;
    /// Ticks of the thread's timer that it stands for: more than one where they come faster than the kernel looks.
    uint32_t ticks;
    uint32_t depth;
    /// Innermost first: the instruction that was interrupted, then return addresses less one, so that each lies within
    /// its call.
    uintptr_t frames[GAIA_PROFILE_FRAMES_MAX];
};

/// Returns 0, or an errno: EBUSY while another profile is taken, ENOMEM.
int gaia_profile_begin(void);

/// Has a thread of this process sampled each `interval_ns` of its processor time, the first time after `first_ns`.
/// Returns 0 and a timer, or an errno: ESRCH or EINVAL when the thread has gone, EAGAIN at the limit on signals.
int gaia_profile_follow(pid_t thread, long first_ns, long interval_ns, void **timer);

void gaia_profile_unfollow(void *timer);

/// The oldest sample that was not taken yet; false when there is none. For one thread at a time.
bool gaia_profile_take(struct gaia_profile_sample *sample);

/// Ticks of this profile that found the ring full.
uint64_t gaia_profile_dropped(void);

/// Stacks of this profile that led to memory that cannot be read: of these the inner frames are kept.
uint64_t gaia_profile_astray(void);

/// All timers have to be gone. Returns when no handler looks at the ring any more.
void gaia_profile_end(void);

/// Where the function that an address lies in begins, by the unwinder's tables; 0 when they do not know it.
uintptr_t gaia_function_start(uintptr_t address);

/// The runtimes' own demanglers; what they return is the caller's to free. NULL for what is no such name.
char *gaia_demangle_swift(const char *name, size_t length);
char *gaia_demangle_cxx(const char *name);

/// Of the allocator, in bytes: what the program has in use, what is free within its areas, and what was mapped for single
/// blocks (in use too).
struct gaia_heap {
    size_t areas, in_use, free, mapped, mapped_blocks;
};
void gaia_heap_look(struct gaia_heap *heap);

#endif

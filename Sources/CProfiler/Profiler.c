#define _GNU_SOURCE
#include "CProfiler.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

// A bounded queue with a number in each slot (D. Vyukov's): handlers on many threads put in, one thread takes out, and
// whoever is interrupted keeps nobody else from going on. A slot at `place` may be written when its number is `place`,
// and read when it is `place + 1`.
struct slot {
    _Atomic uint64_t number;
    struct gaia_profile_sample sample;
};

enum {
    /// In the numbering of the unwinder's tables: where a frame pointer is kept.
#if defined(__x86_64__)
    BASE_REGISTER = 6,
#else
    BASE_REGISTER = 29,
#endif
    /// Frames without an entry that a stack may have.
    GAPS_MAX = 32,
    /// A larger frame is taken for none.
    FRAME_BYTES_MAX = 1 << 20
};

static pid_t own_process;
static _Atomic(struct slot *) ring;
static _Atomic uint64_t put_next;
static uint64_t take_next;
static _Atomic uint64_t dropped;
static _Atomic int handlers_inside;
static atomic_flag is_taken = ATOMIC_FLAG_INIT;

// A stack may lead astray: code without tables keeps what it likes where a frame pointer would be, and the unwinder reads
// what it is given. Memory that cannot be read then ends the walk, not the process.
static _Thread_local sigjmp_buf *_Atomic way_out;
static struct sigaction fault_before[2];
static const int fault_signals[2] = {SIGSEGV, SIGBUS};
static _Atomic uint64_t astray;

static void on_fault(int signal, siginfo_t *info, void *context) {
    sigjmp_buf *out = way_out;
    // What is sent by somebody is no fault of a walk.
    if (out != NULL && info->si_code > 0) siglongjmp(*out, 1);
    // Somebody else's, whose own handler may go on from it, and so may the profile.
    const struct sigaction *before = &fault_before[signal == SIGSEGV ? 0 : 1];
    if (before->sa_flags & SA_SIGINFO) return before->sa_sigaction(signal, info, context);
    if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) return before->sa_handler(signal);
    // Without one: as it was before, and once more.
    sigaction(signal, before, NULL);
    if (info->si_code <= 0) raise(signal);
}

static void guard_faults(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (int index = 0; index < 2; index++) sigaction(fault_signals[index], &action, &fault_before[index]);
}

/// Unless somebody has taken them over meanwhile.
static void unguard_faults(void) {
    for (int index = 0; index < 2; index++) {
        struct sigaction present;
        sigaction(fault_signals[index], NULL, &present);
        if (present.sa_flags & SA_SIGINFO && present.sa_sigaction == on_fault)
            sigaction(fault_signals[index], &fault_before[index], NULL);
    }
}

_Static_assert((GAIA_PROFILE_SAMPLES_MAX & (GAIA_PROFILE_SAMPLES_MAX - 1)) == 0, "a power of two");

/// A frame's registers, as far as they lead out of it.
struct frame {
    uintptr_t address, stack, base;
};

#if defined(__x86_64__)

static struct frame registers(const ucontext_t *context) {
    const greg_t *all = context->uc_mcontext.gregs;
    return (struct frame){all[REG_RIP], all[REG_RSP], all[REG_RBP]};
}

static void set_registers(ucontext_t *context, struct frame frame) {
    greg_t *all = context->uc_mcontext.gregs;
    all[REG_RIP] = frame.address;
    all[REG_RSP] = frame.stack;
    all[REG_RBP] = frame.base;
}

#elif defined(__aarch64__)

static struct frame registers(const ucontext_t *context) {
    const mcontext_t *all = &context->uc_mcontext;
    return (struct frame){all->pc, all->sp, all->regs[BASE_REGISTER]};
}

static void set_registers(ucontext_t *context, struct frame frame) {
    mcontext_t *all = &context->uc_mcontext;
    all->pc = frame.address;
    all->sp = frame.stack;
    all->regs[BASE_REGISTER] = frame.base;
}

#else
#error "where this processor's context keeps its registers"
#endif

struct walk {
    struct gaia_profile_sample *sample;
    bool has_passed_handler;
    /// The outermost that was reached.
    struct frame last;
};

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *argument) {
    struct walk *walk = argument;
    struct gaia_profile_sample *sample = walk->sample;
    int is_interrupted = 0;
    uintptr_t address = _Unwind_GetIPInfo(context, &is_interrupted);
    bool was_passed = walk->has_passed_handler;
    // Before it come our own frames and the kernel's trampoline; itself stands in the sample already.
    walk->has_passed_handler |= is_interrupted;
    if (!walk->has_passed_handler) return _URC_NO_REASON;
    if (was_passed) {
        if (address == 0 || sample->depth == GAIA_PROFILE_FRAMES_MAX) return _URC_END_OF_STACK;
        sample->frames[sample->depth++] = address - (is_interrupted ? 0 : 1);
    }
    walk->last = (struct frame){
        .address = sample->frames[sample->depth - 1],
        .stack = _Unwind_GetCFA(context),
        .base = _Unwind_GetGR(context, BASE_REGISTER),
    };
    return _URC_NO_REASON;
}

// Functions that can raise nothing, small ones of Swift mostly, and the stubs through which libraries are called have no
// entry in the unwinder's tables: it ends there. What is missing is read off the stack, since Swift's functions keep a frame
// pointer, and then it goes on by the tables.
#if defined(__x86_64__)

/// The memory may not be there: where a frame pointer is none, the kernel says so instead of ending the process.
static bool read_words(uintptr_t from, uintptr_t *words, size_t count) {
    struct iovec to = {.iov_base = words, .iov_len = count * sizeof(uintptr_t)};
    struct iovec there = {.iov_base = (void *)from, .iov_len = to.iov_len};
    return syscall(SYS_process_vm_readv, own_process, &to, 1UL, &there, 1UL, 0UL) == (long)to.iov_len;
}

/// Whether a call stands right before it, in code: what else lies on a stack mostly fails this, and the unwinder reads the
/// code at what it is given.
static bool is_return_address(uintptr_t address) {
    struct dl_find_object object;
    if (address < 16 || _dl_find_object((void *)address, &object) != 0) return false;
    uintptr_t words[2];
    if (!read_words(address - 8, words, 2)) return false;
    const uint8_t *end = (const uint8_t *)words + 8;
    if (end[-5] == 0xE8) return true;
    // Of `call` through a register or memory, two to seven bytes long.
    for (int length = 2; length <= 7; length++) {
        if (length != 5 && end[-length] == 0xFF && (end[1 - length] & 0x38) == 0x10) return true;
    }
    return false;
}

static bool caller(struct frame frame, bool is_innermost, struct frame *out) {
    uintptr_t words[2];
    const uint8_t *code = (const uint8_t *)frame.address;
    if (is_innermost) {
        // Before `push %rbp`, at a stub's `jmp *…(%rip)`, and at `ret` the return address is on top; before
        // `mov %rsp,%rbp` it is the second.
        bool is_pushed = code[0] == 0x48 && code[1] == 0x89 && code[2] == 0xE5;
        bool is_bare = code[0] == 0x55 || code[0] == 0xC3 || (code[0] == 0xFF && code[1] == 0x25);
        uintptr_t top = frame.stack + (is_pushed ? sizeof(uintptr_t) : 0);
        if ((is_pushed || is_bare) && read_words(top, words, 1) && is_return_address(words[0])) {
            *out = (struct frame){.address = words[0] - 1, .stack = top + sizeof(uintptr_t), .base = frame.base};
            return true;
        }
    }
    if (frame.base < frame.stack || frame.base - frame.stack > FRAME_BYTES_MAX || frame.base % sizeof(uintptr_t) != 0
        || !read_words(frame.base, words, 2) || !is_return_address(words[1]) || words[0] <= frame.base)
        return false;
    *out = (struct frame){.address = words[1] - 1, .stack = frame.base + sizeof(words), .base = words[0]};
    return true;
}

static void walk_frames(struct gaia_profile_sample *sample, ucontext_t *context) {
    struct frame next;
    for (int gaps = 0; gaps < GAPS_MAX; gaps++) {
        struct walk walk = {.sample = sample};
        _Unwind_Backtrace(visit, &walk);
        if (sample->depth == GAIA_PROFILE_FRAMES_MAX || walk.last.address == 0) break;
        // It has an entry: this is where the stack begins.
        if (_Unwind_FindEnclosingFunction((void *)(walk.last.address + 1)) != NULL) break;
        if (!caller(walk.last, sample->depth == 1, &next)) break;
        sample->frames[sample->depth++] = next.address;
        // The unwinder finds these in the frame that the kernel made for the handler. Signals are blocked: nobody else sees
        // them before they are put back.
        set_registers(context, next);
    }
}

#else

static void walk_frames(struct gaia_profile_sample *sample, ucontext_t *context) {
    (void)context;
    struct walk walk = {.sample = sample};
    _Unwind_Backtrace(visit, &walk);
}

#endif

static void walk_stack(struct gaia_profile_sample *sample, ucontext_t *context) {
    const struct frame interrupted = registers(context);
    sample->depth = 1;
    sample->frames[0] = interrupted.address;
    sigjmp_buf out;
    if (sigsetjmp(out, 0) == 0) {
        way_out = &out;
        walk_frames(sample, context);
    } else {
        atomic_fetch_add_explicit(&astray, 1, memory_order_relaxed);
    }
    way_out = NULL;
    set_registers(context, interrupted);
}

static struct slot *reserved(struct slot *slots, uint64_t *place) {
    *place = atomic_load_explicit(&put_next, memory_order_relaxed);
    while (true) {
        struct slot *slot = &slots[*place % GAIA_PROFILE_SAMPLES_MAX];
        int64_t ahead = (int64_t)(atomic_load_explicit(&slot->number, memory_order_acquire) - *place);
        if (ahead < 0) return NULL;
        if (ahead > 0) {
            *place = atomic_load_explicit(&put_next, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(
                       &put_next, place, *place + 1, memory_order_relaxed, memory_order_relaxed)) {
            return slot;
        }
    }
}

static void on_tick(int signal, siginfo_t *info, void *context) {
    (void)signal;
    int previous_error = errno;
    // In this order with `end`, which takes the ring away first and then waits for whoever is inside.
    atomic_fetch_add(&handlers_inside, 1);
    struct slot *slots = atomic_load(&ring);
    // A timer's, and not a signal that somebody sent.
    if (slots != NULL && info->si_code == SI_TIMER) {
        uint32_t ticks = 1 + (info->si_overrun > 0 ? (uint32_t)info->si_overrun : 0);
        uint64_t place;
        struct slot *slot = reserved(slots, &place);
        if (slot == NULL) {
            atomic_fetch_add_explicit(&dropped, ticks, memory_order_relaxed);
        } else {
            struct gaia_profile_sample *sample = &slot->sample;
            sample->thread = (pid_t)syscall(SYS_gettid);
            sample->ticks = ticks;
            walk_stack(sample, context);
            atomic_store_explicit(&slot->number, place + 1, memory_order_release);
        }
    }
    atomic_fetch_sub(&handlers_inside, 1);
    errno = previous_error;
}

/// The first walk resolves symbols and fills tables, which may take locks and memory: here, and not in a handler.
static void warm_up(struct gaia_profile_sample *sample) {
    sample->depth = 1;
    struct walk walk = {.sample = sample, .has_passed_handler = true};
    _Unwind_Backtrace(visit, &walk);
    _Unwind_FindEnclosingFunction((void *)warm_up);
#if defined(__x86_64__)
    is_return_address((uintptr_t)__builtin_return_address(0));
#endif
}

int gaia_profile_begin(void) {
    if (atomic_flag_test_and_set(&is_taken)) return EBUSY;
    size_t size = GAIA_PROFILE_SAMPLES_MAX * sizeof(struct slot);
    struct slot *slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED) {
        atomic_flag_clear(&is_taken);
        return ENOMEM;
    }
    madvise(slots, size, MADV_DONTFORK);
    for (uint64_t place = 0; place < GAIA_PROFILE_SAMPLES_MAX; place++) atomic_init(&slots[place].number, place);
    own_process = getpid();
    warm_up(&slots[0].sample);
    atomic_store(&put_next, 0);
    take_next = 0;
    atomic_store(&dropped, 0);
    atomic_store(&astray, 0);
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    // Nothing else may come between: a handler that runs within this one could use up the stack of a small thread. But for
    // faults, which the kernel would answer by ending the process.
    sigfillset(&action.sa_mask);
    for (int index = 0; index < 2; index++) sigdelset(&action.sa_mask, fault_signals[index]);
    guard_faults();
    sigaction(SIGPROF, &action, NULL);
    atomic_store(&ring, slots);
    return 0;
}

int gaia_profile_follow(pid_t thread, long first_ns, long interval_ns, void **timer) {
    // As pthread_getcpuclockid makes it, which wants a pthread_t, and has to be given a living one.
    clockid_t clock = (clockid_t)((~(unsigned)thread << 3) | 6);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF};
    event._sigev_un._tid = thread;
    timer_t made;
    if (timer_create(clock, &event, &made) != 0) return errno;
    struct itimerspec times = {
        .it_value = {.tv_sec = first_ns / 1000000000, .tv_nsec = first_ns % 1000000000},
        .it_interval = {.tv_sec = interval_ns / 1000000000, .tv_nsec = interval_ns % 1000000000},
    };
    if (timer_settime(made, 0, &times, NULL) != 0) {
        int error = errno;
        timer_delete(made);
        return error;
    }
    *timer = made;
    return 0;
}

void gaia_profile_unfollow(void *timer) { timer_delete(timer); }

bool gaia_profile_take(struct gaia_profile_sample *sample) {
    struct slot *slots = atomic_load(&ring);
    struct slot *slot = &slots[take_next % GAIA_PROFILE_SAMPLES_MAX];
    if (atomic_load_explicit(&slot->number, memory_order_acquire) != take_next + 1) return false;
    size_t head = offsetof(struct gaia_profile_sample, frames);
    memcpy(sample, &slot->sample, head + slot->sample.depth * sizeof(uintptr_t));
    atomic_store_explicit(&slot->number, take_next + GAIA_PROFILE_SAMPLES_MAX, memory_order_release);
    take_next++;
    return true;
}

uint64_t gaia_profile_dropped(void) { return atomic_load(&dropped); }

uint64_t gaia_profile_astray(void) { return atomic_load(&astray); }

void gaia_profile_end(void) {
    struct slot *slots = atomic_exchange(&ring, NULL);
    while (atomic_load(&handlers_inside) > 0) sched_yield();
    unguard_faults();
    munmap(slots, GAIA_PROFILE_SAMPLES_MAX * sizeof(struct slot));
    atomic_flag_clear(&is_taken);
}

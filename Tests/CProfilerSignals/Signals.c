#define _GNU_SOURCE
#include "CProfilerSignals.h"

#include <alloca.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

int gaia_test_ticks(int count) {
    siginfo_t info = {.si_signo = SIGPROF, .si_code = SI_TIMER};
    for (int tick = 0; tick < count; tick++) {
        if (syscall(SYS_rt_tgsigqueueinfo, getpid(), (int)syscall(SYS_gettid), SIGPROF, &info) != 0) return errno;
    }
    return 0;
}

int gaia_test_thread(const char *name) {
    if (name != NULL) pthread_setname_np(pthread_self(), name);
    return (int)syscall(SYS_gettid);
}

static volatile sig_atomic_t faults;

static void count_fault(int signal) {
    (void)signal;
    faults = faults + 1;
}

int gaia_test_count_faults(void) {
    struct sigaction action = {.sa_handler = count_fault};
    sigemptyset(&action.sa_mask);
    return sigaction(SIGSEGV, &action, NULL) == 0 ? 0 : errno;
}

int gaia_test_faults_counted(void) { return faults; }

int gaia_test_is_counting_faults(void) {
    struct sigaction present;
    return sigaction(SIGSEGV, NULL, &present) == 0 && !(present.sa_flags & SA_SIGINFO)
        && present.sa_handler == count_fault;
}

#if defined(__x86_64__)
// Without an entry in the unwinder's tables. What it makes itself of a frame holds a true return address, so that a walk goes on
// in the caller, and for the caller's frame an address that no memory can have.
__asm__(
    ".text\n"
    ".type spin_astray, @function\n"
    "spin_astray:\n"
    "    push %rbp\n"
    "    mov 8(%rsp), %rax\n"
    "    sub $16, %rsp\n"
    "    movabs $0x1000000000000008, %rcx\n"
    "    mov %rcx, (%rsp)\n"
    "    mov %rax, 8(%rsp)\n"
    "    mov %rsp, %rbp\n"
    "1:  mov (%rdi), %eax\n"
    "    test %eax, %eax\n"
    "    jne 1b\n"
    "    add $16, %rsp\n"
    "    pop %rbp\n"
    "    ret\n"
    ".size spin_astray, . - spin_astray\n");
void spin_astray(const volatile int *goes_on);

__attribute__((noinline)) void gaia_test_spin_astray(const volatile int *goes_on) {
    // Has its frame found by the frame pointer, since its size is not known before.
    volatile char *room = alloca((size_t)(*goes_on * 64));
    room[0] = 1;
    spin_astray(goes_on);
    room[0] = 2;
}
#else
void gaia_test_spin_astray(const volatile int *goes_on) {
    while (*goes_on) {}
}
#endif

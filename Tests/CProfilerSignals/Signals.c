#define _GNU_SOURCE
#include "CProfilerSignals.h"

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

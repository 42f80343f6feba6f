// Preloaded into a process (LD_PRELOAD), it shows that process a wall clock that is off by as many seconds as
// GAIA_CLOCK_SHIFT_SECONDS says. Clocks that measure spans are left alone, as they are by whoever sets a machine's time.
//
// libfaketime does more than that: it changes the environment as it starts, and Swift then no longer finds its arguments.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    static int known;
    static long seconds;
    if (!known) {
        const char *text = getenv("GAIA_CLOCK_SHIFT_SECONDS");
        seconds = text ? atol(text) : 0;
        known = 1;
    }
    return seconds;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, id, now);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = (int)syscall(SYS_gettimeofday, now, zone);
    if (result == 0 && now) now->tv_sec += shift();
    return result;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

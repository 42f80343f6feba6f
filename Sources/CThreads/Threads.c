#define _GNU_SOURCE
#include "CThreads.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct start {
    char name[16];
    void (*body)(void *);
    void *argument;
};

static void *run(void *raw) {
    struct start start = *(struct start *)raw;
    free(raw);
    pthread_setname_np(pthread_self(), start.name);
    start.body(start.argument);
    return NULL;
}

int gaia_thread_start(
    const char *name, size_t stack_bytes, void (*body)(void *), void *argument, pthread_t *thread) {
    struct start *start = malloc(sizeof(*start));
    if (start == NULL) return ENOMEM;
    *start = (struct start){.body = body, .argument = argument};
    strncpy(start->name, name, sizeof(start->name) - 1);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    int code = stack_bytes > 0 ? pthread_attr_setstacksize(&attributes, stack_bytes) : 0;
    if (code == 0 && thread == NULL) code = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (code == 0) {
        // A thread begins with the mask of the one that made it: so none is delivered before it could block them itself.
        sigset_t blocked, before;
        sigfillset(&blocked);
        sigdelset(&blocked, SIGPROF);
        pthread_sigmask(SIG_SETMASK, &blocked, &before);
        pthread_t made;
        code = pthread_create(thread == NULL ? &made : thread, &attributes, run, start);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
    if (code != 0) free(start);
    return code;
}

#include "CProcessFloor.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

double gaia_process_floor(const char *program, int count) {
    pid_t *children = calloc((size_t)count, sizeof *children);
    if (children == NULL) return -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    char *const arguments[] = {(char *)program, NULL};
    char *const environment[] = {NULL};

    double begin = now();
    int error = 0;
    int started = 0;
    while (started < count && error == 0) {
        error = posix_spawn(&children[started], program, &actions, NULL, arguments, environment);
        if (error == 0) started++;
    }
    for (int index = 0; index < started; index++)
        while (waitpid(children[index], NULL, 0) < 0 && errno == EINTR) continue;
    double seconds = now() - begin;

    posix_spawn_file_actions_destroy(&actions);
    free(children);
    errno = error;
    return error == 0 ? seconds : -1;
}

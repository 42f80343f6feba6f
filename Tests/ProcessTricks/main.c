/// What a process must be stopped from, each in a few lines: `process-tricks TRICK MARK [NUMBER]`.
///
/// MARK is a word that no other process has in its arguments. Forks keep it, so a test can ask /proc whether any process
/// of its own is left.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void stay(void) {
    while (1) pause();
}

static void say(const char *text) {
    ssize_t ignored = write(STDOUT_FILENO, text, strlen(text));
    (void)ignored;
}

/// Every process forks as often as it can. `number` 1: and each leaves the session of its parent.
static void bomb(long number) {
    while (1) {
        pid_t child = fork();
        if (child < 0) usleep(1000);
        if (child == 0 && number == 1) setsid();
    }
}

/// A process that is another one all the time: each generation leaves the session and the group of the one before, which
/// ends at once.
static void comet(void) {
    say("flying\n");
    while (1) {
        pid_t child = fork();
        if (child > 0) _exit(0);
        if (child == 0) setsid();
    }
}

/// A daemon by the book: forked twice, in a session of its own, with nothing open but what it was given. `number` 1: the
/// program stays too; 0: it ends once the daemon stands.
static void daemonise(long number) {
    int ready[2];
    if (pipe(ready) != 0) exit(1);
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            signal(SIGTERM, SIG_IGN);
            signal(SIGHUP, SIG_IGN);
            char byte = 0;
            ssize_t ignored = write(ready[1], &byte, 1);
            (void)ignored;
            stay();
        }
        _exit(0);
    }
    char byte;
    ssize_t ignored = read(ready[0], &byte, 1);
    (void)ignored;
    say("daemon\n");
    if (number == 1) stay();
}

/// A chain of processes, each in a session of its own, each the child of the one before.
static void sessions(long depth) {
    if (depth == 0) {
        say("deep\n");
        stay();
    }
    if (fork() == 0) {
        setsid();
        sessions(depth - 1);
    }
    stay();
}

static void zombies(long count) {
    for (long index = 0; index < count; index++)
        if (fork() == 0) _exit(0);
    say("zombies\n");
    stay();
}

/// Takes so many MiB, in this process and `share` more, and keeps them.
static void hoard(long mebibytes, int share) {
    for (int index = 0; index < share; index++)
        if (fork() == 0) break;
    size_t size = (size_t)mebibytes << 20;
    // Volatile, or an optimising compiler does without memory that nobody reads.
    char *volatile bytes = malloc(size);
    if (bytes == NULL) {
        say("no memory\n");
        exit(3);
    }
    memset(bytes, 1, size);
    say("hoarded\n");
    stay();
}

static volatile unsigned long spun;

static void spin(void) {
    while (1) spun++;
}

static void fill(const char *path, long mebibytes) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0) exit(4);
    static char block[1 << 20];
    for (long index = 0; index < mebibytes; index++)
        if (write(file, block, sizeof block) < 0) exit(5);
}

static void open_many(void) {
    int count = 0;
    while (open("/dev/null", O_RDONLY) >= 0) count++;
    printf("%d\n", count);
}

static void answer(int signal) {
    (void)signal;
    say("asked\n");
    _exit(7);
}

int main(int argument_count, char **arguments) {
    if (argument_count < 3) return 64;
    const char *trick = arguments[1];
    long number = argument_count > 3 ? atol(arguments[3]) : 0;
    if (strcmp(trick, "bomb") == 0) bomb(number);
    else if (strcmp(trick, "comet") == 0) comet();
    else if (strcmp(trick, "daemon") == 0) daemonise(number);
    else if (strcmp(trick, "sessions") == 0) sessions(number);
    else if (strcmp(trick, "zombies") == 0) zombies(number);
    else if (strcmp(trick, "hoard") == 0) hoard(number, 0);
    else if (strcmp(trick, "hoard-together") == 0) hoard(number, 3);
    else if (strcmp(trick, "spin") == 0) spin();
    else if (strcmp(trick, "fill") == 0) fill(arguments[2], number);
    else if (strcmp(trick, "open") == 0) open_many();
    else if (strcmp(trick, "stay") == 0) {
        say("here\n");
        stay();
    } else if (strcmp(trick, "deaf") == 0) {
        signal(SIGTERM, SIG_IGN);
        say("deaf\n");
        stay();
    } else if (strcmp(trick, "polite") == 0) {
        signal(SIGTERM, answer);
        say("ready\n");
        stay();
    } else if (strcmp(trick, "kill-parent") == 0) {
        // With a child out of its session, to which no parent-death signal goes.
        if (fork() == 0) {
            setsid();
            stay();
        }
        kill(getppid(), SIGKILL);
        stay();
    } else if (strcmp(trick, "privileges") == 0) {
        printf("%d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    } else {
        return 64;
    }
    return 0;
}

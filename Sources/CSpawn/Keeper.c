#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "CSpawn.h"
#include "ProcessTree.h"
#include "Slimming.h"
#include "Supervisor.h"

/// By this name, as its only argument, the program knows that it shall be a keeper.
static char keeper_name[] = "gaia-process-keeper";

/// Jobs at once; an order beyond is refused. Above any number of slots that a worker can be given.
#define SUPERVISORS_MAX 16384

static pid_t supervisors[SUPERVISORS_MAX];
static size_t supervisor_count;

// MARK: - The worker's side

static int sequenced_pair(int ends[2]) {
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends);
}

pid_t gaia_keeper_start(int *socket, struct gaia_spawn_failure *failure) {
    int ends[2];
    if (sequenced_pair(ends) != 0) {
        *failure = (struct gaia_spawn_failure){.step = GAIA_SPAWN_STEP_PREPARE, .error = errno};
        return -1;
    }
    char *const arguments[] = {keeper_name, NULL};
    // Every function is found before the keeper begins: later it has not all the libraries to search.
    static char bind_now[] = "LD_BIND_NOW=1";
    char *const environment[] = {bind_now, NULL};
    const struct gaia_spawn_request request = {
        .executable = "/proc/self/exe",
        .executable_descriptor = -1,
        .arguments = arguments,
        .environment = environment,
        .directory = "/",
        .directory_descriptor = -1,
        .standard_input = ends[1],
        .standard_output = -1,
        .standard_error = -1,
        .own_session = true,
        .parent_death_signal = SIGTERM,
    };
    pid_t keeper = gaia_spawn(&request, failure);
    close(ends[1]);
    if (keeper < 0) close(ends[0]);
    else *socket = ends[0];
    return keeper;
}

/// The room for the control message that carries the descriptors of one order, aligned as it must be.
union order_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * GAIA_ORDER_COUNT)];
};

int gaia_keeper_order(int socket, const int descriptors[GAIA_ORDER_COUNT]) {
    char byte = 0;
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    union order_control control = {0};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * GAIA_ORDER_COUNT);
    memcpy(CMSG_DATA(header), descriptors, sizeof(int) * GAIA_ORDER_COUNT);
    ssize_t count;
    do count = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    return count == 1 ? 0 : -1;
}

int gaia_line(int ends[2]) { return sequenced_pair(ends); }

int gaia_line_say(int line, enum gaia_job_command command) {
    uint8_t byte = (uint8_t)command;
    return send(line, &byte, sizeof byte, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof byte ? 0 : -1;
}

int gaia_line_report(int line, struct gaia_job_report *report) {
    ssize_t count;
    do count = recv(line, report, sizeof *report, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count < 0 && errno == ECONNRESET) return 0;
    if (count < 0) return -1;
    return count == (ssize_t)sizeof *report ? 1 : 0;
}

int gaia_memory_file(const void *bytes, size_t count) {
    int file = memfd_create("gaia", MFD_CLOEXEC);
    if (file < 0) return -1;
    for (size_t done = 0; done < count;) {
        ssize_t written = write(file, (const char *)bytes + done, count - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            int error = errno;
            close(file);
            errno = error;
            return -1;
        }
        done += (size_t)written;
    }
    // Opened anew it is at its beginning, and who reads it cannot write it.
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int reading = open(path, O_RDONLY | O_CLOEXEC);
    int error = errno;
    close(file);
    errno = error;
    return reading;
}

// MARK: - The keeper's side

static struct spared_children all_supervisors(void) {
    return (struct spared_children){.ids = supervisors, .count = supervisor_count};
}

/// Takes one order from the socket and forks its supervisor. False when the worker is gone.
static bool serve(int socket, int signals) {
    char byte;
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    union order_control control;
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EINTR || errno == EMFILE;
    if (count == 0) return false;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS) return true;
    int descriptors[GAIA_ORDER_COUNT];
    size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(descriptors, CMSG_DATA(header), sizeof(int) * received);

    if (received == GAIA_ORDER_COUNT) {
        pid_t keeper = getpid();
        pid_t child = -1;
        if (supervisor_count == SUPERVISORS_MAX) errno = EAGAIN;
        else child = _Fork();
        if (child == 0) {
            close(socket);
            supervise(descriptors, signals, keeper);
        }
        if (child < 0) report_failure(descriptors[GAIA_ORDER_LINE], GAIA_SPAWN_STEP_FORK, errno);
        else supervisors[supervisor_count++] = child;
    }
    for (size_t index = 0; index < received; index++) close(descriptors[index]);
    return true;
}

/// Collects what has ended. True when a supervisor was among it that did not end by itself.
static bool reap_supervisors(void) {
    bool has_fallen = false;
    int status;
    pid_t child;
    while ((child = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        for (size_t index = 0; index < supervisor_count; index++) {
            if (supervisors[index] != child) continue;
            supervisors[index] = supervisors[--supervisor_count];
            has_fallen = has_fallen || WIFSIGNALED(status);
            break;
        }
    }
    return has_fallen;
}

/// How long a round of killing waits for the killed to be gone before it looks for more.
static const int kill_round_milliseconds = 20;

static void kill_everything(int signals) {
    const struct spared_children none = {0};
    while (true) {
        tree_kill_round(none);
        int status;
        pid_t child;
        while ((child = waitpid(-1, &status, WNOHANG | __WALL)) > 0) continue;
        if (child < 0 && errno == ECHILD) return;
        struct pollfd ended = {.fd = signals, .events = POLLIN};
        poll(&ended, 1, kill_round_milliseconds);
        struct signalfd_siginfo info;
        while (read(signals, &info, sizeof info) > 0) continue;
    }
}

static _Noreturn void keep(int standard_input) {
    prctl(PR_SET_NAME, "gaia-keeper");
    slim();
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) _exit(1);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    // Supervisors use the same descriptor: it tells each process that reads it of its own signals.
    int signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    // Off the standard numbers, where the children of children would find it.
    int socket = fcntl(standard_input, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (signals < 0 || socket < 0 || null < 0 || dup2(null, standard_input) < 0) _exit(1);

    bool may_have_strays = false;
    while (true) {
        // Every child that we did not fork was left by a supervisor that somebody killed. Round by round, so that one
        // that cannot die keeps no order waiting.
        if (may_have_strays) may_have_strays = tree_kill_round(all_supervisors()) > 0;
        struct pollfd events[] = {
            {.fd = socket, .events = POLLIN},
            {.fd = signals, .events = POLLIN},
        };
        if (poll(events, 2, may_have_strays ? kill_round_milliseconds : -1) < 0) continue;
        if (events[1].revents != 0) {
            bool is_told = false;
            struct signalfd_siginfo info;
            while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
                if (info.ssi_signo == SIGTERM) is_told = true;
            if (is_told) break;
            may_have_strays = reap_supervisors() || may_have_strays;
        }
        if (events[0].revents != 0 && !serve(socket, signals)) break;
    }
    kill_everything(signals);
    _exit(0);
}

/// Runs before `main` of every program that links this, and leaves it alone unless it was started to be a keeper: under
/// that name, without arguments, with a socket as its input. Whoever starts it so by hand gets a process that waits for
/// his own orders with his own rights.
__attribute__((constructor)) static void keep_if_asked(int argument_count, char **arguments) {
    if (argument_count != 1 || strcmp(arguments[0], keeper_name) != 0) return;
    int kind;
    socklen_t size = sizeof kind;
    if (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &kind, &size) != 0 || kind != SOCK_SEQPACKET) return;
    keep(STDIN_FILENO);
}

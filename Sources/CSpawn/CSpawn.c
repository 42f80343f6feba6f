#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "CSpawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Of <linux/close_range.h>, for kernels' headers older than 5.11.
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

static _Noreturn void give_up(int report, int step) {
    struct gaia_spawn_failure failure = {.step = step, .error = errno};
    // A pipe takes so few bytes whole. Were the reader gone there would be no one left to tell.
    ssize_t ignored = write(report, &failure, sizeof failure);
    (void)ignored;
    _exit(127);
}

/// Puts a descriptor above the three standard ones, so that laying those out overwrites none still needed.
static int lifted(int descriptor, int report) {
    if (descriptor < 0) {
        descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (descriptor < 0) give_up(report, GAIA_SPAWN_STEP_DESCRIPTORS);
    }
    if (descriptor > STDERR_FILENO) return descriptor;
    int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (copy < 0) give_up(report, GAIA_SPAWN_STEP_DESCRIPTORS);
    return copy;
}

static void lay_out_descriptors(const struct gaia_spawn_request *request, int report) {
    int input = lifted(request->standard_input, report);
    int output = lifted(request->standard_output, report);
    int error = lifted(request->standard_error, report);
    if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(error, STDERR_FILENO) < 0)
        give_up(report, GAIA_SPAWN_STEP_DESCRIPTORS);
    // Marked rather than closed: the report pipe has to live until exec.
    if (syscall(SYS_close_range, (unsigned)STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
        give_up(report, GAIA_SPAWN_STEP_DESCRIPTORS);
}

/// Sets one limit, softly and hard, or as near as the parent's own allows.
static void limit(int resource, uint64_t value, uint64_t hard_margin, int report) {
    if (value == 0) return;
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0) give_up(report, GAIA_SPAWN_STEP_LIMITS);
    if (value + hard_margin < limit.rlim_max) limit.rlim_max = value + hard_margin;
    limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
    if (setrlimit(resource, &limit) != 0) give_up(report, GAIA_SPAWN_STEP_LIMITS);
}

static void set_limits(const struct gaia_spawn_limits *limits, int report) {
    const struct rlimit no_core = {.rlim_cur = 0, .rlim_max = 0};
    if (setrlimit(RLIMIT_CORE, &no_core) != 0) give_up(report, GAIA_SPAWN_STEP_LIMITS);
    // The second in between is what tells, by its signal, that it was this limit.
    limit(RLIMIT_CPU, limits->cpu_seconds, 1, report);
    limit(RLIMIT_FSIZE, limits->file_bytes, 0, report);
    limit(RLIMIT_NOFILE, limits->open_files, 0, report);
    limit(RLIMIT_NPROC, limits->user_processes, 0, report);
    limit(RLIMIT_AS, limits->address_space_bytes, 0, report);
}

/// Offers the child to the kernel when memory runs out. Raising one's own figure needs no right; where /proc is missing
/// the child is an ordinary candidate, which is no reason not to run.
static void offer_to_oom_killer(int adjustment) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    char text[16];
    int length = 0;
    // By hand: stdio of a vfork child would use the parent's locks.
    char digits[8];
    int count = 0;
    for (int rest = adjustment; rest > 0 && count < 8; rest /= 10) digits[count++] = (char)('0' + rest % 10);
    while (count > 0) text[length++] = digits[--count];
    ssize_t ignored = write(file, text, (size_t)length);
    (void)ignored;
    close(file);
}

static void become_user(const struct gaia_spawn_request *request, int report) {
    // The bare system calls: glibc's functions change every thread of the process by way of signals, and in a vfork
    // child those threads are the parent's.
    if (syscall(SYS_setgroups, request->group_count, request->groups) != 0 ||
        syscall(SYS_setresgid, request->group, request->group, request->group) != 0 ||
        syscall(SYS_setresuid, request->user, request->user, request->user) != 0)
        give_up(report, GAIA_SPAWN_STEP_USER);
}

static _Noreturn void become_child(const struct gaia_spawn_request *request, pid_t parent, int report) {
    // Were ours one of the three standard numbers, laying those out would close it.
    report = lifted(report, report);
    // The bare system call, since glibc refuses to touch the two signals it uses itself, and these too can have come
    // to us ignored. All zero is SIG_DFL with no flag and no mask, in the kernel's form of the structure.
    const unsigned long default_action[8] = {0};
    for (int signal = 1; signal < NSIG; signal++) syscall(SYS_rt_sigaction, signal, default_action, NULL, NSIG / 8);

    if (request->own_session && setsid() < 0) give_up(report, GAIA_SPAWN_STEP_SESSION);
    // Before the change of user, after which the file is root's.
    if (request->oom_score_adjustment > 0) offer_to_oom_killer(request->oom_score_adjustment);
    if (request->switch_user) become_user(request, report);
    if (request->parent_death_signal != 0) {
        // After the change of user, which clears it.
        if (prctl(PR_SET_PDEATHSIG, request->parent_death_signal) != 0) give_up(report, GAIA_SPAWN_STEP_PARENT_DEATH);
        // A parent that ended before that line will send nothing any more.
        if (getppid() != parent) _exit(127);
    }
    if (request->directory != NULL && chdir(request->directory) != 0) give_up(report, GAIA_SPAWN_STEP_DIRECTORY);
    if (request->directory_descriptor >= 0 && fchdir(request->directory_descriptor) != 0)
        give_up(report, GAIA_SPAWN_STEP_DIRECTORY);
    if (request->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        give_up(report, GAIA_SPAWN_STEP_LIMITS);
    if (request->niceness > 0 &&
        setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + request->niceness) != 0)
        give_up(report, GAIA_SPAWN_STEP_LIMITS);

    int executable = request->executable_descriptor;
    // The three standard numbers are about to be overwritten.
    if (executable >= 0) executable = lifted(executable, report);
    lay_out_descriptors(request, report);
    if (request->is_script && fcntl(executable, F_SETFD, 0) != 0) give_up(report, GAIA_SPAWN_STEP_DESCRIPTORS);
    // Last, so that none of the steps above is hindered by them.
    if (request->limits != NULL) set_limits(request->limits, report);

    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (executable >= 0)
        syscall(SYS_execveat, executable, "", request->arguments, request->environment, AT_EMPTY_PATH);
    else
        execve(request->executable, request->arguments, request->environment);
    give_up(report, GAIA_SPAWN_STEP_EXEC);
}

static pid_t reaped(pid_t child) {
    int status;
    pid_t result;
    do result = waitpid(child, &status, 0);
    while (result < 0 && errno == EINTR);
    return result;
}

pid_t gaia_spawn(const struct gaia_spawn_request *request, struct gaia_spawn_failure *failure) {
    int ends[2];
    failure->step = GAIA_SPAWN_STEP_NONE;
    failure->error = 0;
    if (gaia_pipe(ends) != 0) {
        failure->step = GAIA_SPAWN_STEP_PREPARE;
        failure->error = errno;
        return -1;
    }

    pid_t parent = getpid();
    // With vfork the child borrows our memory: no page table is copied however large we are, and a handler of ours
    // must not run in it. Hence no signal until the child has reset them all.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = vfork();
    if (child == 0) become_child(request, parent, ends[1]);
    int fork_error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);

    if (child < 0) {
        close(ends[0]);
        failure->step = GAIA_SPAWN_STEP_FORK;
        failure->error = fork_error;
        return -1;
    }
    // Ends with nothing read when exec closes the child's end.
    ssize_t count;
    do count = read(ends[0], failure, sizeof *failure);
    while (count < 0 && errno == EINTR);
    close(ends[0]);
    if (count == (ssize_t)sizeof *failure) {
        reaped(child);
        return -1;
    }
    failure->step = GAIA_SPAWN_STEP_NONE;
    failure->error = 0;
    return child;
}

const int gaia_open_path = O_PATH;

int gaia_pidfd_open(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

int gaia_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int gaia_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

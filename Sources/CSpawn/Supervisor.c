#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "Supervisor.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ProcessTree.h"

static const struct spared_children spare_none = {0};

/// The first look at memory and processes comes so soon, each further one twice as late, up to what the job asks for:
/// a fork bomb is met while it is small, and a long job is not looked at without need.
static const int64_t first_watch_milliseconds = 10;

/// How long a round of killing waits for the killed to be gone before it looks for more.
static const int kill_round_milliseconds = 20;

/// One job, from the supervisor's side.
struct job {
    int line;
    int signals;
    const struct gaia_job_request *request;
    pid_t leader;
    bool has_leader_ended;
    struct gaia_job_report report;
};

static int64_t now_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void say(int line, const struct gaia_job_report *report) {
    // A worker that is gone is told nothing.
    ssize_t ignored = send(line, report, sizeof *report, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
}

void report_failure(int line, int step, int error) {
    const struct gaia_job_report report = {.step = step, .error = error};
    say(line, &report);
}

// MARK: - The request

/// The texts that begin at `*text`, as a NULL-ended array; NULL when there are fewer than was said.
static char **texts(char **text, const char *end, uint32_t count) {
    char **result = calloc((size_t)count + 1, sizeof *result);
    if (result == NULL) return NULL;
    for (uint32_t index = 0; index < count; index++) {
        char *terminator = *text < end ? memchr(*text, '\0', (size_t)(end - *text)) : NULL;
        if (terminator == NULL) return NULL;
        result[index] = *text;
        *text = terminator + 1;
    }
    return result;
}

static const struct gaia_job_request *mapped(int file) {
    struct stat status;
    if (fstat(file, &status) != 0) return NULL;
    size_t size = (size_t)status.st_size;
    if (size < sizeof(struct gaia_job_request)) {
        errno = EINVAL;
        return NULL;
    }
    // Private and writable, since exec wants its arguments so.
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED) return NULL;
    const struct gaia_job_request *request = bytes;
    if (request->text_bytes != size - sizeof *request || request->account.group_count > GAIA_GROUPS_MAX) {
        errno = EINVAL;
        return NULL;
    }
    return request;
}

static pid_t start(
    const struct gaia_job_request *request, const int descriptors[GAIA_ORDER_COUNT],
    struct gaia_spawn_failure *failure) {
    char *text = (char *)(request + 1);
    const char *end = text + request->text_bytes;
    char **arguments = texts(&text, end, request->argument_count);
    char **environment = texts(&text, end, request->variable_count);
    if (arguments == NULL || environment == NULL || request->argument_count == 0) {
        *failure = (struct gaia_spawn_failure){.step = GAIA_SPAWN_STEP_PREPARE, .error = EINVAL};
        return -1;
    }
    const struct gaia_spawn_request spawn = {
        .executable = arguments[0],
        .executable_descriptor = descriptors[GAIA_ORDER_EXECUTABLE],
        .is_script = request->is_script,
        .arguments = arguments,
        .environment = environment,
        .directory_descriptor = descriptors[GAIA_ORDER_DIRECTORY],
        .standard_input = descriptors[GAIA_ORDER_INPUT],
        .standard_output = descriptors[GAIA_ORDER_OUTPUT],
        .standard_error = descriptors[GAIA_ORDER_ERROR],
        .own_session = true,
        .parent_death_signal = SIGKILL,
        .switch_user = request->switch_user,
        .user = request->account.user,
        .group = request->account.group,
        .groups = request->account.groups,
        .group_count = request->account.group_count,
        .limits = &request->limits,
        .no_new_privileges = true,
        .niceness = (int)request->niceness,
        .oom_score_adjustment = (int)request->oom_score_adjustment,
    };
    return gaia_spawn(&spawn, failure);
}

// MARK: - Collecting what has ended

/// Collects every child that has ended, the leader and the orphans that became ours. False once we have no child.
static bool reap(struct job *job) {
    while (true) {
        siginfo_t info = {0};
        // A look first: as long as the leader is not collected its id, which names its process group too, is nobody
        // else's.
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) {
            if (errno == EINTR) continue;
            return errno != ECHILD;
        }
        if (info.si_pid == 0) return true;
        bool is_leader = info.si_pid == job->leader && !job->has_leader_ended;
        if (is_leader) kill(-job->leader, SIGKILL);
        int status;
        if (waitpid(info.si_pid, &status, __WALL) < 0) continue;
        if (is_leader) {
            job->has_leader_ended = true;
            job->report.status = status;
        } else if (job->has_leader_ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
            job->report.stray_count++;
        }
    }
}

/// Kills all that is left and returns when nothing is. It stays as long as the kernel keeps a process that cannot die
/// (in the middle of a disk access that hangs): who waits for the report has a limit of his own.
static void kill_all(struct job *job) {
    // Its group goes at once: under one lock of the kernel, which no fork of a member passes.
    if (!job->has_leader_ended) kill(-job->leader, SIGKILL);
    while (true) {
        tree_kill_round(spare_none);
        if (!reap(job)) return;
        struct pollfd ended = {.fd = job->signals, .events = POLLIN};
        if (poll(&ended, 1, kill_round_milliseconds) > 0) {
            struct signalfd_siginfo ignored;
            ssize_t count = read(job->signals, &ignored, sizeof ignored);
            (void)count;
        }
        if (!reap(job)) return;
    }
}

// MARK: - Watching

/// Whether the tree may go on as it is.
static bool is_within_limits(struct job *job) {
    const struct gaia_job_request *request = job->request;
    struct tree_size size = tree_measure(request->tree_processes != 0 ? request->tree_processes : SIZE_MAX);
    if (size.processes > job->report.processes_max) job->report.processes_max = (uint32_t)size.processes;
    if (request->tree_processes != 0 && size.processes > request->tree_processes)
        job->report.limit = GAIA_JOB_LIMIT_PROCESSES;
    else if (request->tree_memory_bytes != 0 && size.resident_bytes > request->tree_memory_bytes)
        job->report.limit = GAIA_JOB_LIMIT_MEMORY;
    return job->report.limit == GAIA_JOB_LIMIT_NONE;
}

/// Whether the worker lets the job go on.
static bool obey(struct job *job) {
    while (true) {
        uint8_t command;
        ssize_t count = recv(job->line, &command, sizeof command, MSG_DONTWAIT);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno == EAGAIN;
        if (count == 0) return false;
        if (command != GAIA_JOB_TERMINATE) return false;
        tree_signal(SIGTERM, spare_none);
        // One that stands would hear of it only after it goes on.
        tree_signal(SIGCONT, spare_none);
    }
}

/// Whether SIGTERM came: the keeper is dead, or somebody means us.
static bool is_told_to_end(int signals) {
    bool is_told = false;
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD) is_told = true;
    return is_told;
}

/// Stays with the job until it has ended or must end.
static void watch(struct job *job) {
    int64_t start = now_milliseconds();
    int64_t deadline = start + (int64_t)job->request->deadline_milliseconds;
    int64_t pause = first_watch_milliseconds;
    int64_t next_look = start + pause;
    while (true) {
        int64_t now = now_milliseconds();
        if (now >= deadline) {
            job->report.limit = GAIA_JOB_LIMIT_DEADLINE;
            return;
        }
        if (now >= next_look) {
            if (!is_within_limits(job)) return;
            if (pause * 2 <= (int64_t)job->request->watch_milliseconds) pause *= 2;
            next_look = now + pause;
        }
        int64_t wait = (next_look < deadline ? next_look : deadline) - now;
        struct pollfd events[] = {
            {.fd = job->line, .events = POLLIN},
            {.fd = job->signals, .events = POLLIN},
        };
        if (poll(events, 2, (int)(wait > 0 ? wait : 0)) <= 0) continue;
        if (events[1].revents != 0) {
            bool is_told = is_told_to_end(job->signals);
            if (!reap(job) || job->has_leader_ended || is_told) return;
        }
        if (events[0].revents != 0 && !obey(job)) return;
    }
}

/// Whoever has a thousand processes gets a thousand times our share of the processors, and more where each session counts
/// as a group of its own, so that niceness would not help: against a fork bomb only a real-time class does. What we do in
/// it is short. It is not inherited. Without the right to it we are as slow as the machine is then, and the limit on the
/// user's processes, which binds everybody but root, has to do.
static void take_precedence(void) {
    const struct sched_param lowest = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &lowest);
}

_Noreturn void supervise(const int descriptors[GAIA_ORDER_COUNT], int signals, pid_t keeper) {
    struct job job = {.line = descriptors[GAIA_ORDER_LINE], .signals = signals};
    prctl(PR_SET_NAME, "gaia-supervisor");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) {
        report_failure(job.line, GAIA_SPAWN_STEP_PREPARE, errno);
        _exit(1);
    }
    if (getppid() != keeper) _exit(1);

    struct gaia_spawn_failure failure = {0};
    job.request = mapped(descriptors[GAIA_ORDER_REQUEST]);
    if (job.request == NULL) {
        report_failure(job.line, GAIA_SPAWN_STEP_PREPARE, errno);
        _exit(1);
    }
    take_precedence();
    job.leader = start(job.request, descriptors, &failure);
    // Held here the pipes would have no end.
    for (int index = 0; index < GAIA_ORDER_COUNT; index++)
        if (index != GAIA_ORDER_LINE) close(descriptors[index]);
    if (job.leader < 0) {
        report_failure(job.line, failure.step, failure.error);
        _exit(0);
    }

    job.report.processes_max = 1;
    watch(&job);
    if (reap(&job)) kill_all(&job);

    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    job.report.user_microseconds = (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec;
    job.report.system_microseconds = (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec;
    job.report.resident_kib_max = (uint64_t)usage.ru_maxrss;
    say(job.line, &job.report);
    _exit(0);
}

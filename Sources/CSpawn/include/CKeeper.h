/// Whole trees of processes that end when they are told to, and when whoever wanted them dies.
///
/// ```
///  worker ──socket──▶ keeper ──fork──▶ supervisor ──vfork, exec──▶ leader ──▶ whatever it starts
///     └───────────────line of one job──────┘
/// ```
///
/// One *keeper* per worker forks one *supervisor* per job, and the supervisor starts the job's program, the *leader*.
/// Both declare themselves reapers of their descendants (PR_SET_CHILD_SUBREAPER): whatever loses its parent, by a double
/// fork or after a setsid, becomes a child of the job's supervisor and of nobody else. So a job's processes can always be
/// found, and "wait4 knows no child" is the kernel's own word that none is left.
///
/// Who notices which death:
/// - the worker dies, also by SIGKILL: the kernel closes its ends; each supervisor sees its line end, the keeper its
///   socket, and each kills all below it. Either alone suffices.
/// - a supervisor dies: its leader gets SIGKILL (parent-death signal), the rest become children of the keeper, which kills
///   every child that it did not fork itself. The worker sees the line end without a report.
/// - the keeper dies: each supervisor gets SIGTERM (parent-death signal), which means to it what the end of its line does.
///
/// Why a process of its own per job: descendants that lost their parents must still be told apart by job, and of all that
/// is inherited and cannot be shed without rights, being below a reaper is the only thing that every Linux gives
/// everybody. A control group (cgroup v2, `cgroup.kill`) needs a delegated directory, which neither a container nor a
/// plain user has, and moving a process into one waits for an RCU grace period. A PID namespace needs CAP_SYS_ADMIN or
/// a user namespace, and shows programs other process ids than /proc does. Session and process group are shed by one
/// setsid.
///
/// A tree that grows faster than it is walked is the hard case. Three things together end it: signals to the program's
/// own group, which the kernel sends under the lock that forks need; walks that stop the tree before they list and kill it;
/// and a real-time class for the supervisor where it may have one, since each of a thousand sessions counts as much for the
/// scheduler as the supervisor does.
///
/// Why the keeper is this very program executed again (`/proc/self/exe`, recognised by its name before `main`): a fork of
/// a worker copies page tables in proportion to the worker, once for each job, and holds on to its memory; a process that
/// shares the worker's memory (CLONE_VM) dies with it when the kernel runs out of memory. Executed again it has one
/// thread, and holds no more than libc and the program's own file once it has given back the other libraries. Forks that
/// copied the tables of forty of them made a short job half as dear again; so what the program is linked with hardly
/// matters. `/proc/self/exe` is the running file itself, also when another stands at its path by now.
#ifndef CKEEPER_H
#define CKEEPER_H

#include "CSpawn.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The descriptors that order a job from the keeper, in this order. All are there.
enum gaia_order_descriptor {
    GAIA_ORDER_LINE = 0,    // the supervisor's end of the job's line
    GAIA_ORDER_REQUEST,     // a file that holds a gaia_job_request and its text
    GAIA_ORDER_EXECUTABLE,
    GAIA_ORDER_DIRECTORY,
    GAIA_ORDER_INPUT,
    GAIA_ORDER_OUTPUT,
    GAIA_ORDER_ERROR,
    GAIA_ORDER_COUNT,
};

/// What a job shall be. In the file follow the arguments and then the environment, each text ended by NUL.
struct gaia_job_request {
    struct gaia_spawn_limits limits;  // of each process
    uint64_t tree_memory_bytes;       // resident memory of all its processes; what is shared counts in each. 0: no limit
    uint64_t tree_processes;          // how many there may be at once, zombies included. 0: no limit
    uint64_t deadline_milliseconds;   // after so long the supervisor kills the tree unasked, should the worker hang
    uint32_t watch_milliseconds;      // how often, at last, memory and processes are looked at
    uint32_t is_script;
    uint32_t niceness;
    uint32_t oom_score_adjustment;
    uint32_t switch_user;
    struct gaia_account account;      // whom to become, with switch_user
    uint32_t argument_count;
    uint32_t variable_count;
    uint64_t text_bytes;
};

/// What the worker says on a job's line: one byte. The end of the line means GAIA_JOB_KILL, and no report.
enum gaia_job_command {
    GAIA_JOB_TERMINATE = 1,  // SIGTERM to every process of the tree
    GAIA_JOB_KILL,           // SIGKILL to every process, until none is left
};

/// Which limit of the whole tree made the supervisor kill it.
enum gaia_job_limit {
    GAIA_JOB_LIMIT_NONE = 0,
    GAIA_JOB_LIMIT_PROCESSES,
    GAIA_JOB_LIMIT_MEMORY,
    GAIA_JOB_LIMIT_DEADLINE,
};

/// What the supervisor says on the line, once: the leader could not be started, or no process of the job is left.
struct gaia_job_report {
    int32_t step;                // enum gaia_spawn_step, GAIA_SPAWN_STEP_NONE when it was started
    int32_t error;               // errno of that step
    int32_t status;              // the leader's, as wait(2) gives it
    uint32_t limit;              // enum gaia_job_limit
    uint32_t stray_count;        // processes that outlived the leader, and were killed
    uint32_t processes_max;      // most at once, as far as was looked
    uint64_t user_microseconds;  // of all processes of the job
    uint64_t system_microseconds;
    uint64_t resident_kib_max;   // of the largest single process
};

/// Starts a keeper; it lives as long as the other end of its socket. Call from a thread that lasts as long.
/// Returns its process id and the socket, which never blocks, or -1 with `failure` filled.
pid_t gaia_keeper_start(int *_Nonnull socket, struct gaia_spawn_failure *_Nonnull failure);

/// Orders a job. 0, or -1 and errno: EAGAIN when the keeper is behind, EPIPE when it is gone.
int gaia_keeper_order(int socket, const int descriptors[_Nonnull GAIA_ORDER_COUNT]);

/// The two ends of a job's line, closed by exec; neither blocks. 0, or -1 and errno.
int gaia_line(int ends[_Nonnull 2]);

/// Says a command on a line; 0, or -1 and errno.
int gaia_line_say(int line, enum gaia_job_command command);

/// Reads the report: 1 when it came, 0 when the line ended without one, -1 and errno (EAGAIN: not yet).
int gaia_line_report(int line, struct gaia_job_report *_Nonnull report);

/// A file without a name that holds these bytes, open for reading at its beginning; -1 and errno.
int gaia_memory_file(const void *_Nullable bytes, size_t count);

#ifdef __cplusplus
}
#endif

#endif

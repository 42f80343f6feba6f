/// Starting a child process with everything set between fork and exec, which neither posix_spawn nor Swift can do:
/// working directory, descriptors, session, parent-death signal, user, limits. And three system calls on process
/// descriptors (pidfd) that glibc wraps only in part. Whole trees of processes are kept by what CKeeper.h declares.
#ifndef CSPAWN_H
#define CSPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What one process may use. Zero leaves a limit as the parent has it; none is ever raised above the parent's own.
/// With any of them, memory is not written to a core file either: it may hold what the job was trusted with.
struct gaia_spawn_limits {
    uint64_t address_space_bytes;  // RLIMIT_AS: malloc and mmap fail beyond
    uint64_t cpu_seconds;          // RLIMIT_CPU: SIGXCPU, SIGKILL a second later
    uint64_t file_bytes;           // RLIMIT_FSIZE: SIGXFSZ
    uint64_t open_files;           // RLIMIT_NOFILE: EMFILE
    uint64_t user_processes;       // RLIMIT_NPROC: fork fails (EAGAIN) beyond so many processes and threads of the
                                   // *user* on the whole machine; the kernel exempts root
};

/// What the child shall be. All pointers are borrowed for the call.
struct gaia_spawn_request {
    const char *_Nonnull executable;  // a path; PATH is not searched
    int executable_descriptor;        // what to execute instead of the path, which is told in errors only; or -1
    bool is_script;                   // the descriptor holds a "#!" script: its interpreter reads it as /dev/fd/N, so
                                      // this one descriptor stays open in the child
    char *_Nullable const *_Nonnull arguments;    // argv, ends with NULL
    char *_Nullable const *_Nonnull environment;  // envp, ends with NULL
    const char *_Nullable directory;  // NULL: the parent's
    int directory_descriptor;         // the same as a descriptor, entered as the user that the child becomes; or -1
    int standard_input;               // a descriptor of the parent, or -1 for /dev/null
    int standard_output;              // the same
    int standard_error;               // the same; every other descriptor is closed in the child
    bool own_session;                 // setsid: out of reach of the terminal's signals
    int parent_death_signal;          // 0: the child may outlive us; else it gets this signal when the thread that
                                      // called gaia_spawn ends, so call from a thread that lasts
    bool switch_user;                 // become `user`/`group` with exactly these supplementary groups
    uid_t user;
    gid_t group;
    const gid_t *_Nullable groups;
    size_t group_count;
    const struct gaia_spawn_limits *_Nullable limits;
    bool no_new_privileges;           // set-user-id programs and file capabilities give the child nothing
    int niceness;                     // 0 to 19, on top of the parent's
    int oom_score_adjustment;         // 0: the parent's; up to 1000: the kernel, out of memory, ends this one first
};

/// The step at which a child could not be made, for the error message.
enum gaia_spawn_step {
    GAIA_SPAWN_STEP_NONE = 0,
    GAIA_SPAWN_STEP_PREPARE,
    GAIA_SPAWN_STEP_FORK,
    GAIA_SPAWN_STEP_SESSION,
    GAIA_SPAWN_STEP_DESCRIPTORS,
    GAIA_SPAWN_STEP_USER,
    GAIA_SPAWN_STEP_PARENT_DEATH,
    GAIA_SPAWN_STEP_DIRECTORY,
    GAIA_SPAWN_STEP_EXEC,
    GAIA_SPAWN_STEP_LIMITS,
};

struct gaia_spawn_failure {
    int step;   // enum gaia_spawn_step
    int error;  // errno there
};

/// Starts a child. Returns its process id once exec has succeeded, or -1 with `failure` filled; a child that failed
/// has been reaped by then. The child starts with no signal blocked and all dispositions at their default.
pid_t gaia_spawn(const struct gaia_spawn_request *_Nonnull request, struct gaia_spawn_failure *_Nonnull failure);

/// The most groups that an account is taken with. Linux allows 65,536 a process; a service account is in a handful.
#define GAIA_GROUPS_MAX 256

/// A user of the system with its groups, as a child becomes it.
struct gaia_account {
    uid_t user;
    gid_t group;
    size_t group_count;
    gid_t groups[GAIA_GROUPS_MAX];
};

/// Looks a user up by name: 1, 0 when there is none, or -1 and errno (E2BIG: in too many groups).
int gaia_account_find(const char *_Nonnull name, struct gaia_account *_Nonnull account);

/// A descriptor that stays bound to the process which has this id now, whatever becomes of the number; -1 and errno.
int gaia_pidfd_open(pid_t process);

/// Sends a signal to the very process behind the descriptor; 0, or -1 and errno (ESRCH once it has ended).
int gaia_pidfd_send_signal(int pidfd, int signal);

/// O_PATH, which Swift's view of glibc lacks: a descriptor that only stands for a file.
extern const int gaia_open_path;

/// A pipe whose both ends are closed by exec; 0, or -1 and errno.
int gaia_pipe(int ends[_Nonnull 2]);

#ifdef __cplusplus
}
#endif

#include "CKeeper.h"
#include "CWatch.h"

#endif

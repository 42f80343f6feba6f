/// The process that stands between the keeper and one job.
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "CSpawn.h"

/// Runs the job and ends with it. For a child of the keeper that has just been forked.
///
/// `signals` is a signalfd of SIGCHLD and SIGTERM, both blocked; `keeper` the process that forked us.
_Noreturn void supervise(const int descriptors[GAIA_ORDER_COUNT], int signals, pid_t keeper);

/// Tells the worker that the job could not be started. For the keeper, when it cannot even fork.
void report_failure(int line, int step, int error);

#endif

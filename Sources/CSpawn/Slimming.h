/// Giving back what a program brings along and a keeper has no use for.
#ifndef SLIMMING_H
#define SLIMMING_H

/// Unmaps the shared libraries that neither the keeper nor its supervisors call into. For a process with one thread, whose
/// functions are all bound by now (LD_BIND_NOW), which forks by `_Fork` and ends by `_exit`: handlers of the libraries,
/// run before and after a fork or at the end, are gone too.
void slim(void);

#endif

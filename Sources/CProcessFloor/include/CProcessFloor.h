/// What starting programs costs by the bare means of C: the floor for the measurement of process jobs.
#ifndef CPROCESSFLOOR_H
#define CPROCESSFLOOR_H

#ifdef __cplusplus
extern "C" {
#endif

/// posix_spawn of so many `program`s without arguments, output to nowhere, all running before the first is collected: no
/// limits, no capture, nobody to look after them. Seconds, or -1 and errno.
double gaia_process_floor(const char *_Nonnull program, int count);

#ifdef __cplusplus
}
#endif

#endif

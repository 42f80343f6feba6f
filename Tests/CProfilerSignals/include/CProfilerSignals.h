// Signals as a timer sends them, for a test that needs many at once.
#ifndef GAIA_CPROFILER_SIGNALS_H
#define GAIA_CPROFILER_SIGNALS_H

/// Sends the calling thread so many SIGPROF, each handled before the next; 0, or an errno.
int gaia_test_ticks(int count);

/// Spins in a function whose frame pointer leads to no memory, until `*goes_on` is 0. Its caller's frame can be found only by
/// reading there.
void gaia_test_spin_astray(const volatile int *goes_on);

/// Names the calling thread, unless NULL is given; its number.
int gaia_test_thread(const char *name);

/// Counts SIGSEGV from now on instead of ending by it; 0, or an errno.
int gaia_test_count_faults(void);

int gaia_test_faults_counted(void);

/// Whether SIGSEGV goes to that count directly.
int gaia_test_is_counting_faults(void);

#endif

#include "CProfiler.h"

#include <stdlib.h>
#include <unwind.h>

// Of Swift's runtime and of the C++ library, neither of which has a header for it that C could read.
extern char *swift_demangle(const char *name, size_t length, char *output, size_t *output_size, uint32_t flags);
extern char *__cxa_demangle(const char *name, char *output, size_t *output_size, int *status);

uintptr_t gaia_function_start(uintptr_t address) {
    return (uintptr_t)_Unwind_FindEnclosingFunction((void *)address);
}

char *gaia_demangle_swift(const char *name, size_t length) { return swift_demangle(name, length, NULL, NULL, 0); }

char *gaia_demangle_cxx(const char *name) {
    int status = 0;
    return __cxa_demangle(name, NULL, NULL, &status);
}

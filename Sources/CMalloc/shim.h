// The settings of glibc's allocator, which Glibc's module leaves out.
#include <malloc.h>

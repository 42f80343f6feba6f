#define _GNU_SOURCE
#include "CProfiler.h"

#include <malloc.h>

void gaia_heap_look(struct gaia_heap *heap) {
    struct mallinfo2 all = mallinfo2();
    heap->areas = all.arena;
    heap->in_use = all.uordblks;
    heap->free = all.fordblks;
    heap->mapped = all.hblkhd;
    heap->mapped_blocks = all.hblks;
}

#include "CWatch.h"

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

int gaia_watch(void) { return epoll_create1(EPOLL_CLOEXEC); }

int gaia_watch_add(int watch, int descriptor, uint64_t token) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = token}};
    return epoll_ctl(watch, EPOLL_CTL_ADD, descriptor, &event);
}

int gaia_watch_change(int watch, int descriptor, uint64_t token, bool is_watched, bool reads, bool writes) {
    if (!reads && !writes) return is_watched ? epoll_ctl(watch, EPOLL_CTL_DEL, descriptor, NULL) : 0;
    struct epoll_event event = {.events = (reads ? EPOLLIN : 0) | (writes ? EPOLLOUT : 0), .data = {.u64 = token}};
    return epoll_ctl(watch, is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event);
}

int gaia_watch_remove(int watch, int descriptor) { return epoll_ctl(watch, EPOLL_CTL_DEL, descriptor, NULL); }

int gaia_watch_wait(int watch, uint64_t *tokens, int tokens_max, int milliseconds) {
    struct epoll_event events[GAIA_WATCH_TOKENS_MAX];
    if (tokens_max > GAIA_WATCH_TOKENS_MAX) tokens_max = GAIA_WATCH_TOKENS_MAX;
    int count = epoll_wait(watch, events, tokens_max, milliseconds);
    for (int index = 0; index < count; index++) tokens[index] = events[index].data.u64;
    return count > 0 ? count : 0;
}

int gaia_bell(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void gaia_bell_ring(int bell) {
    // A counter that is full has rung.
    int ignored = eventfd_write(bell, 1);
    (void)ignored;
}

void gaia_bell_still(int bell) {
    eventfd_t count;
    int ignored = eventfd_read(bell, &count);
    (void)ignored;
}

#define _GNU_SOURCE /* memmem */
#include "CHTTPFloor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 512, ANSWER_BYTES_MAX = 512 };

typedef struct {
    int descriptor;
    bool sent, done;
    size_t length;
    char answer[ANSWER_BYTES_MAX];
} call;

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool watch(int poller, call *one, int operation, uint32_t mask) {
    struct epoll_event event = {.events = mask, .data.ptr = one};
    return epoll_ctl(poller, operation, one->descriptor, &event) == 0;
}

static bool connect_one(int poller, call *one, uint16_t port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    one->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (one->descriptor < 0) return false;
    int yes = 1;
    setsockopt(one->descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(one->descriptor, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) return false;
    return watch(poller, one, EPOLL_CTL_ADD, EPOLLOUT);
}

/* Returns false on an answer that is none. */
static bool proceed(int poller, call *one) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: floor\r\nAccept: */*\r\n\r\n";
    static const char ok[] = "HTTP/1.1 200 ";
    if (!one->sent) {
        if (write(one->descriptor, request, sizeof request - 1) != (ssize_t)sizeof request - 1) return false;
        one->sent = true;
        return watch(poller, one, EPOLL_CTL_MOD, EPOLLIN);
    }
    ssize_t got = read(one->descriptor, one->answer + one->length, sizeof one->answer - one->length);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    one->length += (size_t)got;
    char *body = memmem(one->answer, one->length, "\r\n\r\n", 4);
    /* The server's body has two bytes. */
    one->done = body && one->answer + one->length >= body + 6;
    return !one->done || memcmp(one->answer, ok, sizeof ok - 1) == 0;
}

static int run(int poller, int count, double deadline) {
    struct epoll_event events[EVENTS_MAX];
    int answered = 0;
    for (int left = count; left > 0;) {
        int wait_ms = (int)((deadline - now_seconds()) * 1000);
        if (wait_ms <= 0) break;
        int ready = epoll_wait(poller, events, EVENTS_MAX, wait_ms);
        for (int index = 0; index < ready; index++) {
            call *one = events[index].data.ptr;
            bool is_fine = proceed(poller, one);
            if (is_fine && !one->done) continue;
            if (is_fine) answered++;
            left--;
            /* One that failed would be ready for ever. */
            if (!is_fine) watch(poller, one, EPOLL_CTL_DEL, 0);
        }
    }
    return answered;
}

int gaia_http_floor(uint16_t port, int count, int timeout_ms, double seconds[2]) {
    call *calls = calloc((size_t)count, sizeof *calls);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    int answered = -1;
    for (int index = 0; calls && index < count; index++) calls[index].descriptor = -1;
    if (!calls || poller < 0) goto end;
    double begin = now_seconds(), deadline = begin + timeout_ms / 1000.0;
    for (int index = 0; index < count; index++)
        if (!connect_one(poller, &calls[index], port)) goto end;
    answered = run(poller, count, deadline);
    seconds[0] = now_seconds() - begin;
    begin = now_seconds();
    for (int index = 0; index < count; index++) {
        calls[index].sent = calls[index].done = false;
        calls[index].length = 0;
        if (!watch(poller, &calls[index], EPOLL_CTL_MOD, EPOLLOUT)) goto end;
    }
    answered += run(poller, count, deadline);
    seconds[1] = now_seconds() - begin;
end:;
    int code = errno;
    for (int index = 0; calls && index < count; index++)
        if (calls[index].descriptor >= 0) close(calls[index].descriptor);
    if (poller >= 0) close(poller);
    free(calls);
    errno = code;
    return answered;
}

#define _GNU_SOURCE /* accept4 */
#include "CHTTPFloor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16384, EVENTS_MAX = 512, REQUEST_BYTES_MAX = 4096 };

typedef struct {
    bool open;
    /* Rises with each use of the descriptor's number, so that a late answer does not go to a stranger. */
    unsigned generation;
    size_t length;
    char request[REQUEST_BYTES_MAX];
} connection;

typedef struct {
    int descriptor;
    unsigned generation;
    int64_t due_ns;
} answer;

struct gaia_delay_server {
    int listener, poller, bell;
    uint16_t port;
    int64_t delay_ns;
    pthread_t thread;
    atomic_long accepted, answered;
    connection *connections[CONNECTIONS_MAX]; /* by descriptor */
    /* All take the same time, so a ring is in the order of their ends. */
    answer ring[CONNECTIONS_MAX];
    size_t first, count;
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void drop(gaia_delay_server *server, int descriptor) {
    server->connections[descriptor]->open = false;
    close(descriptor);
}

static void accept_all(gaia_delay_server *server) {
    for (;;) {
        int descriptor = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0) return;
        connection *one = descriptor < CONNECTIONS_MAX ? server->connections[descriptor] : NULL;
        if (descriptor < CONNECTIONS_MAX && !one) one = server->connections[descriptor] = calloc(1, sizeof *one);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
        if (!one || epoll_ctl(server->poller, EPOLL_CTL_ADD, descriptor, &event) < 0) {
            close(descriptor);
            continue;
        }
        int yes = 1;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        one->open = true;
        one->generation++;
        one->length = 0;
        atomic_fetch_add(&server->accepted, 1);
    }
}

static void take(gaia_delay_server *server, int descriptor) {
    connection *one = server->connections[descriptor];
    ssize_t got = read(descriptor, one->request + one->length, sizeof one->request - one->length);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        drop(server, descriptor);
        return;
    }
    one->length += (size_t)got;
    if (one->length < 4 || memcmp(one->request + one->length - 4, "\r\n\r\n", 4) != 0) {
        if (one->length == sizeof one->request) drop(server, descriptor);
        return;
    }
    one->length = 0;
    if (server->count == CONNECTIONS_MAX) {
        drop(server, descriptor);
        return;
    }
    answer *last = &server->ring[(server->first + server->count++) % CONNECTIONS_MAX];
    *last = (answer){descriptor, one->generation, now_ns() + server->delay_ns};
}

static void answer_due(gaia_delay_server *server) {
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (int64_t now = now_ns(); server->count > 0; server->first = (server->first + 1) % CONNECTIONS_MAX) {
        answer *next = &server->ring[server->first];
        if (next->due_ns > now) return;
        server->count--;
        connection *one = server->connections[next->descriptor];
        if (!one->open || one->generation != next->generation) continue;
        /* An empty socket buffer takes so few bytes at once. */
        if (write(next->descriptor, text, sizeof text - 1) != (ssize_t)sizeof text - 1) drop(server, next->descriptor);
        atomic_fetch_add(&server->answered, 1);
    }
}

static void *serve(void *argument) {
    gaia_delay_server *server = argument;
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int wait_ms = -1;
        if (server->count > 0) {
            int64_t left = server->ring[server->first].due_ns - now_ns();
            wait_ms = left <= 0 ? 0 : (int)((left + 999999) / 1000000);
        }
        int count = epoll_wait(server->poller, events, EVENTS_MAX, wait_ms);
        for (int index = 0; index < count; index++) {
            int descriptor = events[index].data.fd;
            if (descriptor == server->bell) return NULL;
            if (descriptor == server->listener) accept_all(server);
            else take(server, descriptor);
        }
        answer_due(server);
    }
}

static bool watch(gaia_delay_server *server, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    return epoll_ctl(server->poller, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

static bool listen_anywhere(gaia_delay_server *server) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(server->listener, (struct sockaddr *)&address, length) < 0 || listen(server->listener, 4096) < 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &length) < 0)
        return false;
    server->port = ntohs(address.sin_port);
    return true;
}

static void release(gaia_delay_server *server) {
    for (int descriptor = 0; descriptor < CONNECTIONS_MAX; descriptor++) {
        if (server->connections[descriptor] && server->connections[descriptor]->open) close(descriptor);
        free(server->connections[descriptor]);
    }
    int own[] = {server->listener, server->poller, server->bell};
    for (int index = 0; index < 3; index++)
        if (own[index] >= 0) close(own[index]);
    free(server);
}

gaia_delay_server *gaia_delay_server_start(int delay_ms) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    gaia_delay_server *server = calloc(1, sizeof *server);
    if (!server) return NULL;
    server->delay_ns = (int64_t)delay_ms * 1000000;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    server->poller = epoll_create1(EPOLL_CLOEXEC);
    server->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->listener < 0 || server->poller < 0 || server->bell < 0 || !listen_anywhere(server) ||
        !watch(server, server->listener) || !watch(server, server->bell) ||
        (errno = pthread_create(&server->thread, NULL, serve, server)) != 0) {
        int code = errno;
        release(server);
        errno = code;
        return NULL;
    }
    return server;
}

uint16_t gaia_delay_server_port(const gaia_delay_server *server) { return server->port; }
long gaia_delay_server_accepted(const gaia_delay_server *server) { return atomic_load(&server->accepted); }
long gaia_delay_server_answered(const gaia_delay_server *server) { return atomic_load(&server->answered); }

void gaia_delay_server_stop(gaia_delay_server *server) {
    uint64_t one = 1;
    ssize_t rung = write(server->bell, &one, sizeof one);
    (void)rung; /* Fails only when it rings already. */
    pthread_join(server->thread, NULL);
    release(server);
}

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "CEgress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 request;
};

/// One question, one answer, however many connections there are.
static int ask_kernel(uint16_t their_port, uint16_t our_port, uint32_t *user) {
    int netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0) return -1;
    struct question question = {
        .header = {.nlmsg_len = sizeof question, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0U},
    };
    // The connection as its owner sees it: from there to here.
    question.request.id.idiag_sport = htons(their_port);
    question.request.id.idiag_dport = htons(our_port);
    question.request.id.idiag_src[0] = htonl(INADDR_LOOPBACK);
    question.request.id.idiag_dst[0] = htonl(INADDR_LOOPBACK);
    question.request.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    question.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;

    union {
        struct nlmsghdr header;
        char bytes[4096];
    } answer;
    ssize_t count = -1;
    if (send(netlink, &question, sizeof question, 0) == (ssize_t)sizeof question)
        do count = recv(netlink, &answer, sizeof answer, 0);
        while (count < 0 && errno == EINTR);
    int error = errno;
    close(netlink);
    if (count < 0) {
        errno = error;
        return -1;
    }
    if (!NLMSG_OK(&answer.header, (size_t)count)) {
        errno = EPROTO;
        return -1;
    }
    if (answer.header.nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *refusal = NLMSG_DATA(&answer.header);
        errno = -refusal->error;
        return -1;
    }
    const struct inet_diag_msg *found = NLMSG_DATA(&answer.header);
    *user = found->idiag_uid;
    return 0;
}

/// The same from the table of all connections, for kernels and containers without that question.
static int look_in_table(uint16_t their_port, uint16_t our_port, uint32_t *user) {
    FILE *table = fopen("/proc/self/net/tcp", "re");
    if (table == NULL) return -1;
    char line[256];
    int result = -1;
    errno = ENOENT;
    while (fgets(line, sizeof line, table) != NULL) {
        unsigned local_address, local_port, remote_address, remote_port, owner;
        if (sscanf(
                line, " %*d: %8x:%4x %8x:%4x %*x %*x:%*x %*x:%*x %*x %u", &local_address, &local_port, &remote_address,
                &remote_port, &owner) != 5)
            continue;
        if (local_port != their_port || remote_port != our_port) continue;
        if (local_address != htonl(INADDR_LOOPBACK) || remote_address != htonl(INADDR_LOOPBACK)) continue;
        *user = owner;
        result = 0;
        break;
    }
    fclose(table);
    if (result != 0) errno = ENOENT;
    return result;
}

int gaia_peer_user(uint16_t their_port, uint16_t our_port, uint32_t *user) {
    if (ask_kernel(their_port, our_port, user) == 0) return 0;
    return look_in_table(their_port, our_port, user);
}

int gaia_accept(int listener, uint16_t *their_port) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int descriptor = accept4(listener, (struct sockaddr *)&address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor >= 0) *their_port = ntohs(address.sin_port);
    return descriptor;
}

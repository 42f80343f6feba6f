// What Swift cannot call by itself: variadic functions, and the eventfd that wakes the thread of a connection.
#ifndef GAIA_CRABBITMQ_SHIM_H
#define GAIA_CRABBITMQ_SHIM_H

#include <sys/eventfd.h>
#include <sys/time.h>

// From 0.12 the headers live in a folder of their own, and the old names warn.
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif

static inline int gaia_amqp_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static inline amqp_rpc_reply_t gaia_amqp_login_plain(
    amqp_connection_state_t state, char const *vhost, int channel_max, int frame_max, int heartbeat,
    const amqp_table_t *properties, char const *user, char const *password) {
  return amqp_login_with_properties(state, vhost, channel_max, frame_max, heartbeat, properties,
                                    AMQP_SASL_METHOD_PLAIN, user, password);
}

#endif

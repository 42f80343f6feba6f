/* A server that takes its time, and the least that a client of it can do: what the load test of HTTP calls is measured
   against. Neither knows more of HTTP than that. */
#ifndef GAIA_CHTTPFLOOR_H
#define GAIA_CHTTPFLOOR_H

#include <stdint.h>

typedef struct gaia_delay_server gaia_delay_server;

/* Listens on a free port of 127.0.0.1 and answers every GET with 200 and two bytes, so many milliseconds after it came in.
   One thread and one epoll set serve all connections. Raises the soft limit on open files to the hard one, as both ends
   of each connection are in this process. NULL, and errno, when the system refuses. */
gaia_delay_server *gaia_delay_server_start(int delay_ms);
uint16_t gaia_delay_server_port(const gaia_delay_server *server);
/* Connections accepted and requests answered so far. */
long gaia_delay_server_accepted(const gaia_delay_server *server);
long gaia_delay_server_answered(const gaia_delay_server *server);
/* Waits for the thread, closes all connections, frees the server. */
void gaia_delay_server_stop(gaia_delay_server *server);

/* Opens so many connections to 127.0.0.1, sends one GET over each and waits for all answers; then the same once more over
   the same connections. Blocks; gives up after timeout_ms. seconds[0] is of the round that connects, seconds[1] of the other.
   Returns the answers with status 200 in both rounds, or -1 and errno. */
int gaia_http_floor(uint16_t port, int calls, int timeout_ms, double seconds[2]);

#endif

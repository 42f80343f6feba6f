/// Connections on 127.0.0.1 and whose they are: Swift's view of glibc has neither accept4 nor netlink.
#ifndef CEGRESS_H
#define CEGRESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Tells the user who opened the other end of a TCP connection over 127.0.0.1, by its port and ours. 0, or -1 and errno
/// (ENOENT: there is no such connection any more).
int gaia_peer_user(uint16_t their_port, uint16_t our_port, uint32_t *_Nonnull user);

/// Accepts a connection, closed by exec and never blocking, and tells the port at its other end; -1 and errno.
int gaia_accept(int listener, uint16_t *_Nonnull their_port);

#ifdef __cplusplus
}
#endif

#endif

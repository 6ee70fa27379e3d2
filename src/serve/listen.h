/* listen.h - the sockets themselves: bind, accept, a short answer, a twin. */
#ifndef VD_SERVE_LISTEN_H
#define VD_SERVE_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <verdant/status.h>

#include "serve/errors.h"

/* VD_OK for a numeric IPv4 or IPv6 address or "localhost", else VD_ERR_ARG. */
VD_NODISCARD vd_status vd_listen_check(const char *host, vd_err *err);
/* Listens on a numeric IPv4 or IPv6 address or "localhost"; port 0 takes a free one. */
VD_NODISCARD vd_status vd_listen_open(const char *host, uint16_t port, int *ret_fd,
                                      uint16_t *ret_port, vd_err *err);
/* One connection, non-blocking, with keep-alive probes and a limit on unacknowledged data (a client
 * that lost its power sends nothing); -1 when there is none. */
int vd_listen_accept(int listen_fd);
/* Writes a whole JSON answer without blocking, "Connection: close". What does not fit is lost. */
void vd_listen_answer(int fd, const vd_api_error *error);
/* A second descriptor of the same socket, or -1. */
int vd_listen_dup(int fd);
/* Is this address reachable from this machine alone? */
bool vd_listen_is_loopback(const char *host);

#endif

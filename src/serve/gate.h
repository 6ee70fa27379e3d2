/*
 * gate.h - the thread in front of libmicrohttpd: it accepts, admits, reads first heads, watches
 * sockets and keeps time.
 *
 *   accept ─► HEAD (peeks until the head is whole and strict) ─► MHD ─► closed
 *      │         └─ refused, too slow ─► LINGER                   │
 *      └─ over the limit: 503 ─► LINGER (drains, then closes)     └─ RDHUP, deadline ─► on_gone
 *
 * libmicrohttpd does not see that a client left while its connection is suspended, nor an end that
 * came together with data, has no total time limit, lets connections above its limit hang in the
 * backlog, and answers in HTML. One epoll here (edge-triggered, EPOLLRDHUP on what libmicrohttpd
 * owns) sees to all of it. A client that closes only its sending half counts as gone.
 *
 * Threads: all functions may be called from any thread. Lock order: the gate's lock, then a
 * request's lock. A callback runs on the gate's thread under the gate's lock.
 */
#ifndef VD_SERVE_GATE_H
#define VD_SERVE_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <verdant/status.h>

#include "serve/errors.h"

typedef struct vd_gate vd_gate;

typedef enum vd_conn_phase {
    VD_CONN_FREE,
    VD_CONN_HEAD,   /* ours: the first head is incomplete */
    VD_CONN_IDLE,   /* libmicrohttpd's: between requests */
    VD_CONN_BODY,   /* libmicrohttpd's: a request has begun and is not whole */
    VD_CONN_BUSY,   /* libmicrohttpd's: a request is being answered */
    VD_CONN_LINGER, /* ours: answered; reads and drops until the client closes */
} vd_conn_phase;

typedef struct vd_gate_options {
    const char *host; /* "127.0.0.1", "::1", "0.0.0.0" */
    uint16_t port;    /* 0: any free one */
    size_t max_connections;
    uint64_t head_ns, body_ns, idle_ns; /* how long each phase may last in all */
    void *ctx;
    /* Hands over a connection whose first head is good; the callee owns the fd, success or not. */
    bool (*hand_over)(void *ctx, int fd, const struct sockaddr *addr, socklen_t n_addr);
    /* The client of this request left. */
    void (*on_gone)(void *ctx, void *request);
    /* The request was not whole in time. True: answer 408 and cut the connection. */
    bool (*on_late)(void *ctx, void *request);
    /* About once a second for every request that is being answered. */
    void (*on_tick)(void *ctx, void *request, uint64_t now_ns);
} vd_gate_options;

typedef struct vd_gate_stats {
    size_t n_open;                          /* connections now */
    uint64_t n_accepted, n_refused, n_late; /* ever; refused: 503 at the door; late: 408 */
    uint64_t n_bad_heads;
} vd_gate_stats;

/* Binds and listens, so that the port is known; no thread yet. */
VD_NODISCARD vd_status vd_gate_create(const vd_gate_options *options, vd_gate **ret_gate,
                                      vd_err *err);
VD_NODISCARD vd_status vd_gate_start(vd_gate *gate, vd_err *err);
/* Stops accepting, ends the thread, closes what is ours (not what libmicrohttpd owns). */
void vd_gate_stop(vd_gate *gate);
void vd_gate_free(vd_gate *gate); /* NULL is fine; stops first */

uint16_t vd_gate_port(const vd_gate *gate);
vd_gate_stats vd_gate_stats_get(vd_gate *gate);

/* From libmicrohttpd's callbacks, with the connection's fd. `request` is what on_gone, on_late and
 * on_tick get; set it to NULL before it may be freed. */
void vd_gate_set(vd_gate *gate, int fd, vd_conn_phase phase, void *request);
/* Before libmicrohttpd closes the fd: its number may be reused at once. */
void vd_gate_forget(vd_gate *gate, int fd);
/* libmicrohttpd will close this connection with request bytes unread, which would reset it and
 * lose the answer. Keeps the socket open beside it, and drops those bytes. */
void vd_gate_linger(vd_gate *gate, int fd);
/* Calls fn for every request that is known, under the gate's lock. */
void vd_gate_each(vd_gate *gate, void (*fn)(void *ctx, void *request), void *ctx);

#endif

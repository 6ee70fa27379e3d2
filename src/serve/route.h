/* route.h - which paths there are, and what may be done with them. */
#ifndef VD_SERVE_ROUTE_H
#define VD_SERVE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "serve/errors.h"

struct vd_exchange;
struct vd_server;

typedef struct vd_route {
    const char *path;  /* a final slash: the rest of the URL is an argument */
    const char *label; /* in /metrics and the log */
    bool posts;        /* POST; else GET and HEAD */
    bool always;       /* answered while loading and draining */
    bool slow;         /* a GET that is answered on a worker */
    /* GET: writes the answer at once, VD_OK or *error. On libmicrohttpd's thread, unless `slow`. */
    vd_status (*get)(struct vd_exchange *request, const char *argument, vd_buf *out,
                     vd_api_error *error);
    /* POST: reads request->body into request->ask. On a worker. */
    vd_status (*read)(struct vd_exchange *request, vd_api_error *error);
    const char *type; /* Content-Type of a GET */
} vd_route;

/* The route of a path, or the one that stands for unknown paths (path NULL). */
const vd_route *vd_route_find(const char *url, const char **ret_argument);
/* Its number, for metrics; and back. NULL behind the last. */
unsigned vd_route_slot(const vd_route *route);
const vd_route *vd_route_at(unsigned slot);
/* "GET, HEAD, OPTIONS" */
const char *vd_route_allow(const vd_route *route);

#endif

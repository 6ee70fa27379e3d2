/*
 * head.h - a strict look at the head of an HTTP/1.x request, before libmicrohttpd parses it.
 *
 * libmicrohttpd 0.9.75 accepts what request smuggling is made of (two lengths in one request,
 * lengths together with chunks), cuts URLs at %00, and answers what it refuses in HTML. So the
 * first request of every connection is read here first (gate.c, with MSG_PEEK), and later ones are
 * checked again by vd_framing_check (http.c). RFC 9112, sections 2.2, 3, 5, 6.
 */
#ifndef VD_SERVE_HEAD_H
#define VD_SERVE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "serve/errors.h"

enum {
    VD_HEAD_BYTES_MAX = 16 * 1024,
    VD_HEAD_TARGET_MAX = 4 * 1024,
    VD_HEAD_FIELDS_MAX = 100,
};

typedef enum vd_head_state {
    VD_HEAD_MORE,   /* unfinished, and nothing wrong so far */
    VD_HEAD_GOOD,
    VD_HEAD_REFUSED /* *error says why */
} vd_head_state;

/* The bytes that stand at the start of a connection. */
vd_head_state vd_head_check(const char *bytes, size_t n, vd_api_error *error);

/* What the headers say of the body. */
typedef struct vd_framing {
    unsigned n_length, n_encoding, n_host; /* header lines of that name */
    bool bad_length, length_too_large;     /* not digits alone; above 2^63-1 */
    bool bad_encoding;                     /* anything but "chunked" */
    uint64_t length_bytes;
} vd_framing;

/* Adds one header line (name and value without the blanks around it). */
void vd_framing_add(vd_framing *framing, const char *name, size_t n_name, const char *value,
                    size_t n_value);
/* VD_OK or *error. */
vd_status vd_framing_check(const vd_framing *framing, vd_api_error *error);
/* "%00" anywhere: libmicrohttpd would cut the URL there. */
bool vd_target_has_nul(const char *target, size_t n);

#endif

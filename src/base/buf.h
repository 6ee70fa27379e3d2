/*
 * buf.h - a growing run of bytes with a ceiling. Text in it is always NUL-terminated behind `n`.
 *
 * Appends never fail halfway: the first failure (memory, ceiling) sticks in `failed`, later appends
 * do nothing, and the writer asks once at the end with vd_buf_status. Single-owner.
 */
#ifndef VD_BASE_BUF_H
#define VD_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

typedef struct vd_buf {
    char *data; /* NULL while empty; else data[n] == 0 */
    size_t n, capacity;
    size_t limit; /* ceiling on n */
    vd_status failed;
} vd_buf;

void vd_buf_init(vd_buf *buf, size_t limit);
void vd_buf_done(vd_buf *buf);
void vd_buf_clear(vd_buf *buf); /* n = 0, failure forgotten, memory kept */

void vd_buf_append(vd_buf *buf, const void *bytes, size_t n);
void vd_buf_puts(vd_buf *buf, const char *text);
void vd_buf_putc(vd_buf *buf, char c);
void vd_buf_printf(vd_buf *buf, const char *fmt, ...) VD_PRINTF(2, 3);
/* Room for n more bytes without a further allocation. */
void vd_buf_reserve(vd_buf *buf, size_t n);
/* Removes the first n bytes (all of them when n is larger). */
void vd_buf_drop_front(vd_buf *buf, size_t n);

/* VD_OK, or the first failure with `what` named in *err. */
VD_NODISCARD vd_status vd_buf_status(const vd_buf *buf, const char *what, vd_err *err);
/* The text, "" while empty. Borrowed until the next append. */
const char *vd_buf_text(const vd_buf *buf);
/* Moves the text to the caller (vd_free); the buffer is empty again. NULL after a failure. */
char *vd_buf_take(vd_buf *buf);

#endif

/* buf.c - see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

void vd_buf_init(vd_buf *buf, size_t limit)
{
    *buf = (vd_buf){.limit = limit};
}

void vd_buf_done(vd_buf *buf)
{
    vd_free(buf->data);
    *buf = (vd_buf){.limit = buf->limit};
}

void vd_buf_clear(vd_buf *buf)
{
    buf->n = 0;
    buf->failed = VD_OK;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

static bool grow_to(vd_buf *buf, size_t n)
{
    size_t need;
    if (buf->failed != VD_OK)
        return false;
    if (n > buf->limit || !vd_add_size(n, 1, &need)) {
        buf->failed = VD_ERR_LIMIT;
        return false;
    }
    if (need <= buf->capacity)
        return true;
    size_t capacity = VD_MAX(need, VD_MAX((size_t)64, buf->capacity + buf->capacity / 2));
    char *data = vd_realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = VD_ERR_NOMEM;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void vd_buf_reserve(vd_buf *buf, size_t n)
{
    size_t total;
    if (!vd_add_size(buf->n, n, &total))
        total = SIZE_MAX;
    if (grow_to(buf, total))
        buf->data[buf->n] = '\0';
}

void vd_buf_append(vd_buf *buf, const void *bytes, size_t n)
{
    size_t total;
    if (!vd_add_size(buf->n, n, &total))
        total = SIZE_MAX;
    if (!grow_to(buf, total))
        return;
    if (n > 0)
        memcpy(buf->data + buf->n, bytes, n);
    buf->n = total;
    buf->data[total] = '\0';
}

void vd_buf_puts(vd_buf *buf, const char *text)
{
    vd_buf_append(buf, text, strlen(text));
}

void vd_buf_putc(vd_buf *buf, char c)
{
    vd_buf_append(buf, &c, 1);
}

void vd_buf_printf(vd_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    size_t total;
    if (n < 0 || !vd_add_size(buf->n, (size_t)n, &total))
        total = SIZE_MAX; /* more than INT_MAX bytes: over any limit */
    if (grow_to(buf, total)) {
        vsnprintf(buf->data + buf->n, (size_t)n + 1, fmt, again);
        buf->n = total;
    }
    va_end(again);
}

void vd_buf_drop_front(vd_buf *buf, size_t n)
{
    n = VD_MIN(n, buf->n);
    if (n == 0)
        return;
    memmove(buf->data, buf->data + n, buf->n - n + 1);
    buf->n -= n;
}

vd_status vd_buf_status(const vd_buf *buf, const char *what, vd_err *err)
{
    switch (buf->failed) {
    case VD_OK:
        return VD_OK;
    case VD_ERR_LIMIT:
        return VD_FAIL(err, VD_ERR_LIMIT, "%s is longer than %zu bytes", what, buf->limit);
    default:
        return VD_FAIL(err, buf->failed, "no memory for %s", what);
    }
}

const char *vd_buf_text(const vd_buf *buf)
{
    return buf->data != NULL ? buf->data : "";
}

char *vd_buf_take(vd_buf *buf)
{
    if (buf->failed != VD_OK)
        return NULL;
    char *data = buf->data != NULL ? buf->data : vd_strdup("");
    *buf = (vd_buf){.limit = buf->limit};
    return data;
}

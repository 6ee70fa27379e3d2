/* record.c - see record.h. The layout is private to this file and never leaves the process. */
#include "serve/record.h"

#include <string.h>

typedef struct head {
    uint32_t slot, n_text, n_top;
    int32_t token;
    float logprob;
    uint32_t finish;
} head;

void vd_record_push(vd_buf *buf, uint32_t slot, const vd_event *event)
{
    const void *text = event->text;
    size_t n_text = event->n_text;
    if (event->embedding != NULL) {
        text = event->embedding;
        n_text = event->n_embedding * sizeof(float);
    }
    head h = {slot,         (uint32_t)n_text, (uint32_t)event->n_top,
              event->token, event->logprob,   (uint32_t)event->finish};
    /* All or nothing: a record cut by the ceiling would be misread. */
    vd_buf_reserve(buf, sizeof(h) + h.n_top * sizeof(vd_top_token) + h.n_text);
    vd_buf_append(buf, &h, sizeof(h));
    if (h.n_top > 0)
        vd_buf_append(buf, event->top, h.n_top * sizeof(vd_top_token));
    vd_buf_append(buf, text, h.n_text);
}

bool vd_record_next(const char *bytes, size_t n, size_t *offset, vd_record *ret)
{
    head h;
    if (n - *offset < sizeof(h))
        return false;
    const char *at = bytes + *offset;
    memcpy(&h, at, sizeof(h));
    size_t n_bytes = sizeof(h) + h.n_top * sizeof(vd_top_token) + h.n_text;
    if (n - *offset < n_bytes)
        return false;
    *ret = (vd_record){.slot = h.slot,
                       .n_text = h.n_text,
                       .n_top = h.n_top,
                       .token = h.token,
                       .logprob = h.logprob,
                       .finish = h.finish,
                       .top = at + sizeof(h),
                       .text = at + sizeof(h) + h.n_top * sizeof(vd_top_token),
                       .bytes = at,
                       .n_bytes = n_bytes};
    *offset += n_bytes;
    return true;
}

vd_top_token vd_record_top(const vd_record *record, size_t i)
{
    vd_top_token top;
    memcpy(&top, record->top + i * sizeof(top), sizeof(top));
    return top;
}

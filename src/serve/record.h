/* record.h - one engine event as bytes, between the compute thread and the answer's writer. */
#ifndef VD_SERVE_RECORD_H
#define VD_SERVE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/engine.h>

#include "base/buf.h"

/* An embedding stands in the place of the text, as floats. */
typedef struct vd_record {
    uint32_t slot, n_text, n_top;
    int32_t token;
    float logprob;
    uint32_t finish; /* vd_finish */
    const char *top; /* n_top vd_top_token, unaligned: vd_record_top */
    const char *text;
    const char *bytes; /* the whole record, n_bytes of it */
    size_t n_bytes;
} vd_record;

void vd_record_push(vd_buf *buf, uint32_t slot, const vd_event *event);
/* Reads the record at *offset and moves *offset behind it; false at the end. Borrowed from buf. */
bool vd_record_next(const char *bytes, size_t n, size_t *offset, vd_record *ret_record);
vd_top_token vd_record_top(const vd_record *record, size_t i);

#endif

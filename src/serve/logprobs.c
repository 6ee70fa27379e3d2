/* logprobs.c - see logprobs.h. */
#include "serve/logprobs.h"

#include "serve/jout.h"
#include "serve/record.h"

size_t vd_count_chars(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

static void put_token(const vd_backend *backend, int32_t id, float logprob, vd_buf *out)
{
    size_t n;
    const char *piece = backend->ops->piece(backend->self, id, &n);
    vd_buf_puts(out, "{\"token\":");
    vd_jout_token(out, piece, n);
    vd_buf_puts(out, ",\"logprob\":");
    vd_jout_number(out, logprob, 9);
    vd_buf_puts(out, ",\"bytes\":");
    vd_jout_bytes(out, piece, n);
}

void vd_logprobs_chat(const vd_backend *backend, const char *records, size_t n, size_t n_top,
                      vd_buf *out)
{
    vd_record record;
    size_t offset = 0;
    vd_buf_puts(out, "{\"content\":[");
    while (vd_record_next(records, n, &offset, &record)) {
        if (record.bytes != records)
            vd_buf_putc(out, ',');
        put_token(backend, record.token, record.logprob, out);
        vd_buf_puts(out, ",\"top_logprobs\":[");
        for (size_t i = 0; i < record.n_top && i < n_top; i++) {
            vd_top_token top = vd_record_top(&record, i);
            if (i != 0)
                vd_buf_putc(out, ',');
            put_token(backend, top.token, top.logprob, out);
            vd_buf_putc(out, '}');
        }
        vd_buf_puts(out, "]}");
    }
    vd_buf_puts(out, "],\"refusal\":null}");
}

static void put_pair(const vd_backend *backend, int32_t id, float logprob, vd_buf *out)
{
    size_t n;
    const char *piece = backend->ops->piece(backend->self, id, &n);
    vd_jout_token(out, piece, n);
    vd_buf_putc(out, ':');
    vd_jout_number(out, logprob, 9);
}

static void put_top_map(const vd_backend *backend, const vd_record *record, size_t n_top,
                        vd_buf *out)
{
    bool drawn_shown = false;
    vd_buf_putc(out, '{');
    for (size_t i = 0; i < record->n_top && i < n_top; i++) {
        vd_top_token top = vd_record_top(record, i);
        drawn_shown |= top.token == record->token;
        if (i != 0)
            vd_buf_putc(out, ',');
        put_pair(backend, top.token, top.logprob, out);
    }
    if (!drawn_shown) {
        if (record->n_top != 0)
            vd_buf_putc(out, ',');
        put_pair(backend, record->token, record->logprob, out);
    }
    vd_buf_putc(out, '}');
}

void vd_logprobs_legacy(const vd_backend *backend, const char *records, size_t n, size_t n_top,
                        size_t *n_chars, vd_buf *out)
{
    static const char *const names[] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    for (int column = 0; column < 4; column++) {
        vd_record record;
        size_t offset = 0, length;
        vd_buf_printf(out, "%c\"%s\":", column == 0 ? '{' : ',', names[column]);
        if (column == 2 && n_top == 0) {
            vd_buf_puts(out, "null");
            continue;
        }
        vd_buf_putc(out, '[');
        while (vd_record_next(records, n, &offset, &record)) {
            if (record.bytes != records)
                vd_buf_putc(out, ',');
            const char *piece = backend->ops->piece(backend->self, record.token, &length);
            if (column == 0) {
                vd_jout_token(out, piece, length);
            } else if (column == 1) {
                vd_jout_number(out, record.logprob, 9);
            } else if (column == 2) {
                put_top_map(backend, &record, n_top, out);
            } else {
                vd_buf_printf(out, "%zu", *n_chars);
                *n_chars += vd_count_chars(piece, length);
            }
        }
        vd_buf_putc(out, ']');
    }
    vd_buf_putc(out, '}');
}

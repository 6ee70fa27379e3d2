/* logprobs.c - see logprobs.h. */
#include "serve/logprobs.h"

#include <string.h>

#include "base/utf8.h"
#include "serve/jout.h"
#include "serve/record.h"

size_t vd_count_chars(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* The same steps as in text/stream.c; the character that the byte belongs to. */
static size_t take_byte(vd_char_count *count, char byte)
{
    uint32_t code;
    count->raw[count->n_raw++] = byte;
    int length = vd_utf8_decode(count->raw, count->n_raw, &code);
    if (length == -1)
        return count->n;
    bool broken = length == 0, was_alone = count->n_raw == 1;
    count->n_raw = 0;
    count->n++;
    return broken && !was_alone ? take_byte(count, byte) : count->n - 1;
}

size_t vd_char_count_add(vd_char_count *count, const char *piece, size_t n)
{
    size_t first = count->n;
    for (size_t i = 0; i < n; i++) {
        size_t at = take_byte(count, piece[i]);
        first = i == 0 ? at : first;
    }
    return first;
}

static size_t count_token(const vd_backend *backend, const vd_record *record, vd_char_count *count)
{
    size_t n;
    const char *piece = backend->ops->piece(backend->self, record->token, false, &n);
    return vd_char_count_add(count, piece, n);
}

size_t vd_logprobs_shown(const vd_backend *backend, const char *records, size_t n, size_t n_shown,
                         const vd_char_count *before, vd_char_count *ret_after)
{
    vd_record record;
    vd_char_count count = *before;
    size_t offset = 0, shown = 0;
    *ret_after = count;
    while (vd_record_next(records, n, &offset, &record) &&
           count_token(backend, &record, &count) < n_shown) {
        *ret_after = count;
        shown = offset;
    }
    return shown;
}

static void put_token(const vd_backend *backend, int32_t id, float logprob, vd_buf *out)
{
    size_t n, n_name;
    const char *name = backend->ops->piece(backend->self, id, true, &n_name);
    const char *piece = backend->ops->piece(backend->self, id, false, &n);
    vd_buf_puts(out, "{\"token\":");
    vd_jout_token(out, name, n_name);
    vd_buf_puts(out, ",\"logprob\":");
    vd_jout_number(out, logprob, 9);
    vd_buf_puts(out, ",\"bytes\":");
    if (n == 0 && n_name != 0)
        vd_buf_puts(out, "null");
    else
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

static bool same_text(const vd_backend *backend, int32_t a, int32_t b)
{
    size_t n_a, n_b;
    const char *text_a = backend->ops->piece(backend->self, a, true, &n_a);
    const char *text_b = backend->ops->piece(backend->self, b, true, &n_b);
    return n_a == n_b && memcmp(text_a, text_b, n_a) == 0;
}

static void put_pair(const vd_backend *backend, int32_t id, float logprob, bool first, vd_buf *out)
{
    size_t n;
    const char *piece = backend->ops->piece(backend->self, id, true, &n);
    if (!first)
        vd_buf_putc(out, ',');
    vd_jout_token(out, piece, n);
    vd_buf_putc(out, ':');
    vd_jout_number(out, logprob, 9);
}

/* The best first, then the token drawn; among those of one text the one drawn, or the best. */
static void put_top_map(const vd_backend *backend, const vd_record *record, size_t n_top,
                        vd_buf *out)
{
    bool drawn_shown = false, first = true;
    vd_buf_putc(out, '{');
    for (size_t i = 0; i < record->n_top && i < n_top; i++) {
        vd_top_token top = vd_record_top(record, i);
        bool twin = top.token != record->token && same_text(backend, top.token, record->token);
        for (size_t k = 0; k < i && !twin; k++)
            twin = same_text(backend, top.token, vd_record_top(record, k).token);
        if (twin)
            continue;
        drawn_shown |= top.token == record->token;
        put_pair(backend, top.token, top.logprob, first, out);
        first = false;
    }
    if (!drawn_shown)
        put_pair(backend, record->token, record->logprob, first, out);
    vd_buf_putc(out, '}');
}

void vd_logprobs_legacy(const vd_backend *backend, const char *records, size_t n, size_t n_top,
                        const vd_char_count *before, vd_buf *out)
{
    static const char *const names[] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    for (int column = 0; column < 4; column++) {
        vd_record record;
        vd_char_count count = *before;
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
            if (column == 0) {
                const char *name = backend->ops->piece(backend->self, record.token, true, &length);
                vd_jout_token(out, name, length);
            } else if (column == 1) {
                vd_jout_number(out, record.logprob, 9);
            } else if (column == 2) {
                put_top_map(backend, &record, n_top, out);
            } else {
                vd_buf_printf(out, "%zu", count_token(backend, &record, &count));
            }
        }
        vd_buf_putc(out, ']');
    }
    vd_buf_putc(out, '}');
}

/*
 * encode.c - text to ids: finds the special tokens, hands what lies between to the model's own
 * encoder, puts BOS, EOS and SEP where the vocabulary wants them.
 *
 * Special tokens are found leftmost first, of those that start together the longest, as Hugging
 * Face's tokenizers do. (llama.cpp looks for the longest anywhere first; the two differ only where
 * one token's text begins inside another's.)
 */
#include "text/encode.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"

/* With three bytes for a space a fragment still fits 32-bit places. */
enum { ENCODE_BYTES_MAX = 1 << 30 };

vd_status vd_encoder_emit(vd_encoder *encoder, int32_t id, vd_err *err)
{
    if (encoder->n == encoder->capacity) {
        size_t capacity = VD_MAX((size_t)64, encoder->capacity + encoder->capacity / 2), bytes;
        int32_t *ids = NULL;
        if (vd_mul_size(capacity, sizeof(*ids), &bytes))
            ids = vd_realloc(encoder->ids, bytes);
        if (ids == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "out of memory for %zu token ids", capacity);
        encoder->ids = ids;
        encoder->capacity = capacity;
    }
    encoder->ids[encoder->n++] = id;
    encoder->after_unknown = false;
    return VD_OK;
}

vd_status vd_encoder_emit_bytes(vd_encoder *encoder, const char *bytes, size_t n, vd_err *err)
{
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all = all && tokenizer->byte_symbol[(unsigned char)bytes[i]] < tokenizer->n_vocab;
    if (!all && (tokenizer->unk < 0 || encoder->after_unknown))
        return VD_OK;
    if (!all) {
        vd_status st = vd_encoder_emit(encoder, tokenizer->unk, err);
        encoder->after_unknown = true;
        return st;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t id = tokenizer->byte_symbol[(unsigned char)bytes[i]];
        vd_status st = vd_encoder_emit(encoder, (int32_t)id, err);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

vd_status vd_encoder_escape(vd_encoder *encoder, const char *text, size_t n, bool space_first,
                            vd_err *err)
{
    vd_buf *out = &encoder->scratch;
    vd_buf_clear(out);
    vd_buf_reserve(out, n + n / 4 + VD_SPACE_MARK_BYTES);
    if (space_first)
        vd_buf_puts(out, VD_SPACE_MARK);
    for (size_t i = 0; i < n;) {
        const char *space = memchr(text + i, ' ', n - i);
        size_t end = space == NULL ? n : (size_t)(space - text);
        vd_buf_append(out, text + i, end - i);
        if (end < n)
            vd_buf_puts(out, VD_SPACE_MARK);
        i = end + 1;
    }
    return vd_buf_status(out, "the text to tokenize", err);
}

size_t vd_encoder_next_cut(const vd_tokenizer *tokenizer, const char *text, size_t n, size_t at)
{
    for (size_t i = at + 1; i < n;) {
        const char *mark = memmem(text + i, n - i, VD_SPACE_MARK, VD_SPACE_MARK_BYTES);
        if (mark == NULL)
            return n;
        if (!tokenizer->joins[(unsigned char)mark[-1]])
            return (size_t)(mark - text);
        i = (size_t)(mark - text) + VD_SPACE_MARK_BYTES;
    }
    return n;
}

vd_status vd_encoder_chain(vd_encoder *encoder, const char *text, uint32_t n, vd_err *err)
{
    vd_status st = vd_merger_reserve(&encoder->merger, n, err);
    if (st != VD_OK)
        return st;
    vd_symbol *symbol = encoder->merger.symbol;
    uint32_t previous = UINT32_MAX;
    for (uint32_t i = 0; i < n;) {
        uint32_t code, id = VD_NO_SYMBOL;
        int length = vd_utf8_decode(text + i, n - i, &code);
        uint32_t next = i + (length > 0 ? (uint32_t)length : 1u);
        (void)vd_strmap_get(&encoder->tokenizer->symbols, text + i, next - i, &id);
        symbol[i] = (vd_symbol){.id = id, .prev = previous, .next = next};
        previous = i;
        i = next;
    }
    return VD_OK;
}

static vd_status encode_fragment(vd_encoder *encoder, const char *text, size_t n,
                                 bool after_special, vd_err *err)
{
    if (n == 0)
        return VD_OK;
    encoder->after_unknown = false;
    switch (encoder->tokenizer->model) {
    case VD_TOKENIZER_SPM:
        return vd_spm_encode(encoder, text, n, after_special, err);
    case VD_TOKENIZER_UGM:
        return vd_ugm_encode(encoder, text, n, err);
    case VD_TOKENIZER_BPE:
        return vd_bpe_encode(encoder, text, n, err);
    case VD_TOKENIZER_WORDPIECE:
        return vd_wordpiece_encode(encoder, text, n, err);
    }
    return VD_OK;
}

static bool is_ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static vd_status encode_text(vd_encoder *encoder, const char *text, size_t n,
                             const vd_encode_options *how, vd_err *err)
{
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    const vd_prefix_table *table = how->parse_special ? &tokenizer->special : &tokenizer->added;
    size_t start = 0, literal = 0;
    bool after_special = true;
    for (size_t i = 0; i < n && table->n > 0;) {
        uint32_t id = 0;
        size_t length = vd_prefix_longest(table, text + i, n - i, &id);
        while (literal < how->n_literal && how->literal[literal] <= i)
            literal++;
        bool read_as_text = literal < how->n_literal && how->literal[literal] < i + length;
        if (length == 0 || read_as_text) {
            i++;
            continue;
        }
        size_t end = i;
        if (tokenizer->flags[id] & VD_TOKEN_FLAG_LSTRIP)
            while (end > start && is_ascii_space(text[end - 1]))
                end--;
        vd_status st = encode_fragment(encoder, text + start, end - start, after_special, err);
        if (st == VD_OK)
            st = vd_encoder_emit(encoder, (int32_t)id, err);
        if (st != VD_OK)
            return st;
        i += length;
        if (tokenizer->flags[id] & VD_TOKEN_FLAG_RSTRIP)
            while (i < n && is_ascii_space(text[i]))
                i++;
        start = i;
        after_special = true;
    }
    return encode_fragment(encoder, text + start, n - start, after_special, err);
}

vd_status vd_tokenizer_encode(const vd_tokenizer *tokenizer, const char *text, size_t n,
                              const vd_encode_options *options, int32_t **ret_ids, size_t *ret_n,
                              vd_err *err)
{
    static const vd_encode_options defaults = {0};
    const vd_encode_options *how = options != NULL ? options : &defaults;
    vd_encoder encoder = {.tokenizer = tokenizer};
    vd_status st = VD_OK;
    vd_buf_init(&encoder.scratch, SIZE_MAX / 2);
    vd_buf_init(&encoder.word, SIZE_MAX / 2);
    vd_buf_init(&encoder.pattern_text, SIZE_MAX / 2);
    if (n > ENCODE_BYTES_MAX) {
        st = VD_FAIL(err, VD_ERR_LIMIT, "a text of %zu bytes is too long to tokenize at once; at "
                     "most %d", n, ENCODE_BYTES_MAX);
        goto out;
    }
    if (tokenizer->add_bos && !how->no_bos_eos)
        st = vd_encoder_emit(&encoder, tokenizer->bos, err);
    if (st == VD_OK)
        st = encode_text(&encoder, text, n, how, err);
    if (st == VD_OK && tokenizer->add_sep && !how->no_bos_eos)
        st = vd_encoder_emit(&encoder, tokenizer->sep, err);
    if (st == VD_OK && tokenizer->add_eos && !how->no_bos_eos)
        st = vd_encoder_emit(&encoder, tokenizer->eos, err);
    if (st != VD_OK)
        goto out;

    /* Gives back what growing took too much; also makes a block where there are no ids. */
    int32_t *ids = vd_realloc(encoder.ids, encoder.n * sizeof(*ids));
    if (ids == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "out of memory for %zu token ids", encoder.n);
        goto out;
    }
    *ret_ids = ids;
    *ret_n = encoder.n;
    encoder.ids = NULL;
out:
    vd_free(encoder.ids);
    vd_free(encoder.best);
    vd_merger_done(&encoder.merger);
    vd_buf_done(&encoder.scratch);
    vd_buf_done(&encoder.word);
    vd_buf_done(&encoder.pattern_text);
    return st;
}

void vd_ids_free(int32_t *ids)
{
    vd_free(ids);
}

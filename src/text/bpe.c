/*
 * bpe.c - byte pair encoding: symbols merge in the order of a list.
 *
 * Byte-level (Radford et al. 2019): a symbol is at first one byte, so any input has an encoding.
 * Raw (Gemma 4): a symbol is at first one character, spaces are U+2581, and a character without a
 * token becomes the tokens of its bytes. Merges may name strings that are no tokens ("ghosts");
 * one that is left over at the end falls back to bytes, as in llama.cpp.
 */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "text/encode.h"

enum { MERGES_MAX = 1 << 28 };

/* The symbol of text[0..n), a new ghost where it has none. `lasting`: the text outlives the
 * tokenizer's maps already. */
static vd_status intern(vd_tokenizer *tokenizer, const char *text, size_t n, uint32_t *ret_symbol,
                        vd_err *err)
{
    if (vd_strmap_get(&tokenizer->symbols, text, n, ret_symbol))
        return VD_OK;
    char *key = vd_arena_strndup(&tokenizer->arena, text, n);
    if (key == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "out of memory for merges");
    vd_status st = vd_strmap_put(&tokenizer->symbols, key, n, tokenizer->n_symbols, NULL, err);
    if (st == VD_OK)
        *ret_symbol = tokenizer->n_symbols++;
    return st;
}

static vd_status load_merge(vd_tokenizer *tokenizer, vd_str merge, uint32_t rank, vd_buf *joined,
                            vd_err *err)
{
    /* The space between the parts; the first part is never empty, so it may itself be a space. */
    const char *space = merge.n < 3 ? NULL : memchr(merge.data + 1, ' ', merge.n - 2);
    if (space == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.merges: entry %u ('%.*s') is not two "
                       "parts with a space between", rank, (int)VD_MIN(merge.n, (size_t)64),
                       merge.data);
    size_t n_left = (size_t)(space - merge.data), n_right = merge.n - n_left - 1;
    vd_buf_clear(joined);
    vd_buf_append(joined, merge.data, n_left);
    vd_buf_append(joined, space + 1, n_right);
    vd_status st = vd_buf_status(joined, "a merge", err);
    uint32_t left = 0, right = 0;
    if (st == VD_OK)
        st = intern(tokenizer, merge.data, n_left, &left, err);
    if (st == VD_OK)
        st = intern(tokenizer, space + 1, n_right, &right, err);
    if (st == VD_OK)
        st = intern(tokenizer, joined->data, joined->n, &tokenizer->merged[rank], err);
    if (st == VD_OK)
        vd_pairmap_put(&tokenizer->pairs, left, right, rank);
    return st;
}

static vd_status load_merges(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    const vd_gguf_kv *merges = vd_gguf_find(gguf, "tokenizer.ggml.merges");
    if (merges == NULL || merges->type != VD_GGUF_TYPE_ARRAY)
        return VD_FAIL(err, VD_ERR_FORMAT, "a BPE vocabulary needs the array "
                       "tokenizer.ggml.merges");
    if (merges->n_items == 0)
        return VD_OK;
    if (merges->item_type != VD_GGUF_TYPE_STRING || merges->n_items > MERGES_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.merges must be an array of at most %d "
                       "strings", MERGES_MAX);
    tokenizer->n_merges = (uint32_t)merges->n_items;
    vd_buf joined;
    vd_buf_init(&joined, SIZE_MAX / 2);
    vd_status st = vd_arena_array(&tokenizer->arena, tokenizer->n_merges,
                                  sizeof(*tokenizer->merged), "merges", &tokenizer->merged, err);
    if (st == VD_OK)
        st = vd_pairmap_init(&tokenizer->pairs, tokenizer->n_merges, err);
    const unsigned char *cursor = merges->data;
    for (uint32_t i = 0; st == VD_OK && i < tokenizer->n_merges; i++)
        st = load_merge(tokenizer, vd_gguf_next_str(&cursor), i, &joined, err);
    vd_buf_done(&joined);
    return st;
}

vd_status vd_bpe_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    tokenizer->raw_bytes = vd_pretokenizer_has(&tokenizer->pre, VD_PRE_RAW);
    tokenizer->escape_spaces = tokenizer->raw_bytes;
    vd_status st = load_merges(tokenizer, gguf, err);
    if (st != VD_OK)
        return st;
    for (int b = 0; b < 256; b++) {
        char name[8];
        size_t n = tokenizer->raw_bytes
                       ? (size_t)snprintf(name, sizeof(name), "<0x%02X>", (unsigned)b)
                       : vd_utf8_encode(vd_byte_to_code((unsigned char)b), name);
        tokenizer->byte_symbol[b] = VD_NO_SYMBOL;
        (void)vd_strmap_get(&tokenizer->symbols, name, n, &tokenizer->byte_symbol[b]);
    }
    if (tokenizer->escape_spaces)
        vd_vocab_find_joins(tokenizer);
    return VD_OK;
}

static uint32_t pair_rank(const void *context, const char *word, const vd_symbol *symbol,
                          uint32_t left, uint32_t right)
{
    const vd_tokenizer *tokenizer = context;
    uint32_t a = symbol[left].id, b = symbol[right].id;
    if (a == VD_NO_SYMBOL || b == VD_NO_SYMBOL)
        return VD_NO_RANK;
    return vd_pairmap_get(&tokenizer->pairs, a, b);
}

/* Each byte of the word a symbol. */
static vd_status chain_bytes(vd_encoder *encoder, const char *word, uint32_t n, vd_err *err)
{
    vd_status st = vd_merger_reserve(&encoder->merger, n, err);
    if (st != VD_OK)
        return st;
    vd_symbol *symbol = encoder->merger.symbol;
    for (uint32_t i = 0; i < n; i++)
        symbol[i] = (vd_symbol){.id = encoder->tokenizer->byte_symbol[(unsigned char)word[i]],
                                .prev = i - 1u, .next = i + 1};
    return VD_OK;
}

static vd_status merge_word(vd_encoder *encoder, const char *word, uint32_t n, vd_err *err)
{
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    vd_status st = tokenizer->raw_bytes ? vd_encoder_chain(encoder, word, n, err)
                                        : chain_bytes(encoder, word, n, err);
    if (st == VD_OK)
        st = vd_merger_run(&encoder->merger, tokenizer, word, n, pair_rank, tokenizer->merged,
                           err);
    for (uint32_t i = 0; st == VD_OK && i < n;) {
        const vd_symbol *symbol = &encoder->merger.symbol[i];
        uint32_t next = symbol->next;
        st = symbol->id < tokenizer->n_vocab
                 ? vd_encoder_emit(encoder, (int32_t)symbol->id, err)
                 : vd_encoder_emit_bytes(encoder, word + i, next - i, err);
        i = next;
    }
    return st;
}

/* The id of the whole word, or -1. */
static int32_t find_word(vd_encoder *encoder, const char *word, size_t n)
{
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    if (n > tokenizer->text_max)
        return -1;
    if (tokenizer->raw_bytes)
        return vd_vocab_find(tokenizer, word, n);
    vd_buf_clear(&encoder->word);
    for (size_t i = 0; i < n; i++) {
        char mapped[4];
        vd_buf_append(&encoder->word, mapped,
                      vd_utf8_encode(vd_byte_to_code((unsigned char)word[i]), mapped));
    }
    /* Out of memory is not "no such word", but merging finds that out just as well. */
    return encoder->word.failed != VD_OK
               ? -1
               : vd_vocab_find(tokenizer, encoder->word.data, encoder->word.n);
}

typedef struct bpe_fragment {
    vd_encoder *encoder;
    const char *text; /* as the vocabulary writes it, not what the patterns see */
} bpe_fragment;

static vd_status encode_word(void *context, size_t start, size_t n, vd_err *err)
{
    const bpe_fragment *fragment = context;
    const vd_tokenizer *tokenizer = fragment->encoder->tokenizer;
    const char *word = fragment->text + start;
    /* Gemma 4 looks runs of newlines up whole, beside its merges. */
    bool newlines = vd_pretokenizer_has(&tokenizer->pre, VD_PRE_LINES) && *word == '\n';
    if (vd_pretokenizer_has(&tokenizer->pre, VD_PRE_IGNORE_MERGES) || newlines) {
        int32_t id = find_word(fragment->encoder, word, n);
        if (id >= 0)
            return vd_encoder_emit(fragment->encoder, id, err);
    }
    if (!tokenizer->raw_bytes)
        return merge_word(fragment->encoder, word, (uint32_t)n, err);
    for (size_t at = 0, cut; at < n; at = cut) {
        cut = vd_encoder_next_cut(tokenizer, word, n, at);
        vd_status st = merge_word(fragment->encoder, word + at, (uint32_t)(cut - at), err);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

/* The patterns want valid UTF-8. Each byte that is none becomes a control character for them, and
 * places stay what they are; the words themselves keep their bytes. */
static vd_status mask_invalid(vd_buf *out, const char *text, size_t n, vd_err *err)
{
    vd_buf_clear(out);
    vd_buf_append(out, text, n);
    vd_status st = vd_buf_status(out, "the text to tokenize", err);
    for (size_t i = 0; st == VD_OK && i < n;) {
        uint32_t code;
        int length = vd_utf8_decode(text + i, n - i, &code);
        if (length <= 0)
            out->data[i] = '\x01';
        i += length > 0 ? (size_t)length : 1;
    }
    return st;
}

vd_status vd_bpe_encode(vd_encoder *encoder, const char *text, size_t n, vd_err *err)
{
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    vd_status st = VD_OK;
    if (tokenizer->escape_spaces) {
        st = vd_encoder_escape(encoder, text, n, false, err);
        text = encoder->scratch.data;
        n = encoder->scratch.n;
    }
    const char *seen = text;
    if (st == VD_OK && !vd_utf8_valid(text, n)) {
        st = mask_invalid(&encoder->pattern_text, text, n, err);
        seen = encoder->pattern_text.data;
    }
    if (st != VD_OK)
        return st;
    bpe_fragment fragment = {encoder, text};
    return vd_pretokenizer_split(&tokenizer->pre, seen, n, encode_word, &fragment, err);
}

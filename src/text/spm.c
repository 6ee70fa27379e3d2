/*
 * spm.c - SentencePiece's BPE model: characters merge into the token of the best score.
 *
 * Kudo and Richardson 2018. A character that no token holds becomes the tokens of its bytes. The
 * text is cut before U+2581 where no token has that byte in front of it: nothing merges there, so
 * words stay short and in the cache; only text without spaces is one long word.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "text/encode.h"

typedef struct scored {
    float score;
    uint32_t id;
} scored;

static int best_first(const void *a, const void *b)
{
    float x = ((const scored *)a)->score, y = ((const scored *)b)->score;
    return x > y ? -1 : x < y;
}

/* Scores to ranks, so that the merge loop compares integers. */
static vd_status load_ranks(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    uint32_t n = tokenizer->n_vocab;
    const vd_gguf_kv *scores = vd_gguf_find(gguf, "tokenizer.ggml.scores");
    if (scores == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "a SentencePiece vocabulary needs "
                       "tokenizer.ggml.scores");
    if (scores->n_items < n)
        return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.scores has %llu entries for %u tokens",
                       (unsigned long long)scores->n_items, n);
    scored *order = NULL;
    vd_status st = vd_arena_array(&tokenizer->arena, n, sizeof(*tokenizer->rank), "token ranks",
                                  &tokenizer->rank, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*order), "token scores", &order, err);
    if (st != VD_OK)
        return st;
    for (uint32_t i = 0; i < n; i++) {
        double score;
        int64_t whole;
        if (vd_gguf_item_f64(scores, i, &score)) {
        } else if (vd_gguf_item_i64(scores, i, &whole)) {
            score = (double)whole;
        } else {
            score = NAN;
        }
        if (isnan(score)) {
            st = VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.scores: entry %u is not a number", i);
            goto out;
        }
        order[i] = (scored){(float)score, i};
    }
    qsort(order, n, sizeof(*order), best_first);
    uint32_t rank = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0 && order[i].score < order[i - 1].score)
            rank = i;
        tokenizer->rank[order[i].id] = rank;
    }
out:
    vd_free(order);
    return st;
}

vd_status vd_spm_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    tokenizer->escape_spaces = true;
    tokenizer->add_space_prefix = true;
    (void)vd_gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", &tokenizer->add_space_prefix);
    for (int b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof(name), "<0x%02X>", (unsigned)b);
        char raw = (char)b;
        int32_t id = vd_vocab_find(tokenizer, name, 6);
        if (id < 0)
            id = vd_vocab_find(tokenizer, &raw, 1);
        tokenizer->byte_symbol[b] = id < 0 ? VD_NO_SYMBOL : (uint32_t)id;
    }
    vd_vocab_find_joins(tokenizer);
    return load_ranks(tokenizer, gguf, err);
}

static uint32_t pair_rank(const void *context, const char *word, const vd_symbol *symbol,
                          uint32_t left, uint32_t right)
{
    const vd_tokenizer *tokenizer = context;
    uint32_t n = symbol[right].next - left;
    if (n > tokenizer->text_max)
        return VD_NO_RANK;
    int32_t id = vd_vocab_find(tokenizer, word + left, n);
    return id < 0 ? VD_NO_RANK : tokenizer->rank[id];
}

static vd_status encode_word(vd_encoder *encoder, const char *word, uint32_t n, vd_err *err)
{
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    vd_status st = vd_encoder_chain(encoder, word, n, err);
    if (st == VD_OK)
        st = vd_merger_run(&encoder->merger, tokenizer, word, n, pair_rank, NULL, err);
    for (uint32_t i = 0, next; st == VD_OK && i < n; i = next) {
        next = encoder->merger.symbol[i].next;
        int32_t id = vd_vocab_find(tokenizer, word + i, next - i);
        st = id >= 0 ? vd_encoder_emit(encoder, id, err)
                     : vd_encoder_emit_bytes(encoder, word + i, next - i, err);
    }
    return st;
}

vd_status vd_spm_encode(vd_encoder *encoder, const char *text, size_t n, bool after_special,
                        vd_err *err)
{
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    vd_status st = vd_encoder_escape(encoder, text, n,
                                     tokenizer->add_space_prefix && after_special, err);
    if (st != VD_OK)
        return st;
    const char *escaped = encoder->scratch.data;
    for (size_t at = 0, cut; at < encoder->scratch.n; at = cut) {
        cut = vd_encoder_next_cut(tokenizer, escaped, encoder->scratch.n, at);
        st = encode_word(encoder, escaped + at, (uint32_t)(cut - at), err);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

/*
 * ugm.c - SentencePiece's unigram model: of all ways to cover the text by tokens the likeliest.
 *
 * Kudo 2018, "Subword Regularization", section 3.2: a token's score is its log-probability, and
 * Viterbi's algorithm finds the greatest sum in one pass over the characters. A character that is
 * no token is covered by the unknown one at the price of the worst score less 10; a run of them is
 * one unknown token, or the tokens of its bytes where the vocabulary has these.
 *
 * Before that the text is normalized (charsmap.h) and its spaces are settled. It is cut before
 * U+2581 where no token has that byte in front of it, as in spm.c: no token lies across, so both
 * parts are best for themselves, and sums stay short. Sums are doubles, as in Hugging Face's
 * tokenizers and in llama.cpp; SentencePiece's own are floats and may break a tie the other way.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "text/encode.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
static const double unknown_penalty = 10.0;

/* The best way to cover the word up to a place: the token that ends there and where it begins. */
struct vd_ugm_best {
    double score;   /* -INFINITY: no way yet */
    uint32_t begin;
    uint32_t next;  /* filled in on the way back: where the token that begins here ends */
    uint32_t id;    /* VD_PREFIX_NO_ID: the unknown token */
};

static vd_status load_scores(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    uint32_t n = tokenizer->n_vocab;
    const vd_gguf_kv *scores = vd_gguf_find(gguf, "tokenizer.ggml.scores");
    if (scores == NULL || scores->n_items < n)
        return VD_FAIL(err, VD_ERR_FORMAT, "a unigram vocabulary needs tokenizer.ggml.scores with "
                       "an entry for each of %u tokens", n);
    vd_status st = vd_arena_array(&tokenizer->arena, n, sizeof(*tokenizer->score), "token scores",
                                  &tokenizer->score, err);
    if (st != VD_OK)
        return st;
    double least = DBL_MAX;
    for (uint32_t i = 0; i < n; i++) {
        double score;
        if (!vd_gguf_item_f64(scores, i, &score) || !isfinite(score))
            return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.scores: entry %u is not a finite "
                           "number", i);
        tokenizer->score[i] = (float)score;
        if (tokenizer->kind[i] == VD_TOKEN_NORMAL)
            least = fmin(least, tokenizer->score[i]);
    }
    tokenizer->unknown_score = (least == DBL_MAX ? 0.0 : least) - unknown_penalty;
    return VD_OK;
}

vd_status vd_ugm_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    tokenizer->escape_spaces = true;
    (void)vd_gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", &tokenizer->add_space_prefix);
    (void)vd_gguf_get_bool(gguf, "tokenizer.ggml.remove_extra_whitespaces",
                           &tokenizer->merge_spaces);
    for (int b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof(name), "<0x%02X>", (unsigned)b);
        int32_t id = vd_vocab_find(tokenizer, name, 6);
        bool is_byte = id >= 0 && tokenizer->kind[id] == VD_TOKEN_BYTE;
        tokenizer->byte_symbol[b] = is_byte ? (uint32_t)id : VD_NO_SYMBOL;
        tokenizer->keeps_bytes = is_byte && (b == 0 || tokenizer->keeps_bytes);
    }
    vd_vocab_find_joins(tokenizer);
    vd_status st = load_scores(tokenizer, gguf, err);
    if (st == VD_OK)
        st = vd_charsmap_load(&tokenizer->charsmap, &tokenizer->arena, gguf, err);
    uint32_t *ids = NULL, n_ids = 0;
    if (st == VD_OK)
        st = vd_alloc_array(tokenizer->n_vocab, sizeof(*ids), "token table", &ids, err);
    if (st != VD_OK)
        return st;
    for (uint32_t i = 0; i < tokenizer->n_vocab; i++)
        if (tokenizer->kind[i] == VD_TOKEN_NORMAL)
            ids[n_ids++] = i;
    st = vd_prefix_init(&tokenizer->words, &tokenizer->arena, tokenizer->text, ids, n_ids, err);
    vd_free(ids);
    return st;
}

/* The next piece of text[0..n), n > 0, normalized: what it becomes, and how many bytes it takes. */
static size_t normalize_piece(const vd_tokenizer *tokenizer, const char *text, size_t n,
                              vd_str *ret_to)
{
    size_t length = vd_charsmap_longest(&tokenizer->charsmap, text, n, ret_to);
    if (length > 0)
        return length;
    uint32_t code;
    int character = vd_utf8_decode(text, n, &code);
    if (character > 0 || tokenizer->keeps_bytes) {
        *ret_to = (vd_str){text, (size_t)VD_MAX(character, 1)};
        return ret_to->n;
    }
    *ret_to = (vd_str){REPLACEMENT, 3};
    return 1;
}

/* The fragment normalized into the scratch buffer, U+2581 for a space; where spaces are merged,
 * there is one before each word but the first and none at the ends. The prefix comes on top. */
static vd_status normalize(vd_encoder *encoder, const char *text, size_t n, vd_err *err)
{
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    vd_buf *out = &encoder->scratch;
    bool merge = tokenizer->merge_spaces;
    bool space = tokenizer->add_space_prefix, any = false;
    vd_buf_clear(out);
    vd_buf_reserve(out, n + n / 4 + VD_SPACE_MARK_BYTES);
    if (space && !merge)
        vd_buf_puts(out, VD_SPACE_MARK);
    for (size_t i = 0; i < n;) {
        vd_str to;
        i += normalize_piece(tokenizer, text + i, n - i, &to);
        for (size_t k = 0; k < to.n; k++) {
            if (to.data[k] == ' ') {
                space = space || any;
                if (!merge)
                    vd_buf_puts(out, VD_SPACE_MARK);
                continue;
            }
            if (merge && space)
                vd_buf_puts(out, VD_SPACE_MARK);
            space = false;
            any = true;
            vd_buf_putc(out, to.data[k]);
        }
    }
    if (out->n >= UINT32_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "a text of %zu bytes is too long once normalized", n);
    return vd_buf_status(out, "normalized text", err);
}

static vd_status reserve(vd_encoder *encoder, size_t n, vd_err *err)
{
    if (n <= encoder->best_capacity)
        return VD_OK;
    size_t capacity = VD_MAX(n, encoder->best_capacity + encoder->best_capacity / 2);
    struct vd_ugm_best *best = NULL;
    vd_status st = vd_alloc_array(capacity, sizeof(*best), "places in a word", &best, err);
    if (st != VD_OK)
        return st;
    vd_free(encoder->best);
    encoder->best = best;
    encoder->best_capacity = capacity;
    return VD_OK;
}

static void offer(struct vd_ugm_best *best, uint32_t begin, uint32_t end, uint32_t id, double score)
{
    score += best[begin].score;
    if (score > best[end].score)
        best[end] = (struct vd_ugm_best){.score = score, .begin = begin, .id = id};
}

/* Viterbi's forward pass over word[0..n). */
static void find_best(const vd_tokenizer *tokenizer, const char *word, uint32_t n,
                      struct vd_ugm_best *best)
{
    for (uint32_t i = 0; i <= n; i++)
        best[i].score = i == 0 ? 0.0 : -INFINITY;
    for (uint32_t at = 0, next; at < n; at = next) {
        uint32_t code, node = VD_PREFIX_ROOT;
        int character = vd_utf8_decode(word + at, n - at, &code);
        next = at + (uint32_t)VD_MAX(character, 1);
        bool alone = false; /* the character is a token by itself */
        for (uint32_t end = at; end < n;) {
            if (!vd_prefix_step(&tokenizer->words, &node, (unsigned char)word[end++]))
                break;
            uint32_t id = tokenizer->words.id[node];
            if (id == VD_PREFIX_NO_ID)
                continue;
            alone = alone || end == next;
            offer(best, at, end, id, tokenizer->score[id]);
        }
        if (!alone)
            offer(best, at, next, VD_PREFIX_NO_ID, tokenizer->unknown_score);
    }
}

static vd_status encode_word(vd_encoder *encoder, const char *word, uint32_t n, vd_err *err)
{
    vd_status st = reserve(encoder, (size_t)n + 1, err);
    if (st != VD_OK)
        return st;
    struct vd_ugm_best *best = encoder->best;
    find_best(encoder->tokenizer, word, n, best);
    for (uint32_t end = n; end > 0; end = best[end].begin)
        best[best[end].begin].next = end;
    for (uint32_t at = 0, end; st == VD_OK && at < n; at = end) {
        end = best[at].next;
        uint32_t id = best[end].id;
        st = id != VD_PREFIX_NO_ID ? vd_encoder_emit(encoder, (int32_t)id, err)
                                   : vd_encoder_emit_bytes(encoder, word + at, end - at, err);
    }
    return st;
}

vd_status vd_ugm_encode(vd_encoder *encoder, const char *text, size_t n, vd_err *err)
{
    vd_status st = normalize(encoder, text, n, err);
    const char *normal = encoder->scratch.data;
    for (size_t at = 0, cut; st == VD_OK && at < encoder->scratch.n; at = cut) {
        cut = vd_encoder_next_cut(encoder->tokenizer, normal, encoder->scratch.n, at);
        st = encode_word(encoder, normal + at, (uint32_t)(cut - at), err);
    }
    return st;
}

/*
 * vocab.c - reads the vocabulary of a GGUF file: texts, kinds, special ids.
 *
 * Where the file is silent the defaults are those of llama.cpp v0.5.0. Where that takes what is
 * plainly wrong (an eos id outside the vocabulary) we say so instead.
 */
#include "text/vocab.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum { TOKENS_MAX = 1 << 26 };

int32_t vd_vocab_find(const vd_tokenizer *tokenizer, const char *text, size_t n)
{
    uint32_t symbol;
    if (!vd_strmap_get(&tokenizer->symbols, text, n, &symbol) || symbol >= tokenizer->n_vocab)
        return -1;
    return (int32_t)symbol;
}

/* Copies the texts into the arena, one after the other, and maps each to its id. */
static vd_status load_texts(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    const vd_gguf_kv *tokens = vd_gguf_find(gguf, "tokenizer.ggml.tokens");
    if (tokens == NULL)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "the file has no vocabulary (no "
                       "tokenizer.ggml.tokens)");
    if (tokens->type != VD_GGUF_TYPE_ARRAY || tokens->item_type != VD_GGUF_TYPE_STRING)
        return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.tokens must be an array of strings");
    if (tokens->n_items == 0 || tokens->n_items > TOKENS_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.tokens has %llu tokens; 1 to %d are "
                       "possible", (unsigned long long)tokens->n_items, TOKENS_MAX);
    uint32_t n = (uint32_t)tokens->n_items;
    size_t total = 0;
    const unsigned char *cursor = tokens->data;
    for (uint32_t i = 0; i < n; i++)
        total += vd_gguf_next_str(&cursor).n; /* all of it lies in the file: no overflow */

    char *bytes = NULL;
    vd_status st = vd_arena_array(&tokenizer->arena, total, 1, "token texts", &bytes, err);
    if (st == VD_OK)
        st = vd_arena_array(&tokenizer->arena, n, sizeof(vd_str), "token texts", &tokenizer->text,
                            err);
    if (st == VD_OK)
        st = vd_strmap_init(&tokenizer->symbols, n, err);
    if (st != VD_OK)
        return st;
    cursor = tokens->data;
    for (uint32_t i = 0; i < n; i++) {
        vd_str text = vd_gguf_next_str(&cursor);
        memcpy(bytes, text.data, text.n);
        tokenizer->text[i] = (vd_str){bytes, text.n};
        tokenizer->text_max = VD_MAX(tokenizer->text_max, text.n);
        bytes += text.n;
        if (text.n == 0)
            continue; /* a hole in the numbering: no text gives it */
        uint32_t other = 0;
        if (vd_strmap_get(&tokenizer->symbols, text.data, text.n, &other))
            return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.tokens: tokens %u and %u are both "
                           "'%.*s'", other, i, (int)VD_MIN(text.n, (size_t)64), text.data);
        st = vd_strmap_put(&tokenizer->symbols, tokenizer->text[i].data, text.n, i, NULL, err);
        if (st != VD_OK)
            return st;
    }
    tokenizer->n_vocab = tokenizer->n_symbols = n;
    return VD_OK;
}

static vd_status load_kinds(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    uint32_t n = tokenizer->n_vocab;
    vd_status st = vd_arena_array(&tokenizer->arena, n, 1, "token kinds", &tokenizer->kind, err);
    if (st == VD_OK)
        st = vd_arena_array(&tokenizer->arena, n, 1, "token flags", &tokenizer->flags, err);
    if (st != VD_OK)
        return st;
    memset(tokenizer->kind, VD_TOKEN_NORMAL, n);
    const vd_gguf_kv *types = vd_gguf_find(gguf, "tokenizer.ggml.token_type");
    if (types == NULL)
        return VD_OK;
    if (types->n_items < n)
        return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.token_type has %llu entries for %u "
                       "tokens", (unsigned long long)types->n_items, n);
    for (uint32_t i = 0; i < n; i++) {
        int64_t type;
        if (!vd_gguf_item_i64(types, i, &type))
            return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.token_type must hold integers");
        tokenizer->kind[i] = type >= VD_TOKEN_NORMAL && type <= VD_TOKEN_BYTE ? (uint8_t)type
                                                                             : VD_TOKEN_UNUSED;
    }
    return VD_OK;
}

/* The id under `key` into *id, which keeps its value when the file has none. All ones (in 32 bits
 * or as -1) mean that there is no such token. */
static vd_status load_id(const vd_tokenizer *tokenizer, const vd_gguf *gguf, const char *key,
                         int32_t *id, vd_err *err)
{
    if (*id >= 0 && (uint32_t)*id >= tokenizer->n_vocab)
        *id = -1;
    const vd_gguf_kv *kv = vd_gguf_find(gguf, key);
    if (kv == NULL)
        return VD_OK;
    int64_t value;
    if (kv->type == VD_GGUF_TYPE_ARRAY || !vd_gguf_item_i64(kv, 0, &value))
        return VD_FAIL(err, VD_ERR_FORMAT, "%s must be an integer", key);
    if (value == -1 || value == UINT32_MAX) {
        *id = -1;
        return VD_OK;
    }
    if (value < 0 || value >= tokenizer->n_vocab)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is %lld, outside the vocabulary of %u tokens", key,
                       (long long)value, tokenizer->n_vocab);
    *id = (int32_t)value;
    return VD_OK;
}

/* What the file says about adding a token, which must then exist; the default gives way. */
static vd_status load_add(const vd_gguf *gguf, const char *key, int32_t id, bool *add, vd_err *err)
{
    bool said = vd_gguf_get_bool(gguf, key, add);
    if (!*add || id >= 0)
        return VD_OK;
    if (said)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is true, but the vocabulary names no such token",
                       key);
    *add = false;
    return VD_OK;
}

static vd_status load_special_ids(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    bool spm = tokenizer->model == VD_TOKENIZER_SPM;
    bool ugm = tokenizer->model == VD_TOKENIZER_UGM;
    bool wordpiece = tokenizer->model == VD_TOKENIZER_WORDPIECE;
    tokenizer->bos = spm ? 1 : wordpiece ? 101 : -1;
    tokenizer->eos = spm ? 2 : ugm ? 1 : -1;
    tokenizer->unk = spm ? 0 : ugm ? 2 : wordpiece ? 100 : -1;
    tokenizer->sep = wordpiece ? 102 : -1;
    tokenizer->add_bos = spm ||
                         vd_pretokenizer_has(&tokenizer->pre, VD_PRE_ADD_BOS);
    tokenizer->add_eos = ugm;

    vd_status st = VD_OK;
    if (wordpiece) /* BERT's name for what begins a text */
        st = load_id(tokenizer, gguf, "tokenizer.ggml.cls_token_id", &tokenizer->bos, err);
    if (st == VD_OK)
        st = load_id(tokenizer, gguf, "tokenizer.ggml.bos_token_id", &tokenizer->bos, err);
    if (st == VD_OK)
        st = load_id(tokenizer, gguf, "tokenizer.ggml.eos_token_id", &tokenizer->eos, err);
    if (st == VD_OK)
        st = load_id(tokenizer, gguf, "tokenizer.ggml.unknown_token_id", &tokenizer->unk, err);
    if (st == VD_OK) /* spelled so in the format */
        st = load_id(tokenizer, gguf, "tokenizer.ggml.seperator_token_id", &tokenizer->sep, err);
    /* A text of BERT stands between [CLS] and [SEP], whatever a file says; as in llama.cpp. */
    if (wordpiece) {
        tokenizer->add_bos = tokenizer->bos >= 0;
        tokenizer->add_sep = tokenizer->sep >= 0;
        return st;
    }
    if (st == VD_OK)
        st = load_add(gguf, "tokenizer.ggml.add_bos_token", tokenizer->bos, &tokenizer->add_bos,
                      err);
    if (st == VD_OK)
        st = load_add(gguf, "tokenizer.ggml.add_eos_token", tokenizer->eos, &tokenizer->add_eos,
                      err);
    /* Gemma 4 files say false and are wrong. */
    if (vd_pretokenizer_has(&tokenizer->pre, VD_PRE_LINES) && tokenizer->bos >= 0)
        tokenizer->add_bos = true;
    return st;
}

void vd_vocab_find_joins(vd_tokenizer *tokenizer)
{
    for (size_t i = 0; i < tokenizer->symbols.n_slots; i++) {
        const vd_strmap_slot *slot = &tokenizer->symbols.slot[i];
        if (slot->key == NULL)
            continue;
        const char *at = slot->key, *end = slot->key + slot->n_key;
        while ((at = memmem(at, (size_t)(end - at), VD_SPACE_MARK, VD_SPACE_MARK_BYTES)) != NULL) {
            if (at > slot->key)
                tokenizer->joins[(unsigned char)at[-1]] = true;
            at += VD_SPACE_MARK_BYTES;
        }
    }
}

vd_status vd_vocab_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    vd_str model, pre = {"default", 7};
    vd_status st = vd_gguf_require_str(gguf, "tokenizer.ggml.model", &model, err);
    if (st != VD_OK)
        return st;
    bool gemma4 = vd_str_is(model, "gemma4");
    if (gemma4)
        pre = model;
    else
        (void)vd_gguf_get_str(gguf, "tokenizer.ggml.pre", &pre);
    if (pre.n == 0)
        pre = (vd_str){"default", 7};

    if (vd_str_is(model, "llama"))
        tokenizer->model = VD_TOKENIZER_SPM;
    else if (vd_str_is(model, "t5"))
        tokenizer->model = VD_TOKENIZER_UGM;
    else if (vd_str_is(model, "gpt2") || gemma4)
        tokenizer->model = VD_TOKENIZER_BPE;
    else if (vd_str_is(model, "bert"))
        tokenizer->model = VD_TOKENIZER_WORDPIECE;
    else
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "the tokenizer model '%.*s' is not known to this "
                       "build (tokenizer.ggml.model); we know: bert, gemma4, gpt2, llama, t5",
                       (int)VD_MIN(model.n, (size_t)64), model.data);
    if (tokenizer->model == VD_TOKENIZER_BPE)
        st = vd_pretokenizer_init(&tokenizer->pre, pre, err);
    if (st == VD_OK)
        st = load_texts(tokenizer, gguf, err);
    if (st == VD_OK)
        st = load_kinds(tokenizer, gguf, err);
    if (st == VD_OK)
        st = load_special_ids(tokenizer, gguf, err);
    return st;
}

/* tokenizer.c - building, freeing and asking a tokenizer. See <verdant/tokenizer.h>. */
#include "text/tokenizer.h"

#include "base/alloc.h"
#include "base/fail.h"
#include "text/vocab.h"

void vd_tokenizer_free(vd_tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    vd_pretokenizer_done(&tokenizer->pre);
    vd_pairmap_done(&tokenizer->pairs);
    vd_strmap_done(&tokenizer->symbols);
    vd_arena_done(&tokenizer->arena);
    vd_free(tokenizer);
}

vd_status vd_tokenizer_create(const vd_gguf *gguf, vd_tokenizer **ret_tokenizer, vd_err *err)
{
    vd_tokenizer *tokenizer = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*tokenizer), "a tokenizer", &tokenizer, err);
    if (st != VD_OK)
        return st;
    /* Everything in it is a small multiple of what the file holds. */
    vd_arena_init(&tokenizer->arena, SIZE_MAX / 2);
    st = vd_vocab_load(tokenizer, gguf, err);
    if (st == VD_OK)
        st = vd_vocab_mark_special(tokenizer, gguf, err);
    if (st == VD_OK && tokenizer->model == VD_TOKENIZER_SPM)
        st = vd_spm_load(tokenizer, gguf, err);
    if (st == VD_OK && tokenizer->model == VD_TOKENIZER_UGM)
        st = vd_ugm_load(tokenizer, gguf, err);
    if (st == VD_OK && tokenizer->model == VD_TOKENIZER_BPE)
        st = vd_bpe_load(tokenizer, gguf, err);
    if (st == VD_OK && tokenizer->model == VD_TOKENIZER_WORDPIECE)
        st = vd_wordpiece_load(tokenizer, gguf, err);
    if (st == VD_OK)
        st = vd_vocab_make_pieces(tokenizer, err);
    if (st != VD_OK)
        goto out;

    *ret_tokenizer = tokenizer;
    tokenizer = NULL; /* moved to the caller */
out:
    vd_tokenizer_free(tokenizer);
    return st;
}

vd_status vd_tokenizer_open(const char *path, vd_tokenizer **ret_tokenizer, vd_err *err)
{
    vd_gguf *gguf = NULL;
    const vd_gguf_options options = {.metadata_only = true};
    vd_status st = vd_gguf_open(path, &options, &gguf, err);
    if (st == VD_OK) {
        st = vd_tokenizer_create(gguf, ret_tokenizer, err);
        if (st != VD_OK)
            vd_err_prefix(err, "%s", path);
    }
    vd_gguf_free(gguf);
    return st;
}

static bool is_token(const vd_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (uint32_t)id < tokenizer->n_vocab;
}

size_t vd_tokenizer_piece_max(const vd_tokenizer *tokenizer)
{
    return tokenizer->piece_max;
}

vd_str vd_tokenizer_text(const vd_tokenizer *tokenizer, int32_t id)
{
    return is_token(tokenizer, id) ? tokenizer->text[id] : (vd_str){"", 0};
}

size_t vd_tokenizer_n_vocab(const vd_tokenizer *tokenizer)
{
    return tokenizer->n_vocab;
}

int32_t vd_tokenizer_bos(const vd_tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t vd_tokenizer_eos(const vd_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

bool vd_tokenizer_adds_bos(const vd_tokenizer *tokenizer)
{
    return tokenizer->add_bos;
}

bool vd_tokenizer_is_end(const vd_tokenizer *tokenizer, int32_t id)
{
    return is_token(tokenizer, id) && (tokenizer->flags[id] & VD_TOKEN_FLAG_END) != 0;
}

vd_token_kind vd_tokenizer_kind(const vd_tokenizer *tokenizer, int32_t id)
{
    return is_token(tokenizer, id) ? (vd_token_kind)tokenizer->kind[id] : VD_TOKEN_UNUSED;
}

int32_t vd_tokenizer_find(const vd_tokenizer *tokenizer, const char *text, size_t n)
{
    return vd_vocab_find(tokenizer, text, n);
}

void vd_text_free(char *text)
{
    vd_free(text);
}

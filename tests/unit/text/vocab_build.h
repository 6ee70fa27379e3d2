/*
 * vocab_build.h - tiny vocabularies made by the test itself.
 *
 * A vocab says what a GGUF file would; vocab_bytes writes that file into memory and vocab_open
 * makes a tokenizer of it, after which the file is gone: a tokenizer keeps nothing of it.
 */
#ifndef VD_TESTS_VOCAB_BUILD_H
#define VD_TESTS_VOCAB_BUILD_H

#include "../model/gguf_writer.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

typedef struct vocab {
    const char *model, *pre, *name; /* NULL: the key is absent */
    const char *const *tokens;
    size_t n_tokens;
    const int *types;     /* NULL: absent; else n_tokens of them */
    const float *scores;  /* NULL: absent */
    const char *const *merges;
    size_t n_merges;      /* SIZE_MAX: the key is absent */
    const unsigned char *rules; /* precompiled_charsmap; NULL: absent */
    size_t n_rules;
    struct { const char *key; uint32_t value; } id[6]; /* u32 keys under tokenizer.ggml. */
    struct { const char *key; bool value; } flag[4];   /* bool keys under tokenizer.ggml. */
} vocab;

__attribute__((unused)) static gguf_writer vocab_bytes(const vocab *v)
{
    gguf_writer w = {0};
    uint64_t n_kv = 1u + (v->model != NULL) + (v->pre != NULL) + (v->name != NULL) +
                    (v->types != NULL) + (v->scores != NULL) + (v->n_merges != SIZE_MAX) +
                    (v->rules != NULL);
    for (size_t i = 0; i < 6; i++)
        n_kv += v->id[i].key != NULL;
    for (size_t i = 0; i < 4; i++)
        n_kv += v->flag[i].key != NULL;
    gguf_header(&w, 3, 0, n_kv);
    if (v->model != NULL)
        gguf_kv_str(&w, "tokenizer.ggml.model", v->model);
    if (v->pre != NULL)
        gguf_kv_str(&w, "tokenizer.ggml.pre", v->pre);
    if (v->name != NULL)
        gguf_kv_str(&w, "general.name", v->name);
    gguf_key_array(&w, "tokenizer.ggml.tokens", 8, v->n_tokens);
    for (size_t i = 0; i < v->n_tokens; i++)
        gguf_str(&w, v->tokens[i]);
    if (v->types != NULL) {
        gguf_key_array(&w, "tokenizer.ggml.token_type", 5, v->n_tokens);
        for (size_t i = 0; i < v->n_tokens; i++)
            gguf_u32(&w, (uint32_t)v->types[i]);
    }
    if (v->scores != NULL) {
        gguf_key_array(&w, "tokenizer.ggml.scores", 6, v->n_tokens);
        for (size_t i = 0; i < v->n_tokens; i++)
            gguf_f32(&w, v->scores[i]);
    }
    if (v->n_merges != SIZE_MAX) {
        gguf_key_array(&w, "tokenizer.ggml.merges", 8, v->n_merges);
        for (size_t i = 0; i < v->n_merges; i++)
            gguf_str(&w, v->merges[i]);
    }
    if (v->rules != NULL) {
        gguf_key_array(&w, "tokenizer.ggml.precompiled_charsmap", 0, v->n_rules);
        gguf_bytes(&w, v->rules, v->n_rules);
    }
    char key[64];
    for (size_t i = 0; i < 6 && v->id[i].key != NULL; i++) {
        snprintf(key, sizeof(key), "tokenizer.ggml.%s", v->id[i].key);
        gguf_kv_u32(&w, key, v->id[i].value);
    }
    for (size_t i = 0; i < 4 && v->flag[i].key != NULL; i++) {
        snprintf(key, sizeof(key), "tokenizer.ggml.%s", v->flag[i].key);
        gguf_kv_bool(&w, key, v->flag[i].value);
    }
    return w;
}

__attribute__((unused)) static vd_status vocab_open(const vocab *v, vd_tokenizer **ret_tokenizer,
                                                    vd_err *err)
{
    gguf_writer w = vocab_bytes(v);
    vd_gguf *gguf = NULL;
    vd_status st = vd_gguf_open_memory(w.data, w.n, NULL, &gguf, err);
    if (st == VD_OK)
        st = vd_tokenizer_create(gguf, ret_tokenizer, err);
    vd_gguf_free(gguf);
    free(w.data);
    return st;
}

/* Byte-level BPE: the 256 bytes as GPT-2 writes them are tokens 0..255 in the order of bytes, then
 * `more`. The texts lie in static memory. */
__attribute__((unused)) static vocab vocab_byte_level(const char *pre, const char *const *more,
                                                      size_t n_more, const char *const *merges,
                                                      size_t n_merges)
{
    static char text[256][4];
    static const char *tokens[256 + 64];
    for (unsigned b = 0, moved = 0x100; b < 256; b++) {
        bool printable = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
        unsigned code = printable ? b : moved++;
        memset(text[b], 0, sizeof(text[b]));
        if (code < 0x80) {
            text[b][0] = (char)code;
        } else {
            text[b][0] = (char)(0xC0 | code >> 6);
            text[b][1] = (char)(0x80 | (code & 0x3F));
        }
        tokens[b] = text[b];
    }
    if (n_more > 64)
        exit(99);
    for (size_t i = 0; i < n_more; i++)
        tokens[256 + i] = more[i];
    return (vocab){.model = "gpt2", .pre = pre, .tokens = tokens, .n_tokens = 256 + n_more,
                   .merges = merges, .n_merges = n_merges};
}

/* SPM: <unk> <s> </s>, 256 byte tokens (3..258), then `more` from 259 on, scores falling. */
__attribute__((unused)) static vocab vocab_spm(const char *const *more, size_t n_more)
{
    static char bytes[256][8];
    static const char *tokens[259 + 64] = {"<unk>", "<s>", "</s>"};
    static float scores[259 + 64];
    static int types[259 + 64];
    if (n_more > 64)
        exit(99);
    for (size_t i = 0; i < 259 + n_more; i++) {
        scores[i] = i < 259 ? 0.0f : -(float)i;
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
        if (i >= 3 && i < 259) {
            snprintf(bytes[i - 3], sizeof(bytes[0]), "<0x%02X>", (unsigned)(i - 3) & 0xFF);
            tokens[i] = bytes[i - 3];
        } else if (i >= 259) {
            tokens[i] = more[i - 259];
        }
    }
    return (vocab){.model = "llama", .tokens = tokens, .n_tokens = 259 + n_more, .types = types,
                   .scores = scores, .n_merges = SIZE_MAX};
}

/* The ids of text as "1 2 3" in static memory. */
__attribute__((unused)) static const char *ids_of_bytes(const vd_tokenizer *tokenizer,
                                                        const char *text, size_t n,
                                                        const vd_encode_options *options)
{
    static char line[4096];
    int32_t *ids = NULL;
    size_t n_ids = 0, at = 0;
    vd_err err = {0};
    if (vd_tokenizer_encode(tokenizer, text, n, options, &ids, &n_ids, &err) != VD_OK)
        return err.message[0] != '\0' ? "failed" : "failed without a message";
    line[0] = '\0';
    for (size_t i = 0; i < n_ids && at < sizeof(line) - 16; i++)
        at += (size_t)snprintf(line + at, sizeof(line) - at, i == 0 ? "%d" : " %d", ids[i]);
    vd_ids_free(ids);
    return line;
}

__attribute__((unused)) static const char *plain_ids(const vd_tokenizer *tokenizer,
                                                     const char *text)
{
    const vd_encode_options options = {.no_bos_eos = true};
    return ids_of_bytes(tokenizer, text, strlen(text), &options);
}

__attribute__((unused)) static const char *special_ids(const vd_tokenizer *tokenizer,
                                                       const char *text)
{
    const vd_encode_options options = {.parse_special = true};
    return ids_of_bytes(tokenizer, text, strlen(text), &options);
}

/* The text of ids ended by -1, in static memory. */
__attribute__((unused)) static const char *text_of(const vd_tokenizer *tokenizer, bool special,
                                                   const int32_t *ids)
{
    static char out[4096];
    size_t n_ids = 0, n = 0;
    while (ids[n_ids] != -1)
        n_ids++;
    char *text = NULL;
    if (vd_tokenizer_decode(tokenizer, ids, n_ids, special, &text, &n, NULL) != VD_OK)
        return "failed";
    snprintf(out, sizeof(out), "%.*s", (int)n, text);
    vd_text_free(text);
    return out;
}

#define IDS(...) ((const int32_t[]){__VA_ARGS__, -1})

#endif

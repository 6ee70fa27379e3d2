/* vocabulary.c - see vocabulary.h. */
#include "import/vocabulary.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "import/folder.h"

#define SPACE_MARK "\xE2\x96\x81"

enum { HOLE_SCORE = -10000, ADDED_SCORE = -1000, BEYOND_SAID = 4 /* notes of one kind */ };

void vd_vocabulary_done(vd_vocabulary *v)
{
    vd_strmap_done(&v->ids);
    vd_arena_done(&v->arena);
    *v = (vd_vocabulary){0};
}

int32_t vd_vocabulary_find(const vd_vocabulary *v, const char *text, size_t n)
{
    uint32_t id;
    return vd_strmap_get(&v->ids, text, n, &id) ? (int32_t)id : -1;
}

vd_status vd_vocabulary_set(vd_vocabulary *v, uint64_t id, vd_str text, float score,
                            vd_piece_kind kind, vd_err *err)
{
    if (id >= v->n) {
        if (v->n_beyond++ < BEYOND_SAID)
            vd_note(v->notes, "token %llu '%.*s' has no row in the embedding (%u rows): left out",
                    (unsigned long long)id, (int)VD_MIN(text.n, (size_t)64), text.data, v->n);
        return VD_OK;
    }
    uint32_t other = 0;
    bool taken = vd_strmap_get(&v->ids, text.data, text.n, &other) && other != id;
    if (taken && v->piece[other].text.n == text.n &&
        memcmp(v->piece[other].text.data, text.data, text.n) == 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "tokens %u and %llu are both '%.*s'", other,
                       (unsigned long long)id, (int)VD_MIN(text.n, (size_t)64), text.data);
    char *copy = vd_arena_strndup(&v->arena, text.data, text.n);
    if (copy == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the vocabulary");
    v->piece[id] = (vd_piece){{copy, text.n}, score, (uint8_t)kind, false};
    return vd_strmap_put(&v->ids, copy, text.n, (uint32_t)id, NULL, err);
}

/* Some publishers forget to call these special. */
static bool looks_special(const char *text)
{
    static const char *const known[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    static const struct {
        const char *begin, *end;
    } frames[] = {{"<|", "|>"}, {"<\xEF\xBD\x9C", "\xEF\xBD\x9C>"}, {"<unused", ">"}};
    size_t n = strlen(text);
    for (size_t i = 0; i < VD_COUNT(known); i++)
        if (strcmp(text, known[i]) == 0)
            return true;
    for (size_t i = 0; i < VD_COUNT(frames); i++) {
        size_t n_begin = strlen(frames[i].begin), n_end = strlen(frames[i].end);
        if (n >= n_begin + n_end && strncmp(text, frames[i].begin, n_begin) == 0 &&
            strcmp(text + n - n_end, frames[i].end) == 0)
            return true;
    }
    return false;
}

vd_status vd_vocabulary_add(vd_vocabulary *v, uint64_t id, const char *text, bool special,
                            vd_err *err)
{
    vd_buf spaced;
    size_t n = strlen(text);
    special = special || looks_special(text);
    if (n == 0 || (id < v->n && v->piece[id].kind == VD_PIECE_UNKNOWN &&
                   v->piece[id].text.n == n && memcmp(v->piece[id].text.data, text, n) == 0))
        return VD_OK;
    vd_buf_init(&spaced, 1 << 20);
    for (const char *at = text; *at != '\0';) { /* it is looked for in text as users write it */
        bool mark = !special && strncmp(at, SPACE_MARK, strlen(SPACE_MARK)) == 0;
        vd_buf_putc(&spaced, mark ? ' ' : *at);
        at += mark ? strlen(SPACE_MARK) : 1;
    }
    vd_status st = vd_buf_status(&spaced, "an added token", err);
    if (st == VD_OK)
        st = vd_vocabulary_set(v, id, (vd_str){spaced.data, spaced.n}, ADDED_SCORE,
                               special ? VD_PIECE_CONTROL : VD_PIECE_USER, err);
    if (st == VD_OK && id < v->n)
        v->piece[id].added = true;
    vd_buf_done(&spaced);
    return st;
}

static vd_status bad_added(const char *file, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_FORMAT, "%s: an added token needs a text and an id of at least 0",
                   file);
}

/* added_tokens.json: {"<text>": id}. */
static vd_status add_from_map(vd_vocabulary *v, const json_t *map, vd_err *err)
{
    const char *text;
    json_t *id;
    vd_status st = VD_OK;
    json_object_foreach ((json_t *)map, text, id) {
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return bad_added("added_tokens.json", err);
        st = vd_vocabulary_add(v, (uint64_t)json_integer_value(id), text, false, err);
        if (st != VD_OK)
            return st;
    }
    return st;
}

/* tokenizer_config.json: {"32000": {"content": "<text>", "special": true}}. */
static vd_status add_from_decoder(vd_vocabulary *v, const json_t *decoder, vd_err *err)
{
    const char *key;
    json_t *entry;
    vd_status st = VD_OK;
    json_object_foreach ((json_t *)decoder, key, entry) {
        const char *text = json_string_value(json_object_get(entry, "content"));
        unsigned long long id;
        char more;
        if (text == NULL || sscanf(key, "%llu%c", &id, &more) != 1)
            return bad_added("tokenizer_config.json: added_tokens_decoder", err);
        st = vd_vocabulary_add(v, id, text, json_is_true(json_object_get(entry, "special")), err);
        if (st != VD_OK)
            return st;
    }
    return st;
}

/* tokenizer.json: [{"id": 32000, "content": "<text>", "special": true}]. */
static vd_status add_from_list(vd_vocabulary *v, const json_t *list, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i), *id = json_object_get(entry, "id");
        const char *text = json_string_value(json_object_get(entry, "content"));
        if (text == NULL || !json_is_integer(id) || json_integer_value(id) < 0)
            return bad_added("tokenizer.json: added_tokens", err);
        st = vd_vocabulary_add(v, (uint64_t)json_integer_value(id), text,
                               json_is_true(json_object_get(entry, "special")), err);
    }
    return st;
}

static vd_status fill_holes(vd_vocabulary *v, vd_err *err)
{
    for (uint32_t i = 0; i < v->n; i++) {
        char name[32];
        if (v->piece[i].text.n > 0)
            continue;
        int n = snprintf(name, sizeof(name), "[PAD%u]", i);
        vd_status st = vd_vocabulary_set(v, i, (vd_str){name, (size_t)n}, HOLE_SCORE,
                                         VD_PIECE_UNUSED, err);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

/* WordPiece in GGUF: a token that begins a word has U+2581 in front, one that goes on stands
 * bare. */
static vd_status mark_words(vd_vocabulary *v, vd_err *err)
{
    for (uint32_t i = 0; i < v->n; i++) {
        vd_piece *p = &v->piece[i];
        if (p->kind == VD_PIECE_CONTROL || p->kind == VD_PIECE_UNKNOWN)
            continue;
        bool goes_on = p->text.n > 2 && memcmp(p->text.data, "##", 2) == 0;
        char *text = vd_arena_alloc(&v->arena, p->text.n + 4, 1);
        if (text == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the vocabulary");
        int n = snprintf(text, p->text.n + 4, "%s%s", goes_on ? "" : SPACE_MARK,
                         p->text.data + (goes_on ? 2 : 0));
        p->text = (vd_str){text, (size_t)n};
    }
    return VD_OK;
}

static vd_status load_model(vd_vocabulary *v, const char *folder, const json_t *tokenizer,
                            const vd_vocabulary_options *options, vd_err *err)
{
    char *data = NULL;
    size_t n = 0;
    vd_status st = vd_folder_read(folder, "tokenizer.model", &data, &n, err);
    if (st == VD_OK && data != NULL) {
        st = vd_vocabulary_sentencepiece(v, data, n, err);
        if (st != VD_OK)
            vd_err_prefix(err, "%s/tokenizer.model", folder);
    } else if (st == VD_OK && tokenizer != NULL) {
        st = vd_vocabulary_json(v, tokenizer, options, err);
        if (st != VD_OK)
            vd_err_prefix(err, "%s/tokenizer.json", folder);
    } else if (st == VD_OK) {
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "%s has neither tokenizer.model nor tokenizer.json",
                     folder);
    }
    vd_free(data);
    return st;
}

static vd_status load(vd_vocabulary *v, const char *folder, const vd_config *config,
                      const vd_vocabulary_options *options, vd_err *err)
{
    json_t *tokenizer = NULL, *tokenizer_config = NULL, *added = NULL;
    vd_status st = vd_arena_array(&v->arena, v->n, sizeof(*v->piece), "the vocabulary", &v->piece,
                                  err);
    if (st == VD_OK)
        st = vd_strmap_init(&v->ids, v->n, err);
    if (st == VD_OK)
        st = vd_folder_json(folder, "tokenizer.json", &tokenizer, err);
    if (st == VD_OK)
        st = vd_folder_json(folder, "tokenizer_config.json", &tokenizer_config, err);
    if (st == VD_OK)
        st = vd_folder_json(folder, "added_tokens.json", &added, err);
    if (st == VD_OK)
        st = load_model(v, folder, tokenizer, options, err);
    if (st == VD_OK)
        st = add_from_map(v, added, err);
    if (st == VD_OK)
        st = add_from_decoder(v, json_object_get(tokenizer_config, "added_tokens_decoder"), err);
    if (st == VD_OK)
        st = add_from_list(v, json_object_get(tokenizer, "added_tokens"), err);
    if (st == VD_OK)
        st = vd_vocabulary_specials(v, folder, config, tokenizer, tokenizer_config, err);
    if (v->n_beyond > BEYOND_SAID)
        vd_note(v->notes, "%zu more entries for tokens have no row in the embedding",
                v->n_beyond - BEYOND_SAID);
    if (st == VD_OK)
        st = fill_holes(v, err);
    if (st == VD_OK && strcmp(v->model, "bert") == 0)
        st = mark_words(v, err);
    json_decref(tokenizer);
    json_decref(tokenizer_config);
    json_decref(added);
    return st;
}

vd_status vd_vocabulary_load(const char *folder, const vd_config *config,
                             const vd_vocabulary_options *options, vd_notes *notes,
                             vd_vocabulary *ret_vocabulary, vd_err *err)
{
    vd_vocabulary v = {.n = options->n, .notes = notes, .pre = "default"};
    vd_arena_init(&v.arena, SIZE_MAX / 2);
    for (size_t i = 0; i < VD_SPECIAL_COUNT; i++)
        v.special[i] = -1;
    vd_status st = load(&v, folder, config, options, err);
    if (st == VD_OK) {
        *ret_vocabulary = v;
        return VD_OK;
    }
    vd_vocabulary_done(&v);
    return st;
}

static void write_said(vd_gguf_out *out, const char *key, vd_said said)
{
    if (said != VD_UNSAID)
        vd_gguf_out_bool(out, key, said == VD_YES);
}

static void write_specials(const vd_vocabulary *v, vd_gguf_out *out)
{
    static const char *const keys[VD_SPECIAL_COUNT] = {
        [VD_SPECIAL_BOS] = "bos",   [VD_SPECIAL_EOS] = "eos",     [VD_SPECIAL_UNK] = "unknown",
        [VD_SPECIAL_SEP] = "seperator", /* spelled so in the format */
        [VD_SPECIAL_PAD] = "padding", [VD_SPECIAL_CLS] = "cls",   [VD_SPECIAL_MASK] = "mask",
        [VD_SPECIAL_EOT] = "eot"};
    char key[64];
    for (size_t i = 0; i < VD_SPECIAL_COUNT; i++) {
        snprintf(key, sizeof(key), "tokenizer.ggml.%s_token_id", keys[i]);
        if (v->special[i] >= 0)
            vd_gguf_out_u32(out, key, (uint32_t)v->special[i]);
    }
    write_said(out, "tokenizer.ggml.add_bos_token", v->add_bos);
    write_said(out, "tokenizer.ggml.add_eos_token", v->add_eos);
    write_said(out, "tokenizer.ggml.add_sep_token", v->add_sep);
}

void vd_vocabulary_write(const vd_vocabulary *v, vd_gguf_out *out)
{
    vd_gguf_out_str(out, "tokenizer.ggml.model", v->model);
    vd_gguf_out_str(out, "tokenizer.ggml.pre", v->pre);
    vd_gguf_out_array(out, "tokenizer.ggml.tokens", VD_GGUF_TYPE_STRING, v->n);
    for (uint32_t i = 0; i < v->n; i++)
        vd_gguf_out_item_str(out, v->piece[i].text);
    if (v->has_scores) {
        vd_gguf_out_array(out, "tokenizer.ggml.scores", VD_GGUF_TYPE_F32, v->n);
        for (uint32_t i = 0; i < v->n; i++)
            vd_gguf_out_item_f32(out, v->piece[i].score);
    }
    vd_gguf_out_array(out, "tokenizer.ggml.token_type", VD_GGUF_TYPE_I32, v->n);
    for (uint32_t i = 0; i < v->n; i++)
        vd_gguf_out_item_i32(out, v->piece[i].kind);
    if (strcmp(v->model, "gpt2") == 0)
        vd_gguf_out_array(out, "tokenizer.ggml.merges", VD_GGUF_TYPE_STRING, v->n_merges);
    for (size_t i = 0; i < v->n_merges; i++)
        vd_gguf_out_item_str(out, v->merge[i]);
    write_specials(v, out);
    write_said(out, "tokenizer.ggml.add_space_prefix", v->space_prefix);
    write_said(out, "tokenizer.ggml.remove_extra_whitespaces", v->squeeze_spaces);
    write_said(out, "tokenizer.ggml.normalizer.lowercase", v->lowercase);
    write_said(out, "tokenizer.ggml.normalizer.strip_accents", v->strip_accents);
    if (v->charsmap.n > 0)
        vd_gguf_out_bytes(out, "tokenizer.ggml.precompiled_charsmap", v->charsmap.data,
                          v->charsmap.n);
}

/*
 * tokenizer_json.c - the model in tokenizer.json of Hugging Face's tokenizers.
 *
 *   BPE over bytes (pre-tokenizer ByteLevel)        gpt2: tokens and merges
 *   BPE over characters, bytes as the last resort   llama: the place of a merge becomes a score
 *   Unigram                                         t5: scores as they are
 *   WordPiece                                       bert
 */
#include <string.h>

#include "base/base64.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "import/vocabulary.h"

#define SPACE_MARK "\xE2\x96\x81"

static const char *type_of(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    return type != NULL ? type : "";
}

/* "<0x0A>" */
static bool is_byte(const char *text, size_t n)
{
    return n == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>' &&
           strspn(text + 3, "0123456789ABCDEF") == 2;
}

/* {"text": id} */
static vd_status read_map(vd_vocabulary *v, const json_t *map, vd_err *err)
{
    const char *text;
    json_t *id;
    vd_status st = VD_OK;
    if (!json_is_object(map) || json_object_size(map) == 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "model.vocab must be an object of ids");
    json_object_foreach ((json_t *)map, text, id) {
        size_t n = strlen(text);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || n == 0)
            return VD_FAIL(err, VD_ERR_FORMAT, "model.vocab: '%.64s': a text and an id of at "
                           "least 0 are expected", text);
        st = vd_vocabulary_set(v, (uint64_t)json_integer_value(id), (vd_str){text, n}, 0,
                               VD_PIECE_NORMAL, err);
        if (st != VD_OK)
            return st;
    }
    return st;
}

/* A space inside a half is written as byte-level BPE writes it, U+0120. */
static void put_half(vd_buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] == ' ')
            vd_buf_puts(out, "\xC4\xA0");
        else
            vd_buf_putc(out, text[i]);
}

/* "left right" or ["left", "right"]; borrowed. */
static bool split_merge(const json_t *merge, vd_str *ret_left, vd_str *ret_right)
{
    const char *left = json_string_value(merge), *right = NULL;
    if (left != NULL) {
        right = strchr(left + (left[0] == ' '), ' ');
        if (right == NULL)
            return false;
        *ret_left = (vd_str){left, (size_t)(right - left)};
        right++;
    } else {
        left = json_string_value(json_array_get(merge, 0));
        right = json_string_value(json_array_get(merge, 1));
        if (left == NULL || right == NULL || json_array_size(merge) != 2)
            return false;
        *ret_left = (vd_str){left, strlen(left)};
    }
    *ret_right = (vd_str){right, strlen(right)};
    return ret_left->n > 0 && ret_right->n > 0;
}

static vd_status bad_merge(size_t i, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_FORMAT, "model.merges[%zu] must be \"left right\" or "
                   "[\"left\", \"right\"]", i);
}

static vd_status read_merges(vd_vocabulary *v, const json_t *merges, vd_err *err)
{
    vd_buf line;
    size_t n = json_array_size(merges);
    vd_buf_init(&line, 1 << 20);
    vd_status st = vd_arena_array(&v->arena, n, sizeof(*v->merge), "merges", &v->merge, err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        vd_str left, right;
        if (!split_merge(json_array_get(merges, i), &left, &right)) {
            st = bad_merge(i, err);
            break;
        }
        vd_buf_clear(&line);
        put_half(&line, left.data, left.n);
        vd_buf_putc(&line, ' ');
        put_half(&line, right.data, right.n);
        st = vd_buf_status(&line, "a merge", err);
        if (st != VD_OK)
            break;
        char *copy = vd_arena_strndup(&v->arena, line.data, line.n);
        if (copy == NULL)
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu merges", n);
        else
            v->merge[v->n_merges++] = (vd_str){copy, line.n};
    }
    vd_buf_done(&line);
    return st;
}

/* The text that two halves make gets minus the place of the first merge that makes it. */
static vd_status score_merges(vd_vocabulary *v, const json_t *merges, vd_err *err)
{
    vd_buf text;
    size_t n_bad = 0;
    vd_buf_init(&text, 1 << 20);
    vd_status st = VD_OK;
    for (size_t i = json_array_size(merges); st == VD_OK && i-- > 0;) {
        vd_str left, right;
        if (!split_merge(json_array_get(merges, i), &left, &right)) {
            st = bad_merge(i, err);
            break;
        }
        vd_buf_clear(&text);
        vd_buf_append(&text, left.data, left.n);
        vd_buf_append(&text, right.data, right.n);
        st = vd_buf_status(&text, "a merge", err);
        int32_t id = st == VD_OK ? vd_vocabulary_find(v, text.data, text.n) : 0;
        if (id < 0)
            n_bad++;
        else if (st == VD_OK)
            v->piece[id].score = -(float)(i + 1);
    }
    if (st == VD_OK && n_bad > 0)
        vd_note(v->notes, "%zu merges of tokenizer.json make no token and are left out", n_bad);
    vd_buf_done(&text);
    return st;
}

/* U+2581 before the text: Prepend among the normalizers, or Metaspace before the model. */
static vd_said finds_prefix(const json_t *step, int depth)
{
    static const char *const lists[] = {"normalizers", "pretokenizers"};
    const char *type = type_of(step);
    if (strcmp(type, "Prepend") == 0)
        return VD_YES;
    if (strcmp(type, "Metaspace") == 0) {
        const char *scheme = json_string_value(json_object_get(step, "prepend_scheme"));
        bool older = !json_is_false(json_object_get(step, "add_prefix_space"));
        return (scheme != NULL ? strcmp(scheme, "never") != 0 : older) ? VD_YES : VD_NO;
    }
    vd_said said = VD_UNSAID;
    for (size_t i = 0; depth < 8 && i < 2; i++) {
        const json_t *steps = json_object_get(step, lists[i]);
        for (size_t j = 0; said == VD_UNSAID && j < json_array_size(steps); j++)
            said = finds_prefix(json_array_get(steps, j), depth + 1);
    }
    return said;
}

/* The first step of this type, in sequences too; NULL. */
static const json_t *find_step(const json_t *step, const char *type, int depth)
{
    static const char *const lists[] = {"normalizers", "pretokenizers"};
    if (strcmp(type_of(step), type) == 0)
        return step;
    for (size_t i = 0; depth < 8 && i < 2; i++) {
        const json_t *steps = json_object_get(step, lists[i]);
        for (size_t j = 0; j < json_array_size(steps); j++) {
            const json_t *found = find_step(json_array_get(steps, j), type, depth + 1);
            if (found != NULL)
                return found;
        }
    }
    return NULL;
}

static void set_unknown(vd_vocabulary *v, int32_t id)
{
    if (id < 0 || (uint32_t)id >= v->n)
        return;
    v->piece[id].kind = VD_PIECE_UNKNOWN;
    v->special[VD_SPECIAL_UNK] = id;
}

static void set_unknown_token(vd_vocabulary *v, const json_t *model)
{
    const char *text = json_string_value(json_object_get(model, "unk_token"));
    if (text != NULL)
        set_unknown(v, vd_vocabulary_find(v, text, strlen(text)));
}

static void mark_bytes(vd_vocabulary *v)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (is_byte(v->piece[i].text.data, v->piece[i].text.n))
            v->piece[i].kind = VD_PIECE_BYTE;
}

static vd_status read_byte_bpe(vd_vocabulary *v, const json_t *tokenizer,
                               const vd_vocabulary_options *options, vd_err *err)
{
    const json_t *model = json_object_get(tokenizer, "model");
    const json_t *normalizer = json_object_get(tokenizer, "normalizer");
    vd_status st = VD_OK;
    v->model = "gpt2";
    v->pre = options->pre;
    if (options->pre == NULL)
        st = vd_pre_find(json_object_get(tokenizer, "pre_tokenizer"),
                         json_is_true(json_object_get(model, "ignore_merges")), options->arch,
                         &v->pre, err);
    if (st == VD_OK && json_is_object(normalizer) && strcmp(type_of(normalizer), "NFC") != 0)
        vd_note(v->notes, "tokenizer.json: normalizer %.32s cannot be said in GGUF",
                type_of(normalizer));
    if (st == VD_OK)
        st = read_merges(v, json_object_get(model, "merges"), err);
    return st;
}

static vd_status read_character_bpe(vd_vocabulary *v, const json_t *tokenizer, vd_err *err)
{
    v->model = "llama";
    v->has_scores = true;
    mark_bytes(v);
    v->space_prefix = finds_prefix(json_object_get(tokenizer, "normalizer"), 0);
    if (v->space_prefix == VD_UNSAID)
        v->space_prefix = finds_prefix(json_object_get(tokenizer, "pre_tokenizer"), 0);
    if (v->space_prefix == VD_UNSAID)
        v->space_prefix = VD_NO;
    return score_merges(v, json_object_get(json_object_get(tokenizer, "model"), "merges"), err);
}

static vd_status read_bpe(vd_vocabulary *v, const json_t *tokenizer,
                          const vd_vocabulary_options *options, vd_err *err)
{
    const json_t *model = json_object_get(tokenizer, "model");
    const json_t *before = json_object_get(tokenizer, "pre_tokenizer");
    vd_status st = read_map(v, json_object_get(model, "vocab"), err);
    if (st != VD_OK)
        return st;
    set_unknown_token(v, model);
    if (find_step(before, "ByteLevel", 0) != NULL)
        return read_byte_bpe(v, tokenizer, options, err);
    if (json_is_true(json_object_get(model, "byte_fallback")))
        return read_character_bpe(v, tokenizer, err);
    return VD_FAIL(err, VD_ERR_UNSUPPORTED, "BPE that is neither over bytes (pre_tokenizer "
                   "ByteLevel) nor falls back to them (byte_fallback)");
}

static vd_status read_charsmap(vd_vocabulary *v, const json_t *normalizer, vd_err *err)
{
    const json_t *step = find_step(normalizer, "Precompiled", 0);
    const char *text = json_string_value(json_object_get(step, "precompiled_charsmap"));
    char *bytes = NULL;
    if (text == NULL)
        return VD_OK;
    size_t n = strlen(text);
    vd_status st = vd_arena_array(&v->arena, n, 1, "a table of characters", &bytes, err);
    if (st == VD_OK && !vd_base64_decode(text, n, bytes, &n))
        st = VD_FAIL(err, VD_ERR_FORMAT, "normalizer: precompiled_charsmap is no base64");
    if (st == VD_OK)
        v->charsmap = (vd_str){bytes, n};
    return st;
}

static vd_status read_unigram(vd_vocabulary *v, const json_t *tokenizer, vd_err *err)
{
    const json_t *model = json_object_get(tokenizer, "model");
    const json_t *normalizer = json_object_get(tokenizer, "normalizer");
    const json_t *before = json_object_get(tokenizer, "pre_tokenizer");
    const json_t *list = json_object_get(model, "vocab"), *unk = json_object_get(model, "unk_id");
    vd_status st = VD_OK;
    if (json_array_size(list) == 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "model.vocab must be a list of texts and scores");
    for (size_t i = 0; st == VD_OK && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i), *score = json_array_get(item, 1);
        const char *text = json_string_value(json_array_get(item, 0));
        if (text == NULL || text[0] == '\0' || !json_is_number(score))
            return VD_FAIL(err, VD_ERR_FORMAT, "model.vocab[%zu] must be [\"text\", score]", i);
        st = vd_vocabulary_set(v, i, (vd_str){text, strlen(text)},
                               (float)json_number_value(score), VD_PIECE_NORMAL, err);
    }
    if (st != VD_OK)
        return st;
    v->model = "t5";
    v->has_scores = true;
    if (json_is_true(json_object_get(model, "byte_fallback")))
        mark_bytes(v);
    if (json_is_integer(unk) && json_integer_value(unk) < v->n)
        set_unknown(v, (int32_t)json_integer_value(unk));
    v->space_prefix = finds_prefix(before, 0);
    /* Precompiled alone leaves repeated spaces; the others make one of them. */
    v->squeeze_spaces = find_step(before, "WhitespaceSplit", 0) != NULL ||
                                find_step(normalizer, "Replace", 0) != NULL
                            ? VD_YES
                            : VD_NO;
    return read_charsmap(v, normalizer, err);
}

static vd_status read_wordpiece(vd_vocabulary *v, const json_t *tokenizer, vd_err *err)
{
    const json_t *model = json_object_get(tokenizer, "model");
    const json_t *normalizer = json_object_get(tokenizer, "normalizer");
    const json_t *lower = json_object_get(normalizer, "lowercase");
    const json_t *strip = json_object_get(normalizer, "strip_accents");
    const char *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    if (prefix != NULL && strcmp(prefix, "##") != 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "continuing_subword_prefix is '%.16s'; GGUF means "
                       "##", prefix);
    if (strcmp(type_of(normalizer), "BertNormalizer") != 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "normalizer %.32s: WordPiece in GGUF means "
                       "BertNormalizer", type_of(normalizer));
    v->model = "bert";
    if (json_is_false(lower)) /* what GGUF means when it says nothing is true */
        v->lowercase = VD_NO;
    if (json_is_boolean(strip) && json_is_true(strip) != !json_is_false(lower))
        v->strip_accents = json_is_true(strip) ? VD_YES : VD_NO;
    vd_status st = read_map(v, json_object_get(model, "vocab"), err);
    if (st == VD_OK)
        set_unknown_token(v, model);
    return st;
}

vd_status vd_vocabulary_json(vd_vocabulary *v, const json_t *tokenizer,
                             const vd_vocabulary_options *options, vd_err *err)
{
    const char *type = type_of(json_object_get(tokenizer, "model"));
    if (strcmp(type, "BPE") == 0)
        return read_bpe(v, tokenizer, options, err);
    if (strcmp(type, "Unigram") == 0)
        return read_unigram(v, tokenizer, err);
    if (strcmp(type, "WordPiece") == 0)
        return read_wordpiece(v, tokenizer, err);
    return VD_FAIL(err, VD_ERR_UNSUPPORTED, "model type '%.32s'; BPE, Unigram and WordPiece are "
                   "read", type);
}

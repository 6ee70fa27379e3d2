/* prompt.c - see prompt.h. */
#include "text/prompt.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "text/vocab.h"

static const char mark[] = "\xEF\xB7\x90"; /* U+FDD0 */
enum { MARK_BYTES = 3, MARKED_BYTES_MAX = 256 << 20, DEPTH_MAX = 64 };

/* ---- marking ---------------------------------------------------------------------------------*/

/* The text with a mark in every special token's text; NULL when memory is short. */
static json_t *mark_text(const vd_tokenizer *tokenizer, const char *text, size_t n)
{
    vd_buf out;
    vd_buf_init(&out, MARKED_BYTES_MAX);
    vd_buf_reserve(&out, n);
    for (size_t i = 0; i < n;) {
        uint32_t id, code;
        size_t found = vd_prefix_longest(&tokenizer->special, text + i, n - i, &id);
        int length = vd_utf8_decode(text + i, n - i, &code);
        size_t step = length > 0 ? (size_t)length : 1;
        vd_buf_append(&out, text + i, step);
        if (found > step)
            vd_buf_append(&out, mark, MARK_BYTES);
        i += step;
    }
    json_t *marked = out.failed == VD_OK ? json_stringn(vd_buf_text(&out), out.n) : NULL;
    vd_buf_done(&out);
    return marked;
}

/* A copy in which every string is marked; NULL when memory is short or the nesting too deep. */
static json_t *mark_value(const vd_tokenizer *tokenizer, json_t *value, int depth)
{
    if (depth > DEPTH_MAX)
        return NULL;
    if (json_is_string(value))
        return mark_text(tokenizer, json_string_value(value), json_string_length(value));
    if (json_is_array(value)) {
        json_t *copy = json_array(), *item;
        size_t i;
        json_array_foreach(value, i, item)
        {
            if (json_array_append_new(copy, mark_value(tokenizer, item, depth + 1)) != 0) {
                json_decref(copy);
                return NULL;
            }
        }
        return copy;
    }
    if (json_is_object(value)) {
        json_t *copy = json_object(), *item;
        const char *key;
        json_object_foreach(value, key, item)
        {
            if (json_object_set_new(copy, key, mark_value(tokenizer, item, depth + 1)) != 0) {
                json_decref(copy);
                return NULL;
            }
        }
        return copy;
    }
    return json_incref(value);
}

/* ---- and reading the marks -------------------------------------------------------------------*/

/* Takes the marks out of text[0..n), in place, and notes where they were. */
static vd_status take_marks(char *text, size_t *n, size_t **ret_literal, size_t *ret_n_literal,
                            vd_err *err)
{
    size_t n_marks = 0;
    for (size_t i = 0; i + MARK_BYTES <= *n; i++)
        n_marks += memcmp(text + i, mark, MARK_BYTES) == 0;
    size_t *literal = NULL;
    vd_status st = vd_alloc_array(n_marks, sizeof(*literal), "marked places", &literal, err);
    if (st != VD_OK)
        return st;
    size_t to = 0, found = 0;
    for (size_t i = 0; i < *n;) {
        if (i + MARK_BYTES <= *n && memcmp(text + i, mark, MARK_BYTES) == 0) {
            literal[found++] = to;
            i += MARK_BYTES;
        } else {
            text[to++] = text[i++];
        }
    }
    text[to] = '\0';
    *n = to;
    *ret_literal = literal;
    *ret_n_literal = found;
    return VD_OK;
}

static bool begins_with_bos(const vd_tokenizer *tokenizer, const char *text, size_t n)
{
    size_t n_bos = 0;
    const char *bos = vd_tokenizer_piece(tokenizer, vd_tokenizer_bos(tokenizer), true, &n_bos);
    return n_bos > 0 && n >= n_bos && memcmp(text, bos, n_bos) == 0;
}

vd_status vd_chat_prompt(const vd_template *tmpl, const vd_tokenizer *tokenizer, json_t *messages,
                         json_t *tools, bool add_generation_prompt, json_t *extra_vars,
                         const vd_render_options *options, int32_t **ret_ids, size_t *ret_n,
                         vd_err *err)
{
    char *text = NULL;
    size_t n = 0, n_literal = 0, *literal = NULL;
    json_t *marked = mark_value(tokenizer, messages, 0);
    if (marked == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the messages, or they nest too deep");
    vd_status st = vd_chat_render(tmpl, tokenizer, marked, tools, add_generation_prompt,
                                  extra_vars, options, &text, &n, err);
    if (st == VD_OK)
        st = take_marks(text, &n, &literal, &n_literal, err);
    if (st != VD_OK)
        goto out;
    vd_encode_options how = {.parse_special = true,
                             .no_bos_eos = begins_with_bos(tokenizer, text, n),
                             .literal = literal,
                             .n_literal = n_literal};
    st = vd_tokenizer_encode(tokenizer, text, n, &how, ret_ids, ret_n, err);
out:
    vd_free(literal);
    vd_text_free(text);
    json_decref(marked);
    return st;
}

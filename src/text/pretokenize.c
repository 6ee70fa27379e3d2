/* pretokenize.c - see pretokenize.h: compiles the patterns of a row and cuts by them. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pretokenize.h"

#include <pcre2.h>
#include <utf8proc.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"

static void *pcre_alloc(size_t size, void *context)
{
    return vd_alloc(size);
}

static void pcre_free(void *block, void *context)
{
    vd_free(block);
}

void vd_pretokenizer_done(vd_pretokenizer *pre)
{
    for (int i = 0; i < pre->n_patterns; i++)
        pcre2_code_free(pre->pattern[i]);
    *pre = (vd_pretokenizer){0};
}

vd_status vd_pretokenizer_init(vd_pretokenizer *pre, vd_str name, vd_err *err)
{
    *pre = (vd_pretokenizer){.row = vd_pretokenizer_find(name)};
    if (pre->row == NULL) {
        char known[360];
        vd_pretokenizer_list(known, sizeof(known));
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "the pre-tokenizer '%.*s' is not known to this "
                       "build (tokenizer.ggml.pre); we know the kin of: %s",
                       (int)VD_MIN(name.n, (size_t)64), name.data, known);
    }

    pcre2_compile_context *compile = NULL;
    vd_status st = VD_OK;
    pcre2_general_context *general = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (general != NULL)
        compile = pcre2_compile_context_create(general);
    if (compile == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "out of memory for the pre-tokenizer");
        goto out;
    }
    for (int i = 0; i < VD_PRETOKENIZER_PATTERNS_MAX && pre->row->pattern[i] != NULL; i++) {
        int code;
        PCRE2_SIZE offset;
        pcre2_code *pattern = pcre2_compile((PCRE2_SPTR)pre->row->pattern[i], PCRE2_ZERO_TERMINATED,
                                            PCRE2_UTF | PCRE2_UCP, &code, &offset, compile);
        if (pattern == NULL) {
            /* The patterns are ours and all compile: what is left is memory. */
            st = VD_FAIL(err, code == PCRE2_ERROR_NOMEMORY || code == 121 ? VD_ERR_NOMEM
                                                                           : VD_ERR_UNSUPPORTED,
                         "pre-tokenizer pattern %d: PCRE2 error %d at %zu", i, code, offset);
            goto out;
        }
        pre->pattern[pre->n_patterns++] = pattern;
        /* Without a JIT (no executable memory, another CPU) the interpreter does the same. */
        (void)pcre2_jit_compile(pattern, PCRE2_JIT_COMPLETE);
    }
out:
    pcre2_compile_context_free(compile);
    pcre2_general_context_free(general);
    if (st != VD_OK)
        vd_pretokenizer_done(pre);
    return st;
}

typedef struct splitter {
    const vd_pretokenizer *pre;
    const char *text;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    vd_word_fn *word;
    void *context;
} splitter;

/* The next match at or after text[at] within [start, end). *ret_from == end when there is none. */
static vd_status next_match(splitter *s, pcre2_code *pattern, size_t start, size_t at, size_t end,
                            size_t *ret_from, size_t *ret_to, vd_err *err)
{
    PCRE2_SPTR piece = (PCRE2_SPTR)s->text + start;
    int rc = pcre2_match(pattern, piece, end - start, at - start, PCRE2_NO_UTF_CHECK, s->match,
                         s->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its stack on the heap */
        rc = pcre2_match(pattern, piece, end - start, at - start,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match, s->limits);
    *ret_from = *ret_to = end;
    if (rc == PCRE2_ERROR_NOMATCH)
        return VD_OK;
    if (rc < 0)
        return VD_FAIL(err, rc == PCRE2_ERROR_NOMEMORY ? VD_ERR_NOMEM : VD_ERR_LIMIT,
                       "the pre-tokenizer's pattern failed at byte %zu: PCRE2 error %d", at, rc);
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s->match);
    *ret_from = start + range[0];
    *ret_to = start + range[1];
    return VD_OK;
}

static vd_status split_piece(splitter *s, int step, size_t start, size_t end, vd_err *err);

/* A run of digits that is a whole number of threes long is cut before every three. */
static vd_status cut_digits(splitter *s, size_t start, size_t end, vd_err *err)
{
    bool all = vd_pretokenizer_has(s->pre, VD_PRE_CUT_NUMBERS);
    size_t from = start;
    for (size_t at = start, run; at < end; at = run) {
        size_t n_digits = 0;
        uint32_t code;
        for (run = at; run < end; n_digits++) {
            int n = vd_utf8_decode(s->text + run, end - run, &code);
            if (n <= 0 || (!all && utf8proc_category((utf8proc_int32_t)code) !=
                                       UTF8PROC_CATEGORY_ND))
                break;
            run += (size_t)n;
        }
        for (; at < run; n_digits--) {
            if (n_digits % 3 == 0 && at > from) {
                vd_status st = split_piece(s, 1, from, at, err);
                if (st != VD_OK)
                    return st;
                from = at;
            }
            at += (size_t)vd_utf8_decode(s->text + at, run - at, &code);
        }
        if (run < end)
            run += (size_t)VD_MAX(vd_utf8_decode(s->text + run, end - run, &code), 1);
    }
    return split_piece(s, 1, from, end, err);
}

/* A run of white space is cut into 512, 256, ... 1 characters, always the most that is left. */
static vd_status cut_spaces(splitter *s, size_t start, size_t end, vd_err *err)
{
    size_t n_left = 0;
    for (size_t i = start; i < end; i++)
        n_left += ((unsigned char)s->text[i] & 0xC0) != 0x80;
    for (size_t size = 512, at = start; at < end;) {
        while (size > n_left)
            size /= 2;
        size_t to = at;
        for (size_t k = 0; k < size; k++)
            do
                to++;
            while (to < end && ((unsigned char)s->text[to] & 0xC0) == 0x80);
        vd_status st = split_piece(s, 2, at, to, err);
        if (st != VD_OK)
            return st;
        n_left -= size;
        at = to;
    }
    return VD_OK;
}

static vd_status take_match(splitter *s, int step, size_t from, size_t to, vd_err *err)
{
    if (step == 0 && from < to && vd_pretokenizer_has(s->pre, VD_PRE_CUT_DIGITS |
                                                               VD_PRE_CUT_NUMBERS))
        return cut_digits(s, from, to, err);
    if (step == 1 && from < to && vd_pretokenizer_has(s->pre, VD_PRE_CUT_SPACES))
        return cut_spaces(s, from, to, err);
    return split_piece(s, step + 1, from, to, err);
}

/* Gives text[start..end) to the patterns from `step` on. Recursion is as deep as the list. */
static vd_status split_piece(splitter *s, int step, size_t start, size_t end, vd_err *err)
{
    if (start == end)
        return VD_OK;
    if (step == s->pre->n_patterns)
        return s->word(s->context, start, end - start, err);
    for (size_t at = start; at < end;) {
        size_t from, to;
        vd_status st = next_match(s, s->pre->pattern[step], start, at, end, &from, &to, err);
        if (st != VD_OK)
            return st;
        st = split_piece(s, step + 1, at, from, err);
        if (st == VD_OK)
            st = take_match(s, step, from, to, err);
        if (st != VD_OK)
            return st;
        at = to;
    }
    return VD_OK;
}

vd_status vd_pretokenizer_split(const vd_pretokenizer *pre, const char *text, size_t n,
                                vd_word_fn *word, void *context, vd_err *err)
{
    splitter s = {.pre = pre, .text = text, .word = word, .context = context};
    vd_status st = VD_OK;
    pcre2_general_context *general = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (general != NULL) {
        s.match = pcre2_match_data_create(1, general);
        s.limits = pcre2_match_context_create(general);
    }
    if (s.match == NULL || s.limits == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "out of memory for the pre-tokenizer");
        goto out;
    }
    /* Every pattern is linear, so steps are bounded by the text; the default limit is for
     * patterns from strangers. The heap limit (KiB) stays as a ceiling on memory. */
    pcre2_set_match_limit(s.limits, UINT32_MAX);
    pcre2_set_heap_limit(s.limits, 1u << 20);
    st = split_piece(&s, 0, 0, n, err);
out:
    pcre2_match_context_free(s.limits);
    pcre2_match_data_free(s.match);
    pcre2_general_context_free(general);
    return st;
}

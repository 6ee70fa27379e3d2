/*
 * pretokenize.c - see pretokenize.h. The patterns are facts about the models: each is what the
 * model was trained with (the pre_tokenizer of its tokenizer.json), written for PCRE2.
 *
 * Two rules keep them linear. White space is the Unicode property, spelled out, because PCRE2's
 * own \s takes U+180E too. And where a pattern could start anew inside a run it has just failed
 * on, (*SKIP) moves past the run.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pretokenize.h"

#include <pcre2.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

/* Inside [...]: what Unicode calls White_Space. */
#define WS                                                                                         \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}" \
    "\\x{3000}"
/* The last white space before a word belongs to that word. */
#define SPACES "[" WS "]+(?![^" WS "])|[" WS "]+"
#define NEWLINES "[" WS "]*[\\r\\n]+"
#define CONTRACTIONS "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
#define PUNCTUATION " ?[^" WS "\\p{L}\\p{N}]+"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" PUNCTUATION "|" SPACES
#define MODERN(digits)                                                                             \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "|" PUNCTUATION "[\\r\\n]*|" NEWLINES    \
                 "|" SPACES
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(suffix, digits)                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER  \
    "*" suffix "|" digits "|" PUNCTUATION "[\\r\\n/]*|" NEWLINES "|" SPACES
#define MARKED                                                                                     \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS "\\p{L}\\p{M}\\p{N}]+"    \
                 "[\\r\\n]*|" NEWLINES "|" SPACES
#define PUNCTUATION_RUN "[\\p{P}$+<=>^~|]+"

/* DeepSeek spells its letters out: cased ones of the Unicode version of its day. */
#define DEEPSEEK_LETTERS                                                                           \
    "[" WS "]?[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"       \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}" \
    "\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}"         \
    "\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}"  \
    "\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}"                 \
    "\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}"                 \
    "\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}"         \
    "\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}"        \
    "\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}"                 \
    "\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}"         \
    "\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}"                   \
    "\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}"         \
    "\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}"                  \
    "\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}"                 \
    "\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}"                 \
    "\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}"           \
    "\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+"
#define DEEPSEEK_PUNCTUATION                                                                       \
    "[" WS "]?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+"
#define DEEPSEEK_CJK "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
#define TRAILING_SPACES "[" WS "]++(?:\\z|(*SKIP)(*FAIL))"
#define DEEPSEEK3_CJK "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define DEEPSEEK3                                                                                  \
    "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"      \
    "[\\r\\n]*|" NEWLINES "|" SPACES

enum { IGNORE_MERGES = 1, ADD_BOS = 2, RAW = 4 };

struct vd_pretokenizer_row {
    const char *names; /* of tokenizer.ggml.pre, separated by spaces */
    int flags;
    const char *pattern[VD_PRETOKENIZER_PATTERNS_MAX];
};

static const vd_pretokenizer_row rows[] = {
    {"default", 0, {PUNCTUATION_RUN, GPT2, "\\p{N}+", "[0-9]{3}"}},
    {"gpt-2 gpt2 mpt olmo phi-2 jais trillion granite-docling exaone4 gigachat mellum modern-bert "
     "jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe a.x-4.0",
     0, {GPT2}},
    {"smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", 0,
     {"\\p{N}", GPT2}},
    {"falcon", 0, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9]{3}"}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     IGNORE_MERGES | ADD_BOS, {MODERN("\\p{N}{1,3}")}},
    {"dbrx smaug-bpe chatglm-bpe glm4", 0, {MODERN("\\p{N}{1,3}")}},
    {"qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan solar-open grok-2 kormo f2llmv2", 0,
     {MODERN("\\p{N}")}},
    {"qwen35", 0, {MARKED}},
    {"deepseek-llm", 0,
     {"[\\r\\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, TRAILING_SPACES, DEEPSEEK_CJK,
      "\\p{N}+"}},
    {"deepseek-coder", 0,
     {"[\\r\\n]", "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", 0,
     {"\\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3}},
    {"tekken", IGNORE_MERGES | ADD_BOS, {CASED("", "\\p{N}")}},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", 0,
     {CASED("(?:" CONTRACTIONS ")?", "\\p{N}{1,3}")}},
    {"gemma4 granite-embed-multi-311m", RAW | ADD_BOS, {"[^\\n]+|\\n+"}},
};

static bool row_has_name(const vd_pretokenizer_row *row, vd_str name)
{
    for (const char *at = row->names; *at != '\0';) {
        size_t n = strcspn(at, " ");
        if (n == name.n && memcmp(at, name.data, n) == 0)
            return true;
        at += n + strspn(at + n, " ");
    }
    return false;
}

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
    *pre = (vd_pretokenizer){0};
    for (size_t i = 0; i < VD_COUNT(rows) && pre->row == NULL; i++)
        if (row_has_name(&rows[i], name))
            pre->row = &rows[i];
    if (pre->row == NULL)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "the pre-tokenizer '%.*s' is not known to this "
                       "build (tokenizer.ggml.pre)", (int)VD_MIN(name.n, (size_t)64), name.data);
    pre->ignore_merges = (pre->row->flags & IGNORE_MERGES) != 0;
    pre->add_bos = (pre->row->flags & ADD_BOS) != 0;
    pre->raw = (pre->row->flags & RAW) != 0;

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
            st = split_piece(s, step + 1, from, to, err);
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

/*
 * pretokenizers.c - the table of pre-tokenizers: names of tokenizer.ggml.pre to patterns.
 *
 * The patterns are facts about the models: each is what the model was trained with (the
 * pre_tokenizer of its tokenizer.json), written for PCRE2. llama.cpp folds some of them to what its
 * own matcher can do; docs/models.md says where.
 *
 * Two rules keep them linear. White space is the Unicode property, spelled out, because PCRE2's
 * own \s takes U+180E too. And where a pattern could start anew inside a run it has just failed
 * on, (*SKIP) moves past the run.
 */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "text/pretokenize.h"

/* Inside [...]: what Unicode calls White_Space. */
#define WS                                                                                         \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"       \
    "\\x{3000}"
/* The last white space before a word belongs to that word. */
#define SPACES "[" WS "]+(?![^" WS "])|[" WS "]+"
#define NEWLINES "[" WS "]*[\\r\\n]+"
/* In any case; U+017F, the long s, is one of s too. */
#define CONTRACTIONS "'[sS\\x{17f}]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
#define PUNCTUATION " ?[^" WS "\\p{L}\\p{N}]+"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" PUNCTUATION "|" SPACES
#define WORDS(digits, punctuation)                                                                 \
    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "|" punctuation "|" NEWLINES "|" SPACES
#define MODERN(digits) CONTRACTIONS "|" WORDS(digits, PUNCTUATION "[\\r\\n]*")
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(suffix, digits)                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER  \
    "*" suffix "|" digits "|" PUNCTUATION "[\\r\\n/]*|" NEWLINES "|" SPACES
#define MARKED                                                                                     \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS "\\p{L}\\p{M}\\p{N}]+"    \
                 "[\\r\\n]*|" NEWLINES "|" SPACES
#define PUNCTUATION_RUN "[\\p{P}$+<=>^~|]+"

#define LLAMA3 MODERN("\\p{N}{1,3}")
#define QWEN2 MODERN("\\p{N}")
#define O200K CASED("(?:" CONTRACTIONS ")?", "\\p{N}{1,3}")
#define BLOOM " ?[^" WS "(|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
/* Kimi: as gpt-4o, but Han stands alone. A class less Han is the rest of the categories, denied. */
#define KIMI_UPPER "[^\\p{Ll}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{sc:Han}]"
#define KIMI_LOWER "[^\\p{Lu}\\p{Lt}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{sc:Han}]"
#define KIMI                                                                                       \
    "\\p{sc:Han}+|[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "*" KIMI_LOWER "+(?:" CONTRACTIONS ")?|"      \
    "[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "+" KIMI_LOWER "*(?:" CONTRACTIONS ")?|\\p{N}{1,3}|"       \
    PUNCTUATION "[\\r\\n]*|" NEWLINES "|" SPACES
#define EXAONE_MOE                                                                                 \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}\\p{M}*+(?: ?\\p{L}\\p{M}*+)*+|\\p{N}|"             \
    PUNCTUATION "[\\r\\n/]?|" NEWLINES "|" SPACES
#define AFMOE_CJK                                                                                  \
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{30ff}"                \
    "\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{eff}\\x{1780}-\\x{17ff}"                   \
    "\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}"                 \
    "\\x{1100}-\\x{11ff}]+"
#define YOUTU_SCRIPTS                                                                              \
    "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}"     \
    "\\x{2019}\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|"       \
    "[\\x{3105}-\\x{312f}]+|" DEEPSEEK3_CJK
/* A run of digits before what Oniguruma's \b takes for the end of a word. */
#define CLOSED_DIGITS                                                                              \
    "\\p{Nd}++(?:(?![\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}"              \
    "\\x{bc}-\\x{be}])|(*SKIP)(*FAIL))"

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
#define DEEPSEEK3_WORDS                                                                            \
    "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
#define DEEPSEEK3 DEEPSEEK3_WORDS "[\\r\\n]*|" NEWLINES "|" SPACES

static const vd_pretokenizer_row rows[] = {
    {"default", 0, {PUNCTUATION_RUN, GPT2, "\\p{N}+", "[0-9]{3}"}},
    {"gpt-2 gpt2 mpt olmo phi-2 jais trillion granite-docling exaone4 gigachat mellum modern-bert "
     "jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe a.x-4.0",
     0, {GPT2}},
    {"smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", 0,
     {"\\p{N}", GPT2}},
    {"falcon", 0, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9]{3}"}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     VD_PRE_IGNORE_MERGES | VD_PRE_ADD_BOS, {LLAMA3}},
    {"dbrx smaug-bpe chatglm-bpe glm4", 0, {LLAMA3}},
    {"jais-2", VD_PRE_CUT_SPACES, {LLAMA3, "\\A[" WS "]++\\z(?<![\\r\\n])"}},
    {"qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan solar-open grok-2 kormo f2llmv2 bailingmoe "
     "bailingmoe2 llada-moe",
     0, {QWEN2}},
    {"qwen35", 0, {MARKED}},
    {"ufakzeka", 0, {WORDS("\\p{N}", PUNCTUATION "[\\r\\n]*")}},
    {"seed-coder", 0, {CONTRACTIONS "|" WORDS("\\p{N}", PUNCTUATION)}},
    {"laguna", 0, {"[^\\n]+|\\n+", QWEN2}},
    {"minicpm5", VD_PRE_IGNORE_MERGES, {"\\p{N}{1,3}", MODERN("\\p{N}+")}},
    {"exaone-moe", 0, {EXAONE_MOE}},
    {"deepseek-llm", 0,
     {"[\\r\\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, TRAILING_SPACES, DEEPSEEK_CJK,
      "\\p{N}+"}},
    {"deepseek-coder", 0,
     {"[\\r\\n]", "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", 0,
     {"\\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3}},
    {"spark2_5", 0,
     {"\\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3_WORDS "|[\\r\\n]|" SPACES, "\\p{N}"}},
    {"afmoe", VD_PRE_CUT_NUMBERS, {"\\p{N}+", AFMOE_CJK, DEEPSEEK3}},
    {"tekken", VD_PRE_IGNORE_MERGES | VD_PRE_ADD_BOS, {CASED("", "\\p{N}")}},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", 0, {O200K}},
    {"granite-embed-multi-97m", VD_PRE_IGNORE_MERGES, {O200K}},
    {"tiny_aya cohere2moe", VD_PRE_CUT_DIGITS, {CLOSED_DIGITS, O200K}},
    {"youtu", VD_PRE_IGNORE_MERGES,
     {YOUTU_SCRIPTS, CASED("(?:" CONTRACTIONS ")?", "\\p{N}")}},
    {"kimi-k2", 0, {KIMI}},
    {"superbpe", VD_PRE_CUT_DIGITS, {"\\p{N}+"}},
    {"bloom poro-chat gpt3-finnish", 0, {BLOOM}},
    {"viking", 0, {BLOOM, "\\p{N}"}},
    {"chameleon", VD_PRE_ADD_BOS,
     {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", GPT2}},
    {"gemma4 granite-embed-multi-311m", VD_PRE_RAW | VD_PRE_LINES | VD_PRE_ADD_BOS,
     {"[^\\n]+|\\n+"}},
    {"sarvam-moe", VD_PRE_RAW, {"[^\\n]+|\\n+"}},
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

const vd_pretokenizer_row *vd_pretokenizer_find(vd_str name)
{
    for (size_t i = 0; i < VD_COUNT(rows); i++)
        if (row_has_name(&rows[i], name))
            return &rows[i];
    return NULL;
}

void vd_pretokenizer_list(char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < VD_COUNT(rows); i++) {
        size_t first = strcspn(rows[i].names, " ");
        if (n + first + 3 > room)
            break;
        n += (size_t)snprintf(out + n, room - n, "%s%.*s", i == 0 ? "" : ", ", (int)first,
                              rows[i].names);
    }
}

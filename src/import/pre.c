/*
 * pre.c - the name that GGUF has for a pre_tokenizer of tokenizer.json, by what it does.
 *
 * Its steps are written down one per line, and the lines looked up:
 *
 *   split PATTERN     Split by a regular expression, matches and what lies between as pieces
 *   digits one|run    Digits, each alone or runs of them
 *   punctuation       Punctuation, runs of it; `each punctuation` alone
 *   words             ByteLevel with use_regex: GPT-2's pattern, which is built in there
 *
 * In the table * takes the rest of a line: character classes that list thousands.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "import/vocabulary.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CONTRACTIONS_SPELT "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define CONTRACTIONS_SHORT "'(?i:[sdmt]|ll|ve|re)"
#define TAIL "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define MODERN(contractions, digits)                                                               \
    "split " contractions "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                 \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL "\n"
#define CL100K                                                                                     \
    "split " CONTRACTIONS_SHORT "|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}"                      \
    "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+\n"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(end, digits)                                                                         \
    "split [^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+"     \
    LOWER "*" end "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL "\n"
#define GPT2                                                                                       \
    "split 's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+\n"

#define ANY_CASE CONTRACTIONS
#define LLAMA3 MODERN(ANY_CASE, "\\p{N}{1,3}")
#define QWEN2 MODERN(ANY_CASE, "\\p{N}")
#define O200K CASED(ANY_CASE "?", "\\p{N}{1,3}")
#define DEEPSEEK_WORDS                                                                             \
    "split [!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"                                \
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
#define DEEPSEEK3 DEEPSEEK_WORDS "[\\r\\n]*|" TAIL "\n"
#define CJK "split [\344\270\200-\351\276\245*\n" /* [U+4E00-U+9FA5... */
#define BREAKS "split [\\r\\n]\n"
#define RAW_BREAKS "split [\r\n]\n" /* the characters themselves */
#define DEEPSEEK_LLM                                                                               \
    "split \\s?[A-Z*\nsplit \\s?[!-/:-~*\nsplit \\s+$\n" CJK
#define DEEPSEEK_LLM_SPELT                                                                         \
    "split \\s?[\\x{41}-\\x{5a}*\nsplit \\s?[!-/:-~*\nsplit \\s+$\n" CJK
#define DEEPSEEK_CODER "split \\s?\\p{L}+\nsplit \\s?\\p{P}+\n" CJK
#define BLOOM "split  ?[^(\\s|[.,!?*\n"

static const struct {
    const char *steps, *name;
    bool whole; /* with ignore_merges: a word that is a token is taken whole */
} known[] = {
    {"words\n", "gpt-2", false},
    {GPT2, "gpt-2", false},
    {"digits one\nwords\n", "smollm", false},
    {"split \\p{N}\nwords\n", "smollm", false},
    {"split \\p{N}\n" GPT2, "smollm", false},
    {"punctuation\nwords\ndigits run\nsplit [0-9][0-9][0-9]\n", "falcon", false},
    {"punctuation\nwords\nsplit [0-9][0-9][0-9]\n", "falcon", false},
    {LLAMA3, "llama-bpe", true},
    {MODERN(CONTRACTIONS_SPELT, "\\p{N}{1,3}"), "llama-bpe", true},
    {LLAMA3, "dbrx", false},
    {MODERN(CONTRACTIONS_SPELT, "\\p{N}{1,3}"), "dbrx", false},
    {CL100K, "dbrx", false},
    {QWEN2, "qwen2", false},
    {MODERN(CONTRACTIONS_SPELT, "\\p{N}"), "qwen2", false},
    {"split " ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
     "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TAIL "\n", "qwen35", false},
    {"split [^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL "\n",
     "ufakzeka", false},
    {"split " ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" TAIL
     "\n", "seed-coder", false},
    {"split [^\\n]+|[\\n]+\n" QWEN2, "laguna", false},
    {"split \\p{N}{1,3}\n" MODERN(ANY_CASE, "\\p{N}+"), "minicpm5", true},
    {"split " ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}"
     "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+\n", "exaone-moe", false},
    {"split " ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
     "\\s*[\\r\\n]+|\\s{512}(?!\\S)|*\n", "jais-2", false},
    {O200K, "gpt-4o", false},
    {O200K, "granite-embed-multi-97m", true},
    {CASED("", "\\p{N}"), "tekken", true},
    {"split \\d{1,3}(?=(?:\\d{3})*\\b)\n" O200K, "tiny_aya", false},
    {"split [\352\260\200-\355\236\243*\n" CASED(ANY_CASE "?", "\\p{N}"), "youtu", true},
    {"split [\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*\n",
     "kimi-k2", false},
    {BREAKS DEEPSEEK_LLM "digits one\n", "deepseek-llm", false},
    {RAW_BREAKS DEEPSEEK_LLM "digits one\n", "deepseek-llm", false},
    {BREAKS DEEPSEEK_LLM_SPELT "split \\p{N}+\n", "deepseek-llm", false},
    {BREAKS DEEPSEEK_CODER "digits one\n", "deepseek-coder", false},
    {RAW_BREAKS DEEPSEEK_CODER "digits one\n", "deepseek-coder", false},
    {BREAKS DEEPSEEK_CODER "split \\p{N}\n", "deepseek-coder", false},
    {"split \\p{N}{1,3}\n" CJK DEEPSEEK3, "deepseek-v3", false},
    {"split \\p{N}{1,3}\n" CJK DEEPSEEK_WORDS "|[\\r\\n]|\\s+(?!\\S)|\\s+\nsplit \\p{N}\n",
     "spark2_5", false},
    {"split \\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))\nsplit [\344\270\200-\351\277\277*\n" DEEPSEEK3,
     "afmoe", false},
    {"split \\p{N}+\nsplit (?=(\\d{3})+(?!\\d))\n", "superbpe", false},
    {BLOOM, "bloom", false},
    {BLOOM "split \\p{N}\n", "viking", false},
    {BLOOM "digits one\n", "viking", false},
    {"split <sentinel:[0-9]+>\nsplit (IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z\n"
     "split ([\\t\\n]|    |  )\ndigits one\neach punctuation\nwords\n", "chameleon", false},
};

/* Names that mean the same as "smollm", by the models they were made for. */
static const struct {
    const char *arch, *name;
} twins[] = {{"starcoder2", "starcoder"}, {"command-r", "command-r"}, {"granite", "refact"}};

/* * before the end of a line of the table takes the rest of that line. */
static bool fits(const char *table, const char *steps)
{
    for (; *table != '\0'; table++) {
        if (table[0] == '*' && table[1] == '\n') {
            size_t n = strcspn(steps, "\n");
            steps += n;
        } else if (*steps != *table) {
            return false;
        } else {
            steps++;
        }
    }
    return *steps == '\0';
}

static bool is_true(const json_t *object, const char *key, bool absent)
{
    const json_t *value = json_object_get(object, key);
    return value == NULL ? absent : json_is_true(value);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* Split: all it finds, and all between, become pieces; or it names what is kept and covers all. */
static void write_split(const json_t *step, vd_buf *out)
{
    const json_t *pattern = json_object_get(step, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *behavior = text_of(step, "behavior");
    bool invert = is_true(step, "invert", false);
    bool isolated = (strcmp(behavior, "Isolated") == 0 && !invert) ||
                    (strcmp(behavior, "Removed") == 0 && invert);
    if (regex == NULL)
        regex = text_of(pattern, "String");
    vd_buf_printf(out, "split%s ", isolated ? "" : " (not isolated)");
    for (const char *at = regex; *at != '\0'; at++)
        if (at[0] != '\\' || at[1] != '"') /* \" is " */
            vd_buf_putc(out, *at);
    vd_buf_putc(out, '\n');
}

static vd_status write_step(const json_t *step, int depth, vd_buf *out, vd_err *err)
{
    const char *type = text_of(step, "type");
    vd_status st = VD_OK;
    if (strcmp(type, "Sequence") == 0 && depth < 8) {
        const json_t *steps = json_object_get(step, "pretokenizers");
        for (size_t i = 0; st == VD_OK && i < json_array_size(steps); i++)
            st = write_step(json_array_get(steps, i), depth + 1, out, err);
    } else if (strcmp(type, "ByteLevel") == 0) {
        if (is_true(step, "add_prefix_space", true))
            st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "pre_tokenizer ByteLevel adds a space before "
                         "the text (add_prefix_space), which GGUF cannot say");
        if (is_true(step, "use_regex", true))
            vd_buf_puts(out, "words\n");
    } else if (strcmp(type, "Digits") == 0) {
        vd_buf_printf(out, "digits %s\n", is_true(step, "individual_digits", false) ? "one"
                                                                                     : "run");
    } else if (strcmp(type, "Punctuation") == 0 &&
               strcmp(text_of(step, "behavior"), "Contiguous") == 0) {
        vd_buf_puts(out, "punctuation\n");
    } else if (strcmp(type, "Punctuation") == 0 &&
               strcmp(text_of(step, "behavior"), "Isolated") == 0) {
        vd_buf_puts(out, "each punctuation\n");
    } else if (strcmp(type, "Split") == 0) {
        write_split(step, out);
    } else {
        vd_buf_printf(out, "%s\n", type[0] != '\0' ? type : "(none)");
    }
    return st;
}

static const char *twin_of(const char *name, const char *arch)
{
    for (size_t i = 0; strcmp(name, "smollm") == 0 && i < VD_COUNT(twins); i++)
        if (strcmp(twins[i].arch, arch) == 0)
            return twins[i].name;
    return name;
}

vd_status vd_pre_find(const json_t *pre_tokenizer, bool ignore_merges, const char *arch,
                      const char **ret_name, vd_err *err)
{
    vd_buf steps;
    vd_buf_init(&steps, 1 << 20);
    vd_status st = write_step(pre_tokenizer, 0, &steps, err);
    if (st == VD_OK)
        st = vd_buf_status(&steps, "a pre-tokenizer", err);
    const char *name = NULL;
    for (size_t i = 0; st == VD_OK && name == NULL && i < VD_COUNT(known); i++)
        if (fits(known[i].steps, vd_buf_text(&steps)) &&
            known[i].whole == ignore_merges)
            name = known[i].name;
    if (st == VD_OK && name == NULL)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED,
                     "the pre-tokenizer%s is not known; --pre NAME says which one of GGUF to "
                     "take. Its steps: %.300s", ignore_merges ? " (with ignore_merges)" : "",
                     vd_buf_text(&steps));
    if (st == VD_OK)
        *ret_name = twin_of(name, arch);
    vd_buf_done(&steps);
    return st;
}

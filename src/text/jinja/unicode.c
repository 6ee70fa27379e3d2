/* unicode.c - see unicode.h. */
#include "text/jinja/unicode.h"

#include <utf8proc.h>

#include "base/checked.h"
#include "base/utf8.h"

uint32_t vd_j_next(const char *data, size_t n, size_t *at)
{
    uint32_t code = 0xfffd;
    int len = vd_utf8_decode(data + *at, n - *at, &code);
    *at += len > 0 ? (size_t)len : 1;
    return code;
}

bool vd_j_is_space(uint32_t code)
{
    if (code < 0x80)
        return code == ' ' || (code >= 9 && code <= 13) || (code >= 0x1c && code <= 0x1f);
    return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
           code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

bool vd_j_is_line_break(uint32_t code)
{
    return (code >= 10 && code <= 13) || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
           code == 0x2028 || code == 0x2029;
}

static utf8proc_category_t category(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code);
}

bool vd_j_is_alpha(uint32_t code)
{
    utf8proc_category_t c = category(code);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT ||
           c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_LO;
}

bool vd_j_is_decimal(uint32_t code)
{
    return category(code) == UTF8PROC_CATEGORY_ND;
}

/* Digits that are no decimals: superscripts, circled and the like. */
bool vd_j_is_digit(uint32_t code)
{
    return vd_j_is_decimal(code) || code == 0xb2 || code == 0xb3 || code == 0xb9 ||
           code == 0x2070 || (code >= 0x2074 && code <= 0x2079) ||
           (code >= 0x2080 && code <= 0x2089) || (code >= 0x2460 && code <= 0x2468);
}

bool vd_j_is_alnum(uint32_t code)
{
    utf8proc_category_t c = category(code);
    return vd_j_is_alpha(code) || c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL ||
           c == UTF8PROC_CATEGORY_NO;
}

bool vd_j_is_numeric(uint32_t code)
{
    utf8proc_category_t c = category(code);
    return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

bool vd_j_is_word(uint32_t code)
{
    return code == '_' || vd_j_is_alnum(code);
}

bool vd_j_is_upper(uint32_t code)
{
    return category(code) == UTF8PROC_CATEGORY_LU;
}

bool vd_j_is_lower(uint32_t code)
{
    return category(code) == UTF8PROC_CATEGORY_LL || code == 0xaa || code == 0xba;
}

bool vd_j_is_title(uint32_t code)
{
    return category(code) == UTF8PROC_CATEGORY_LT;
}

bool vd_j_is_cased(uint32_t code)
{
    return vd_j_is_upper(code) || vd_j_is_lower(code) || vd_j_is_title(code);
}

bool vd_j_is_printable(uint32_t code)
{
    if (code == ' ')
        return true;
    switch (category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

typedef struct special {
    uint32_t code;
    uint32_t upper[3], title[3], fold[3]; /* zero-ended; an empty one: simple mapping */
} special;

/* From Unicode's SpecialCasing and CaseFolding, unconditional entries of living scripts. */
static const special specials[] = {
    {0xdf, {'S', 'S'}, {'S', 's'}, {'s', 's'}},
    {0x149, {0x2bc, 'N'}, {0x2bc, 'N'}, {0x2bc, 'n'}},
    {0x1f0, {'J', 0x30c}, {'J', 0x30c}, {'j', 0x30c}},
    {0x390, {0x399, 0x308, 0x301}, {0x399, 0x308, 0x301}, {0x3b9, 0x308, 0x301}},
    {0x3b0, {0x3a5, 0x308, 0x301}, {0x3a5, 0x308, 0x301}, {0x3c5, 0x308, 0x301}},
    {0x587, {0x535, 0x552}, {0x535, 0x582}, {0x565, 0x582}},
    {0x1e96, {'H', 0x331}, {'H', 0x331}, {'h', 0x331}},
    {0x1e97, {'T', 0x308}, {'T', 0x308}, {'t', 0x308}},
    {0x1e98, {'W', 0x30a}, {'W', 0x30a}, {'w', 0x30a}},
    {0x1e99, {'Y', 0x30a}, {'Y', 0x30a}, {'y', 0x30a}},
    {0x1e9e, {0x1e9e}, {0x1e9e}, {'s', 's'}},
    {0xfb00, {'F', 'F'}, {'F', 'f'}, {'f', 'f'}},
    {0xfb01, {'F', 'I'}, {'F', 'i'}, {'f', 'i'}},
    {0xfb02, {'F', 'L'}, {'F', 'l'}, {'f', 'l'}},
    {0xfb03, {'F', 'F', 'I'}, {'F', 'f', 'i'}, {'f', 'f', 'i'}},
    {0xfb04, {'F', 'F', 'L'}, {'F', 'f', 'l'}, {'f', 'f', 'l'}},
    {0xfb05, {'S', 'T'}, {'S', 't'}, {'s', 't'}},
    {0xfb06, {'S', 'T'}, {'S', 't'}, {'s', 't'}},
};

static size_t copy_codes(const uint32_t from[3], uint32_t out[3])
{
    size_t n = 0;
    while (n < 3 && from[n] != 0) {
        out[n] = from[n];
        n++;
    }
    return n;
}

size_t vd_j_map_case(uint32_t code, vd_jcase to, uint32_t out[3])
{
    if (to == VD_JCASE_LOWER || to == VD_JCASE_FOLD) {
        if (code == 0x130) { /* capital I with dot: two code points in lower case */
            out[0] = 'i';
            out[1] = 0x307;
            return 2;
        }
    }
    for (size_t i = 0; to != VD_JCASE_LOWER && code >= 0xdf && i < VD_COUNT(specials); i++) {
        if (specials[i].code != code)
            continue;
        const special *s = &specials[i];
        return copy_codes(to == VD_JCASE_UPPER ? s->upper
                          : to == VD_JCASE_TITLE ? s->title : s->fold, out);
    }
    utf8proc_int32_t c = (utf8proc_int32_t)code;
    if (to == VD_JCASE_FOLD && code == 0x3c2) /* the final sigma folds to the plain one */
        c = 0x3c3;
    else
        c = to == VD_JCASE_UPPER ? utf8proc_toupper(c)
            : to == VD_JCASE_TITLE ? utf8proc_totitle(c) : utf8proc_tolower(c);
    out[0] = (uint32_t)c;
    return 1;
}

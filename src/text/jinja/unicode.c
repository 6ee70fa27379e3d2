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

/* utf8proc has no numeric values, so what goes by them is listed, in order: digits that are no
 * decimals (superscripts, circled and the like), and ideographs that are numbers. */
typedef struct range {
    uint32_t first, last;
} range;

static const range digits[] = {
    {0xb2, 0xb3}, {0xb9, 0xb9}, {0x1369, 0x1371}, {0x19da, 0x19da}, {0x2070, 0x2070},
    {0x2074, 0x2079}, {0x2080, 0x2089}, {0x2460, 0x2468}, {0x2474, 0x247c}, {0x2488, 0x2490},
    {0x24ea, 0x24ea}, {0x24f5, 0x24fd}, {0x24ff, 0x24ff}, {0x2776, 0x277e}, {0x2780, 0x2788},
    {0x278a, 0x2792}, {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a},
    {0x1f100, 0x1f10a}
};

static const range number_ideographs[] = {
    {0x3405, 0x3405}, {0x3483, 0x3483}, {0x382a, 0x382a}, {0x3b4d, 0x3b4d}, {0x4e00, 0x4e00},
    {0x4e03, 0x4e03}, {0x4e07, 0x4e07}, {0x4e09, 0x4e09}, {0x4e5d, 0x4e5d}, {0x4e8c, 0x4e8c},
    {0x4e94, 0x4e94}, {0x4e96, 0x4e96}, {0x4ebf, 0x4ec0}, {0x4edf, 0x4edf}, {0x4ee8, 0x4ee8},
    {0x4f0d, 0x4f0d}, {0x4f70, 0x4f70}, {0x5104, 0x5104}, {0x5146, 0x5146}, {0x5169, 0x5169},
    {0x516b, 0x516b}, {0x516d, 0x516d}, {0x5341, 0x5341}, {0x5343, 0x5345}, {0x534c, 0x534c},
    {0x53c1, 0x53c4}, {0x56db, 0x56db}, {0x58f1, 0x58f1}, {0x58f9, 0x58f9}, {0x5e7a, 0x5e7a},
    {0x5efe, 0x5eff}, {0x5f0c, 0x5f0e}, {0x5f10, 0x5f10}, {0x62fe, 0x62fe}, {0x634c, 0x634c},
    {0x67d2, 0x67d2}, {0x6f06, 0x6f06}, {0x7396, 0x7396}, {0x767e, 0x767e}, {0x8086, 0x8086},
    {0x842c, 0x842c}, {0x8cae, 0x8cae}, {0x8cb3, 0x8cb3}, {0x8d30, 0x8d30}, {0x9621, 0x9621},
    {0x9646, 0x9646}, {0x964c, 0x964c}, {0x9678, 0x9678}, {0x96f6, 0x96f6}, {0xf96b, 0xf96b},
    {0xf973, 0xf973}, {0xf978, 0xf978}, {0xf9b2, 0xf9b2}, {0xf9d1, 0xf9d1}, {0xf9d3, 0xf9d3},
    {0xf9fd, 0xf9fd}, {0x20001, 0x20001}, {0x20064, 0x20064}, {0x200e2, 0x200e2},
    {0x20121, 0x20121}, {0x2092a, 0x2092a}, {0x20983, 0x20983}, {0x2098c, 0x2098c},
    {0x2099c, 0x2099c}, {0x20aea, 0x20aea}, {0x20afd, 0x20afd}, {0x20b19, 0x20b19},
    {0x22390, 0x22390}, {0x22998, 0x22998}, {0x23b1b, 0x23b1b}, {0x2626d, 0x2626d},
    {0x2f890, 0x2f890}
};

static bool in_ranges(uint32_t code, const range *ranges, size_t n)
{
    size_t i = 0;
    while (i < n && ranges[i].last < code)
        i++;
    return i < n && ranges[i].first <= code;
}

bool vd_j_is_digit(uint32_t code)
{
    return vd_j_is_decimal(code) || in_ranges(code, digits, VD_COUNT(digits));
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
    return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO ||
           in_ranges(code, number_ideographs, VD_COUNT(number_ideographs));
}

/* Letters by category that XID_Start and XID_Continue leave out, as their compatibility forms are
 * none; four of them may stand behind a first character. */
static const range no_identifier[] = {
    {0x37a, 0x37a},   {0xe33, 0xe33},   {0xeb3, 0xeb3},   {0x2e2f, 0x2e2f}, {0xfc5e, 0xfc63},
    {0xfdfa, 0xfdfb}, {0xfe70, 0xfe70}, {0xfe72, 0xfe72}, {0xfe74, 0xfe74}, {0xfe76, 0xfe76},
    {0xfe78, 0xfe78}, {0xfe7a, 0xfe7a}, {0xfe7c, 0xfe7c}, {0xfe7e, 0xfe7e}, {0xff9e, 0xff9f},
};

bool vd_j_in_identifier(uint32_t code, bool first)
{
    bool lone = code == 0xe33 || code == 0xeb3 || code == 0xff9e || code == 0xff9f;
    if (in_ranges(code, no_identifier, VD_COUNT(no_identifier)) && (first || !lone))
        return false;
    if (code == '_' || code == 0x2118 || code == 0x212e || vd_j_is_alpha(code))
        return true;
    utf8proc_category_t c = category(code);
    if (c == UTF8PROC_CATEGORY_NL || code == 0x1885 || code == 0x1886)
        return true;
    return !first && (c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC ||
                      c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_PC || code == 0xb7 ||
                      code == 0x387 || (code >= 0x1369 && code <= 0x1371) || code == 0x19da);
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

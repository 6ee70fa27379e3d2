/* str.c - see str.h. */
#include "text/jinja/str.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/jinja/unicode.h"

static vd_status finish(vd_jtext *text, const vd_jstr *from, vd_jval *ret)
{
    vd_status st = vd_j_text_value(text, ret);
    return st == VD_OK && from->safe ? vd_j_str_mark(text->r, ret->u.s, true, ret) : st;
}

vd_status vd_j_str_part(vd_jrender *r, const vd_jstr *s, size_t begin, size_t end, vd_jval *ret)
{
    vd_status st = vd_j_str_wrap(r, s->data + begin, end - begin, ret);
    return st == VD_OK && s->safe ? vd_j_str_mark(r, ret->u.s, true, ret) : st;
}

/* A capital sigma that ends a word becomes the final one. */
static bool is_final_sigma(const vd_jstr *s, size_t begin, size_t end)
{
    bool before = false;
    for (size_t at = begin; at > 0;) {
        size_t next = --at;
        if (((unsigned char)s->data[at] & 0xc0) == 0x80)
            continue;
        before = vd_j_is_cased(vd_j_next(s->data, begin, &next));
        break;
    }
    return before && (end >= s->n || !vd_j_is_cased(vd_j_next(s->data, s->n, &end)));
}

static vd_jcase case_of(vd_jcasing to, uint32_t code, bool inside_word)
{
    switch (to) {
    case VD_JCASING_UPPER:
        return VD_JCASE_UPPER;
    case VD_JCASING_FOLD:
        return VD_JCASE_FOLD;
    case VD_JCASING_CAPITALIZE:
    case VD_JCASING_TITLE:
        return inside_word ? VD_JCASE_LOWER : VD_JCASE_TITLE;
    case VD_JCASING_WORDS:
        return inside_word ? VD_JCASE_LOWER : VD_JCASE_UPPER;
    case VD_JCASING_SWAP:
        return vd_j_is_upper(code) ? VD_JCASE_LOWER : VD_JCASE_UPPER;
    default:
        return VD_JCASE_LOWER;
    }
}

vd_status vd_j_str_case(vd_jrender *r, const vd_jstr *s, vd_jcasing to, vd_jval *ret)
{
    vd_jtext text;
    bool inside = false;
    vd_j_text_init(&text, r);
    vd_status st = vd_j_charge(r, s->n / 16); /* slower than a copy */
    for (size_t at = 0; st == VD_OK && text.status == VD_OK && at < s->n;) {
        size_t begin = at;
        uint32_t out[3], code = vd_j_next(s->data, s->n, &at);
        vd_jcase mode = case_of(to, code, inside);
        size_t n = vd_j_map_case(code, mode, out);
        if (mode == VD_JCASE_LOWER && code == 0x3a3 && is_final_sigma(s, begin, at))
            out[0] = 0x3c2;
        for (size_t i = 0; i < n; i++)
            vd_j_text_code(&text, out[i]);
        inside = to == VD_JCASING_CAPITALIZE ||
                 (to == VD_JCASING_TITLE && vd_j_is_cased(code)) ||
                 (to == VD_JCASING_WORDS && !vd_j_is_space(code) &&
                  (code >= 0x80 || code == 0 || strchr("-({[<", (int)code) == NULL));
    }
    return st == VD_OK ? finish(&text, s, ret) : st;
}

static bool strips(const vd_jstr *chars, uint32_t code)
{
    if (chars == NULL)
        return vd_j_is_space(code);
    for (size_t at = 0; at < chars->n;)
        if (vd_j_next(chars->data, chars->n, &at) == code)
            return true;
    return false;
}

vd_status vd_j_str_strip(vd_jrender *r, const vd_jstr *s, const vd_jstr *chars, bool left,
                         bool right, vd_jval *ret)
{
    size_t begin = 0, end = s->n, n_tried = 0;
    while (left && begin < end) {
        size_t next = begin;
        n_tried++;
        if (!strips(chars, vd_j_next(s->data, end, &next)))
            break;
        begin = next;
    }
    while (right && end > begin) {
        size_t start = end - 1;
        while (start > begin && ((unsigned char)s->data[start] & 0xc0) == 0x80)
            start--;
        size_t next = start;
        n_tried++;
        if (!strips(chars, vd_j_next(s->data, end, &next)))
            break;
        end = start;
    }
    size_t work;
    if (!vd_mul_size(n_tried, chars != NULL ? chars->n : 1, &work))
        work = SIZE_MAX;
    vd_status st = vd_j_charge_bytes(r, work);
    return st == VD_OK ? vd_j_str_part(r, s, begin, end, ret) : st;
}

/* Python puts the new text before every character and at the end. */
static void replace_empty(vd_jtext *text, const vd_jstr *s, const vd_jstr *with, int64_t count)
{
    size_t at = 0;
    while (text->status == VD_OK && count != 0) {
        vd_j_text_add(text, with->data, with->n);
        count--;
        if (at >= s->n)
            return;
        size_t begin = at;
        (void)vd_j_next(s->data, s->n, &at);
        vd_j_text_add(text, s->data + begin, at - begin);
    }
    vd_j_text_add(text, s->data + at, s->n - at);
}

vd_status vd_j_str_replace(vd_jrender *r, const vd_jstr *s, const vd_jstr *old,
                           const vd_jstr *with, int64_t count, vd_jval *ret)
{
    vd_jtext text;
    size_t at = 0;
    vd_j_text_init(&text, r);
    vd_status st = vd_j_charge_bytes(r, s->n);
    if (st != VD_OK)
        return st;
    if (old->n == 0) {
        replace_empty(&text, s, with, count);
        return finish(&text, s, ret);
    }
    while (text.status == VD_OK && count != 0 && s->n - at >= old->n) {
        const char *hit = memmem(s->data + at, s->n - at, old->data, old->n);
        if (hit == NULL)
            break;
        vd_j_text_add(&text, s->data + at, (size_t)(hit - s->data) - at);
        vd_j_text_add(&text, with->data, with->n);
        at = (size_t)(hit - s->data) + old->n;
        count--;
    }
    vd_j_text_add(&text, s->data + at, s->n - at);
    return finish(&text, s, ret);
}

vd_status vd_j_str_lines(vd_jrender *r, const vd_jstr *s, bool keep_ends, vd_jlist **ret)
{
    vd_jlist *list = NULL;
    vd_status st = vd_j_list_new(r, 0, &list);
    if (st == VD_OK)
        st = vd_j_charge_bytes(r, s->n);
    size_t begin = 0, at = 0;
    while (st == VD_OK && at < s->n) {
        size_t end = at;
        uint32_t code = vd_j_next(s->data, s->n, &at);
        bool is_break = vd_j_is_line_break(code);
        if (code == '\r' && at < s->n && s->data[at] == '\n')
            at++;
        if (!is_break && at < s->n)
            continue;
        vd_jval line;
        st = vd_j_str_part(r, s, begin, is_break && !keep_ends ? end : at, &line);
        if (st == VD_OK)
            st = vd_j_list_push(r, list, line);
        begin = at;
    }
    *ret = list;
    return st;
}

static vd_status push_part(vd_jrender *r, vd_jlist *list, const vd_jstr *s, size_t begin,
                           size_t end)
{
    vd_jval part;
    vd_status st = vd_j_str_part(r, s, begin, end, &part);
    return st == VD_OK ? vd_j_list_push(r, list, part) : st;
}

static size_t skip(const vd_jstr *s, size_t at, bool spaces)
{
    while (at < s->n) {
        size_t next = at;
        if (vd_j_is_space(vd_j_next(s->data, s->n, &next)) != spaces)
            break;
        at = next;
    }
    return at;
}

static vd_status split_space(vd_jrender *r, const vd_jstr *s, int64_t limit, vd_jlist *list)
{
    vd_status st = VD_OK;
    size_t at = skip(s, 0, true);
    while (st == VD_OK && at < s->n) {
        size_t end = limit == 0 ? s->n : skip(s, at, false);
        limit -= limit > 0;
        st = push_part(r, list, s, at, end);
        at = skip(s, end, true);
    }
    return st;
}

static size_t back(const vd_jstr *s, size_t at, bool spaces)
{
    while (at > 0) {
        size_t start = at - 1;
        while (start > 0 && ((unsigned char)s->data[start] & 0xc0) == 0x80)
            start--;
        size_t next = start;
        if (vd_j_is_space(vd_j_next(s->data, at, &next)) != spaces)
            break;
        at = start;
    }
    return at;
}

/* The last parts first; the caller turns them round. */
static vd_status rsplit_space(vd_jrender *r, const vd_jstr *s, int64_t limit, vd_jlist *list)
{
    vd_status st = VD_OK;
    size_t end = back(s, s->n, true);
    while (st == VD_OK && end > 0) {
        size_t begin = limit == 0 ? 0 : back(s, end, false);
        limit -= limit > 0;
        st = push_part(r, list, s, begin, end);
        end = back(s, begin, true);
    }
    return st;
}

static vd_status split_by(vd_jrender *r, const vd_jstr *s, const vd_jstr *separator, int64_t limit,
                          vd_jlist *list)
{
    size_t at = 0;
    vd_status st = VD_OK;
    while (st == VD_OK && limit != 0) {
        const char *hit = s->n - at >= separator->n
                              ? memmem(s->data + at, s->n - at, separator->data, separator->n)
                              : NULL;
        if (hit == NULL)
            break;
        st = push_part(r, list, s, at, (size_t)(hit - s->data));
        at = (size_t)(hit - s->data) + separator->n;
        limit -= limit > 0;
    }
    return st == VD_OK ? push_part(r, list, s, at, s->n) : st;
}

static vd_status rsplit_by(vd_jrender *r, const vd_jstr *s, const vd_jstr *separator,
                           int64_t limit, vd_jlist *list)
{
    size_t end = s->n;
    vd_status st = VD_OK;
    while (st == VD_OK && limit != 0 && end >= separator->n) {
        size_t at = end - separator->n;
        while (at > 0 && memcmp(s->data + at, separator->data, separator->n) != 0)
            at--;
        if (memcmp(s->data + at, separator->data, separator->n) != 0)
            break;
        st = push_part(r, list, s, at + separator->n, end);
        end = at;
        limit -= limit > 0;
    }
    return st == VD_OK ? push_part(r, list, s, 0, end) : st;
}

vd_status vd_j_str_split(vd_jrender *r, const vd_jstr *s, const vd_jstr *separator, int64_t limit,
                         bool from_right, vd_jlist **ret)
{
    vd_jlist *list = NULL;
    if (separator != NULL && separator->n == 0)
        return VD_J_FAIL(r, "empty separator");
    vd_status st = vd_j_charge_bytes(r, s->n);
    if (st == VD_OK)
        st = vd_j_list_new(r, 0, &list);
    if (st != VD_OK)
        return st;
    if (!from_right)
        st = separator != NULL ? split_by(r, s, separator, limit, list)
                               : split_space(r, s, limit, list);
    else
        st = separator != NULL ? rsplit_by(r, s, separator, limit, list)
                               : rsplit_space(r, s, limit, list);
    for (size_t i = 0; from_right && i < list->n / 2; i++) {
        vd_jval swap = list->item[i];
        list->item[i] = list->item[list->n - 1 - i];
        list->item[list->n - 1 - i] = swap;
    }
    *ret = list;
    return st;
}

vd_status vd_j_str_pad(vd_jrender *r, const vd_jstr *s, const vd_jstr *fill, size_t left,
                       size_t right, vd_jval *ret)
{
    vd_jtext text;
    vd_j_text_init(&text, r);
    vd_status st = vd_j_charge(r, left / 16 + right / 16);
    for (size_t i = 0; st == VD_OK && text.status == VD_OK && i < left; i++)
        vd_j_text_add(&text, fill->data, fill->n);
    vd_j_text_add(&text, s->data, s->n);
    for (size_t i = 0; st == VD_OK && text.status == VD_OK && i < right; i++)
        vd_j_text_add(&text, fill->data, fill->n);
    return st == VD_OK ? finish(&text, s, ret) : st;
}

/* --- numbers --- */

/* Trimmed, without the underscores Python allows between digits; false when that is no number. */
static bool number_text(const vd_jstr *s, char *out, size_t size)
{
    size_t begin = 0, end = s->n, n = 0;
    while (begin < end && (unsigned char)s->data[begin] < 0x80 &&
           vd_j_is_space((unsigned char)s->data[begin]))
        begin++;
    while (end > begin && (unsigned char)s->data[end - 1] < 0x80 &&
           vd_j_is_space((unsigned char)s->data[end - 1]))
        end--;
    for (size_t i = begin; i < end; i++) {
        char c = s->data[i];
        if (c == '_' && i > begin && i + 1 < end && s->data[i - 1] != '_' && s->data[i + 1] != '_')
            continue;
        if (c == '_' || c == '\0' || n + 1 >= size || vd_j_is_space((unsigned char)c))
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return n > 0;
}

bool vd_j_str_to_int(const vd_jstr *s, int64_t base, int64_t *ret)
{
    char text[128], *end = NULL;
    if ((base != 0 && (base < 2 || base > 36)) || !number_text(s, text, sizeof(text)))
        return false;
    char *digits = text + (text[0] == '-' || text[0] == '+');
    bool negative = text[0] == '-';
    char letter = (char)(digits[0] == '0' ? digits[1] | 32 : 0);
    int64_t prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefix != 0 && (base == 0 || base == prefix)) {
        digits += 2;
        base = prefix;
    } else if (base == 0) {
        if (digits[0] == '0' && digits[strspn(digits, "0")] != '\0')
            return false; /* 012 is no number in Python */
        base = 10;
    }
    if (*digits == '-' || *digits == '+' || *digits == '\0')
        return false;
    char again[129];
    again[0] = negative ? '-' : '+';
    memcpy(again + 1, digits, strlen(digits) + 1);
    if (base == 16 && digits[0] == '0' && (digits[1] | 32) == 'x')
        return false;
    errno = 0;
    long long value = strtoll(again, &end, (int)base);
    if (errno != 0 || *end != '\0')
        return false;
    *ret = value;
    return true;
}

bool vd_j_str_to_float(const vd_jstr *s, double *ret)
{
    char text[512], *end = NULL;
    if (!number_text(s, text, sizeof(text)) || strpbrk(text, "xXpP(") != NULL)
        return false;
    double value = strtod(text, &end);
    if (end == text || *end != '\0')
        return false;
    *ret = value;
    return true;
}

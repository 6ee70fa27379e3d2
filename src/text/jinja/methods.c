/* methods.c - methods of texts. Those of dicts and lists are in methods_more.c. */
#include <string.h>

#include "base/checked.h"
#include "text/jinja/methods.h"
#include "text/jinja/str.h"
#include "text/jinja/unicode.h"

#define METHOD(name) \
    static vd_status str_##name(vd_jrender *r, vd_jval self, const vd_jcall *call, vd_jval *ret)

METHOD(upper)
{
    return vd_j_str_case(r, self.u.s, VD_JCASING_UPPER, ret);
}
METHOD(lower)
{
    return vd_j_str_case(r, self.u.s, VD_JCASING_LOWER, ret);
}
METHOD(capitalize)
{
    return vd_j_str_case(r, self.u.s, VD_JCASING_CAPITALIZE, ret);
}
METHOD(title)
{
    return vd_j_str_case(r, self.u.s, VD_JCASING_TITLE, ret);
}
METHOD(swapcase)
{
    return vd_j_str_case(r, self.u.s, VD_JCASING_SWAP, ret);
}
METHOD(casefold)
{
    return vd_j_str_case(r, self.u.s, VD_JCASING_FOLD, ret);
}

METHOD(strip)
{
    const vd_jstr *chars = NULL;
    char side = call->builtin->name[0];
    vd_status st = vd_j_arg_str(r, call, 0, &chars);
    return st == VD_OK ? vd_j_str_strip(r, self.u.s, chars, side != 'r', side != 'l', ret) : st;
}

METHOD(split)
{
    const vd_jstr *separator = NULL;
    vd_jlist *list = NULL;
    int64_t limit;
    vd_status st = vd_j_arg_str(r, call, 0, &separator);
    if (st == VD_OK)
        st = vd_j_arg_int(r, call, 1, -1, &limit);
    if (st == VD_OK)
        st = vd_j_str_split(r, self.u.s, separator, limit, call->builtin->name[0] == 'r', &list);
    if (st == VD_OK)
        *ret = vd_j_list(list);
    return st;
}

METHOD(splitlines)
{
    vd_jlist *list = NULL;
    vd_status st = vd_j_str_lines(r, self.u.s, vd_j_arg_bool(call, 0, false), &list);
    if (st == VD_OK)
        *ret = vd_j_list(list);
    return st;
}

static vd_status need_str(vd_jrender *r, const vd_jcall *call, size_t i, const vd_jstr **ret)
{
    vd_status st = vd_j_arg_str(r, call, i, ret);
    return st == VD_OK && *ret == NULL ? VD_J_FAIL(r, "%s() needs a text", call->builtin->name)
                                       : st;
}

METHOD(replace)
{
    const vd_jstr *old = NULL, *with = NULL;
    int64_t count;
    vd_status st = need_str(r, call, 0, &old);
    if (st == VD_OK)
        st = need_str(r, call, 1, &with);
    if (st == VD_OK)
        st = vd_j_arg_int(r, call, 2, -1, &count);
    return st == VD_OK ? vd_j_str_replace(r, self.u.s, old, with, count, ret) : st;
}

METHOD(join)
{
    vd_jlist *items = NULL;
    vd_jtext text;
    vd_j_text_init(&text, r);
    vd_status st = vd_j_items(r, call->arg[0], &items);
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        if (items->item[i].kind != VD_JKIND_STRING)
            return VD_J_FAIL(r, "sequence item %zu: expected str instance, %s found", i,
                             vd_j_type_name(items->item[i]));
        if (i > 0)
            vd_j_text_add(&text, self.u.s->data, self.u.s->n);
        vd_j_text_str(&text, items->item[i]);
        st = text.status == VD_OK ? vd_j_charge(r, 1) : text.status;
    }
    return st == VD_OK ? vd_j_text_value(&text, ret) : st;
}

/* The part of the text that the optional arguments start and end of a search mean. */
static vd_status search_range(vd_jrender *r, vd_jval self, const vd_jcall *call, size_t *ret_begin,
                              size_t *ret_end, bool *ret_empty)
{
    int64_t start, end, n = (int64_t)vd_j_str_chars(self.u.s);
    vd_status st = call->arg[1].kind == VD_JKIND_NONE ? (start = 0, VD_OK)
                                                      : vd_j_arg_int(r, call, 1, 0, &start);
    if (st == VD_OK)
        st = call->arg[2].kind == VD_JKIND_NONE ? (end = n, VD_OK)
                                                : vd_j_arg_int(r, call, 2, n, &end);
    if (st != VD_OK)
        return st;
    start = start < 0 ? VD_MAX(start + n, (int64_t)0) : start;
    end = end < 0 ? VD_MAX(end + n, (int64_t)0) : VD_MIN(end, n);
    *ret_empty = start > end;
    *ret_begin = vd_j_str_offset(self.u.s, (size_t)VD_MIN(start, n));
    *ret_end = vd_j_str_offset(self.u.s, (size_t)end);
    return vd_j_charge_bytes(r, self.u.s->n);
}

METHOD(startswith)
{
    size_t begin = 0, end = 0;
    bool empty = false, at_end = call->builtin->name[0] == 'e';
    vd_jval one[1] = {call->arg[0]};
    vd_jlist several = {.item = one, .n = 1};
    const vd_jlist *tries = &several;
    vd_status st = search_range(r, self, call, &begin, &end, &empty);
    if (st != VD_OK)
        return st;
    if (one[0].kind == VD_JKIND_LIST && one[0].u.list->flavour == VD_JFLAVOUR_TUPLE)
        tries = one[0].u.list;
    bool found = false;
    for (size_t i = 0; i < tries->n; i++) {
        if (tries->item[i].kind != VD_JKIND_STRING)
            return VD_J_FAIL(r, "%s() needs a text or a tuple of texts", call->builtin->name);
        const vd_jstr *s = tries->item[i].u.s;
        found = found || (!empty && end - begin >= s->n &&
                          memcmp(self.u.s->data + (at_end ? end - s->n : begin), s->data,
                                 s->n) == 0);
    }
    *ret = vd_j_bool(found);
    return VD_OK;
}

/* find, rfind, index, rindex: the number of the character where it begins. */
METHOD(find)
{
    size_t begin = 0, end = 0;
    bool empty = false, right = call->builtin->name[0] == 'r';
    const vd_jstr *s = NULL;
    vd_status st = need_str(r, call, 0, &s);
    if (st == VD_OK)
        st = search_range(r, self, call, &begin, &end, &empty);
    if (st != VD_OK)
        return st;
    const char *data = self.u.s->data, *hit = NULL;
    if (!empty && !right && end - begin >= s->n)
        hit = s->n == 0 ? data + begin : memmem(data + begin, end - begin, s->data, s->n);
    for (size_t at = end - begin >= s->n ? end - s->n + 1 : begin; right && !empty && at > begin;
         at--)
        if (memcmp(data + at - 1, s->data, s->n) == 0) {
            hit = data + at - 1;
            break;
        }
    if (hit == NULL && call->builtin->name[right] == 'i')
        return VD_J_FAIL(r, "substring not found");
    vd_jstr before = {.data = data, .n = hit != NULL ? (size_t)(hit - data) : 0,
                      .n_chars = SIZE_MAX};
    *ret = vd_j_int(hit != NULL ? (int64_t)vd_j_str_chars(&before) : -1);
    return VD_OK;
}

METHOD(count)
{
    size_t at = 0, end = 0;
    bool empty = false;
    const vd_jstr *s = NULL;
    vd_status st = need_str(r, call, 0, &s);
    if (st == VD_OK)
        st = search_range(r, self, call, &at, &end, &empty);
    if (st != VD_OK)
        return st;
    int64_t n = 0;
    if (s->n == 0 && !empty) {
        vd_jstr part = {.data = self.u.s->data + at, .n = end - at, .n_chars = SIZE_MAX};
        n = (int64_t)vd_j_str_chars(&part) + 1;
    }
    while (s->n > 0 && !empty && end - at >= s->n) {
        const char *hit = memmem(self.u.s->data + at, end - at, s->data, s->n);
        if (hit == NULL)
            break;
        n++;
        at = (size_t)(hit - self.u.s->data) + s->n;
    }
    *ret = vd_j_int(n);
    return VD_OK;
}

/* Every character of the class, and at least one. */
METHOD(is)
{
    static const struct {
        const char *name;
        bool (*has)(uint32_t code);
    } classes[] = {{"isalpha", vd_j_is_alpha}, {"isdigit", vd_j_is_digit},
                   {"isdecimal", vd_j_is_decimal}, {"isnumeric", vd_j_is_numeric},
                   {"isalnum", vd_j_is_alnum}, {"isspace", vd_j_is_space}};
    vd_status st = vd_j_charge_bytes(r, self.u.s->n * 8);
    bool all = self.u.s->n > 0;
    for (size_t k = 0; st == VD_OK && k < VD_COUNT(classes); k++)
        for (size_t at = 0; strcmp(classes[k].name, call->builtin->name) == 0 && all &&
                            at < self.u.s->n;)
            all = classes[k].has(vd_j_next(self.u.s->data, self.u.s->n, &at));
    *ret = vd_j_bool(all);
    return st;
}

static bool is_ascii(uint32_t code)
{
    return code < 0x80;
}

/* The same, but an empty text has no other characters either. */
METHOD(isonly)
{
    bool (*has)(uint32_t) = call->builtin->name[2] == 'a' ? is_ascii : vd_j_is_printable;
    vd_status st = vd_j_charge_bytes(r, self.u.s->n * 8);
    bool all = true;
    for (size_t at = 0; st == VD_OK && all && at < self.u.s->n;)
        all = has(vd_j_next(self.u.s->data, self.u.s->n, &at));
    *ret = vd_j_bool(all);
    return st;
}

/* Capitals where a run of cased letters begins, small letters behind them, and at least one. */
METHOD(istitle)
{
    vd_status st = vd_j_charge_bytes(r, self.u.s->n * 8);
    bool right = true, any = false, inside = false;
    for (size_t at = 0; st == VD_OK && right && at < self.u.s->n;) {
        uint32_t code = vd_j_next(self.u.s->data, self.u.s->n, &at);
        bool capital = vd_j_is_upper(code) || vd_j_is_title(code);
        right = capital ? !inside : !vd_j_is_lower(code) || inside;
        inside = capital || vd_j_is_lower(code);
        any = any || inside;
    }
    *ret = vd_j_bool(right && any);
    return st;
}

METHOD(isidentifier)
{
    vd_status st = vd_j_charge_bytes(r, self.u.s->n * 8);
    bool all = self.u.s->n > 0;
    for (size_t at = 0; st == VD_OK && all && at < self.u.s->n;) {
        bool first = at == 0;
        all = vd_j_in_identifier(vd_j_next(self.u.s->data, self.u.s->n, &at), first);
    }
    *ret = vd_j_bool(all);
    return st;
}

METHOD(iscase)
{
    const vd_jbuiltin *test = vd_j_find_test(call->builtin->name + 2, 5);
    return vd_j_call_builtin(r, test, self, call->raw, ret);
}

/* Spaces or a given character on the left, the right or both sides. */
METHOD(just)
{
    static const vd_jstr space = {.data = " ", .n = 1, .n_chars = 1};
    const vd_jstr *fill = NULL;
    int64_t width;
    char kind = call->builtin->name[0]; /* center, ljust, rjust */
    vd_status st = vd_j_arg_int(r, call, 0, 0, &width);
    if (st == VD_OK)
        st = vd_j_arg_str(r, call, 1, &fill);
    if (st != VD_OK)
        return st;
    if (fill == NULL)
        fill = &space;
    if (vd_j_str_chars(fill) != 1)
        return VD_J_FAIL(r, "the fill character must be exactly one character long");
    int64_t n = (int64_t)vd_j_str_chars(self.u.s), pad = width > n ? width - n : 0;
    int64_t left = kind == 'r' ? pad : kind == 'l' ? 0 : pad / 2 + (pad & width & 1);
    return vd_j_str_pad(r, self.u.s, fill, (size_t)left, (size_t)(pad - left), ret);
}

METHOD(zfill)
{
    static const vd_jstr zero = {.data = "0", .n = 1, .n_chars = 1};
    int64_t width;
    vd_status st = vd_j_arg_int(r, call, 0, 0, &width);
    if (st != VD_OK)
        return st;
    const vd_jstr *s = self.u.s;
    int64_t n = (int64_t)vd_j_str_chars(s), pad = width > n ? width - n : 0;
    size_t sign = s->n > 0 && (s->data[0] == '-' || s->data[0] == '+') && pad > 0;
    vd_jval digits, head;
    st = vd_j_str_part(r, s, sign, s->n, &digits);
    if (st == VD_OK)
        st = vd_j_str_pad(r, digits.u.s, &zero, (size_t)pad, 0, ret);
    if (st == VD_OK && sign > 0)
        st = vd_j_str_part(r, s, 0, sign, &head);
    return st == VD_OK && sign > 0 ? vd_j_str_concat(r, head.u.s, ret->u.s, ret) : st;
}

METHOD(partition)
{
    const vd_jstr *separator = NULL;
    vd_jlist *parts = NULL, *three = NULL;
    vd_jval empty;
    bool right = call->builtin->name[0] == 'r';
    vd_status st = need_str(r, call, 0, &separator);
    if (st == VD_OK)
        st = vd_j_str_split(r, self.u.s, separator, 1, right, &parts);
    if (st == VD_OK)
        st = vd_j_list_new(r, 3, &three);
    if (st == VD_OK)
        st = vd_j_str_wrap(r, "", 0, &empty);
    if (st != VD_OK)
        return st;
    bool found = parts->n == 2;
    three->item[0] = found ? parts->item[0] : right ? empty : parts->item[0];
    three->item[1] = found ? vd_j_string(separator) : empty;
    three->item[2] = found ? parts->item[1] : right ? parts->item[0] : empty;
    three->n = 3;
    three->flavour = VD_JFLAVOUR_TUPLE;
    *ret = vd_j_list(three);
    return VD_OK;
}

METHOD(removeprefix)
{
    const vd_jstr *fix = NULL, *s = self.u.s;
    bool suffix = call->builtin->name[6] == 's';
    vd_status st = need_str(r, call, 0, &fix);
    if (st != VD_OK)
        return st;
    bool has = s->n >= fix->n &&
               memcmp(s->data + (suffix ? s->n - fix->n : 0), fix->data, fix->n) == 0;
    return vd_j_str_part(r, s, has && !suffix ? fix->n : 0, has && suffix ? s->n - fix->n : s->n,
                         ret);
}

METHOD(expandtabs)
{
    int64_t size, column = 0;
    vd_jtext text;
    vd_j_text_init(&text, r);
    vd_status st = vd_j_arg_int(r, call, 0, 8, &size);
    for (size_t at = 0; st == VD_OK && text.status == VD_OK && at < self.u.s->n;) {
        size_t begin = at;
        uint32_t code = vd_j_next(self.u.s->data, self.u.s->n, &at);
        if (code != '\t') {
            vd_j_text_add(&text, self.u.s->data + begin, at - begin);
            column = code == '\n' || code == '\r' ? 0 : column + 1;
            continue;
        }
        for (int64_t n = size > 0 ? size - column % size : 0; n > 0 && text.status == VD_OK; n--) {
            vd_j_text_puts(&text, " ");
            column++;
        }
    }
    return st == VD_OK ? vd_j_text_value(&text, ret) : st;
}

METHOD(format)
{
    return vd_j_str_format(r, self.u.s, call->raw, ret);
}

static const vd_jbuiltin methods[] = {
    {"upper", str_upper, "", false},
    {"lower", str_lower, "", false},
    {"capitalize", str_capitalize, "", false},
    {"title", str_title, "", false},
    {"swapcase", str_swapcase, "", false},
    {"casefold", str_casefold, "", false},
    {"strip", str_strip, "?chars", false},
    {"lstrip", str_strip, "?chars", false},
    {"rstrip", str_strip, "?chars", false},
    {"split", str_split, "?sep ?maxsplit", false},
    {"rsplit", str_split, "?sep ?maxsplit", false},
    {"splitlines", str_splitlines, "?keepends", false},
    {"replace", str_replace, "old new ?count", false},
    {"join", str_join, "iterable", false},
    {"startswith", str_startswith, "prefix ?start ?end", false},
    {"endswith", str_startswith, "suffix ?start ?end", false},
    {"find", str_find, "sub ?start ?end", false},
    {"rfind", str_find, "sub ?start ?end", false},
    {"index", str_find, "sub ?start ?end", false},
    {"rindex", str_find, "sub ?start ?end", false},
    {"count", str_count, "sub ?start ?end", false},
    {"isalpha", str_is, "", false},
    {"isdigit", str_is, "", false},
    {"isdecimal", str_is, "", false},
    {"isnumeric", str_is, "", false},
    {"isalnum", str_is, "", false},
    {"isspace", str_is, "", false},
    {"isascii", str_isonly, "", false},
    {"isprintable", str_isonly, "", false},
    {"istitle", str_istitle, "", false},
    {"isidentifier", str_isidentifier, "", false},
    {"islower", str_iscase, "", false},
    {"isupper", str_iscase, "", false},
    {"center", str_just, "width ?fillchar", false},
    {"ljust", str_just, "width ?fillchar", false},
    {"rjust", str_just, "width ?fillchar", false},
    {"zfill", str_zfill, "width", false},
    {"partition", str_partition, "sep", false},
    {"rpartition", str_partition, "sep", false},
    {"removeprefix", str_removeprefix, "prefix", false},
    {"removesuffix", str_removeprefix, "suffix", false},
    {"expandtabs", str_expandtabs, "?tabsize", false},
    {"format", str_format, NULL, false},
};

const vd_jbuiltin *vd_j_find_str_method(const char *name, size_t n)
{
    return vd_j_find_in(methods, VD_COUNT(methods), name, n);
}

/* filters_text.c - filters that make text or numbers of one value. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json.h"
#include "text/jinja/eval.h"
#include "text/jinja/filters.h"
#include "text/jinja/str.h"
#include "text/jinja/unicode.h"

#define FILTER(name) \
    static vd_status filter_##name(vd_jrender *r, vd_jval self, const vd_jcall *call, vd_jval *ret)

static vd_status cased(vd_jrender *r, vd_jval self, vd_jcasing to, vd_jval *ret)
{
    const vd_jstr *s = NULL;
    vd_status st = vd_j_to_str(r, self, &s);
    return st == VD_OK ? vd_j_str_case(r, s, to, ret) : st;
}

FILTER(upper)
{
    return cased(r, self, VD_JCASING_UPPER, ret);
}
FILTER(lower)
{
    return cased(r, self, VD_JCASING_LOWER, ret);
}
FILTER(capitalize)
{
    return cased(r, self, VD_JCASING_CAPITALIZE, ret);
}
FILTER(title)
{
    return cased(r, self, VD_JCASING_WORDS, ret);
}

FILTER(trim)
{
    const vd_jstr *s = NULL, *chars = NULL;
    vd_status st = vd_j_to_str(r, self, &s);
    if (st == VD_OK)
        st = vd_j_arg_str(r, call, 0, &chars);
    return st == VD_OK ? vd_j_str_strip(r, s, chars, true, true, ret) : st;
}

FILTER(string)
{
    const vd_jstr *s = NULL;
    vd_status st = vd_j_to_str(r, self, &s);
    if (st == VD_OK)
        *ret = vd_j_string(s);
    return st;
}

FILTER(safe)
{
    const vd_jstr *s = NULL;
    vd_status st = vd_j_to_str(r, self, &s);
    return st == VD_OK ? vd_j_str_mark(r, s, true, ret) : st;
}

vd_status vd_j_escape(vd_jrender *r, const vd_jstr *s, vd_jval *ret)
{
    vd_jtext text;
    vd_j_text_init(&text, r);
    vd_status st = vd_j_charge_bytes(r, s->n);
    for (size_t i = 0; st == VD_OK && i < s->n && text.status == VD_OK; i++) {
        const char *entity = s->data[i] == '&'    ? "&amp;"
                             : s->data[i] == '<'  ? "&lt;"
                             : s->data[i] == '>'  ? "&gt;"
                             : s->data[i] == '"'  ? "&#34;"
                             : s->data[i] == '\'' ? "&#39;" : NULL;
        vd_j_text_add(&text, entity != NULL ? entity : s->data + i,
                      entity != NULL ? strlen(entity) : 1);
    }
    if (st == VD_OK)
        st = vd_j_text_value(&text, ret);
    return st == VD_OK ? vd_j_str_mark(r, ret->u.s, true, ret) : st;
}

FILTER(escape)
{
    const vd_jstr *s = NULL;
    vd_status st = vd_j_to_str(r, self, &s);
    if (st == VD_OK && s->safe && call->builtin->name[0] == 'e') {
        *ret = vd_j_string(s);
        return VD_OK;
    }
    return st == VD_OK ? vd_j_escape(r, s, ret) : st;
}

FILTER(replace)
{
    const vd_jstr *s = NULL, *old = NULL, *with = NULL;
    int64_t count = -1;
    vd_status st = vd_j_to_str(r, self, &s);
    if (st == VD_OK)
        st = vd_j_to_str(r, call->arg[0], &old);
    if (st == VD_OK)
        st = vd_j_to_str(r, call->arg[1], &with);
    if (st == VD_OK && call->arg[2].kind != VD_JKIND_NONE)
        st = vd_j_arg_int(r, call, 2, -1, &count);
    if (st == VD_OK)
        st = vd_j_str_replace(r, s, old, with, count, ret);
    return st == VD_OK && s->safe ? vd_j_str_mark(r, ret->u.s, false, ret) : st;
}

FILTER(indent)
{
    vd_jval self_and_newline, spaces, newline;
    vd_jlist *lines = NULL;
    const vd_jstr *indent = NULL;
    int64_t width = 4;
    bool first = vd_j_arg_bool(call, 1, false), blank = vd_j_arg_bool(call, 2, false);
    if (self.kind != VD_JKIND_STRING)
        return VD_J_FAIL(r, "indent needs a text, not '%s'", vd_j_type_name(self));
    vd_status st = vd_j_str_wrap(r, " ", 1, &spaces);
    if (st == VD_OK && call->arg[0].kind == VD_JKIND_STRING) {
        indent = call->arg[0].u.s;
    } else if (st == VD_OK) {
        st = vd_j_arg_int(r, call, 0, 4, &width);
        if (st == VD_OK)
            st = vd_j_arith(r, VD_JOP_MUL, spaces, vd_j_int(width), &spaces);
        indent = st == VD_OK ? spaces.u.s : NULL;
    }
    if (st == VD_OK)
        st = vd_j_str_wrap(r, "\n", 1, &newline);
    if (st == VD_OK)
        st = vd_j_str_concat(r, self.u.s, newline.u.s, &self_and_newline);
    if (st == VD_OK)
        st = vd_j_str_lines(r, self_and_newline.u.s, false, &lines);
    if (st != VD_OK)
        return st;
    vd_jtext text;
    vd_j_text_init(&text, r);
    for (size_t i = 0; text.status == VD_OK && i < lines->n; i++) {
        const vd_jstr *line = lines->item[i].u.s;
        if (i > 0)
            vd_j_text_puts(&text, "\n");
        if (i == 0 ? first : blank || line->n > 0)
            vd_j_text_add(&text, indent->data, indent->n);
        vd_j_text_add(&text, line->data, line->n);
    }
    st = vd_j_text_value(&text, ret);
    return st == VD_OK && self.u.s->safe ? vd_j_str_mark(r, ret->u.s, true, ret) : st;
}

FILTER(truncate)
{
    int64_t length, leeway;
    const vd_jstr *end = NULL;
    vd_jval dots, head;
    if (self.kind != VD_JKIND_STRING)
        return VD_J_FAIL(r, "truncate needs a text, not '%s'", vd_j_type_name(self));
    vd_status st = vd_j_arg_int(r, call, 0, 255, &length);
    if (st == VD_OK)
        st = vd_j_arg_str(r, call, 2, &end);
    if (st == VD_OK && end == NULL) {
        st = vd_j_str_wrap(r, "...", 3, &dots);
        end = st == VD_OK ? dots.u.s : NULL;
    }
    if (st == VD_OK)
        st = vd_j_arg_int(r, call, 3, 5, &leeway);
    if (st != VD_OK)
        return st;
    if (length < (int64_t)vd_j_str_chars(end) || leeway < 0 || length > INT64_MAX - leeway)
        return VD_J_FAIL(r, "truncate to fewer characters than its end has");
    if ((int64_t)vd_j_str_chars(self.u.s) <= length + leeway) {
        *ret = self;
        return VD_OK;
    }
    size_t cut = vd_j_str_offset(self.u.s, (size_t)length - vd_j_str_chars(end));
    if (!vd_j_arg_bool(call, 1, false)) {
        size_t at = cut;
        while (at > 0 && self.u.s->data[at - 1] != ' ')
            at--;
        cut = at > 0 ? at - 1 : cut;
    }
    st = vd_j_str_part(r, self.u.s, 0, cut, &head);
    return st == VD_OK ? vd_j_arith(r, VD_JOP_ADD, head, vd_j_string(end), ret) : st;
}

FILTER(wordcount)
{
    const vd_jstr *s = NULL;
    vd_status st = vd_j_to_str(r, self, &s);
    if (st == VD_OK)
        st = vd_j_charge_bytes(r, s->n);
    if (st != VD_OK)
        return st;
    int64_t n = 0;
    bool inside = false;
    for (size_t at = 0; at < s->n;) {
        bool word = vd_j_is_word(vd_j_next(s->data, s->n, &at));
        n += word && !inside;
        inside = word;
    }
    *ret = vd_j_int(n);
    return VD_OK;
}

FILTER(center)
{
    const vd_jstr *s = NULL;
    int64_t width;
    vd_status st = vd_j_to_str(r, self, &s);
    if (st == VD_OK)
        st = vd_j_arg_int(r, call, 0, 80, &width);
    if (st != VD_OK)
        return st;
    int64_t n = (int64_t)vd_j_str_chars(s), pad = width > n ? width - n : 0;
    int64_t left = pad / 2 + (pad & width & 1); /* as str.center shares out an odd one */
    static const vd_jstr space = {.data = " ", .n = 1, .n_chars = 1};
    return vd_j_str_pad(r, s, &space, (size_t)left, (size_t)(pad - left), ret);
}

/* Percent-encoding of everything but letters, digits and _ . - ~ / */
FILTER(tojson)
{
    vd_jdump_options options = {.ascii = vd_j_arg_bool(call, 0, false),
                                .sort_keys = vd_j_arg_bool(call, 3, false)};
    vd_jval space, indent = call->arg[1], separators = call->arg[2];
    vd_status st = VD_OK;
    if (indent.kind == VD_JKIND_STRING) {
        options.indent = indent.u.s->data;
        options.n_indent = indent.u.s->n;
    } else if (indent.kind != VD_JKIND_ABSENT && indent.kind != VD_JKIND_NONE) {
        st = vd_j_str_wrap(r, " ", 1, &space);
        if (st == VD_OK)
            st = vd_j_arith(r, VD_JOP_MUL, space, indent, &space);
        if (st == VD_OK) {
            options.indent = space.u.s->data;
            options.n_indent = space.u.s->n;
        }
    }
    if (st == VD_OK && separators.kind == VD_JKIND_LIST && separators.u.list->n == 2 &&
        separators.u.list->item[0].kind == VD_JKIND_STRING &&
        separators.u.list->item[1].kind == VD_JKIND_STRING) {
        options.item_separator = separators.u.list->item[0].u.s;
        options.key_separator = separators.u.list->item[1].u.s;
    } else if (st == VD_OK && separators.kind != VD_JKIND_ABSENT &&
               separators.kind != VD_JKIND_NONE) {
        st = VD_J_FAIL(r, "separators are a pair of texts");
    }
    return st == VD_OK ? vd_j_json_dump(r, self, &options, ret) : st;
}

/* Not Hugging Face's, but some templates use it where an engine offers it. */
FILTER(from_json)
{
    json_t *json = NULL;
    vd_err why = {0};
    if (self.kind != VD_JKIND_STRING)
        return VD_J_FAIL(r, "from_json needs a text, not '%s'", vd_j_type_name(self));
    vd_status st = vd_j_charge_bytes(r, self.u.s->n);
    if (st != VD_OK)
        return st;
    st = vd_json_parse(self.u.s->data, self.u.s->n, &json, &why);
    if (st == VD_ERR_NOMEM)
        return VD_J_FAIL_AS(r, st, "%s", why.message);
    if (st != VD_OK)
        return VD_J_FAIL(r, "from_json: %s", why.message);
    st = vd_j_from_json(r, json, ret);
    json_decref(json);
    return st;
}

FILTER(int)
{
    int64_t base, value = 0;
    double f = 0;
    vd_status st = vd_j_arg_int(r, call, 1, 10, &base);
    if (st != VD_OK)
        return st;
    bool known = false;
    if (self.kind == VD_JKIND_INT || self.kind == VD_JKIND_BOOL) {
        value = self.kind == VD_JKIND_INT ? self.u.i : self.u.b;
        known = true;
    } else if (self.kind == VD_JKIND_STRING) {
        known = vd_j_str_to_int(self.u.s, base, &value);
    } else if (self.kind == VD_JKIND_UNDEFINED) {
        return vd_j_undefined_fail(r, self);
    }
    bool is_float = !known && (self.kind == VD_JKIND_FLOAT ||
                               (self.kind == VD_JKIND_STRING && vd_j_str_to_float(self.u.s, &f)));
    if (is_float)
        f = self.kind == VD_JKIND_FLOAT ? self.u.f : f;
    if (is_float && isfinite(f)) {
        if (!(f >= -9223372036854775808.0 && f < 9223372036854775808.0))
            return VD_J_FAIL(r, "the number does not fit 64 bits");
        value = (int64_t)f;
        known = true;
    }
    *ret = known ? vd_j_int(value) : call->arg[0].kind == VD_JKIND_ABSENT ? vd_j_int(0)
                                                                          : call->arg[0];
    return VD_OK;
}

FILTER(float)
{
    double f = 0;
    bool known = true;
    if (self.kind == VD_JKIND_UNDEFINED)
        return vd_j_undefined_fail(r, self);
    if (self.kind == VD_JKIND_FLOAT)
        f = self.u.f;
    else if (self.kind == VD_JKIND_INT || self.kind == VD_JKIND_BOOL)
        f = self.kind == VD_JKIND_INT ? (double)self.u.i : self.u.b;
    else
        known = self.kind == VD_JKIND_STRING && vd_j_str_to_float(self.u.s, &f);
    *ret = known ? vd_j_float(f) : call->arg[0].kind == VD_JKIND_ABSENT ? vd_j_float(0)
                                                                        : call->arg[0];
    return VD_OK;
}

FILTER(abs)
{
    if (self.kind == VD_JKIND_FLOAT) {
        *ret = vd_j_float(fabs(self.u.f));
        return VD_OK;
    }
    if (self.kind == VD_JKIND_INT && self.u.i < 0)
        return vd_j_arith(r, VD_JOP_SUB, vd_j_int(0), self, ret);
    if (self.kind != VD_JKIND_INT && self.kind != VD_JKIND_BOOL)
        return VD_J_FAIL(r, "abs() needs a number, not '%s'", vd_j_type_name(self));
    *ret = vd_j_int(self.kind == VD_JKIND_INT ? self.u.i : self.u.b);
    return VD_OK;
}

/* "%.*f" rounds the exact binary value half to even, as Python does. */
static double round_common(double value, int64_t precision)
{
    char text[512];
    if (!isfinite(value) || precision > 20)
        return value;
    if (precision >= 0) {
        snprintf(text, sizeof(text), "%.*f", (int)precision, value);
        return strtod(text, NULL);
    }
    double unit = pow(10, (double)-precision);
    return isinf(unit) ? 0 : nearbyint(value / unit) * unit;
}

FILTER(round)
{
    int64_t precision;
    const vd_jstr *method = NULL;
    vd_status st = vd_j_arg_int(r, call, 0, 0, &precision);
    if (st == VD_OK)
        st = vd_j_arg_str(r, call, 1, &method);
    if (st != VD_OK)
        return st;
    bool is_int = self.kind == VD_JKIND_INT || self.kind == VD_JKIND_BOOL;
    if (!is_int && self.kind != VD_JKIND_FLOAT)
        return VD_J_FAIL(r, "round() needs a number, not '%s'", vd_j_type_name(self));
    double value = self.kind == VD_JKIND_FLOAT ? self.u.f
                   : self.kind == VD_JKIND_INT ? (double)self.u.i : self.u.b;
    if (method == NULL || vd_j_str_is(method, "common")) {
        if (is_int && precision >= 0)
            *ret = vd_j_int(self.kind == VD_JKIND_INT ? self.u.i : self.u.b);
        else if (is_int)
            *ret = vd_j_int((int64_t)round_common(value, precision));
        else
            *ret = vd_j_float(round_common(value, precision));
        return VD_OK;
    }
    bool up = vd_j_str_is(method, "ceil");
    if (!up && !vd_j_str_is(method, "floor"))
        return VD_J_FAIL(r, "method must be common, ceil or floor");
    double unit = pow(10, (double)precision);
    double scaled = up ? ceil(value * unit) : floor(value * unit);
    *ret = vd_j_float(scaled / unit);
    return VD_OK;
}

FILTER(format)
{
    const vd_jstr *s = NULL;
    vd_jval right;
    const vd_jargs *args = call->raw;
    vd_status st = vd_j_to_str(r, self, &s);
    if (st == VD_OK && args->n_pos > 0 && args->n_kw > 0)
        st = VD_J_FAIL(r, "format takes positional or named arguments, not both");
    if (st != VD_OK)
        return st;
    if (args->n_kw > 0) {
        vd_jdict *dict = NULL;
        st = vd_j_dict_new(r, &dict);
        for (size_t k = 0; st == VD_OK && k < args->n_kw; k++)
            st = vd_j_dict_put(r, dict, vd_j_string(args->kw[k].name), args->kw[k].value);
        right = vd_j_dict(dict);
    } else {
        vd_jlist *list = NULL;
        st = vd_j_list_new(r, args->n_pos, &list);
        for (size_t i = 0; st == VD_OK && i < args->n_pos; i++)
            st = vd_j_list_push(r, list, args->pos[i]);
        if (st == VD_OK)
            list->flavour = VD_JFLAVOUR_TUPLE;
        right = vd_j_list(list);
    }
    return st == VD_OK ? vd_j_percent(r, s, right, ret) : st;
}

FILTER(default)
{
    bool use = self.kind == VD_JKIND_UNDEFINED ||
               (vd_j_arg_bool(call, 1, false) && !vd_j_truth(self));
    *ret = self;
    if (use && call->arg[0].kind == VD_JKIND_ABSENT)
        return vd_j_str_wrap(r, "", 0, ret);
    if (use)
        *ret = call->arg[0];
    return VD_OK;
}

static const vd_jbuiltin filters[] = {
    {"upper", filter_upper, "", false},
    {"lower", filter_lower, "", false},
    {"capitalize", filter_capitalize, "", false},
    {"title", filter_title, "", false},
    {"trim", filter_trim, "?chars", false},
    {"string", filter_string, "", false},
    {"safe", filter_safe, "", false},
    {"escape", filter_escape, "", false},
    {"e", filter_escape, "", false},
    {"forceescape", filter_escape, "", false},
    {"replace", filter_replace, "old new ?count", false},
    {"indent", filter_indent, "?width ?first ?blank", false},
    {"truncate", filter_truncate, "?length ?killwords ?end ?leeway", false},
    {"wordcount", filter_wordcount, "", false},
    {"center", filter_center, "?width", false},
    {"tojson", filter_tojson, "?ensure_ascii ?indent ?separators ?sort_keys", false},
    {"from_json", filter_from_json, "", false},
    {"int", filter_int, "?default ?base", false},
    {"float", filter_float, "?default", false},
    {"abs", filter_abs, "", false},
    {"round", filter_round, "?precision ?method", false},
    {"format", filter_format, NULL, false},
    {"default", filter_default, "?default_value ?boolean", false},
    {"d", filter_default, "?default_value ?boolean", false},
};

const vd_jbuiltin *vd_j_find_text_filter(const char *name, size_t n)
{
    return vd_j_find_in(filters, VD_COUNT(filters), name, n);
}

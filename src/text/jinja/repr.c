/* repr.c - values as text: Python's str(), repr() and ascii(). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/jinja/ast.h"
#include "text/jinja/unicode.h"

/* The shortest digits that read back as the same number; exponent form where Python has it. */
void vd_j_text_float(vd_jtext *text, double value)
{
    char digits[40];
    if (isnan(value) || isinf(value)) {
        vd_j_text_puts(text, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    for (int precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*e", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    const char *e = strchr(digits, 'e');
    long exponent = strtol(e + 1, NULL, 10);
    char mantissa[24]; /* the digits without sign and point */
    int n = 0;
    for (const char *c = digits; c < e; c++)
        if (*c >= '0' && *c <= '9')
            mantissa[n++] = *c;
    mantissa[n] = '\0';
    if (digits[0] == '-')
        vd_j_text_puts(text, "-");
    if (exponent < -4 || exponent >= 16) {
        vd_j_text_printf(text, "%c%s%se%c%02ld", mantissa[0], n > 1 ? "." : "", mantissa + 1,
                         exponent < 0 ? '-' : '+', labs(exponent));
    } else if (exponent < 0) {
        vd_j_text_printf(text, "0.%.*s%s", (int)(-exponent - 1), "0000", mantissa);
    } else {
        int whole = (int)exponent + 1;
        vd_j_text_printf(text, "%.*s%.*s.%s", VD_MIN(whole, n), mantissa, VD_MAX(whole - n, 0),
                         "0000000000000000", n > whole ? mantissa + whole : "0");
    }
}

static void add_escape(vd_jtext *text, uint32_t code)
{
    if (code <= 0xff)
        vd_j_text_printf(text, "\\x%02" PRIx32, code);
    else if (code <= 0xffff)
        vd_j_text_printf(text, "\\u%04" PRIx32, code);
    else
        vd_j_text_printf(text, "\\U%08" PRIx32, code);
}

static void repr_string(vd_jtext *text, const vd_jstr *s)
{
    bool single = s->n > 0 && memchr(s->data, '\'', s->n) != NULL;
    bool both = single && memchr(s->data, '"', s->n) != NULL;
    char quote = single && !both ? '"' : '\'';
    vd_j_text_add(text, &quote, 1);
    for (size_t at = 0; at < s->n && text->status == VD_OK;) {
        size_t begin = at;
        uint32_t code = vd_j_next(s->data, s->n, &at);
        if (code == (uint32_t)quote || code == '\\') {
            vd_j_text_printf(text, "\\%c", (char)code);
        } else if (code == '\n' || code == '\r' || code == '\t') {
            vd_j_text_puts(text, code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t");
        } else if (vd_j_is_printable(code)) {
            vd_j_text_add(text, s->data + begin, at - begin);
        } else {
            add_escape(text, code);
        }
    }
    vd_j_text_add(text, &quote, 1);
}

static void repr_list(vd_jtext *text, const vd_jlist *list)
{
    static const char *const open[] = {"[", "(", "", "dict_keys([", "dict_values([",
                                       "dict_items(["};
    static const char *const close[] = {"]", ")", "", "])", "])", "])"};
    if (list->flavour == VD_JFLAVOUR_RANGE) {
        vd_j_text_printf(text, "range(%" PRId64 ", %" PRId64, list->start, list->stop);
        if (list->step != 1)
            vd_j_text_printf(text, ", %" PRId64, list->step);
        vd_j_text_puts(text, ")");
        return;
    }
    vd_j_text_puts(text, open[list->flavour]);
    for (size_t i = 0; i < list->n && text->status == VD_OK; i++) {
        if (i > 0)
            vd_j_text_puts(text, ", ");
        vd_j_text_repr(text, list->item[i]);
    }
    if (list->flavour == VD_JFLAVOUR_TUPLE && list->n == 1)
        vd_j_text_puts(text, ",");
    vd_j_text_puts(text, close[list->flavour]);
}

static void repr_dict(vd_jtext *text, const vd_jdict *dict)
{
    vd_j_text_puts(text, "{");
    for (size_t i = 0; i < dict->n && text->status == VD_OK; i++) {
        if (i > 0)
            vd_j_text_puts(text, ", ");
        vd_j_text_repr(text, dict->entry[i].key);
        vd_j_text_puts(text, ": ");
        vd_j_text_repr(text, dict->entry[i].value);
    }
    vd_j_text_puts(text, "}");
}

static void repr_macro(vd_jtext *text, const vd_jval value)
{
    vd_j_text_puts(text, "<Macro ");
    vd_jval name;
    vd_status st = vd_j_getattr(text->r, value, &(vd_jstr){.data = "name", .n = 4, .n_chars = 4},
                                &name);
    if (st == VD_OK)
        vd_j_text_repr(text, name);
    else
        text->status = st;
    vd_j_text_puts(text, ">");
}

static void repr_inside(vd_jtext *text, vd_jval value)
{
    switch (value.kind) {
    case VD_JKIND_UNDEFINED:
    case VD_JKIND_ABSENT:
        vd_j_text_puts(text, "Undefined");
        break;
    case VD_JKIND_NONE:
        vd_j_text_puts(text, "None");
        break;
    case VD_JKIND_BOOL:
        vd_j_text_puts(text, value.u.b ? "True" : "False");
        break;
    case VD_JKIND_INT:
        vd_j_text_printf(text, "%" PRId64, value.u.i);
        break;
    case VD_JKIND_FLOAT:
        vd_j_text_float(text, value.u.f);
        break;
    case VD_JKIND_STRING:
        if (value.u.s->safe)
            vd_j_text_puts(text, "Markup(");
        repr_string(text, value.u.s);
        if (value.u.s->safe)
            vd_j_text_puts(text, ")");
        break;
    case VD_JKIND_LIST:
        repr_list(text, value.u.list);
        break;
    case VD_JKIND_DICT:
        repr_dict(text, value.u.dict);
        break;
    case VD_JKIND_NAMESPACE:
        vd_j_text_puts(text, "<Namespace ");
        repr_dict(text, value.u.dict);
        vd_j_text_puts(text, ">");
        break;
    case VD_JKIND_MACRO:
        repr_macro(text, value);
        break;
    default: /* Python shows an address here; nobody can rely on one */
        vd_j_text_printf(text, "<%s object>", vd_j_type_name(value));
    }
}

void vd_j_text_repr(vd_jtext *text, vd_jval value)
{
    if (text->status == VD_OK)
        text->status = vd_j_charge(text->r, 1);
    if (text->status == VD_OK)
        text->status = vd_j_enter(text->r);
    if (text->status != VD_OK)
        return;
    repr_inside(text, value);
    text->r->depth--;
}

void vd_j_text_ascii(vd_jtext *text, vd_jval value)
{
    vd_jtext shown;
    vd_j_text_init(&shown, text->r);
    vd_j_text_repr(&shown, value);
    if (text->status == VD_OK)
        text->status = shown.status;
    if (text->status == VD_OK)
        text->status = vd_j_charge_bytes(text->r, shown.n);
    for (size_t at = 0; text->status == VD_OK && at < shown.n;) {
        size_t begin = at;
        uint32_t code = vd_j_next(shown.data, shown.n, &at);
        if (code < 0x80)
            vd_j_text_add(text, shown.data + begin, at - begin);
        else
            add_escape(text, code);
    }
}

void vd_j_text_str(vd_jtext *text, vd_jval value)
{
    if (value.kind == VD_JKIND_STRING)
        vd_j_text_add(text, value.u.s->data, value.u.s->n);
    else if (value.kind != VD_JKIND_UNDEFINED)
        vd_j_text_repr(text, value);
}

vd_status vd_j_to_str(vd_jrender *r, vd_jval value, const vd_jstr **ret)
{
    if (value.kind == VD_JKIND_STRING) {
        *ret = value.u.s;
        return VD_OK;
    }
    vd_jtext text;
    vd_j_text_init(&text, r);
    vd_j_text_str(&text, value);
    vd_jval made;
    vd_status st = vd_j_text_value(&text, &made);
    if (st == VD_OK)
        *ret = made.u.s;
    return st;
}

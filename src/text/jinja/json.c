/* json.c - JSON in (the variables, from_json) and out (tojson, as Python's json.dumps). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "text/jinja/eval.h"
#include "text/jinja/unicode.h"

vd_status vd_j_from_json(vd_jrender *r, const json_t *json, vd_jval *ret)
{
    vd_status st = vd_j_enter(r);
    if (st != VD_OK)
        return st;
    st = vd_j_charge(r, 1);
    vd_jlist *list = NULL;
    vd_jdict *dict = NULL;
    if (st == VD_OK)
        switch (json_typeof(json)) {
        case JSON_OBJECT: {
            const char *name;
            json_t *member;
            st = vd_j_dict_new(r, &dict);
            json_object_foreach((json_t *)json, name, member)
            {
                vd_jval key, value;
                if (st == VD_OK)
                    st = vd_j_str_copy(r, name, strlen(name), &key);
                if (st == VD_OK)
                    st = vd_j_from_json(r, member, &value);
                if (st == VD_OK)
                    st = vd_j_dict_put(r, dict, key, value);
                if (st != VD_OK)
                    break;
            }
            if (st == VD_OK)
                *ret = vd_j_dict(dict);
            break;
        }
        case JSON_ARRAY:
            st = vd_j_list_new(r, json_array_size(json), &list);
            for (size_t i = 0; st == VD_OK && i < json_array_size(json); i++) {
                vd_jval item;
                st = vd_j_from_json(r, json_array_get(json, i), &item);
                if (st == VD_OK)
                    st = vd_j_list_push(r, list, item);
            }
            if (st == VD_OK)
                *ret = vd_j_list(list);
            break;
        case JSON_STRING:
            st = vd_j_str_copy(r, json_string_value(json), json_string_length(json), ret);
            break;
        case JSON_INTEGER:
            *ret = vd_j_int(json_integer_value(json));
            break;
        case JSON_REAL:
            *ret = vd_j_float(json_real_value(json));
            break;
        case JSON_TRUE:
        case JSON_FALSE:
            *ret = vd_j_bool(json_is_true(json));
            break;
        case JSON_NULL:
            *ret = vd_j_none();
            break;
        }
    r->depth--;
    return st;
}

typedef struct dump {
    vd_jtext text;
    const vd_jdump_options *options;
} dump;

static void dump_string(dump *d, const vd_jstr *s)
{
    vd_jtext *t = &d->text;
    vd_j_text_puts(t, "\"");
    for (size_t at = 0, plain = 0; t->status == VD_OK && at <= s->n;) {
        size_t begin = at;
        uint32_t code = at < s->n ? vd_j_next(s->data, s->n, &at) : 0;
        bool special = begin == s->n || code < 0x20 || code == '"' || code == '\\' ||
                       (d->options->ascii && code > 0x7e);
        if (!special)
            continue;
        vd_j_text_add(t, s->data + plain, begin - plain);
        plain = at;
        if (begin == s->n)
            break;
        const char *names = "\"\"\\\\\nn\rr\tt\ff\bb";
        const char *pair = names;
        while (*pair != '\0' && (uint32_t)*pair != code)
            pair += 2;
        if (*pair != '\0')
            vd_j_text_printf(t, "\\%c", pair[1]);
        else if (code <= 0xffff)
            vd_j_text_printf(t, "\\u%04" PRIx32, code);
        else
            vd_j_text_printf(t, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + ((code - 0x10000) >> 10),
                             0xdc00 + ((code - 0x10000) & 0x3ff));
    }
    vd_j_text_puts(t, "\"");
}

static void dump_newline(dump *d, size_t level)
{
    if (d->options->indent == NULL)
        return;
    vd_j_text_puts(&d->text, "\n");
    for (size_t i = 0; i < level && d->text.status == VD_OK; i++)
        vd_j_text_add(&d->text, d->options->indent, d->options->n_indent);
}

static void dump_separator(dump *d, const vd_jstr *given, const char *otherwise)
{
    if (given != NULL)
        vd_j_text_add(&d->text, given->data, given->n);
    else
        vd_j_text_puts(&d->text, otherwise);
}

static void dump_float(dump *d, double f)
{
    if (isnan(f) || isinf(f))
        vd_j_text_puts(&d->text, isnan(f) ? "NaN" : f > 0 ? "Infinity" : "-Infinity");
    else
        vd_j_text_float(&d->text, f);
}

/* Keys are texts; numbers, booleans and none become them. */
static void dump_key(dump *d, vd_jval key)
{
    if (key.kind == VD_JKIND_STRING) {
        dump_string(d, key.u.s);
        return;
    }
    vd_j_text_puts(&d->text, "\"");
    if (key.kind == VD_JKIND_BOOL)
        vd_j_text_puts(&d->text, key.u.b ? "true" : "false");
    else if (key.kind == VD_JKIND_NONE)
        vd_j_text_puts(&d->text, "null");
    else if (key.kind == VD_JKIND_FLOAT)
        dump_float(d, key.u.f);
    else if (key.kind == VD_JKIND_INT)
        vd_j_text_repr(&d->text, key);
    else if (d->text.status == VD_OK)
        d->text.status = VD_J_FAIL(d->text.r, "keys of JSON cannot be '%s'", vd_j_type_name(key));
    vd_j_text_puts(&d->text, "\"");
}

static void dump_value(dump *d, vd_jval value, size_t level);

static void dump_list(dump *d, const vd_jlist *list, size_t level)
{
    vd_j_text_puts(&d->text, "[");
    for (size_t i = 0; i < list->n && d->text.status == VD_OK; i++) {
        if (i > 0)
            dump_separator(d, d->options->item_separator, d->options->indent ? "," : ", ");
        dump_newline(d, level + 1);
        dump_value(d, list->item[i], level + 1);
    }
    if (list->n > 0)
        dump_newline(d, level);
    vd_j_text_puts(&d->text, "]");
}

/* By key, for sort_keys; insertion sort is refused to long dicts by the step limit. */
static vd_status sorted_entries(vd_jrender *r, const vd_jdict *dict, vd_jentry **ret)
{
    vd_jentry *entry = NULL;
    vd_status st = vd_j_alloc(r, dict->n, sizeof(*entry), &entry);
    for (size_t i = 0; st == VD_OK && i < dict->n; i++) {
        size_t at = i;
        for (int c = 1; st == VD_OK && at > 0; at--) {
            st = vd_j_compare(r, dict->entry[i].key, entry[at - 1].key, "<", &c);
            if (st != VD_OK || c >= 0)
                break;
            entry[at] = entry[at - 1];
        }
        entry[at] = dict->entry[i];
    }
    *ret = entry;
    return st;
}

static void dump_dict(dump *d, const vd_jdict *dict, size_t level)
{
    vd_jentry *entry = dict->entry;
    if (d->options->sort_keys && d->text.status == VD_OK)
        d->text.status = sorted_entries(d->text.r, dict, &entry);
    vd_j_text_puts(&d->text, "{");
    for (size_t i = 0; i < dict->n && d->text.status == VD_OK; i++) {
        if (i > 0)
            dump_separator(d, d->options->item_separator, d->options->indent ? "," : ", ");
        dump_newline(d, level + 1);
        dump_key(d, entry[i].key);
        dump_separator(d, d->options->key_separator, ": ");
        dump_value(d, entry[i].value, level + 1);
    }
    if (dict->n > 0)
        dump_newline(d, level);
    vd_j_text_puts(&d->text, "}");
}

static void dump_inside(dump *d, vd_jval value, size_t level)
{
    switch (value.kind) {
    case VD_JKIND_NONE:
        vd_j_text_puts(&d->text, "null");
        break;
    case VD_JKIND_BOOL:
        vd_j_text_puts(&d->text, value.u.b ? "true" : "false");
        break;
    case VD_JKIND_INT:
        vd_j_text_repr(&d->text, value);
        break;
    case VD_JKIND_FLOAT:
        dump_float(d, value.u.f);
        break;
    case VD_JKIND_STRING:
        dump_string(d, value.u.s);
        break;
    case VD_JKIND_DICT:
        dump_dict(d, value.u.dict, level);
        break;
    case VD_JKIND_LIST:
        if (value.u.list->flavour <= VD_JFLAVOUR_TUPLE) {
            dump_list(d, value.u.list, level);
            break;
        }
        /* fall through */
    default:
        d->text.status = VD_J_FAIL(d->text.r, "Object of type %s is not JSON serializable",
                                   vd_j_type_name(value));
    }
}

static void dump_value(dump *d, vd_jval value, size_t level)
{
    if (d->text.status == VD_OK)
        d->text.status = vd_j_charge(d->text.r, 1);
    if (d->text.status == VD_OK)
        d->text.status = vd_j_enter(d->text.r);
    if (d->text.status != VD_OK)
        return;
    dump_inside(d, value, level);
    d->text.r->depth--;
}

vd_status vd_j_json_dump(vd_jrender *r, vd_jval value, const vd_jdump_options *options,
                         vd_jval *ret)
{
    dump d = {.options = options};
    vd_j_text_init(&d.text, r);
    dump_value(&d, value, 0);
    return vd_j_text_value(&d.text, ret);
}

/* globals.c - the functions every template sees. No file, no clock but strftime_now's. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "text/jinja/value.h"

enum { RANGE_MAX = 100000 }; /* as in Jinja's sandbox */

#define GLOBAL(name) \
    static vd_status global_##name(vd_jrender *r, vd_jval self, const vd_jcall *call, vd_jval *ret)

GLOBAL(range)
{
    int64_t first, stop, step, start = 0;
    vd_status st = vd_j_arg_int(r, call, 0, 0, &first);
    if (st == VD_OK)
        st = vd_j_arg_int(r, call, 1, 0, &stop);
    if (st == VD_OK)
        st = vd_j_arg_int(r, call, 2, 1, &step);
    if (st != VD_OK)
        return st;
    if (call->arg[1].kind == VD_JKIND_ABSENT)
        stop = first;
    else
        start = first;
    if (step == 0)
        return VD_J_FAIL(r, "range() needs a step that is not zero");
    uint64_t span = step > 0 ? (stop > start ? (uint64_t)stop - (uint64_t)start : 0)
                             : (start > stop ? (uint64_t)start - (uint64_t)stop : 0);
    uint64_t stride = step > 0 ? (uint64_t)step : (uint64_t)0 - (uint64_t)step;
    uint64_t n = span / stride + (span % stride != 0);
    if (n > RANGE_MAX)
        return VD_J_LIMIT(r, "a range of more than %d items", RANGE_MAX);
    vd_jlist *list = NULL;
    st = vd_j_list_new(r, (size_t)n, &list);
    for (uint64_t i = 0; st == VD_OK && i < n; i++)
        st = vd_j_list_push(r, list, vd_j_int((int64_t)((uint64_t)start + i * (uint64_t)step)));
    if (st != VD_OK)
        return st;
    list->flavour = VD_JFLAVOUR_RANGE;
    list->start = start;
    list->stop = stop;
    list->step = step;
    *ret = vd_j_list(list);
    return VD_OK;
}

/* dict(mapping or pairs, name=value...): also what namespace() takes. */
static vd_status make_dict(vd_jrender *r, const vd_jargs *args, vd_jdict **ret)
{
    vd_jdict *dict = NULL;
    vd_status st = vd_j_dict_new(r, &dict);
    if (st == VD_OK && args->n_pos > 1)
        st = VD_J_FAIL(r, "at most one positional argument makes a dict");
    if (st == VD_OK && args->n_pos == 1 && args->pos[0].kind == VD_JKIND_DICT) {
        const vd_jdict *from = args->pos[0].u.dict;
        for (size_t i = 0; st == VD_OK && i < from->n; i++)
            st = vd_j_dict_put(r, dict, from->entry[i].key, from->entry[i].value);
    } else if (st == VD_OK && args->n_pos == 1) {
        vd_jlist *pairs = NULL;
        st = vd_j_items(r, args->pos[0], &pairs);
        for (size_t i = 0; st == VD_OK && i < pairs->n; i++) {
            vd_jlist *pair = NULL;
            st = vd_j_items(r, pairs->item[i], &pair);
            if (st == VD_OK && pair->n != 2)
                st = VD_J_FAIL(r, "a dict is made of pairs");
            if (st == VD_OK)
                st = vd_j_dict_put(r, dict, pair->item[0], pair->item[1]);
        }
    }
    for (size_t k = 0; st == VD_OK && k < args->n_kw; k++)
        st = vd_j_dict_put(r, dict, vd_j_string(args->kw[k].name), args->kw[k].value);
    *ret = dict;
    return st;
}

GLOBAL(dict)
{
    vd_jdict *dict = NULL;
    vd_status st = make_dict(r, call->raw, &dict);
    if (st == VD_OK)
        *ret = vd_j_dict(dict);
    return st;
}

vd_status vd_j_namespace_name(vd_jrender *r, const vd_jstr *name)
{
    if (name->n > 0 && name->data[0] == '_')
        return VD_J_FAIL(r, "a namespace takes no name that begins with '_', such as '%.*s'",
                         (int)VD_MIN(name->n, (size_t)60), name->data);
    return VD_OK;
}

GLOBAL(namespace)
{
    vd_jdict *dict = NULL;
    vd_status st = make_dict(r, call->raw, &dict);
    for (size_t i = 0; st == VD_OK && i < dict->n; i++)
        if (dict->entry[i].key.kind == VD_JKIND_STRING)
            st = vd_j_namespace_name(r, dict->entry[i].key.u.s);
    if (st == VD_OK)
        *ret = (vd_jval){.kind = VD_JKIND_NAMESPACE, .u.dict = dict};
    return st;
}

static vd_status make_cycler(vd_jrender *r, vd_jkind kind, vd_jlist *items, vd_jval *ret)
{
    vd_jcycler *cycler = NULL;
    vd_status st = vd_j_alloc(r, 1, sizeof(*cycler), &cycler);
    if (st != VD_OK)
        return st;
    cycler->items = items;
    *ret = (vd_jval){.kind = kind, .u.cycler = cycler};
    return VD_OK;
}

GLOBAL(cycler)
{
    vd_jlist *items = NULL;
    if (call->raw->n_pos == 0 || call->raw->n_kw > 0)
        return VD_J_FAIL(r, "cycler() needs at least one item");
    vd_status st = vd_j_list_new(r, call->raw->n_pos, &items);
    for (size_t i = 0; st == VD_OK && i < call->raw->n_pos; i++)
        st = vd_j_list_push(r, items, call->raw->pos[i]);
    return st == VD_OK ? make_cycler(r, VD_JKIND_CYCLER, items, ret) : st;
}

GLOBAL(joiner)
{
    vd_jlist *items = NULL;
    vd_jval separator = call->arg[0];
    vd_status st = vd_j_list_new(r, 1, &items);
    if (st == VD_OK && separator.kind == VD_JKIND_ABSENT)
        st = vd_j_str_wrap(r, ", ", 2, &separator);
    if (st == VD_OK)
        st = vd_j_list_push(r, items, separator);
    return st == VD_OK ? make_cycler(r, VD_JKIND_JOINER, items, ret) : st;
}

/* The template's own words, as they are: callers show them to whoever wrote the messages. */
GLOBAL(raise_exception)
{
    const vd_jstr *s = NULL;
    vd_status st = vd_j_to_str(r, call->arg[0], &s);
    if (st != VD_OK)
        return st;
    size_t n = VD_MIN(s->n, (size_t)VD_ERR_MESSAGE_MAX - 1);
    n = strnlen(s->data, vd_utf8_complete(s->data, n));
    if (n == 0)
        return VD_J_FAIL(r, "the template raised an exception without words");
    return VD_FAIL(r->err, VD_ERR_TEMPLATE, "%.*s", (int)n, s->data);
}

/* One directive of strftime, in UTC; Python's datetime without a zone has %z and %Z empty. */
static vd_status add_directive(vd_jtext *text, char c, const char *flag, const struct tm *tm)
{
    char format[8], out[128];
    if (c == 'z' || c == 'Z')
        return text->status;
    if (c == 'f') {
        vd_j_text_puts(text, "000000");
        return text->status;
    }
    snprintf(format, sizeof(format), "%%%s%c", flag, c);
    size_t n = strftime(out, sizeof(out), format, tm);
    vd_j_text_add(text, out, n);
    return text->status;
}

GLOBAL(strftime_now)
{
    const vd_jstr *format = NULL;
    vd_status st = vd_j_arg_str(r, call, 0, &format);
    if (st == VD_OK && format == NULL)
        st = VD_J_FAIL(r, "strftime_now() needs a format");
    if (st != VD_OK)
        return st;
    struct tm tm;
    time_t now = (time_t)r->now_unix;
    if (gmtime_r(&now, &tm) == NULL)
        return VD_J_FAIL(r, "the clock is out of range");
    vd_jtext text;
    vd_j_text_init(&text, r);
    for (size_t i = 0; st == VD_OK && i < format->n; i++) {
        char c = format->data[i];
        char flag[2] = "";
        if (c != '%' || i + 1 == format->n) {
            vd_j_text_add(&text, &c, 1);
            st = text.status;
            continue;
        }
        c = format->data[++i];
        if (strchr("-_0^#", c) != NULL && c != '\0' && i + 1 < format->n) {
            flag[0] = c;
            c = format->data[++i];
        }
        if (strchr("aAbBcCdDeFfgGhHIjklmMnprRsStTuUVwWxXyYzZ%", c) == NULL || c == '\0')
            st = VD_J_FAIL(r, "strftime_now() does not know a directive of its format");
        else
            st = add_directive(&text, c, flag, &tm);
    }
    return st == VD_OK ? vd_j_text_value(&text, ret) : st;
}

static const vd_jbuiltin globals[] = {
    {"range", global_range, "start ?stop ?step", false},
    {"dict", global_dict, NULL, false},
    {"namespace", global_namespace, NULL, false},
    {"cycler", global_cycler, NULL, false},
    {"joiner", global_joiner, "?sep", false},
    {"raise_exception", global_raise_exception, "message", false},
    {"strftime_now", global_strftime_now, "format", false},
};

const vd_jbuiltin *vd_j_find_global(const char *name, size_t n)
{
    return vd_j_find_in(globals, VD_COUNT(globals), name, n);
}

/*
 * filters_layout.c - filters that lay text out: wordwrap as Python's textwrap does it, and those
 * for web pages.
 *
 * textwrap cuts a line into chunks (runs of white space, words, parts of words behind a hyphen) and
 * fills lines with them; white space is dropped where a line begins or ends.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "text/jinja/filters.h"
#include "text/jinja/str.h"
#include "text/jinja/unicode.h"

#define FILTER(name) \
    static vd_status filter_##name(vd_jrender *r, vd_jval self, const vd_jcall *call, vd_jval *ret)

typedef struct wrapper {
    vd_jrender *r;
    vd_jtext *out;
    const char *text;      /* the line */
    uint32_t *code;        /* [n] its characters */
    size_t *offset;        /* [n + 1] where they begin */
    size_t n, width;
    bool break_long, break_hyphens;
    const vd_jstr *newline;
    size_t n_shown; /* lines it has become so far */
} wrapper;

static bool is_blank(uint32_t code) /* textwrap's white space */
{
    return code == ' ' || (code >= '\t' && code <= '\r');
}

static bool is_letter(const wrapper *w, size_t i) /* [^\d\W] */
{
    return i < w->n && vd_j_is_word(w->code[i]) && !vd_j_is_decimal(w->code[i]);
}

static bool joins(const wrapper *w, size_t i) /* [\w!"'&.,?] */
{
    return vd_j_is_word(w->code[i]) ||
           (w->code[i] != 0 && w->code[i] < 0x80 && strchr("!\"'&.,?", (int)w->code[i]) != NULL);
}

/* Two or more hyphens at i with a word behind them: how many, or 0. */
static size_t dashes(const wrapper *w, size_t i)
{
    size_t end = i;
    while (end < w->n && w->code[end] == '-')
        end++;
    return end - i >= 2 && end < w->n && vd_j_is_word(w->code[end]) ? end - i : 0;
}

/* Behind the hyphen at i a word may be cut: letters stand around it. */
static bool is_cut(const wrapper *w, size_t i)
{
    bool two = i >= 2 && is_letter(w, i - 1) && is_letter(w, i - 2);
    bool one = i >= 3 && is_letter(w, i - 1) && w->code[i - 2] == '-' && is_letter(w, i - 3);
    size_t next = i + 1;
    if (!(two || one) || !is_letter(w, next))
        return false;
    next += next + 1 < w->n && w->code[next + 1] == '-';
    return is_letter(w, next + 1);
}

static size_t chunk_end(const wrapper *w, size_t begin)
{
    size_t end = begin;
    bool blank = is_blank(w->code[begin]);
    if (blank || !w->break_hyphens) {
        while (end < w->n && is_blank(w->code[end]) == blank)
            end++;
        return end;
    }
    if (begin > 0 && joins(w, begin - 1) && dashes(w, begin) > 0)
        return begin + dashes(w, begin);
    for (end = begin + 1; end < w->n && !is_blank(w->code[end]); end++) {
        if (w->code[end] != '-')
            continue;
        if (is_cut(w, end))
            return end + 1;
        if (joins(w, end - 1) && dashes(w, end) > 0)
            return end;
    }
    return end;
}

static void show_line(wrapper *w, size_t begin, size_t end)
{
    if (w->n_shown++ > 0)
        vd_j_text_add(w->out, w->newline->data, w->newline->n);
    vd_j_text_add(w->out, w->text + w->offset[begin], w->offset[end] - w->offset[begin]);
}

/* Where a word of which `room` characters fit into the line is broken. */
static size_t break_at(const wrapper *w, size_t begin, size_t end, size_t room)
{
    size_t cut = begin + room;
    for (size_t i = cut; w->break_hyphens && end - begin > room && i > begin + 1; i--) {
        if (w->code[i - 1] != '-')
            continue;
        for (size_t k = begin; k < i - 1; k++) /* not of hyphens alone */
            if (w->code[k] != '-')
                return i;
        break;
    }
    return VD_MIN(cut, end);
}

/* Fills lines with the chunks of one line: at..end is the next one, or what is left of it. What a
 * line takes is contiguous, from `begin` on; `piece` is where its last part begins. */
static vd_status wrap_line(wrapper *w)
{
    vd_status st = VD_OK;
    w->n_shown = 0;
    size_t at = 0, end = w->n > 0 ? chunk_end(w, 0) : 0;
    while (st == VD_OK && at < w->n) {
        st = vd_j_charge(w->r, 1);
        if (w->n_shown > 0 && is_blank(w->code[at])) {
            at = end;
            end = at < w->n ? chunk_end(w, at) : at;
        }
        size_t begin = at, piece = at;
        while (at < w->n && end - begin <= w->width) {
            piece = at;
            at = end;
            end = at < w->n ? chunk_end(w, at) : at;
        }
        if (at < w->n && end - at > w->width && (w->break_long || at == begin)) {
            piece = at;
            at = w->break_long ? break_at(w, at, end, w->width - (at - begin)) : end;
            if (at == end)
                end = at < w->n ? chunk_end(w, at) : at;
        }
        size_t stop = at > piece && is_blank(w->code[piece]) ? piece : at;
        if (stop > begin)
            show_line(w, begin, stop);
        if (st == VD_OK)
            st = w->out->status;
    }
    return st;
}

static vd_status set_line(wrapper *w, const vd_jstr *line)
{
    size_t n = vd_j_str_chars(line), at = 0;
    vd_status st = vd_j_charge_bytes(w->r, line->n);
    if (st == VD_OK)
        st = vd_j_alloc(w->r, n + 1, sizeof(*w->code), &w->code);
    if (st == VD_OK)
        st = vd_j_alloc(w->r, n + 1, sizeof(*w->offset), &w->offset);
    if (st != VD_OK)
        return st;
    w->text = line->data;
    w->n = n;
    for (size_t i = 0; i < n; i++) {
        w->offset[i] = at;
        w->code[i] = vd_j_next(line->data, line->n, &at);
    }
    w->offset[n] = line->n;
    return VD_OK;
}

FILTER(wordwrap)
{
    static const vd_jstr newline = {.data = "\n", .n = 1, .n_chars = 1};
    vd_jtext out;
    int64_t width;
    vd_jlist *lines = NULL;
    wrapper w = {.r = r, .out = &out, .break_long = vd_j_arg_bool(call, 1, true),
                 .break_hyphens = vd_j_arg_bool(call, 3, true)};
    if (self.kind != VD_JKIND_STRING)
        return VD_J_FAIL(r, "wordwrap needs a text, not '%s'", vd_j_type_name(self));
    vd_status st = vd_j_arg_int(r, call, 0, 79, &width);
    if (st == VD_OK)
        st = vd_j_arg_str(r, call, 2, &w.newline);
    if (st == VD_OK && width < 1)
        st = VD_J_FAIL(r, "wordwrap: a width of %lld is too small", (long long)width);
    if (st == VD_OK)
        st = vd_j_str_lines(r, self.u.s, false, &lines);
    if (st != VD_OK)
        return st;
    w.width = (size_t)width;
    w.newline = w.newline != NULL ? w.newline : &newline;
    vd_j_text_init(&out, r);
    for (size_t i = 0; st == VD_OK && i < lines->n; i++) {
        if (i > 0)
            vd_j_text_add(&out, w.newline->data, w.newline->n);
        st = set_line(&w, lines->item[i].u.s);
        if (st == VD_OK)
            st = wrap_line(&w);
    }
    return st == VD_OK ? vd_j_text_value(&out, ret) : st;
}

/* quote() of Python's urllib; plus: a space is '+' and a slash is coded. */
static vd_status add_quoted(vd_jtext *text, vd_jval value, bool plus)
{
    const vd_jstr *s = NULL;
    vd_status st = vd_j_to_str(text->r, value, &s);
    for (size_t i = 0; st == VD_OK && text->status == VD_OK && i < s->n; i++) {
        unsigned char c = (unsigned char)s->data[i];
        bool kept = c < 0x80 && c != 0 && (vd_j_is_alnum(c) || strchr("_.-~", c) != NULL);
        if (kept || (c == '/' && !plus))
            vd_j_text_add(text, s->data + i, 1);
        else if (c == ' ' && plus)
            vd_j_text_puts(text, "+");
        else
            vd_j_text_printf(text, "%%%02X", c);
    }
    return st == VD_OK ? text->status : st;
}

static vd_status add_query(vd_jtext *text, vd_jval key, vd_jval value, bool first)
{
    if (!first)
        vd_j_text_puts(text, "&");
    vd_status st = add_quoted(text, key, true);
    vd_j_text_puts(text, "=");
    return st == VD_OK ? add_quoted(text, value, true) : st;
}

FILTER(urlencode)
{
    vd_jtext text;
    vd_jlist *pairs = NULL;
    vd_status st = VD_OK;
    vd_j_text_init(&text, r);
    if (self.kind == VD_JKIND_DICT) {
        const vd_jdict *dict = self.u.dict;
        for (size_t i = 0; st == VD_OK && i < dict->n; i++)
            st = add_query(&text, dict->entry[i].key, dict->entry[i].value, i == 0);
    } else if (self.kind == VD_JKIND_STRING || !vd_j_iterable(self)) {
        st = add_quoted(&text, self, false);
    } else {
        st = vd_j_items(r, self, &pairs);
        for (size_t i = 0; st == VD_OK && i < pairs->n; i++) {
            vd_jlist *pair = NULL;
            st = vd_j_items(r, pairs->item[i], &pair);
            if (st == VD_OK && pair->n != 2)
                st = VD_J_FAIL(r, "urlencode takes pairs of a name and a value");
            if (st == VD_OK)
                st = add_query(&text, pair->item[0], pair->item[1], i == 0);
        }
    }
    return st == VD_OK ? vd_j_text_value(&text, ret) : st;
}

static vd_status add_attribute(vd_jtext *text, vd_jval key, vd_jval value)
{
    vd_jrender *r = text->r;
    const vd_jstr *name = NULL, *shown = NULL;
    vd_jval escaped_name, escaped;
    vd_status st = vd_j_to_str(r, key, &name);
    for (size_t i = 0; st == VD_OK && i < name->n; i++)
        if (name->data[i] == '/' || name->data[i] == '>' || name->data[i] == '=' ||
            is_blank((unsigned char)name->data[i]))
            st = VD_J_FAIL(r, "a bad character in the name of an attribute");
    if (st == VD_OK)
        st = vd_j_to_str(r, value, &shown);
    if (st == VD_OK)
        st = name->safe ? (escaped_name = vd_j_string(name), VD_OK)
                        : vd_j_escape(r, name, &escaped_name);
    if (st == VD_OK)
        st = shown->safe ? (escaped = vd_j_string(shown), VD_OK) : vd_j_escape(r, shown, &escaped);
    if (st != VD_OK)
        return st;
    vd_j_text_add(text, escaped_name.u.s->data, escaped_name.u.s->n);
    vd_j_text_puts(text, "=\"");
    vd_j_text_add(text, escaped.u.s->data, escaped.u.s->n);
    vd_j_text_puts(text, "\"");
    return text->status;
}

FILTER(xmlattr)
{
    bool space = vd_j_arg_bool(call, 0, true);
    vd_jtext text;
    vd_status st = VD_OK;
    if (self.kind != VD_JKIND_DICT)
        return VD_J_FAIL(r, "xmlattr needs a dict, not '%s'", vd_j_type_name(self));
    vd_j_text_init(&text, r);
    for (size_t i = 0; st == VD_OK && i < self.u.dict->n; i++) {
        const vd_jentry *entry = &self.u.dict->entry[i];
        if (entry->value.kind == VD_JKIND_NONE || entry->value.kind == VD_JKIND_UNDEFINED)
            continue;
        if (space || text.n > 0)
            vd_j_text_puts(&text, " ");
        st = add_attribute(&text, entry->key, entry->value);
    }
    return st == VD_OK ? vd_j_text_value(&text, ret) : st;
}

FILTER(filesizeformat)
{
    static const char prefixes[] = "kMGTPEZY";
    bool binary = vd_j_arg_bool(call, 0, false);
    double base = binary ? 1024 : 1000, bytes = 0, unit = base * base;
    vd_jtext text;
    if (self.kind == VD_JKIND_STRING ? !vd_j_str_to_float(self.u.s, &bytes)
                                     : self.kind != VD_JKIND_INT && self.kind != VD_JKIND_FLOAT &&
                                           self.kind != VD_JKIND_BOOL)
        return VD_J_FAIL(r, "filesizeformat needs a number");
    if (self.kind != VD_JKIND_STRING)
        bytes = self.kind == VD_JKIND_FLOAT ? self.u.f
                : self.kind == VD_JKIND_INT ? (double)self.u.i : self.u.b;
    if (isnan(bytes))
        return VD_J_FAIL(r, "filesizeformat needs a number");
    vd_j_text_init(&text, r);
    size_t i = 0;
    for (; i < 7 && bytes >= unit; i++)
        unit *= base;
    if (bytes == 1)
        vd_j_text_puts(&text, "1 Byte");
    else if (bytes < base)
        vd_j_text_printf(&text, "%.0f Bytes", trunc(bytes) + 0.0);
    else
        vd_j_text_printf(&text, "%.1f %c%sB", base * bytes / unit,
                         i == 0 && binary ? 'K' : prefixes[i], binary ? "i" : "");
    return vd_j_text_value(&text, ret);
}

static const vd_jbuiltin filters[] = {
    {"wordwrap", filter_wordwrap, "?width ?break_long_words ?wrapstring ?break_on_hyphens", false},
    {"urlencode", filter_urlencode, "", false},
    {"xmlattr", filter_xmlattr, "?autospace", false},
    {"filesizeformat", filter_filesizeformat, "?binary", false},
};

const vd_jbuiltin *vd_j_find_layout_filter(const char *name, size_t n)
{
    return vd_j_find_in(filters, VD_COUNT(filters), name, n);
}

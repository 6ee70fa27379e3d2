/*
 * format.c - "%s: %5.2f" % values and "{}: {:>10}".format(values).
 *
 * Both read a specification into one struct and write one value by it. Only data can be reached
 * from a field, by the same rules as a.name and a[key] in a template.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "text/jinja/methods.h"
#include "text/jinja/str.h"
#include "text/jinja/unicode.h"

enum { WIDTH_MAX = 1000000, PRECISION_MAX = 300, NUMBER_MAX = 720, FIELD_DEPTH_MAX = 2 };

typedef struct spec {
    vd_jstr fill;  /* one character */
    char align;    /* < > ^ =, or 0 */
    char sign;     /* + - or space; 0: as - */
    bool alternate;
    char grouping; /* , _ or 0 */
    int64_t width, precision; /* -1: none */
    char type;     /* 0: by the value */
} spec;

static const vd_jstr space = {.data = " ", .n = 1, .n_chars = 1};
static const vd_jstr zero = {.data = "0", .n = 1, .n_chars = 1};

/* head stands before the padding of '=' (a sign, 0x), body behind it. */
static void write_padded(vd_jtext *text, const spec *s, char align, const char *head,
                         const char *body, size_t n_body)
{
    vd_jstr whole = {.data = body, .n = n_body, .n_chars = SIZE_MAX};
    int64_t n = (int64_t)(strlen(head) + vd_j_str_chars(&whole));
    int64_t pad = s->width > n ? s->width - n : 0;
    int64_t left = align == '>' || align == '=' ? pad : align == '^' ? pad / 2 : 0;
    if (align == '=')
        vd_j_text_puts(text, head);
    for (int64_t i = 0; i < left && text->status == VD_OK; i++)
        vd_j_text_add(text, s->fill.data, s->fill.n);
    if (align != '=')
        vd_j_text_puts(text, head);
    vd_j_text_add(text, body, n_body);
    for (int64_t i = left; i < pad && text->status == VD_OK; i++)
        vd_j_text_add(text, s->fill.data, s->fill.n);
}

static vd_status write_string(vd_jtext *text, const spec *s, const vd_jstr *value)
{
    size_t n = value->n;
    if (s->precision >= 0 && (size_t)s->precision < vd_j_str_chars(value))
        n = vd_j_str_offset(value, (size_t)s->precision);
    write_padded(text, s, s->align != 0 ? s->align : '<', "", value->data, n);
    return text->status;
}

/* Puts a separator between groups of digits in front of the point. */
static void group_digits(char *digits, char separator, size_t every)
{
    char out[NUMBER_MAX * 2];
    size_t n = strspn(digits, "0123456789abcdefABCDEF"), to = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % every == 0)
            out[to++] = separator;
        out[to++] = digits[i];
    }
    size_t rest = strlen(digits + n);
    memcpy(out + to, digits + n, rest + 1);
    memcpy(digits, out, to + rest + 1);
}

static void write_number(vd_jtext *text, const spec *s, bool negative, const char *prefix,
                         char *digits)
{
    char head[8];
    snprintf(head, sizeof(head), "%s%s", negative ? "-" : s->sign == '+' ? "+"
                                         : s->sign == ' ' ? " " : "", prefix);
    if (s->grouping != 0)
        group_digits(digits, s->grouping, strchr("xXob", s->type) != NULL && s->type != 0 ? 4 : 3);
    write_padded(text, s, s->align != 0 ? s->align : '>', head, digits, strlen(digits));
}

static vd_status write_int(vd_jtext *text, const spec *s, int64_t value)
{
    char digits[NUMBER_MAX * 2];
    uint64_t magnitude = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
    const char *prefix = "";
    switch (s->type) {
    case 'x':
        snprintf(digits, sizeof(digits), "%" PRIx64, magnitude);
        prefix = s->alternate ? "0x" : "";
        break;
    case 'X':
        snprintf(digits, sizeof(digits), "%" PRIX64, magnitude);
        prefix = s->alternate ? "0X" : "";
        break;
    case 'o':
        snprintf(digits, sizeof(digits), "%" PRIo64, magnitude);
        prefix = s->alternate ? "0o" : "";
        break;
    case 'b': {
        size_t n = 0;
        for (int bit = 63; bit >= 0; bit--)
            if (n > 0 || bit == 0 || (magnitude >> bit & 1) != 0)
                digits[n++] = (char)('0' + (magnitude >> bit & 1));
        digits[n] = '\0';
        prefix = s->alternate ? "0b" : "";
        break;
    }
    default:
        snprintf(digits, sizeof(digits), "%" PRIu64, magnitude);
    }
    if (s->precision > (int64_t)strlen(digits)) { /* only % has one for integers */
        size_t n = strlen(digits), lead = (size_t)s->precision - n;
        memmove(digits + lead, digits, n + 1);
        memset(digits, '0', lead);
    }
    write_number(text, s, value < 0, prefix, digits);
    return text->status;
}

static vd_status write_float(vd_jtext *text, const spec *s, double value)
{
    char digits[NUMBER_MAX * 2];
    int precision = s->precision >= 0 ? (int)s->precision : 6;
    double magnitude = fabs(value);
    char type = s->type;
    if (!isfinite(value)) {
        bool upper = type != 0 && strchr("EFG", type) != NULL;
        snprintf(digits, sizeof(digits), isnan(value) ? (upper ? "NAN" : "nan")
                                                      : (upper ? "INF" : "inf"));
    } else if (type == 0 && s->precision < 0) {
        vd_jtext plain;
        vd_j_text_init(&plain, text->r);
        vd_j_text_float(&plain, magnitude);
        if (plain.status != VD_OK)
            return plain.status;
        snprintf(digits, sizeof(digits), "%.*s", (int)plain.n, plain.data);
    } else if (type == 'e' || type == 'E') {
        snprintf(digits, sizeof(digits), type == 'e' ? "%.*e" : "%.*E", precision, magnitude);
    } else if (type == 'f' || type == 'F') {
        snprintf(digits, sizeof(digits), "%.*f", precision, magnitude);
    } else if (type == '%') {
        int n = snprintf(digits, sizeof(digits) - 1, "%.*f", precision, magnitude * 100);
        memcpy(digits + VD_MIN((size_t)n, sizeof(digits) - 2), "%", 2);
    } else {
        precision = precision == 0 ? 1 : precision;
        if (s->alternate)
            snprintf(digits, sizeof(digits), type == 'G' ? "%#.*G" : "%#.*g", precision, magnitude);
        else
            snprintf(digits, sizeof(digits), type == 'G' ? "%.*G" : "%.*g", precision, magnitude);
        if (type == 0 && strpbrk(digits, ".e") == NULL)
            memcpy(digits + strlen(digits), ".0", 3);
    }
    write_number(text, s, signbit(value) != 0 && !isnan(value), "", digits);
    return text->status;
}

static bool number_of(vd_jval v, int64_t *ret_int, double *ret_float, bool *ret_is_int)
{
    *ret_is_int = v.kind == VD_JKIND_INT || v.kind == VD_JKIND_BOOL;
    *ret_int = v.kind == VD_JKIND_INT ? v.u.i : v.kind == VD_JKIND_BOOL ? v.u.b : 0;
    *ret_float = v.kind == VD_JKIND_FLOAT ? v.u.f : (double)*ret_int;
    return *ret_is_int || v.kind == VD_JKIND_FLOAT;
}

static vd_status check_spec(vd_jrender *r, const spec *s)
{
    if (s->width > WIDTH_MAX || s->precision > WIDTH_MAX)
        return VD_J_LIMIT(r, "a field wider than %d characters", WIDTH_MAX);
    return VD_OK;
}

static vd_status check_number(vd_jrender *r, const spec *s)
{
    return s->precision > PRECISION_MAX
               ? VD_J_LIMIT(r, "a number with more than %d digits", PRECISION_MAX) : VD_OK;
}

/* --- % --- */

typedef struct percent {
    vd_jrender *r;
    const vd_jstr *s;
    size_t at;
    vd_jval right;
    size_t n_used;
    bool by_name;
} percent;

static vd_status next_value(percent *p, vd_jval *ret)
{
    bool tuple = p->right.kind == VD_JKIND_LIST && p->right.u.list->flavour == VD_JFLAVOUR_TUPLE;
    if (p->n_used >= (tuple ? p->right.u.list->n : 1))
        return VD_J_FAIL(p->r, "not enough arguments for format string");
    *ret = tuple ? p->right.u.list->item[p->n_used] : p->right;
    p->n_used++;
    return VD_OK;
}

/* Digits, or '*' for a value; -1 where there are none. */
static vd_status percent_number(percent *p, int64_t *ret)
{
    vd_jval value = {0};
    if (p->at < p->s->n && p->s->data[p->at] == '*') {
        p->at++;
        vd_status st = next_value(p, &value);
        if (st == VD_OK && value.kind != VD_JKIND_INT)
            st = VD_J_FAIL(p->r, "* wants int");
        if (st == VD_OK)
            *ret = value.u.i;
        return st;
    }
    *ret = -1;
    for (; p->at < p->s->n && p->s->data[p->at] >= '0' && p->s->data[p->at] <= '9'; p->at++)
        *ret = VD_MIN((*ret < 0 ? 0 : *ret) * 10 + (p->s->data[p->at] - '0'),
                      (int64_t)WIDTH_MAX + 1);
    return VD_OK;
}

/* str() for 's', else repr(). */
static vd_status convert(vd_jrender *r, vd_jval value, char how, vd_jval *ret)
{
    vd_jtext shown;
    vd_j_text_init(&shown, r);
    (how == 's' ? vd_j_text_str : how == 'a' ? vd_j_text_ascii : vd_j_text_repr)(&shown, value);
    return vd_j_text_value(&shown, ret);
}

static vd_status percent_text(percent *p, vd_jtext *text, const spec *s, vd_jval value)
{
    vd_jval made;
    vd_status st = convert(p->r, value, s->type, &made);
    bool safe = value.kind == VD_JKIND_STRING && value.u.s->safe && s->type == 's';
    if (st == VD_OK && p->s->safe && !safe)
        st = vd_j_escape(p->r, made.u.s, &made);
    spec right = *s;
    right.align = s->align == '<' ? '<' : '>';
    right.fill = space;
    return st == VD_OK ? write_string(text, &right, made.u.s) : st;
}

static vd_status percent_char(percent *p, vd_jtext *text, const spec *s, vd_jval value)
{
    vd_jtext one;
    vd_jval made = value;
    vd_j_text_init(&one, p->r);
    if (value.kind == VD_JKIND_INT) {
        if (value.u.i < 0 || value.u.i > 0x10ffff || (value.u.i >= 0xd800 && value.u.i < 0xe000))
            return VD_J_FAIL(p->r, "%%c arg not in range(0x110000)");
        vd_j_text_code(&one, (uint32_t)value.u.i);
        vd_status st = vd_j_text_value(&one, &made);
        if (st != VD_OK)
            return st;
    } else if (value.kind != VD_JKIND_STRING || vd_j_str_chars(value.u.s) != 1) {
        return VD_J_FAIL(p->r, "%%c requires int or char");
    }
    spec right = *s;
    right.align = s->align == '<' ? '<' : '>';
    right.fill = space;
    right.precision = -1;
    return write_string(text, &right, made.u.s);
}

static vd_status percent_value(percent *p, vd_jtext *text, spec *s, vd_jval value)
{
    int64_t i;
    double f;
    bool is_int;
    if (s->type == 's' || s->type == 'r' || s->type == 'a')
        return percent_text(p, text, s, value);
    if (s->type == 'c')
        return percent_char(p, text, s, value);
    vd_status st = check_number(p->r, s);
    if (st != VD_OK)
        return st;
    if (strchr("diuoxXeEfFgG", s->type) == NULL || s->type == 0)
        return VD_J_FAIL(p->r, "unsupported format character in a %% format");
    if (!number_of(value, &i, &f, &is_int))
        return VD_J_FAIL(p->r, "%%%c format: a number is required, not %s", s->type,
                         vd_j_type_name(value));
    if (strchr("eEfFgG", s->type) != NULL)
        return write_float(text, s, f);
    if (!is_int && strchr("oxX", s->type) != NULL)
        return VD_J_FAIL(p->r, "%%%c format: an integer is required, not float", s->type);
    if (!is_int && !(fabs(f) < 9.2e18))
        return VD_J_FAIL(p->r, "the number does not fit 64 bits");
    return write_int(text, s, is_int ? i : (int64_t)f);
}

/* Behind a '%'. */
static vd_status percent_field(percent *p, vd_jtext *text)
{
    spec s = {.fill = space, .width = -1, .precision = -1};
    vd_jval value = {.kind = VD_JKIND_ABSENT}, right = p->right;
    vd_status st = VD_OK;
    if (p->at < p->s->n && p->s->data[p->at] == '(') {
        const char *begin = p->s->data + p->at + 1;
        const char *end = memchr(begin, ')', p->s->n - p->at - 1);
        vd_jval key;
        if (end == NULL || right.kind != VD_JKIND_DICT)
            return VD_J_FAIL(p->r, "format requires a mapping");
        st = vd_j_str_wrap(p->r, begin, (size_t)(end - begin), &key);
        vd_jentry *entry = NULL;
        if (st == VD_OK)
            st = vd_j_dict_find(p->r, right.u.dict, key, &entry);
        if (st == VD_OK && entry == NULL)
            st = VD_J_FAIL(p->r, "the mapping of a %% format misses a key");
        if (st != VD_OK)
            return st;
        value = entry->value;
        p->by_name = true;
        p->at = (size_t)(end - p->s->data) + 1;
    }
    bool zeros = false;
    for (; p->at < p->s->n && p->s->data[p->at] != 0 && strchr("-+ 0#", p->s->data[p->at]);
         p->at++) {
        char c = p->s->data[p->at];
        s.align = c == '-' ? '<' : s.align;
        s.sign = c == '+' || (c == ' ' && s.sign != '+') ? c : s.sign;
        s.alternate = s.alternate || c == '#';
        zeros = zeros || c == '0';
    }
    st = percent_number(p, &s.width);
    if (st == VD_OK && s.width < -1) {
        s.align = '<';
        s.width = s.width < -WIDTH_MAX ? WIDTH_MAX + 1 : -s.width;
    }
    if (st == VD_OK && p->at < p->s->n && p->s->data[p->at] == '.') {
        p->at++;
        st = percent_number(p, &s.precision);
        s.precision = VD_MAX(s.precision, (int64_t)0);
    }
    while (p->at < p->s->n && p->s->data[p->at] != 0 && strchr("hlL", p->s->data[p->at]))
        p->at++;
    if (st == VD_OK && p->at >= p->s->n)
        st = VD_J_FAIL(p->r, "incomplete format");
    if (st == VD_OK)
        st = check_spec(p->r, &s);
    if (st != VD_OK)
        return st;
    s.type = p->s->data[p->at++];
    if (s.type == '%') {
        vd_j_text_puts(text, "%");
        return text->status;
    }
    if (zeros && s.align == 0) {
        s.fill = zero;
        s.align = '=';
    }
    if (value.kind == VD_JKIND_ABSENT)
        st = next_value(p, &value);
    return st == VD_OK ? percent_value(p, text, &s, value) : st;
}

vd_status vd_j_percent(vd_jrender *r, const vd_jstr *left, vd_jval right, vd_jval *ret)
{
    percent p = {.r = r, .s = left, .right = right};
    vd_jtext text;
    vd_j_text_init(&text, r);
    vd_status st = vd_j_charge_bytes(r, left->n);
    while (st == VD_OK && p.at < left->n) {
        const char *hit = memchr(left->data + p.at, '%', left->n - p.at);
        size_t end = hit != NULL ? (size_t)(hit - left->data) : left->n;
        vd_j_text_add(&text, left->data + p.at, end - p.at);
        p.at = end + (hit != NULL);
        st = hit != NULL ? percent_field(&p, &text) : text.status;
    }
    bool list = right.kind == VD_JKIND_LIST;
    bool tuple = list && right.u.list->flavour == VD_JFLAVOUR_TUPLE;
    size_t given = tuple ? right.u.list->n : 1;
    bool may_be_unused = right.kind == VD_JKIND_DICT || right.kind == VD_JKIND_UNDEFINED ||
                         (list && !tuple && right.u.list->flavour < VD_JFLAVOUR_KEYS);
    if (st == VD_OK && p.n_used < given && !may_be_unused)
        st = VD_J_FAIL(r, "not all arguments converted during string formatting");
    if (st == VD_OK)
        st = vd_j_text_value(&text, ret);
    return st == VD_OK && left->safe ? vd_j_str_mark(r, ret->u.s, true, ret) : st;
}

/* --- str.format --- */

typedef struct format {
    vd_jrender *r;
    const vd_jargs *args;
    size_t n_auto; /* fields without a name or number so far */
    bool numbered;
} format;

static vd_status write_fields(format *f, const vd_jstr *s, size_t depth, vd_jtext *text);

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static vd_status read_spec(format *f, const vd_jstr *s, spec *ret)
{
    size_t at = 0, n = s->n, first = 0;
    *ret = (spec){.fill = space, .width = -1, .precision = -1};
    if (n > 0)
        (void)vd_j_next(s->data, n, &first);
    if (first < n && n > 0 && s->data[first] != 0 && strchr("<>=^", s->data[first]) != NULL) {
        ret->fill = (vd_jstr){.data = s->data, .n = first, .n_chars = 1};
        ret->align = s->data[first];
        at = first + 1;
    } else if (n > 0 && s->data[0] != 0 && strchr("<>=^", s->data[0]) != NULL) {
        ret->align = s->data[0];
        at = 1;
    }
    if (at < n && s->data[at] != 0 && strchr("+- ", s->data[at]) != NULL)
        ret->sign = s->data[at++];
    if (at < n && s->data[at] == '#') {
        ret->alternate = true;
        at++;
    }
    if (at < n && s->data[at] == '0' && ret->align == 0) {
        ret->fill = zero;
        ret->align = '=';
    }
    for (; at < n && s->data[at] >= '0' && s->data[at] <= '9'; at++)
        ret->width = VD_MIN((ret->width < 0 ? 0 : ret->width) * 10 + (s->data[at] - '0'),
                            (int64_t)WIDTH_MAX + 1);
    if (at < n && (s->data[at] == ',' || s->data[at] == '_'))
        ret->grouping = s->data[at++];
    if (at < n && s->data[at] == '.') {
        ret->precision = 0;
        if (++at >= n || s->data[at] < '0' || s->data[at] > '9')
            return VD_J_FAIL(f->r, "Format specifier missing precision");
        for (; at < n && s->data[at] >= '0' && s->data[at] <= '9'; at++)
            ret->precision = VD_MIN(ret->precision * 10 + (s->data[at] - '0'),
                                    (int64_t)WIDTH_MAX + 1);
    }
    if (at < n)
        ret->type = s->data[at++];
    return at == n ? check_spec(f->r, ret) : VD_J_FAIL(f->r, "Invalid format specifier");
}

static vd_status write_value(format *f, vd_jval value, const vd_jstr *spec_text, vd_jtext *text)
{
    spec s;
    int64_t i;
    double d;
    bool is_int;
    if (spec_text->n == 0) {
        vd_j_text_str(text, value);
        return text->status;
    }
    vd_status st = read_spec(f, spec_text, &s);
    if (st != VD_OK)
        return st;
    if (value.kind == VD_JKIND_STRING && (s.type == 0 || s.type == 's')) {
        s.align = s.align == '=' ? '<' : s.align;
        return write_string(text, &s, value.u.s);
    }
    st = check_number(f->r, &s);
    if (st != VD_OK)
        return st;
    if (!number_of(value, &i, &d, &is_int))
        return VD_J_FAIL(f->r, "unsupported format string passed to %s", vd_j_type_name(value));
    if (value.kind == VD_JKIND_BOOL && s.type == 0) {
        static const vd_jstr names[] = {{"False", 5, 5, NULL, false}, {"True", 4, 4, NULL, false}};
        return write_string(text, &s, &names[i]);
    }
    if (is_int && (s.type == 0 || strchr("dxXobn", s.type) != NULL))
        return s.precision >= 0 ? VD_J_FAIL(f->r, "Precision not allowed in integer format")
                                : write_int(text, &s, i);
    if (is_int && s.type == 'c' && i >= 0 && i <= 0x10ffff) {
        vd_j_text_code(text, (uint32_t)i);
        return text->status;
    }
    if (s.type == 0 || strchr("eEfFgGn%", s.type) != NULL) {
        s.type = s.type == 'n' ? 'g' : s.type;
        return write_float(text, &s, d);
    }
    return VD_J_FAIL(f->r, "Unknown format code '%c' for object of type '%s'", s.type,
                     vd_j_type_name(value));
}

/* "name", "0", "" at the front of a field: the argument it means. */
static vd_status first_value(format *f, const vd_jstr *name, vd_jval *ret)
{
    int64_t index = 0;
    if (name->n == 0 || (name->data[0] >= '0' && name->data[0] <= '9')) {
        if (name->n == 0)
            index = (int64_t)f->n_auto++;
        else if (!vd_j_str_to_int(name, 10, &index))
            return VD_J_FAIL(f->r, "a bad number in a format field");
        f->numbered = f->numbered || name->n > 0;
        if (f->numbered && f->n_auto > 0)
            return VD_J_FAIL(f->r, "cannot switch between automatic and manual field numbering");
        if (index < 0 || (size_t)index >= f->args->n_pos)
            return VD_J_FAIL(f->r, "Replacement index out of range for positional args tuple");
        *ret = f->args->pos[index];
        return VD_OK;
    }
    for (size_t k = 0; k < f->args->n_kw; k++)
        if (f->args->kw[k].name->n == name->n &&
            memcmp(f->args->kw[k].name->data, name->data, name->n) == 0) {
            *ret = f->args->kw[k].value;
            return VD_OK;
        }
    return VD_J_FAIL(f->r, "format() misses its argument '%.*s'",
                     (int)VD_MIN(name->n, (size_t)60), name->data);
}

static vd_status field_value(format *f, const char *data, size_t n, vd_jval *ret)
{
    size_t at = 0;
    while (at < n && data[at] != '.' && data[at] != '[')
        at++;
    vd_jstr name = {.data = data, .n = at, .n_chars = SIZE_MAX};
    vd_status st = first_value(f, &name, ret);
    while (st == VD_OK && at < n) {
        bool item = data[at++] == '[';
        size_t begin = at;
        while (at < n && (item ? data[at] != ']' : data[at] != '.' && data[at] != '['))
            at++;
        vd_jval key;
        int64_t index;
        st = vd_j_str_wrap(f->r, data + begin, at - begin, &key);
        if (st != VD_OK || at == begin || (item && at == n))
            return st != VD_OK ? st : VD_J_FAIL(f->r, "a bad name in a format field");
        at += item;
        if (!item)
            st = vd_j_getattr(f->r, *ret, key.u.s, ret);
        else if (vd_j_str_to_int(key.u.s, 10, &index))
            st = vd_j_getitem(f->r, *ret, vd_j_int(index), ret);
        else
            st = vd_j_getitem(f->r, *ret, key, ret);
    }
    return st;
}

/* The inside of one { }. */
static vd_status write_field(format *f, const char *data, size_t n, size_t depth, vd_jtext *text)
{
    size_t end = 0;
    bool inside = false;
    for (; end < n && (inside || (data[end] != '!' && data[end] != ':')); end++)
        inside = data[end] == '[' || (inside && data[end] != ']');
    vd_jval value = {0}, made;
    vd_status st = field_value(f, data, end, &value);
    if (st == VD_OK && end < n && data[end] == '!') {
        if (n - end < 2 || (data[end + 1] != 'r' && data[end + 1] != 's' && data[end + 1] != 'a') ||
            (n - end > 2 && data[end + 2] != ':'))
            return VD_J_FAIL(f->r, "a bad conversion in a format field");
        st = convert(f->r, value, data[end + 1], &value);
        end += 2;
    }
    if (st != VD_OK)
        return st;
    end += end < n; /* the colon */
    vd_jstr raw = {.data = data + end, .n = n - end, .n_chars = SIZE_MAX};
    vd_jtext spec_text;
    vd_j_text_init(&spec_text, f->r);
    st = write_fields(f, &raw, depth + 1, &spec_text); /* a specification may hold fields */
    if (st == VD_OK)
        st = vd_j_text_value(&spec_text, &made);
    return st == VD_OK ? write_value(f, value, made.u.s, text) : st;
}

static vd_status write_fields(format *f, const vd_jstr *s, size_t depth, vd_jtext *text)
{
    vd_status st = VD_OK;
    if (depth > FIELD_DEPTH_MAX)
        return VD_J_FAIL(f->r, "Max string recursion exceeded");
    for (size_t at = 0; st == VD_OK && at < s->n;) {
        char c = s->data[at];
        bool doubled = at + 1 < s->n && s->data[at + 1] == c;
        if ((c != '{' && c != '}') || doubled) {
            vd_j_text_add(text, &c, 1);
            at += 1 + (c == '{' || c == '}');
            st = text->status;
            continue;
        }
        size_t end = ++at, open = 1;
        for (; c == '{' && end < s->n && open > 0; end++)
            open = open + (s->data[end] == '{') - (s->data[end] == '}');
        if (c == '}' || open > 0)
            return VD_J_FAIL(f->r, "Single '%c' encountered in format string", c);
        st = write_field(f, s->data + at, end - 1 - at, depth, text);
        at = end;
    }
    return st;
}

vd_status vd_j_str_format(vd_jrender *r, const vd_jstr *s, const vd_jargs *args, vd_jval *ret)
{
    format f = {.r = r, .args = args};
    vd_jtext text;
    vd_j_text_init(&text, r);
    vd_status st = vd_j_charge(r, s->n / 16);
    if (st == VD_OK)
        st = write_fields(&f, s, 0, &text);
    if (st == VD_OK)
        st = vd_j_text_value(&text, ret);
    return st == VD_OK && s->safe ? vd_j_str_mark(r, ret->u.s, true, ret) : st;
}

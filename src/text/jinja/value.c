/* value.c - making values, and the limits of a render. See value.h. */
#include "text/jinja/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"

enum { BYTES_PER_STEP = 128, TAIL_FROM = 256 };

/* Spare room behind a text that was made by joining: data[used..capacity) is free. The string that
 * ends at `used` may grow into it; shorter strings that share the bytes are not touched. */
struct vd_jtail {
    char *data;
    size_t used, capacity;
};

void vd_j_fail_at(vd_jrender *r, vd_status status, const char *file, int line, const char *fmt,
                  ...)
{
    char message[VD_ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    message[vd_utf8_complete(message, strlen(message))] = '\0';
    vd_fail_at(r->err, status, file, line, "template line %u: %s", r->line, message);
}

vd_status vd_j_charge(vd_jrender *r, size_t n_steps)
{
    if (n_steps > r->max_steps - r->n_steps)
        return VD_J_LIMIT(r, "more than %zu steps", r->max_steps);
    r->n_steps += n_steps;
    return VD_OK;
}

vd_status vd_j_charge_bytes(vd_jrender *r, size_t n)
{
    return vd_j_charge(r, n / BYTES_PER_STEP);
}

vd_status vd_j_enter(vd_jrender *r)
{
    if (r->depth >= r->max_depth)
        return VD_J_LIMIT(r, "nested deeper than %zu levels", r->max_depth);
    r->depth++;
    return VD_OK;
}

vd_status vd_j_alloc(vd_jrender *r, size_t n, size_t size, void *ret_block)
{
    size_t bytes;
    if (!vd_mul_size(n, size, &bytes))
        bytes = SIZE_MAX;
    vd_status st = vd_j_charge_bytes(r, bytes);
    if (st != VD_OK)
        return st;
    void *block = vd_arena_alloc(&r->arena, n, size);
    if (block != NULL) {
        memcpy(ret_block, &block, sizeof(block));
        return VD_OK;
    }
    if (bytes >= r->arena.limit_bytes - r->arena.total_bytes)
        return VD_J_LIMIT(r, "the render needs more than %zu bytes", r->arena.limit_bytes);
    /* The arena grows by chunks, so that it may refuse a little before its ceiling. */
    if (r->arena.limit_bytes - r->arena.total_bytes < (2u << 20))
        return VD_J_LIMIT(r, "the render needs about %zu bytes", r->arena.limit_bytes);
    return VD_J_FAIL_AS(r, VD_ERR_NOMEM, "no memory for %zu bytes", bytes);
}

/* --- strings --- */

static vd_status str_new(vd_jrender *r, const vd_jstr *from, vd_jval *ret)
{
    vd_jstr *str = NULL;
    vd_status st = vd_j_alloc(r, 1, sizeof(*str), &str);
    if (st != VD_OK)
        return st;
    *str = *from;
    *ret = vd_j_string(str);
    return VD_OK;
}

vd_status vd_j_str_wrap(vd_jrender *r, const char *data, size_t n, vd_jval *ret)
{
    return str_new(r, &(vd_jstr){.data = n > 0 ? data : "", .n = n, .n_chars = SIZE_MAX}, ret);
}

vd_status vd_j_str_copy(vd_jrender *r, const char *data, size_t n, vd_jval *ret)
{
    char *copy = NULL;
    vd_status st = vd_j_alloc(r, n, 1, &copy);
    if (st != VD_OK)
        return st;
    if (n > 0)
        memcpy(copy, data, n);
    return vd_j_str_wrap(r, copy, n, ret);
}

vd_status vd_j_str_mark(vd_jrender *r, const vd_jstr *s, bool safe, vd_jval *ret)
{
    vd_jstr marked = *s;
    marked.safe = safe;
    return str_new(r, &marked, ret);
}

vd_status vd_j_str_concat(vd_jrender *r, const vd_jstr *a, const vd_jstr *b, vd_jval *ret)
{
    vd_jstr sum = {.n_chars = SIZE_MAX, .safe = a->safe};
    vd_jtail *tail = a->tail;
    if (!vd_add_size(a->n, b->n, &sum.n))
        return VD_J_LIMIT(r, "a text is too long");
    vd_status st = vd_j_charge_bytes(r, b->n);
    if (st != VD_OK)
        return st;
    if (tail != NULL && a->data + a->n == tail->data + tail->used &&
        tail->capacity - tail->used >= b->n) {
        memcpy(tail->data + tail->used, b->data, b->n);
        tail->used += b->n;
        sum.data = a->data;
        sum.tail = tail;
        return str_new(r, &sum, ret);
    }
    size_t capacity = sum.n;
    if (sum.n >= TAIL_FROM && !vd_add_size(sum.n, sum.n / 2, &capacity))
        return VD_J_LIMIT(r, "a text is too long");
    char *data = NULL;
    st = vd_j_alloc(r, capacity, 1, &data);
    if (st == VD_OK && sum.n >= TAIL_FROM)
        st = vd_j_alloc(r, 1, sizeof(*tail), &tail);
    if (st != VD_OK)
        return st;
    if (a->n > 0)
        memcpy(data, a->data, a->n);
    if (b->n > 0)
        memcpy(data + a->n, b->data, b->n);
    sum.data = data;
    if (sum.n >= TAIL_FROM) {
        *tail = (vd_jtail){.data = data, .used = sum.n, .capacity = capacity};
        sum.tail = tail;
    }
    return str_new(r, &sum, ret);
}

size_t vd_j_str_chars(const vd_jstr *s)
{
    if (s->n_chars != SIZE_MAX)
        return s->n_chars;
    size_t n_chars = 0;
    for (size_t i = 0; i < s->n; i++)
        n_chars += ((unsigned char)s->data[i] & 0xc0) != 0x80;
    /* Only strings of a render come uncounted, and a render has one thread. */
    ((vd_jstr *)s)->n_chars = n_chars;
    return n_chars;
}

bool vd_j_str_is(const vd_jstr *s, const char *text)
{
    return s->n == strlen(text) && memcmp(s->data, text, s->n) == 0;
}

size_t vd_j_str_offset(const vd_jstr *s, size_t index)
{
    if (vd_j_str_chars(s) == s->n)
        return index;
    size_t at = 0;
    while (at < s->n) {
        if (((unsigned char)s->data[at] & 0xc0) != 0x80 && index-- == 0)
            break;
        at++;
    }
    return at;
}

/* --- text being built --- */

void vd_j_text_init(vd_jtext *text, vd_jrender *r)
{
    *text = (vd_jtext){.r = r, .limit = SIZE_MAX};
}

void vd_j_text_add(vd_jtext *text, const char *data, size_t n)
{
    if (text->status != VD_OK)
        return;
    if (n > text->limit - text->n) {
        text->status = VD_J_LIMIT(text->r, "the output is longer than %zu bytes", text->limit);
        return;
    }
    if (n > text->capacity - text->n) {
        char *grown = NULL;
        size_t capacity = VD_MAX(text->n + n, text->capacity + text->capacity / 2);
        capacity = VD_MAX(capacity, (size_t)48);
        text->status = vd_j_alloc(text->r, capacity, 1, &grown);
        if (text->status != VD_OK)
            return;
        if (text->n > 0)
            memcpy(grown, text->data, text->n);
        text->data = grown;
        text->capacity = capacity;
    }
    if (n > 0)
        memcpy(text->data + text->n, data, n);
    text->n += n;
    if (n >= BYTES_PER_STEP)
        text->status = vd_j_charge_bytes(text->r, n);
}

void vd_j_text_puts(vd_jtext *text, const char *data)
{
    vd_j_text_add(text, data, strlen(data));
}

void vd_j_text_code(vd_jtext *text, uint32_t code)
{
    char bytes[4];
    vd_j_text_add(text, bytes, vd_utf8_encode(code, bytes));
}

void vd_j_text_printf(vd_jtext *text, const char *fmt, ...)
{
    char small[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    if (n > 0)
        vd_j_text_add(text, small, VD_MIN((size_t)n, sizeof(small) - 1));
}

vd_status vd_j_text_value(vd_jtext *text, vd_jval *ret)
{
    return text->status == VD_OK ? vd_j_str_wrap(text->r, text->data, text->n, ret) : text->status;
}

/* --- lists, iterators, undefined --- */

vd_status vd_j_list_new(vd_jrender *r, size_t capacity, vd_jlist **ret)
{
    vd_jlist *list = NULL;
    vd_status st = vd_j_alloc(r, 1, sizeof(*list), &list);
    if (st == VD_OK && capacity > 0)
        st = vd_j_alloc(r, capacity, sizeof(vd_jval), &list->item);
    if (st != VD_OK)
        return st;
    list->capacity = capacity;
    *ret = list;
    return VD_OK;
}

vd_status vd_j_list_push(vd_jrender *r, vd_jlist *list, vd_jval value)
{
    vd_status st = vd_j_charge(r, 1);
    if (st != VD_OK)
        return st;
    if (list->n == list->capacity) {
        vd_jval *grown = NULL;
        size_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        st = vd_j_alloc(r, capacity, sizeof(*grown), &grown);
        if (st != VD_OK)
            return st;
        if (list->n > 0)
            memcpy(grown, list->item, list->n * sizeof(*grown));
        list->item = grown;
        list->capacity = capacity;
    }
    list->item[list->n++] = value;
    return VD_OK;
}

vd_status vd_j_pair(vd_jrender *r, vd_jval a, vd_jval b, vd_jval *ret)
{
    vd_jlist *pair = NULL;
    vd_status st = vd_j_list_new(r, 2, &pair);
    if (st != VD_OK)
        return st;
    pair->flavour = VD_JFLAVOUR_TUPLE;
    pair->item[0] = a;
    pair->item[1] = b;
    pair->n = 2;
    *ret = vd_j_list(pair);
    return VD_OK;
}

vd_status vd_j_iter_new(vd_jrender *r, vd_jlist *list, vd_jval *ret)
{
    vd_jiter *iter = NULL;
    vd_status st = vd_j_alloc(r, 1, sizeof(*iter), &iter);
    if (st != VD_OK)
        return st;
    iter->list = list;
    *ret = (vd_jval){.kind = VD_JKIND_ITER, .u.iter = iter};
    return VD_OK;
}

vd_status vd_j_undefined(vd_jrender *r, const char *hint, const char *owner, const vd_jstr *name,
                         vd_jval *ret)
{
    vd_jundefined *u = NULL;
    vd_status st = vd_j_alloc(r, 1, sizeof(*u), &u);
    if (st != VD_OK)
        return st;
    *u = (vd_jundefined){.hint = hint, .owner = owner, .name = name};
    *ret = (vd_jval){.kind = VD_JKIND_UNDEFINED, .u.undefined = u};
    return VD_OK;
}

vd_status vd_j_undefined_fail(vd_jrender *r, vd_jval value)
{
    const vd_jundefined *u = value.u.undefined;
    if (u == NULL || (u->hint == NULL && u->name == NULL))
        return VD_J_FAIL(r, "the value is undefined");
    if (u->hint != NULL)
        return VD_J_FAIL(r, "%s", u->hint);
    int n = (int)VD_MIN(u->name->n, (size_t)100);
    if (u->owner == NULL)
        return VD_J_FAIL(r, "'%.*s' is undefined", n, u->name->data);
    return VD_J_FAIL(r, "a value of type %s has no '%.*s'", u->owner, n, u->name->data);
}

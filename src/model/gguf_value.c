/* gguf_value.c - metadata values: lookup by key, reads with conversion that loses nothing. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "model/gguf_internal.h"

static const struct {
    const char *name;
    size_t bytes;
} types[VD_GGUF_TYPE_COUNT] = {
    [VD_GGUF_TYPE_U8] = {"u8", 1},         [VD_GGUF_TYPE_I8] = {"i8", 1},
    [VD_GGUF_TYPE_U16] = {"u16", 2},       [VD_GGUF_TYPE_I16] = {"i16", 2},
    [VD_GGUF_TYPE_U32] = {"u32", 4},       [VD_GGUF_TYPE_I32] = {"i32", 4},
    [VD_GGUF_TYPE_F32] = {"f32", 4},       [VD_GGUF_TYPE_BOOL] = {"bool", 1},
    [VD_GGUF_TYPE_STRING] = {"string", 0}, [VD_GGUF_TYPE_ARRAY] = {"array", 0},
    [VD_GGUF_TYPE_U64] = {"u64", 8},       [VD_GGUF_TYPE_I64] = {"i64", 8},
    [VD_GGUF_TYPE_F64] = {"f64", 8},
};

size_t vd_gguf_type_bytes(uint32_t type)
{
    return type < VD_GGUF_TYPE_COUNT ? types[type].bytes : 0;
}

const char *vd_gguf_type_name(vd_gguf_type type)
{
    return (unsigned)type < VD_GGUF_TYPE_COUNT ? types[type].name : "unknown";
}

const vd_gguf_kv *vd_gguf_find(const vd_gguf *gguf, const char *key)
{
    uint32_t i;
    return vd_strmap_get(&gguf->key_index, key, strlen(key), &i) ? &gguf->kv[i] : NULL;
}

/* A number as it stands in the file: an integer with its sign, or a double. */
typedef struct number {
    enum { NOT_A_NUMBER, UNSIGNED, SIGNED, REAL } kind; /* SIGNED only when negative */
    uint64_t u;
    int64_t i;
    double f;
} number;

static number read_number(const vd_gguf_kv *kv, uint64_t index)
{
    size_t width = vd_gguf_type_bytes(kv->item_type);
    if (width == 0 || index >= kv->n_items)
        return (number){NOT_A_NUMBER};
    const unsigned char *p = kv->data + (size_t)index * width;
    uint64_t bits = 0;
    for (size_t i = width; i-- > 0;)
        bits = bits << 8 | p[i];
    switch (kv->item_type) {
    case VD_GGUF_TYPE_BOOL:
        return (number){UNSIGNED, .u = bits != 0};
    case VD_GGUF_TYPE_F32: {
        uint32_t low = (uint32_t)bits;
        float f;
        memcpy(&f, &low, 4);
        return (number){REAL, .f = (double)f};
    }
    case VD_GGUF_TYPE_F64: {
        double f;
        memcpy(&f, &bits, 8);
        return (number){REAL, .f = f};
    }
    case VD_GGUF_TYPE_I8:
    case VD_GGUF_TYPE_I16:
    case VD_GGUF_TYPE_I32:
    case VD_GGUF_TYPE_I64: {
        int unused = 64 - 8 * (int)width;
        int64_t value = (int64_t)(bits << unused) >> unused; /* sign extension */
        if (value < 0)
            return (number){SIGNED, .i = value};
        return (number){UNSIGNED, .u = (uint64_t)value};
    }
    default:
        return (number){UNSIGNED, .u = bits};
    }
}

bool vd_gguf_item_u64(const vd_gguf_kv *kv, uint64_t i, uint64_t *ret)
{
    number n = read_number(kv, i);
    if (n.kind != UNSIGNED)
        return false;
    *ret = n.u;
    return true;
}

bool vd_gguf_item_i64(const vd_gguf_kv *kv, uint64_t i, int64_t *ret)
{
    number n = read_number(kv, i);
    if (n.kind == SIGNED)
        *ret = n.i;
    else if (n.kind == UNSIGNED && n.u <= INT64_MAX)
        *ret = (int64_t)n.u;
    else
        return false;
    return true;
}

bool vd_gguf_item_f64(const vd_gguf_kv *kv, uint64_t i, double *ret)
{
    const uint64_t exact_max = (uint64_t)1 << 53;
    number n = read_number(kv, i);
    if (n.kind == REAL)
        *ret = n.f;
    else if (n.kind == UNSIGNED && n.u <= exact_max)
        *ret = (double)n.u;
    else if (n.kind == SIGNED && n.i >= -(int64_t)exact_max)
        *ret = (double)n.i;
    else
        return false;
    return true;
}

size_t vd_gguf_kv_bytes(const vd_gguf_kv *kv)
{
    size_t width = vd_gguf_type_bytes(kv->item_type);
    const unsigned char *end = kv->data;
    if (width != 0)
        return (size_t)kv->n_items * width;
    for (uint64_t i = 0; i < kv->n_items; i++) /* strings: to the end of the last */
        (void)vd_gguf_next_str(&end);
    return (size_t)(end - kv->data);
}

vd_str vd_gguf_next_str(const unsigned char **cursor)
{
    const unsigned char *p = *cursor;
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | p[i];
    *cursor = p + 8 + n;
    return (vd_str){(const char *)p + 8, (size_t)n};
}

static const vd_gguf_kv *find_scalar(const vd_gguf *gguf, const char *key)
{
    const vd_gguf_kv *kv = vd_gguf_find(gguf, key);
    return kv != NULL && kv->type != VD_GGUF_TYPE_ARRAY ? kv : NULL;
}

bool vd_gguf_get_u32(const vd_gguf *gguf, const char *key, uint32_t *ret)
{
    const vd_gguf_kv *kv = find_scalar(gguf, key);
    uint64_t value;
    if (kv == NULL || !vd_gguf_item_u64(kv, 0, &value) || value > UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    return true;
}

bool vd_gguf_get_i32(const vd_gguf *gguf, const char *key, int32_t *ret)
{
    const vd_gguf_kv *kv = find_scalar(gguf, key);
    int64_t value;
    if (kv == NULL || !vd_gguf_item_i64(kv, 0, &value) || value > INT32_MAX || value < INT32_MIN)
        return false;
    *ret = (int32_t)value;
    return true;
}

bool vd_gguf_get_f32(const vd_gguf *gguf, const char *key, float *ret)
{
    const vd_gguf_kv *kv = find_scalar(gguf, key);
    double value;
    if (kv == NULL || !vd_gguf_item_f64(kv, 0, &value))
        return false;
    *ret = (float)value;
    return true;
}

bool vd_gguf_get_bool(const vd_gguf *gguf, const char *key, bool *ret)
{
    const vd_gguf_kv *kv = find_scalar(gguf, key);
    if (kv == NULL || kv->type != VD_GGUF_TYPE_BOOL)
        return false;
    *ret = kv->data[0] != 0;
    return true;
}

bool vd_gguf_get_str(const vd_gguf *gguf, const char *key, vd_str *ret)
{
    const vd_gguf_kv *kv = find_scalar(gguf, key);
    if (kv == NULL || kv->type != VD_GGUF_TYPE_STRING)
        return false;
    const unsigned char *cursor = kv->data;
    *ret = vd_gguf_next_str(&cursor);
    return true;
}

/* Why a read of `key` as `wanted` failed. */
static vd_status key_failed(const vd_gguf *gguf, const char *key, const char *wanted, vd_err *err)
{
    const vd_gguf_kv *kv = vd_gguf_find(gguf, key);
    int64_t value;
    if (kv == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "metadata '%s' is missing, a value of type %s is needed",
                       key, wanted);
    if (kv->type != VD_GGUF_TYPE_ARRAY && vd_gguf_item_i64(kv, 0, &value))
        return VD_FAIL(err, VD_ERR_FORMAT, "metadata '%s' is %" PRId64 ", which does not fit %s",
                       key, value, wanted);
    return VD_FAIL(err, VD_ERR_FORMAT, "metadata '%s' is of type %s, %s is needed", key,
                   vd_gguf_type_name(kv->type), wanted);
}

vd_status vd_gguf_require_u32(const vd_gguf *gguf, const char *key, uint32_t *ret, vd_err *err)
{
    return vd_gguf_get_u32(gguf, key, ret) ? VD_OK : key_failed(gguf, key, "u32", err);
}

vd_status vd_gguf_require_f32(const vd_gguf *gguf, const char *key, float *ret, vd_err *err)
{
    return vd_gguf_get_f32(gguf, key, ret) ? VD_OK : key_failed(gguf, key, "f32", err);
}

vd_status vd_gguf_require_str(const vd_gguf *gguf, const char *key, vd_str *ret, vd_err *err)
{
    return vd_gguf_get_str(gguf, key, ret) ? VD_OK : key_failed(gguf, key, "string", err);
}

/* kv_type.c - see kv_type.h. */
#include "engine/kv_type.h"

#include <string.h>

#include "base/checked.h"

static const struct {
    const char *name;
    vd_dtype dtype;
} types[] = {
    [VD_KV_F16] = {"f16", VD_DTYPE_F16},    [VD_KV_BF16] = {"bf16", VD_DTYPE_BF16},
    [VD_KV_F32] = {"f32", VD_DTYPE_F32},    [VD_KV_Q8_0] = {"q8_0", VD_DTYPE_Q8_0},
    [VD_KV_Q4_0] = {"q4_0", VD_DTYPE_Q4_0},
};

const char *vd_kv_type_name(vd_kv_type type)
{
    return types[type].name;
}

bool vd_kv_type_parse(const char *word, vd_kv_type *ret_type)
{
    for (size_t i = 0; i < VD_COUNT(types); i++)
        if (strcmp(word, types[i].name) == 0) {
            *ret_type = (vd_kv_type)i;
            return true;
        }
    return false;
}

vd_dtype vd_kv_type_dtype(vd_kv_type type)
{
    return types[type].dtype;
}

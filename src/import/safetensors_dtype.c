/*
 * safetensors_dtype.c - the types of safetensors, and the floats among them as f32.
 *
 * The two 8-bit floats (Micikevicius et al. 2022), as PyTorch has them:
 *
 *   E4M3  s eeee mmm   bias 7, no infinities, NaN is all ones ("fn")
 *   E5M2  s eeeee mm   the upper half of an f16
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "import/safetensors_dtype.h"
#include "kernels/dtype.h"

static const struct {
    const char *name;
    uint8_t bytes;
} types[] = {
    [VD_ST_F64] = {"F64", 8},         [VD_ST_F32] = {"F32", 4},
    [VD_ST_F16] = {"F16", 2},         [VD_ST_BF16] = {"BF16", 2},
    [VD_ST_F8_E4M3] = {"F8_E4M3", 1}, [VD_ST_F8_E5M2] = {"F8_E5M2", 1},
    [VD_ST_I64] = {"I64", 8},         [VD_ST_U64] = {"U64", 8},
    [VD_ST_I32] = {"I32", 4},         [VD_ST_U32] = {"U32", 4},
    [VD_ST_I16] = {"I16", 2},         [VD_ST_U16] = {"U16", 2},
    [VD_ST_I8] = {"I8", 1},           [VD_ST_U8] = {"U8", 1},
    [VD_ST_BOOL] = {"BOOL", 1},
};

bool vd_st_dtype_find(const char *name, vd_st_dtype *ret)
{
    for (size_t i = 0; i < VD_COUNT(types); i++)
        if (strcmp(name, types[i].name) == 0) {
            *ret = (vd_st_dtype)i;
            return true;
        }
    return false;
}

const char *vd_st_dtype_name(vd_st_dtype dtype)
{
    return types[dtype].name;
}

size_t vd_st_dtype_bytes(vd_st_dtype dtype)
{
    return types[dtype].bytes;
}

uint64_t vd_st_n_values(const vd_st_tensor *tensor)
{
    return tensor->n_bytes / types[tensor->dtype].bytes;
}

static float from_e4m3(unsigned char bits)
{
    int exponent = bits >> 3 & 15, mantissa = bits & 7;
    float size = exponent == 0 ? ldexpf((float)mantissa, -9)
                               : ldexpf((float)(8 + mantissa), exponent - 10);
    if (exponent == 15 && mantissa == 7)
        size = NAN;
    return bits & 0x80 ? -size : size;
}

static uint16_t u16_at(const unsigned char *src)
{
    return (uint16_t)(src[0] | src[1] << 8);
}

void vd_st_decode(vd_st_dtype dtype, const unsigned char *src, float *dst, size_t n)
{
    switch (dtype) {
    case VD_ST_F64:
        for (size_t i = 0; i < n; i++) {
            double value;
            memcpy(&value, src + 8 * i, 8);
            dst[i] = (float)value;
        }
        break;
    case VD_ST_F32:
        memcpy(dst, src, 4 * n);
        break;
    case VD_ST_F16:
        for (size_t i = 0; i < n; i++)
            dst[i] = vd_f16_to_f32(u16_at(src + 2 * i));
        break;
    case VD_ST_BF16:
        for (size_t i = 0; i < n; i++)
            dst[i] = vd_bf16_to_f32(u16_at(src + 2 * i));
        break;
    case VD_ST_F8_E4M3:
        for (size_t i = 0; i < n; i++)
            dst[i] = from_e4m3(src[i]);
        break;
    case VD_ST_F8_E5M2:
        for (size_t i = 0; i < n; i++)
            dst[i] = vd_f16_to_f32((uint16_t)(src[i] << 8));
        break;
    default: /* no float: the caller asks for floats only */
        memset(dst, 0, n * sizeof(*dst));
        break;
    }
}

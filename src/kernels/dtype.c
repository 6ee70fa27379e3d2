/* dtype.c - see dtype.h. The block sizes are those of ggml v0.5.0. */
#include "kernels/dtype.h"

#include "base/checked.h"
#include "kernels/ref/decode.h"

static const vd_dtype_info infos[VD_DTYPE_LIMIT] = {
    [0] = {"F32", 1, 4},
    [1] = {"F16", 1, 2},
    [2] = {"Q4_0", 32, 18},
    [3] = {"Q4_1", 32, 20},
    [6] = {"Q5_0", 32, 22},
    [7] = {"Q5_1", 32, 24},
    [8] = {"Q8_0", 32, 34},
    [9] = {"Q8_1", 32, 36},
    [10] = {"Q2_K", 256, 84},
    [11] = {"Q3_K", 256, 110},
    [12] = {"Q4_K", 256, 144},
    [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},
    [15] = {"Q8_K", 256, 292},
    [16] = {"IQ2_XXS", 256, 66},
    [17] = {"IQ2_XS", 256, 74},
    [18] = {"IQ3_XXS", 256, 98},
    [19] = {"IQ1_S", 256, 50},
    [20] = {"IQ4_NL", 32, 18},
    [21] = {"IQ3_S", 256, 110},
    [22] = {"IQ2_S", 256, 82},
    [23] = {"IQ4_XS", 256, 136},
    [24] = {"I8", 1, 1},
    [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},
    [27] = {"I64", 1, 8},
    [28] = {"F64", 1, 8},
    [29] = {"IQ1_M", 256, 56},
    [30] = {"BF16", 1, 2},
    [34] = {"TQ1_0", 256, 54},
    [35] = {"TQ2_0", 256, 66},
    [39] = {"MXFP4", 32, 17},
    [40] = {"NVFP4", 64, 36},
    [41] = {"Q1_0", 128, 18},
    [42] = {"Q2_0", 64, 18},
};

const vd_dtype_info *vd_dtype_get(uint32_t number)
{
    if (number >= VD_DTYPE_LIMIT || infos[number].name == NULL)
        return NULL;
    return &infos[number];
}

const char *vd_dtype_name(uint32_t number)
{
    const vd_dtype_info *info = vd_dtype_get(number);
    return info != NULL ? info->name : "unknown";
}

bool vd_dtype_row_bytes(uint32_t number, size_t n, size_t *ret_bytes)
{
    const vd_dtype_info *info = vd_dtype_get(number);
    if (info == NULL || n % info->block != 0)
        return false;
    return vd_mul_size(n / info->block, info->bytes, ret_bytes);
}

static const vd_decode_fn decoders[VD_DTYPE_LIMIT] = {
    [VD_DTYPE_F32] = vd_decode_f32,
    [VD_DTYPE_F16] = vd_decode_f16,
    [VD_DTYPE_Q4_0] = vd_decode_q4_0,
    [VD_DTYPE_Q4_1] = vd_decode_q4_1,
    [VD_DTYPE_Q5_0] = vd_decode_q5_0,
    [VD_DTYPE_Q5_1] = vd_decode_q5_1,
    [VD_DTYPE_Q8_0] = vd_decode_q8_0,
    [VD_DTYPE_Q2_K] = vd_decode_q2_k,
    [VD_DTYPE_Q3_K] = vd_decode_q3_k,
    [VD_DTYPE_Q4_K] = vd_decode_q4_k,
    [VD_DTYPE_Q5_K] = vd_decode_q5_k,
    [VD_DTYPE_Q6_K] = vd_decode_q6_k,
    [VD_DTYPE_IQ2_XXS] = vd_decode_iq2_xxs,
    [VD_DTYPE_IQ2_XS] = vd_decode_iq2_xs,
    [VD_DTYPE_IQ3_XXS] = vd_decode_iq3_xxs,
    [VD_DTYPE_IQ1_S] = vd_decode_iq1_s,
    [VD_DTYPE_IQ4_NL] = vd_decode_iq4_nl,
    [VD_DTYPE_IQ3_S] = vd_decode_iq3_s,
    [VD_DTYPE_IQ2_S] = vd_decode_iq2_s,
    [VD_DTYPE_IQ4_XS] = vd_decode_iq4_xs,
    [VD_DTYPE_IQ1_M] = vd_decode_iq1_m,
    [VD_DTYPE_BF16] = vd_decode_bf16,
    [VD_DTYPE_TQ1_0] = vd_decode_tq1_0,
    [VD_DTYPE_TQ2_0] = vd_decode_tq2_0,
    [VD_DTYPE_MXFP4] = vd_decode_mxfp4,
    [VD_DTYPE_NVFP4] = vd_decode_nvfp4,
    [VD_DTYPE_Q1_0] = vd_decode_q1_0,
    [VD_DTYPE_Q2_0] = vd_decode_q2_0,
};

bool vd_dtype_decodable(uint32_t number)
{
    return number < VD_DTYPE_LIMIT && decoders[number] != NULL;
}

void vd_dtype_decode(vd_dtype dtype, const void *src, float *dst, size_t n)
{
    decoders[dtype](src, dst, n / infos[dtype].block);
}

/* encode.c - which types can be written, see encode.h. */
#include "compress/encode.h"

#include <float.h>

#include "compress/encode/blocks.h"

static const vd_encode_fn encoders[VD_DTYPE_LIMIT] = {
    [VD_DTYPE_F32] = vd_encode_f32,       [VD_DTYPE_F16] = vd_encode_f16,
    [VD_DTYPE_BF16] = vd_encode_bf16,     [VD_DTYPE_Q4_0] = vd_encode_q4_0,
    [VD_DTYPE_Q4_1] = vd_encode_q4_1,     [VD_DTYPE_Q5_0] = vd_encode_q5_0,
    [VD_DTYPE_Q5_1] = vd_encode_q5_1,     [VD_DTYPE_Q8_0] = vd_encode_q8_0,
    [VD_DTYPE_Q2_K] = vd_encode_q2_k,     [VD_DTYPE_Q3_K] = vd_encode_q3_k,
    [VD_DTYPE_Q4_K] = vd_encode_q4_k,     [VD_DTYPE_Q5_K] = vd_encode_q5_k,
    [VD_DTYPE_Q6_K] = vd_encode_q6_k,     [VD_DTYPE_IQ4_NL] = vd_encode_iq4_nl,
    [VD_DTYPE_IQ4_XS] = vd_encode_iq4_xs, [VD_DTYPE_IQ3_S] = vd_encode_iq3_s,
    [VD_DTYPE_IQ2_S] = vd_encode_iq2_s,   [VD_DTYPE_IQ3_XXS] = vd_encode_iq3_xxs,
    [VD_DTYPE_IQ2_XS] = vd_encode_iq2_xs, [VD_DTYPE_IQ2_XXS] = vd_encode_iq2_xxs,
    [VD_DTYPE_IQ1_M] = vd_encode_iq1_m,   [VD_DTYPE_IQ1_S] = vd_encode_iq1_s,
    [VD_DTYPE_MXFP4] = vd_encode_mxfp4,   [VD_DTYPE_TQ1_0] = vd_encode_tq1_0,
    [VD_DTYPE_TQ2_0] = vd_encode_tq2_0,   [VD_DTYPE_Q1_0] = vd_encode_q1_0,
    [VD_DTYPE_Q2_0] = vd_encode_q2_0,
};

bool vd_encodable(uint32_t dtype)
{
    return dtype < VD_DTYPE_LIMIT && encoders[dtype] != NULL;
}

bool vd_encode_needs_weights(uint32_t dtype)
{
    return dtype == VD_DTYPE_IQ3_XXS || dtype == VD_DTYPE_IQ2_S || dtype == VD_DTYPE_IQ2_XS ||
           dtype == VD_DTYPE_IQ2_XXS || dtype == VD_DTYPE_IQ1_M || dtype == VD_DTYPE_IQ1_S;
}

/* Q4_0, Q5_0 and Q8_0 have the extreme divided by its code as their f16, and no search. */
float vd_encode_max(vd_dtype dtype)
{
    const float f16_max = 65504.0f;
    if (dtype == VD_DTYPE_F32)
        return FLT_MAX;
    if (dtype == VD_DTYPE_BF16)
        return 0x1.fep127f; /* the largest that bf16 has */
    if (dtype == VD_DTYPE_Q4_0 || dtype == VD_DTYPE_Q5_0 || dtype == VD_DTYPE_Q8_0)
        return f16_max * (dtype == VD_DTYPE_Q4_0 ? 8.0f : dtype == VD_DTYPE_Q5_0 ? 16.0f : 127.0f);
    return f16_max; /* no other type's scale or minimum exceeds its largest value */
}

void vd_encode_row(vd_dtype dtype, const float *x, const float *w, void *dst, size_t n)
{
    encoders[dtype](x, w, dst, n / vd_dtype_get(dtype)->block);
}

/* FE_DFL_ENV is also "denormals are kept" on the machines that can drop them. */
void vd_encode_floats_begin(fenv_t *ret_before)
{
    fegetenv(ret_before);
    fesetenv(FE_DFL_ENV);
}

void vd_encode_floats_end(const fenv_t *before)
{
    fesetenv(before);
}

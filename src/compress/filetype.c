/* filetype.c - see filetype.h. */
#include "compress/filetype.h"

#include <strings.h>

#include "base/checked.h"

static const vd_filetype types[] = {
    {"F32", VD_FILE_F32, VD_DTYPE_F32, ""},
    {"BF16", VD_FILE_BF16, VD_DTYPE_BF16, ""},
    {"F16", VD_FILE_F16, VD_DTYPE_F16, ""},
    {"Q8_0", VD_FILE_Q8_0, VD_DTYPE_Q8_0, ""},
    {"Q6_K", VD_FILE_Q6_K, VD_DTYPE_Q6_K, ""},
    {"Q5_1", VD_FILE_Q5_1, VD_DTYPE_Q5_1, ""},
    {"Q5_0", VD_FILE_Q5_0, VD_DTYPE_Q5_0, ""},
    {"Q5_K_M", VD_FILE_Q5_K_M, VD_DTYPE_Q5_K, "some Q6_K"},
    {"Q5_K_S", VD_FILE_Q5_K_S, VD_DTYPE_Q5_K, ""},
    {"Q4_1", VD_FILE_Q4_1, VD_DTYPE_Q4_1, ""},
    {"Q4_K_M", VD_FILE_Q4_K_M, VD_DTYPE_Q4_K, "some Q6_K"},
    {"Q4_K_S", VD_FILE_Q4_K_S, VD_DTYPE_Q4_K, "some Q5_K"},
    {"Q4_0", VD_FILE_Q4_0, VD_DTYPE_Q4_0, ""},
    {"IQ4_NL", VD_FILE_IQ4_NL, VD_DTYPE_IQ4_NL, ""},
    {"IQ4_XS", VD_FILE_IQ4_XS, VD_DTYPE_IQ4_XS, ""},
    {"MXFP4_MOE", VD_FILE_MXFP4_MOE, VD_DTYPE_MXFP4, "experts MXFP4, the rest Q8_0"},
    {"Q3_K_L", VD_FILE_Q3_K_L, VD_DTYPE_Q3_K, "some Q5_K"},
    {"Q3_K_M", VD_FILE_Q3_K_M, VD_DTYPE_Q3_K, "some Q4_K, Q5_K"},
    {"IQ3_M", VD_FILE_IQ3_M, VD_DTYPE_IQ3_S, "some Q4_K"},
    {"IQ3_S", VD_FILE_IQ3_S, VD_DTYPE_IQ3_S, ""},
    {"Q3_K_S", VD_FILE_Q3_K_S, VD_DTYPE_Q3_K, ""},
    {"IQ3_XS", VD_FILE_IQ3_XS, VD_DTYPE_IQ3_S, "some IQ3_XXS"},
    {"IQ3_XXS", VD_FILE_IQ3_XXS, VD_DTYPE_IQ3_XXS, "some IQ3_S, IQ2_S"},
    {"Q2_K", VD_FILE_Q2_K, VD_DTYPE_Q2_K, "some Q3_K"},
    {"Q2_K_S", VD_FILE_Q2_K_S, VD_DTYPE_Q2_K, "some Q4_K"},
    {"IQ2_M", VD_FILE_IQ2_M, VD_DTYPE_IQ2_S, "some IQ3_S"},
    {"IQ2_S", VD_FILE_IQ2_S, VD_DTYPE_IQ2_XS, "some IQ3_S"},
    {"IQ2_XS", VD_FILE_IQ2_XS, VD_DTYPE_IQ2_XS, "some Q2_K"},
    {"IQ2_XXS", VD_FILE_IQ2_XXS, VD_DTYPE_IQ2_XXS, "some Q2_K"},
    {"IQ1_M", VD_FILE_IQ1_M, VD_DTYPE_IQ1_M, "some IQ2_XXS, Q2_K"},
    {"IQ1_S", VD_FILE_IQ1_S, VD_DTYPE_IQ1_S, "some IQ2_XXS, Q2_K"},
    {"Q2_0", VD_FILE_Q2_0, VD_DTYPE_Q2_0, "for models trained so"},
    {"TQ2_0", VD_FILE_TQ2_0, VD_DTYPE_TQ2_0, "for models trained so"},
    {"TQ1_0", VD_FILE_TQ1_0, VD_DTYPE_TQ1_0, "for models trained so"},
    {"Q1_0", VD_FILE_Q1_0, VD_DTYPE_Q1_0, "for models trained so"},
};

static const struct {
    const char *name, *means;
} aliases[] = {{"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}, {"MXFP4", "MXFP4_MOE"}};

size_t vd_filetype_n(void)
{
    return VD_COUNT(types);
}

const vd_filetype *vd_filetype_at(size_t i)
{
    return &types[i];
}

const vd_filetype *vd_filetype_find(const char *name)
{
    for (size_t i = 0; i < VD_COUNT(aliases); i++)
        if (strcasecmp(name, aliases[i].name) == 0)
            name = aliases[i].means;
    for (size_t i = 0; i < VD_COUNT(types); i++)
        if (strcasecmp(name, types[i].name) == 0)
            return &types[i];
    return NULL;
}

const vd_filetype *vd_filetype_of(uint32_t dtype)
{
    const vd_filetype *found = vd_filetype_find(vd_dtype_name(dtype));
    for (size_t i = 0; i < VD_COUNT(types); i++)
        if (found == NULL || found->dtype != dtype) /* IQ2_S is a file of IQ2_XS */
            found = types[i].dtype == dtype ? &types[i] : NULL;
    return found;
}

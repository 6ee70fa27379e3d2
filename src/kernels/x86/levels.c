/* levels.c - the tables above plain C on x86-64. */
#include "kernels/levels.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/x86/x86.h"

/* The lowest first; each grows from the one before it that the machine runs. */
static const struct {
    const char *name;
    void (*fill)(vd_kernels *k);
} levels[VD_X86_LEVELS] = {
    [VD_X86_AVX2] = {"avx2", vd_avx2_fill},
    [VD_X86_AVXVNNI] = {"avxvnni", vd_avxvnni_fill},
    [VD_X86_AVX512] = {"avx512", vd_avx512_fill},
    [VD_X86_AVX512_VBMI2] = {"avx512-vbmi2", vd_avx512vbmi2_fill},
    [VD_X86_AVX512_BF16] = {"avx512-bf16", vd_avx512bf16_fill},
    [VD_X86_AMX] = {"amx", vd_amx_fill},
};

size_t vd_isa_levels(const vd_kernels *plain, vd_kernels ret_tables[VD_ISA_LEVELS_MAX])
{
    _Static_assert((size_t)VD_X86_LEVELS <= (size_t)VD_ISA_LEVELS_MAX, "room for all levels");
    size_t n = 0;
    for (size_t i = 0; i < VD_COUNT(levels); i++) {
        if (!vd_x86_runs((vd_x86_level)i))
            continue;
        ret_tables[n] = n > 0 ? ret_tables[n - 1] : *plain;
        levels[i].fill(&ret_tables[n++]);
    }
    return n;
}

bool vd_isa_emulate(const vd_kernels *tables, size_t n_tables, vd_kernels *ret_table)
{
    for (size_t i = 0; i < n_tables; i++) {
        if (strcmp(tables[i].name, levels[VD_X86_AVX512_BF16].name) != 0)
            continue;
        *ret_table = tables[i];
        vd_amx_emulated_fill(ret_table);
        return true;
    }
    return false;
}

size_t vd_isa_describe(vd_kernels_info ret_info[VD_ISA_LEVELS_MAX])
{
    for (size_t i = 0; i < VD_COUNT(levels); i++) {
        ret_info[i] = (vd_kernels_info){.name = levels[i].name};
        vd_x86_lacks((vd_x86_level)i, ret_info[i].lacks, sizeof(ret_info[i].lacks));
    }
    return VD_COUNT(levels);
}

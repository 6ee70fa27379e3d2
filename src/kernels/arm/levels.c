/* levels.c - the tables above plain C on AArch64. */
#include "kernels/levels.h"

#include "base/checked.h"
#include "kernels/arm/arm.h"

/* The lowest first; each grows from the one before it. */
static const struct {
    const char *name;
    void (*fill)(vd_kernels *k);
} levels[VD_ARM_LEVELS] = {
    [VD_ARM_NEON] = {"neon", vd_neon_fill},
    [VD_ARM_DOTPROD] = {"dotprod", vd_dotprod_fill},
    [VD_ARM_I8MM] = {"i8mm", vd_i8mm_fill},
};

size_t vd_isa_levels(const vd_kernels *plain, vd_kernels ret_tables[VD_ISA_LEVELS_MAX])
{
    _Static_assert((size_t)VD_ARM_LEVELS <= (size_t)VD_ISA_LEVELS_MAX, "room for all levels");
    size_t n = 0;
    for (; n < VD_COUNT(levels) && vd_arm_runs((vd_arm_level)n); n++) {
        ret_tables[n] = n > 0 ? ret_tables[n - 1] : *plain;
        levels[n].fill(&ret_tables[n]);
    }
    return n;
}

bool vd_isa_emulate(const vd_kernels *tables, size_t n_tables, vd_kernels *ret_table)
{
    return false;
}

size_t vd_isa_describe(vd_kernels_info ret_info[VD_ISA_LEVELS_MAX])
{
    for (size_t i = 0; i < VD_COUNT(levels); i++) {
        ret_info[i] = (vd_kernels_info){.name = levels[i].name};
        vd_arm_lacks((vd_arm_level)i, ret_info[i].lacks, sizeof(ret_info[i].lacks));
    }
    return VD_COUNT(levels);
}

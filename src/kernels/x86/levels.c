/* levels.c - the tables above plain C on x86-64. */
#include "kernels/levels.h"

#include "base/checked.h"
#include "kernels/x86/x86.h"

size_t vd_isa_levels(const vd_kernels *plain, vd_kernels ret_tables[VD_ISA_LEVELS_MAX])
{
    vd_x86_features has = vd_x86_detect();
    size_t n = 0;
    if (!has.avx2)
        return 0;
    ret_tables[n] = *plain;
    vd_avx2_fill(&ret_tables[n++]);
    if (!has.avx512)
        return n;
    ret_tables[n] = ret_tables[n - 1];
    vd_avx512_fill(&ret_tables[n++]);
    return n;
}

size_t vd_isa_describe(vd_kernels_info ret_info[VD_ISA_LEVELS_MAX])
{
    static const char *const names[] = {"avx2", "avx512"};
    for (size_t i = 0; i < VD_COUNT(names); i++) {
        ret_info[i] = (vd_kernels_info){.name = names[i]};
        vd_x86_lacks(i > 0, ret_info[i].lacks, sizeof(ret_info[i].lacks));
    }
    return VD_COUNT(names);
}

/* levels_none.c - an architecture for which we have plain C alone. */
#include "kernels/levels.h"

size_t vd_isa_levels(const vd_kernels *plain, vd_kernels ret_tables[VD_ISA_LEVELS_MAX])
{
    return 0;
}

bool vd_isa_emulate(const vd_kernels *tables, size_t n_tables, vd_kernels *ret_table)
{
    return false;
}

size_t vd_isa_describe(vd_kernels_info ret_info[VD_ISA_LEVELS_MAX])
{
    return 0;
}

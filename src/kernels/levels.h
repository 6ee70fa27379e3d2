/* levels.h - the door from the dispatch to the code of one architecture. */
#ifndef VD_KERNELS_LEVELS_H
#define VD_KERNELS_LEVELS_H

#include "kernels/kernels.h"

enum { VD_ISA_LEVELS_MAX = 7 };

/* The tables that this machine can run, the lowest first, each grown from the one below and the
 * first from `plain`. Returns how many. */
size_t vd_isa_levels(const vd_kernels *plain, vd_kernels ret_tables[VD_ISA_LEVELS_MAX]);
/* A level that this machine can only play, for tests; `tables` are those of vd_isa_levels. False
 * where there is none. */
bool vd_isa_emulate(const vd_kernels *tables, size_t n_tables, vd_kernels *ret_table);
/* All levels of the architecture, the lowest first, with what this machine lacks for each; `used`
 * is left alone. Returns how many. */
size_t vd_isa_describe(vd_kernels_info ret_info[VD_ISA_LEVELS_MAX]);

#endif

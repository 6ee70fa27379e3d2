/* table.c - the level "amx-emulated", for tests alone: amx with tiles in plain C. */
#include "kernels/x86/amx_emulated/tile.inc"

#include "kernels/x86/amx/table.inc"

void vd_amx_emulated_fill(vd_kernels *k)
{
    k->name = "amx-emulated";
    fill(k);
}

/* table.c - the level "amx": panels meet their tokens in tiles, and so do packed weights where the
 * tokens are some; the rest is that of avx512-bf16. Built without a machine that has tiles: what
 * runs in tests is the same table.inc over tiles in plain C, and the instructions of this file have
 * been read, not run. */
#include "kernels/x86/amx/tile.inc"

#include "kernels/x86/amx/table.inc"

void vd_amx_fill(vd_kernels *k)
{
    k->name = "amx";
    fill(k);
}

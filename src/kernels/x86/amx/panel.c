/* panel.c - the level "amx": panels meet their tokens in tiles; the rest is that of avx512-bf16.
 * Built without a machine that has tiles: what runs in tests is the same product.inc over tiles in
 * plain C, and the instructions of this file have been read, not run. */
#include "kernels/x86/amx/tile.inc"

#include "kernels/x86/amx/product.inc"

void vd_amx_fill(vd_kernels *k)
{
    k->name = "amx";
    /* From figures of another program on such a machine (bf16 tiles against vpdpbusd), not of
     * this one. Activations of a round: half of an L2 of 2 MB and the space between rows. */
    k->panel_from = (vd_panel_from){.narrow = 48, .wide = 32, .rows = 4};
    k->panel_act_bytes = 9 << 17;
    k->panel_product = panel_product;
}

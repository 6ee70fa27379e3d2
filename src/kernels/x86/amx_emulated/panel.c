/* panel.c - the level "amx-emulated", for tests alone: amx with tiles in plain C. */
#include "kernels/x86/amx_emulated/tile.inc"

#include "kernels/x86/amx/product.inc"

void vd_amx_emulated_fill(vd_kernels *k)
{
    k->name = "amx-emulated";
    k->panel_from = (vd_panel_from){.narrow = 48, .wide = 32, .rows = 4};
    k->panel_act_bytes = 9 << 17;
    k->panel_product = panel_product;
}

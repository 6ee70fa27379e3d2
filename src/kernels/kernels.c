/*
 * kernels.c - which code computes on this machine.
 *
 * Tables are built once, from plain C upward: each level starts as a copy of the one below it and
 * overwrites what it does better (the way of dav1d).
 */
#include "kernels/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/layout.h"
#include "kernels/levels.h"
#include "kernels/ref/ref.h"

static int no_layout_for(vd_dtype dtype, size_t n_rows, size_t n_cols)
{
    return VD_LAYOUT_ROWS;
}

static const vd_kernels plain = {
    .name = "c",
    .quantize_row = vd_ref_quantize_row,
    .dot_row = vd_ref_dot_row,
    .linear_rows = vd_ref_linear_rows,
    .layout_for = no_layout_for,
    .packed_bytes = vd_layout_bytes,
    .pack = vd_layout_pack,
    .linear_packed = vd_ref_linear_packed,
    .sparse_pack = vd_ref_sparse_pack,
    .sparse_expand = vd_ref_sparse_expand,
    .panel_from = {SIZE_MAX, SIZE_MAX, SIZE_MAX},
    .panel_act_bytes = SIZE_MAX,
    .round_row = vd_ref_round_row,
    .panel_unpack = vd_ref_panel_unpack,
    .panel_product = vd_ref_panel_product,
    .rms_norm = vd_ref_rms_norm,
    .layer_norm = vd_ref_layer_norm,
    .rope = vd_ref_rope,
    .add = vd_ref_add,
    .silu_mul = vd_ref_silu_mul,
    .gelu_mul = vd_ref_gelu_mul,
    .gelu = vd_ref_gelu,
    .attn = vd_ref_attn,
    .store_kv = vd_ref_store_kv,
    .fit_sums = vd_ref_fit_sums,
    .fit_errors = vd_ref_fit_errors,
};

/* Written by build_tables only; "c" first, and each level the machine has after it. */
static vd_kernels tables[1 + VD_ISA_LEVELS_MAX];
static size_t n_tables;
static vd_kernels plain_packed, emulated; /* for tests; the latter is "" where there is none */
static const vd_kernels *chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* VERDANT_SPARSE: another share than the level's own, "off" for none. */
static void mask_sparse(vd_kernels *k)
{
    const char *keep = getenv("VERDANT_SPARSE");
    char *end = NULL;
    if (keep == NULL || k->layout_for == no_layout_for)
        return;
    float value = strtof(keep, &end);
    if (strcmp(keep, "off") == 0)
        k->sparse_keep = 0;
    else if (end != keep && *end == '\0' && value >= 0 && value <= 1)
        k->sparse_keep = value;
}

static void build_tables(void)
{
    tables[n_tables++] = plain;
    n_tables += vd_isa_levels(&plain, tables + 1);
    if (!vd_isa_emulate(tables + 1, n_tables - 1, &emulated))
        emulated.name = "";
    plain_packed = plain;
    plain_packed.name = "c-packed";
    plain_packed.layout_for = vd_layout_for;
    plain_packed.sparse_keep = 0.9f; /* for the tests: it gains nothing */
    plain_packed.panel_from = (vd_panel_from){.narrow = SIZE_MAX, .wide = 32, .rows = 32};

    for (size_t i = 0; i < n_tables; i++)
        mask_sparse(&tables[i]);
    chosen = &tables[n_tables - 1];
    const char *mask = getenv("VERDANT_CPU");
    for (size_t i = 0; mask != NULL && i < n_tables; i++)
        if (strcmp(tables[i].name, mask) == 0)
            chosen = &tables[i];
}

const vd_kernels *vd_kernels_get(void)
{
    pthread_once(&once, build_tables);
    return chosen;
}

const vd_kernels *vd_kernels_level(const char *name)
{
    pthread_once(&once, build_tables);
    for (size_t i = 0; i < n_tables; i++)
        if (strcmp(tables[i].name, name) == 0)
            return &tables[i];
    if (strcmp(name, plain_packed.name) == 0)
        return &plain_packed;
    return name[0] != '\0' && strcmp(name, emulated.name) == 0 ? &emulated : NULL;
}

size_t vd_kernels_describe(vd_kernels_info ret_info[VD_KERNELS_INFO_MAX])
{
    _Static_assert(VD_KERNELS_INFO_MAX == 1 + VD_ISA_LEVELS_MAX, "plain C and what stands above");
    const vd_kernels *used = vd_kernels_get();
    ret_info[0] = (vd_kernels_info){.name = plain.name};
    size_t n = 1 + vd_isa_describe(ret_info + 1);
    for (size_t i = 0; i < n; i++)
        ret_info[i].used = strcmp(ret_info[i].name, used->name) == 0;
    return n;
}

vd_precision vd_kernels_default_precision(const vd_kernels *k)
{
    return k->layout_for == no_layout_for ? VD_PRECISION_EXACT : VD_PRECISION_FAST;
}

/* x86.h - the levels of x86-64: who has them, and what they put into the table. */
#ifndef VD_KERNELS_X86_X86_H
#define VD_KERNELS_X86_X86_H

#include "kernels/kernels.h"

/* The lowest first. Each grows from the one before it that the machine runs: AVX-VNNI, AVX-512,
 * VBMI2 and BF16 came to different processors, all others have what those before them have. */
typedef enum vd_x86_level {
    VD_X86_AVX2,        /* AVX2, FMA, F16C */
    VD_X86_AVXVNNI,     /* the above and AVX-VNNI */
    VD_X86_AVX512,      /* AVX2, FMA, F16C, AVX-512 F, BW, DQ, VL and VNNI */
    VD_X86_AVX512_VBMI2, /* the above and AVX512_VBMI2 */
    VD_X86_AVX512_BF16, /* AVX512 and AVX512_BF16 */
    VD_X86_AMX,         /* the above, AMX-TILE, AMX-BF16 and AMX-INT8 */
    VD_X86_LEVELS
} vd_x86_level;

/* Whether the processor has it and the operating system saves its registers (XCR0). For AMX the
 * system is asked for its permission, which holds for the process. */
bool vd_x86_runs(vd_x86_level level);
/* The names of what is missing, "" when nothing is. */
void vd_x86_lacks(vd_x86_level level, char *text, size_t size);

/* Overwrite the entries of *k that the level does better, and its name. */
void vd_avx2_fill(vd_kernels *k);
void vd_avxvnni_fill(vd_kernels *k);
void vd_avx512_fill(vd_kernels *k);
void vd_avx512vbmi2_fill(vd_kernels *k);
void vd_avx512bf16_fill(vd_kernels *k);
void vd_amx_fill(vd_kernels *k);
void vd_amx_emulated_fill(vd_kernels *k); /* over avx512-bf16, for tests */

/* sparse_expand of the table. */
void vd_avx2_fill_sparse(vd_kernels *k);

/* Packed products of any layout, and those of whole numbers. */
void vd_avx2_linear(int layout, const void *packed, size_t n_rows, size_t n_cols,
                    const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end);
void vd_avx2_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                           const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end);
/* Whole numbers only; in vd_check alone. */
void vd_avxvnni_evex_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                                   const vd_act *act, float *y, size_t ld_y, size_t begin,
                                   size_t end);
void vd_avx512_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                             const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end);
/* The same for many tokens; linear_packed hands over to it. */
void vd_avx512_linear_many(int layout, const void *packed, size_t n_cols, const vd_act *act,
                           float *y, size_t ld_y, size_t begin, size_t end);
/* sparse_linear of the table for 3 tokens and more, rows no wider than VD_SPARSE_MANY_COLS. */
enum { VD_SPARSE_MANY_COLS = 224 * 32 };
void vd_avx512vbmi2_sparse_many(const void *packed, size_t n_cols, const vd_act *act, float *y,
                                size_t ld_y, size_t begin, size_t end);
/* panel_direct of the table. */
void vd_avx512bf16_direct(const vd_weight *weight, const vd_panel *args, size_t begin, size_t end,
                          void *scratch);

/* attn_many of kernels.h. */
void vd_avx512bf16_attn_many(const vd_attn *args);

#endif

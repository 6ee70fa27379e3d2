/*
 * kernels.h - the contract between the model and the code that computes.
 *
 * One table of function pointers per process, filled by plain C first and overwritten upward by
 * each instruction set the machine has (the way of dav1d). Each entry has a plain-C twin in ref/
 * and is held against it by tests/vd_check.
 *
 * Letters: T rows of activations (tokens), K columns of the input, N rows of the weight (outputs),
 * D head dimension. All f32 arrays are row-major, need not be aligned unless said, and outputs
 * never alias inputs unless said. Kernels allocate nothing and touch nothing beyond their
 * arguments. Threads: any number at once on disjoint outputs.
 */
#ifndef VD_KERNELS_KERNELS_H
#define VD_KERNELS_KERNELS_H

#include <verdant/status.h>

#include "kernels/dtype.h"

typedef struct vd_kernels vd_kernels;

/* How products read their activations.
 *   EXACT  f32 activations against decoded weights: the reference numbers
 *   FAST   activations rounded in blocks of 32 wherever the weight is quantized: to int8, or where
 *          more is at stake to twice that ("wide"); to bf16, and the weight with them, where many
 *          tokens go by panels; queries, keys and values of prompts as well (attn_many) */
typedef enum vd_precision { VD_PRECISION_EXACT, VD_PRECISION_FAST } vd_precision;

/* ---- products: Y[T,N] = X[T,K] * W[N,K]^T ---------------------------------------------------- */

/* A weight made ready for one kernel table: either the file's own rows (borrowed) or a packed copy
 * (owned). Immutable after vd_weight_prepare; read by many threads. */
typedef struct vd_weight {
    vd_dtype dtype;
    size_t n_rows, n_cols; /* N, K */
    const void *rows;      /* the file's rows, borrowed from the mapping; NULL only where the file
                              has them sparse */
    size_t row_bytes;
    int layout;            /* 0: use `rows`; else a packed layout of the kernel table */
    void *packed;          /* aligned to 64, owned; NULL for layout 0 */
    size_t packed_bytes;
    struct vd_slab *slab;  /* where `packed` lies, see slab.h */
} vd_weight;

/* Rows of activations made ready once and read by all products of the same input. */
typedef struct vd_act {
    const float *x;   /* [T, K], row stride ld_x */
    size_t n_rows, n_cols, ld_x;
    int8_t *q;        /* [T, K] int8; NULL where no product will read them */
    int8_t *q_low;    /* [T, K] where wide, else NULL: a value is 256 * q + q_low, else q */
    float *scale;     /* [T, K/32] of a value */
    float *sum;       /* [T, K/32]: scale * sum of the block's values, for weights with a minimum */
    int32_t *neg_sum; /* [T, K/16]: minus the sum of 16 values, for weights stored with an offset */
    uint16_t *b;      /* [T, K] bf16, rows ld_b apart, zeros up to a multiple of 32; or NULL */
    size_t ld_b;
} vd_act;

/* Fills `weight`. FAST may make a packed copy; EXACT and the plain-C table never do. `rows` must
 * outlive the weight. VD_ERR_UNSUPPORTED for a type that is not decodable, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_weight_prepare(const vd_kernels *k, vd_precision precision,
                                         vd_dtype dtype, size_t n_rows, size_t n_cols,
                                         const void *rows, vd_weight *ret_weight, vd_err *err);
void vd_weight_done(vd_weight *weight);

/* Bytes of scratch for vd_act of up to T rows of K columns (64-byte aligned). */
size_t vd_act_bytes(size_t max_rows, size_t max_cols);
/* Lays the arrays of `act` out in `scratch` for x[T,K], those that the table's products of so many
 * rows read (panel_from below); none in EXACT. Computes nothing. */
void vd_act_bind(const vd_kernels *k, vd_precision precision, vd_act *act, void *scratch,
                 const float *x, size_t n_rows, size_t n_cols, size_t ld_x, bool wide);
/* The same where each product takes only some of the rows (vd_act_rows), few or many: also the
 * arrays that products of few rows read. */
void vd_act_bind_parts(const vd_kernels *k, vd_precision precision, vd_act *act, void *scratch,
                       const float *x, size_t n_rows, size_t n_cols, size_t ld_x, bool wide);
/* Rounds rows [begin, end); nothing to do in EXACT. Threads split the rows. */
void vd_act_quantize(const vd_kernels *k, vd_precision precision, const vd_act *act, size_t begin,
                     size_t end);

/* Rows [begin, end) of `act` as an act of their own, sharing its arrays. */
vd_act vd_act_rows(const vd_act *act, size_t begin, size_t end);

/* Bytes of scratch (64-byte aligned) that a thread needs for vd_linear of up to K columns; at least
 * K floats. */
size_t vd_linear_scratch_bytes(const vd_kernels *k, size_t max_cols);

/* Y[t, n] for all t and n in [begin, end). begin is a multiple of VD_ROW_UNIT, end is one or N.
 * y[t * ld_y + n]. Reads int8 activations where weight->layout holds whole numbers and they are
 * there, bf16 ones where it goes by panels, else f32. `scratch`: vd_linear_scratch_bytes of the
 * calling thread. Tolerance: EXACT within 1e-5 relative NMSE of a double-precision product. */
enum { VD_ROW_UNIT = 16 };
void vd_linear(const vd_kernels *k, const vd_weight *weight, const vd_act *act, float *y,
               size_t ld_y, size_t begin, size_t end, float *scratch);

/* ---- attention --------------------------------------------------------------------------------*/

/* Consecutive query positions of one sequence and the n_group query heads that share one KV head,
 * over positions kept in pages; online softmax, never T x T (Milakov and Gimelshein 2018).
 * Row r of page p of this head: k_base + page[p] * page_stride + r * row_stride (bytes).
 * Within one level a query's result has the same bits whichever others are in its block, but that a
 * value that is not finite makes NaN of all of them; between `attn` and `attn_many` it differs. */
enum { VD_ATTN_ROWS = 48, VD_ATTN_MANY_ROWS = 192, VD_ATTN_SPAN = 64 };
/* From so many positions of one sequence on attn_many is taken; fewer never go there, so that
 * guessed tokens are computed as those that are not. */
enum { VD_ATTN_MANY_FROM = 32 };
typedef struct vd_attn {
    const float *q;        /* [n_q, n_group, D], ld_q values from one position to the next */
    float *out;            /* [n_q, n_group, D], as q */
    size_t n_q, ld_q;      /* n_q * n_group at most VD_ATTN_ROWS (_MANY_ROWS), or n_q = 1 */
    size_t n_group, head_dim;
    const unsigned char *k_base, *v_base;
    const uint32_t *page;  /* page numbers of the sequence, in order of position */
    size_t page_stride, row_stride;
    size_t page_tokens;    /* positions per page */
    size_t n_kv;           /* positions that the last query sees, 1 or more */
    bool causal;           /* the one before it sees one less, and so on; else all see n_kv */
    size_t window;         /* of these only the last so many; 0: all */
    vd_dtype kv_dtype;     /* F16, BF16, F32, or with D a multiple of 32 Q8_0, Q4_0 */
    float scale;           /* logits = scale * q.k */
    float softcap;         /* logits become softcap * tanh(logits / softcap); 0: off */
    float *scratch;        /* vd_attn_scratch floats of the calling thread, aligned to 64 */
} vd_attn;

/* The positions [*ret_first, *ret_end) that query i sees. */
static inline void vd_attn_range(const vd_attn *a, size_t i, size_t *ret_first, size_t *ret_end)
{
    size_t end = a->causal ? a->n_kv - (a->n_q - 1 - i) : a->n_kv;
    *ret_first = a->window != 0 && a->window < end ? end - a->window : 0;
    *ret_end = end;
}

/* A tile of keys and values, its logits and weights, queries and outputs of a block. */
static inline size_t vd_attn_scratch(size_t head_dim)
{
    return VD_ATTN_SPAN * (head_dim + 1) + 2 * VD_ATTN_SPAN * VD_ATTN_ROWS +
           2 * VD_ATTN_MANY_ROWS * (head_dim + 1);
}

/* ---- bf16 panels ------------------------------------------------------------------------------*/

/* Up to 32 rows of a weight as bf16, in the order of AMX tiles: two groups of 16 rows, of each
 * [pairs of columns][16 rows][2]. The number of columns is padded to a multiple of 32. */
enum { VD_PANEL_ROWS = 32, VD_PANEL_GROUP = 16, VD_PANEL_COLS = 32 };
/* Tokens that panel_direct takes at most. */
enum { VD_PANEL_DIRECT = 24 };

typedef struct vd_panel {
    const uint16_t *a;   /* [T, n_cols] bf16, rows ld_a apart */
    const uint16_t *b;   /* the panel; aligned to 64 */
    float *y;
    size_t ld_a, ld_y;
    size_t n_tokens;     /* T, any */
    size_t n_rows;       /* 1..VD_PANEL_ROWS; one group is read where 16 are enough */
    size_t n_cols;       /* a multiple of VD_PANEL_COLS */
    const void *ahead;   /* what will be read next, to be fetched meanwhile; or NULL */
    size_t ahead_bytes;
} vd_panel;

/* The fewest rows of activations (tokens) for which products go through panels: those of weights
 * packed as whole numbers, with narrow and wide activations, and those of all others but F32.
 * SIZE_MAX: never. */
typedef struct vd_panel_from {
    size_t narrow, wide, rows;
} vd_panel_from;

/* ---- fits: the searches of compress/encode ----------------------------------------------------*/

/* Sixteen ways to round the same n values, side by side. Lane j takes for each value the whole
 * number nearest to (x + shift) * inverse, ties to even, within low..high, or where `levels` are
 * given the nearest of those (the lower where two are equally near); a NaN counts as the lowest.
 * Sums are added in the order of the values without fused operations: all levels of kernels give
 * the same values. */
enum { VD_FIT_LANES = 16, VD_FIT_LEVELS = 16 };
typedef struct vd_fit {
    const float *x, *w;  /* [n]: values, and how much the square of each one's error counts */
    size_t n;
    float low, high;
    const float *levels; /* [VD_FIT_LEVELS] rising, or NULL */
    float inverse[VD_FIT_LANES], shift[VD_FIT_LANES];
    /* With q what a value was rounded to. fit_sums writes the sums of w q, w x q and w q q. */
    float q[VD_FIT_LANES], xq[VD_FIT_LANES], qq[VD_FIT_LANES];
    /* fit_errors reads `scale` and writes the sum of w (x + shift - scale q)^2. */
    float scale[VD_FIT_LANES], error[VD_FIT_LANES];
    float between[VD_FIT_LEVELS]; /* inside: halfway from each level to the next */
} vd_fit;

/* ---- the table --------------------------------------------------------------------------------*/

struct vd_kernels {
    const char *name; /* "c", then "avx2" and upward, or "neon" and upward */

    /* int8 blocks of 32: d = max|x|/127, q = round(x/d), ties to even. With q_low (NULL: without)
     * also q_low = round(256 * (x/d - q)), at most 127 in size, and the scale is d/256. n a
     * multiple of 32. A block of zeros, or one so small that the scale is no normal f32, has scale
     * 0; a block with a NaN or an infinity has values 0 and scale and sum NaN. All levels give the
     * same bits. */
    void (*quantize_row)(const float *x, int8_t *q, int8_t *q_low, float *scale, float *sum,
                         int32_t *neg_sum, size_t n);
    /* sum over i of x[i] * row[i], row of n values of `dtype`; f32 activations (EXACT and the
     * float types). scratch: n floats. */
    float (*dot_row)(vd_dtype dtype, const void *row, const float *x, size_t n, float *scratch);
    /* y[t * ld_y + n] = act row t times row n of the file's rows, n in [begin, end), f32
     * activations; what dot_row gives, but a row is decoded once for many tokens. scratch: K
     * floats. */
    void (*linear_rows)(const vd_weight *weight, const vd_act *act, float *y, size_t ld_y,
                        size_t begin, size_t end, float *scratch);

    /* Packed products. layout_for answers 0 where the table has no packed layout for the type.
     * The layouts are described in layout.h. */
    int (*layout_for)(vd_dtype dtype, size_t n_rows, size_t n_cols);
    size_t (*packed_bytes)(int layout, size_t n_rows, size_t n_cols);
    /* False where the layout cannot hold a scale of these rows. */
    bool (*pack)(int layout, vd_dtype dtype, const void *rows, size_t n_rows, size_t n_cols,
                 void *packed);
    /* Rows [begin, end) of the weight, all rows of act. */
    void (*linear_packed)(int layout, const void *packed, size_t n_rows, size_t n_cols,
                          const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end);

    /* Sparse weights, see sparse.h. The largest share of weights that are not zero with which the
     * level takes that form, so that decoding gains; 0: never. */
    float sparse_keep;
    /* 32 columns of n_rows rows (1..16) of Q8_0, which lie row_bytes apart, to a block; returns
     * where it ends. May write 64 bytes behind that. */
    uint8_t *(*sparse_pack)(const uint8_t *src, size_t row_bytes, size_t n_rows, uint8_t *block);
    /* The stream of a row group to its dense form, VD_LAYOUT_Q8. May read 64 bytes behind it. */
    void (*sparse_expand)(const uint8_t *stream, size_t n_cols, uint8_t *group);
    /* Rows [begin, end) and up to sparse_tokens rows of act, to the bits of linear_packed on the
     * dense form. NULL, with sparse_tokens 0: by way of that form. */
    void (*sparse_linear)(const void *packed, size_t n_cols, const vd_act *act, float *y,
                          size_t ld_y, size_t begin, size_t end);
    size_t sparse_tokens;

    /* Products through bf16 panels, see src/kernels/README.md: for many tokens. */
    vd_panel_from panel_from;
    size_t panel_act_bytes; /* of activations that all panels pass before the next ones do */
    /* n values to bf16, nearest even, a NaN stays one; subnormals may become zero. */
    void (*round_row)(const float *x, uint16_t *b, size_t n);
    /* Rows [n, n + n_rows) of the weight, n_rows at most VD_PANEL_ROWS, to a panel. What lies
     * beyond n_rows and beyond the columns is zero. Aligned to 64. */
    void (*panel_unpack)(const vd_weight *weight, size_t n, size_t n_rows, uint16_t *panel);
    /* y[t * ld_y + r] = a row t times panel row r, f32 sums, r below n_rows; without columns, 0. */
    void (*panel_product)(const vd_panel *args);
    /* Rows [begin, end) of a weight packed as F16 or BF16 and 1..VD_PANEL_DIRECT tokens, without a
     * panel: y[t * ld_y + n], by the numbers of both functions above. Of args a, y, their ld,
     * n_tokens and n_cols count. NULL: goes by panels. scratch: a panel's bytes, aligned to 64. */
    void (*panel_direct)(const vd_weight *weight, const vd_panel *args, size_t begin, size_t end,
                         void *scratch);

    /* out = x / rms(x) * weight, rms over n with eps inside the root. out may be x. */
    void (*rms_norm)(const float *x, const float *weight, float eps, float *out, size_t n);
    /* out = (x - mean) / deviation * weight + bias, over n with eps inside the root; bias NULL for
     * none. out may be x. */
    void (*layer_norm)(const float *x, const float *weight, const float *bias, float eps,
                       float *out, size_t n);
    /* Rotates pairs in place: NEOX style pairs (i, i + n_rot/2), else (2i, 2i+1).
     * cos_sin[n_rot/2][2] holds the angles of this position. */
    void (*rope)(float *x, const float *cos_sin, size_t n_rot, int neox);
    void (*add)(float *x, const float *y, size_t n);              /* x += y */
    void (*silu_mul)(float *gate, const float *up, size_t n);     /* gate = silu(gate) * up */
    void (*gelu_mul)(float *gate, const float *up, size_t n);     /* tanh form of GELU */
    void (*gelu)(float *x, size_t n);                             /* x = gelu(x), tanh form */
    void (*attn)(const vd_attn *args);
    /* The same with queries, keys, values and weights rounded to bf16 on the way and sums in f32,
     * for prompts; NULL where the level has nothing quicker than `attn`. n_q * n_group is at most
     * VD_ATTN_MANY_ROWS. NMSE of random q, k and v of variance 1: 5e-5 (1 + D scale^2 / 4). */
    void (*attn_many)(const vd_attn *args);
    /* f32 to the KV cache's type (see vd_attn), n values. All levels give the same bits. */
    void (*store_kv)(vd_dtype dtype, const float *x, void *dst, size_t n);
    void (*fit_sums)(vd_fit *fit);
    void (*fit_errors)(vd_fit *fit);
};

/* The table for this machine; VERDANT_CPU=NAME masks from the environment, read once. So is
 * VERDANT_SPARSE, a share from 0 to 1 in place of each level's sparse_keep, or "off". Asks what the
 * system lets programs use (XCR0, AT_HWCAP). Never NULL. */
const vd_kernels *vd_kernels_get(void);
/* The table of one level by name, for tests and benches; NULL where the machine lacks it. Beside
 * the names above there is "c-packed": plain C that makes packed products, to hold the faster
 * tables against, and "amx-emulated": amx with tiles in plain C, where the machine has what else it
 * needs. */
const vd_kernels *vd_kernels_level(const char *name);
/* One level that this build knows, and whether this machine runs it. */
typedef struct vd_kernels_info {
    const char *name; /* as VERDANT_CPU says it */
    char lacks[128];  /* what the machine is short of, "" where it runs the level */
    bool used;        /* vd_kernels_get gives it */
} vd_kernels_info;

enum { VD_KERNELS_INFO_MAX = 8 };

/* All levels, the lowest first. Returns how many. */
size_t vd_kernels_describe(vd_kernels_info ret_info[VD_KERNELS_INFO_MAX]);

/* FAST where a packed product exists (every level but "c"), EXACT for "c". */
vd_precision vd_kernels_default_precision(const vd_kernels *k);

#endif

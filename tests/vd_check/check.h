/*
 * check.h - what the checks of vd_check share: random data, guarded memory, comparing, counting.
 *
 * Every buffer ends right before a page that may not be touched and starts behind a canary, so a
 * kernel that reads or writes past its arguments is caught; since sizes are odd, so are addresses.
 * Single-threaded.
 */
#ifndef VD_CHECK_CHECK_H
#define VD_CHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* ---- random data ------------------------------------------------------------------------------*/

uint64_t check_random(void); /* the stream that --seed starts */
size_t check_random_below(size_t n);
float check_random_float(void); /* about normal, deviation 1 */
void check_fill_floats(float *x, size_t n);
/* Whether to run the `i`-th of cases that follow each other: always, or with --quick every `n`-th,
 * from another one on for each `turn`. */
bool check_this(size_t i, size_t turn, size_t n);
bool check_quickly(void);
/* Rows of n_cols values of any decodable type, with scales of an ordinary size. */
void check_fill_rows(vd_dtype dtype, unsigned char *rows, size_t n_rows, size_t n_cols);
/* Places of NaN, infinity or denormals: `kind` of 0 leaves x as it is. */
enum { KIND_PLAIN, KIND_NAN, KIND_INF, KIND_DENORMAL, KIND_ZERO, KIND_LIMIT };
void check_spoil(float *x, size_t n, int kind);

/* ---- guarded memory ---------------------------------------------------------------------------*/

/* At least `bytes` bytes right before a forbidden page, filled with a pattern. Exits without
 * memory. All are released by check_done_all. */
void *check_memory(size_t bytes);
/* As above, aligned to 64 (and then up to 63 bytes lie before the page). */
void *check_memory_aligned(size_t bytes);
/* Fails where the canary before any live buffer has changed; then releases all of them. */
void check_done_all(const char *what);
/* True where all of these bytes are still the pattern. */
bool check_untouched(const void *bytes, size_t n);

/* ---- verdicts ---------------------------------------------------------------------------------*/

/* Counts one check; prints the message where `ok` is false. */
void check_expect(bool ok, const char *fmt, ...) VD_PRINTF(2, 3);
/* |got - want| <= relative * |want| + absolute for all; a value that is not finite is to be matched
 * by another. Counts one check. */
void check_close(const char *what, const float *got, const float *want, size_t n, double relative,
                 double absolute);
/* Sum of squared differences over `energy`, the sum of squares that is to be expected (0: that of
 * want), at most `limit`. Counts one check. */
void check_nmse(const char *what, const float *got, const float *want, size_t n, double energy,
                double limit);
/* What is being checked, for the message when a guard page is hit. */
void check_now(const char *fmt, ...) VD_PRINTF(1, 2);
const char *check_current(void);

/* ---- the checks: one function per file, level `k` against plain C ----------------------------*/

void check_quantize(const vd_kernels *k);
void check_elementwise(const vd_kernels *k);
void check_norm_rope(const vd_kernels *k);
void check_attn(const vd_kernels *k);
void check_linear_rows(const vd_kernels *k);
void check_linear_packed(const vd_kernels *k);
void check_sparse(const vd_kernels *k);
void check_panel(const vd_kernels *k);
void check_fit(const vd_kernels *k);

/* A level that only vd_check has: the code of one that this machine may lack, compiled for what it
 * does have. NULL for other names and where it cannot run. */
const vd_kernels *check_twin(const char *name);

/* Times the entries of `k`, see bench.h. */
struct bench_options;
void bench_all(const vd_kernels *k, const struct bench_options *options);

#endif

/*
 * bench_limit.h - what bounds a decode step: the bytes it reads, and how fast this machine reads
 * that many. Inside the bench of src/cli.
 */
#ifndef VD_CLI_BENCH_LIMIT_H
#define VD_CLI_BENCH_LIMIT_H

#include <stdbool.h>
#include <sys/types.h>
#include <verdant/engine.h>

#include "base/bandwidth.h"

/* Bytes of weights, as the file has them, that one token of one sequence reads: all but the rows of
 * embedding tables and the experts that are not asked. More sequences read them once together, but
 * for further experts. */
uint64_t vd_bench_weight_bytes(const vd_engine *engine);
/* Products of a weight with an activation that one token takes: reading a prompt, where only the
 * last token needs the output matrix, or writing. Attention is not counted. */
uint64_t vd_bench_products(const vd_engine *engine, bool prefill);
/* Bytes of keys and values that it reads besides, behind `depth` tokens. */
uint64_t vd_bench_kv_bytes(const vd_engine *engine, size_t depth);

/* Proportional set size of a process: its own memory, and its part of what it shares. 0 where
 * unknown. */
uint64_t vd_bench_pss_bytes(pid_t pid);
/* The most that this process had. */
uint64_t vd_bench_peak_bytes(void);

#endif

/*
 * peak_x86.c - what a core of x86-64 does at most: 12 independent chains of one instruction, with
 * nothing to load. In assembly, so that this file needs no instruction-set flags; the caller has
 * made sure that the machine runs the level.
 */
#include <string.h>

#include "bench.h"

enum { STEPS = 20000, CHAINS = 12 };

#define TWELVE(op)                                                                                 \
    op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11)
#define CLOBBERS                                                                                   \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13"
#define LOOP(zero, op)                                                                             \
    for (int i = 0; i < STEPS; i++)                                                                \
    __asm__ volatile(zero TWELVE(op)::: CLOBBERS)

#define ZERO_512 "vpxord %%zmm12, %%zmm12, %%zmm12\nvpxord %%zmm13, %%zmm13, %%zmm13\n"
#define ZERO_256 "vpxor %%ymm12, %%ymm12, %%ymm12\nvpxor %%ymm13, %%ymm13, %%ymm13\n"

#define DPBUSD_512(i) "vpdpbusd %%zmm12, %%zmm13, %%zmm" #i "\n"
#define FMA_512(i) "vfmadd231ps %%zmm12, %%zmm13, %%zmm" #i "\n"
#define DPBF16_512(i) "vdpbf16ps %%zmm12, %%zmm13, %%zmm" #i "\n"
#define MADDUBS_256(i) "vpmaddubsw %%ymm12, %%ymm13, %%ymm" #i "\n"
#define DPBUSD_VEX(i) "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm" #i "\n"
#define DPBUSD_EVEX(i) "%{evex%} vpdpbusd %%ymm12, %%ymm13, %%ymm" #i "\n"
#define FMA_256(i) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #i "\n"

static void dpbusd_512(void *unused)
{
    (void)unused;
    LOOP(ZERO_512, DPBUSD_512);
}

static void fma_512(void *unused)
{
    (void)unused;
    LOOP(ZERO_512, FMA_512);
}

static void dpbf16_512(void *unused)
{
    (void)unused;
    LOOP(ZERO_512, DPBF16_512);
}

static void maddubs_256(void *unused)
{
    (void)unused;
    LOOP(ZERO_256, MADDUBS_256);
}

static void dpbusd_vex(void *unused)
{
    (void)unused;
    LOOP(ZERO_256, DPBUSD_VEX);
}

static void dpbusd_evex(void *unused)
{
    (void)unused;
    LOOP(ZERO_256, DPBUSD_EVEX);
}

static void fma_256(void *unused)
{
    (void)unused;
    LOOP(ZERO_256, FMA_256);
}

/* `ops` of one instruction. */
static double gops(bench_fn fn, double ops)
{
    return ops * CHAINS * STEPS / bench_time_ns(fn, NULL);
}

bench_peak bench_peak_of(const char *level)
{
    if (strcmp(level, "avx512") == 0)
        return (bench_peak){"vpdpbusd", gops(dpbusd_512, 128), gops(fma_512, 32)};
    if (strcmp(level, "avx512-bf16") == 0)
        return (bench_peak){"vpdpbusd", gops(dpbusd_512, 128), gops(fma_512, 32),
                            gops(dpbf16_512, 64)};
    if (strcmp(level, "avxvnni") == 0)
        return (bench_peak){"vpdpbusd", gops(dpbusd_vex, 64), gops(fma_256, 16)};
    if (strcmp(level, "avxvnni-evex") == 0)
        return (bench_peak){"vpdpbusd", gops(dpbusd_evex, 64), gops(fma_256, 16)};
    if (strcmp(level, "avx2") == 0)
        return (bench_peak){"vpmaddubsw", gops(maddubs_256, 64), gops(fma_256, 16)};
    return (bench_peak){.int8_name = ""};
}

/* check.c - see check.h. */
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

check_state check_globals;

uint64_t check_random(void)
{
    /* SplitMix64 (Steele, Lea and Flood 2014). */
    uint64_t z = check_globals.seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

size_t check_random_below(size_t n)
{
    return (size_t)(check_random() % n);
}

float check_random_float(void)
{
    double sum = 0; /* of four uniform values: variance 4/12 */
    for (int i = 0; i < 4; i++)
        sum += (double)(check_random() >> 11) * 0x1p-53;
    return (float)((sum - 2) * 1.7320508);
}

void check_fill_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = check_random_float();
}

bool check_quickly(void)
{
    return check_globals.quick;
}

bool check_this(size_t i, size_t turn, size_t n)
{
    return !check_globals.quick || (i + turn) % n == 0;
}

static void put_f16(unsigned char *at, float value)
{
    uint16_t half = vd_f32_to_f16(value);
    memcpy(at, &half, 2);
}

static void fill_value(vd_dtype dtype, unsigned char *at)
{
    float value = check_random_float();
    uint16_t bits = vd_f32_to_bf16(value);
    if (dtype == VD_DTYPE_F32)
        memcpy(at, &value, 4);
    else if (dtype == VD_DTYPE_F16)
        put_f16(at, value);
    else
        memcpy(at, &bits, 2);
}

/* Where a type keeps the f16 that its values are multiples of, and its minimum. */
static void put_scales(vd_dtype dtype, unsigned char *block, float d, float min)
{
    static const unsigned char behind[VD_DTYPE_LIMIT] = {
        [VD_DTYPE_Q6_K] = 208, [VD_DTYPE_Q3_K] = 108, [VD_DTYPE_Q2_K] = 80,
        [VD_DTYPE_TQ1_0] = 52, [VD_DTYPE_TQ2_0] = 64,
    };
    if (dtype == VD_DTYPE_MXFP4) {
        block[0] = (unsigned char)(118 + check_random_below(8)); /* 2^(e - 128) */
    } else if (dtype == VD_DTYPE_NVFP4) {
        for (int i = 0; i < 4; i++)
            block[i] = (unsigned char)(16 + check_random_below(32));
    } else if (dtype == VD_DTYPE_IQ1_M) {
        uint16_t half = vd_f32_to_f16(d);
        for (int i = 0; i < 4; i++) {
            unsigned char *upper = block + 49 + 2 * i;
            *upper = (unsigned char)((*upper & 15) | (half >> 4 * i & 15) << 4);
        }
    } else {
        put_f16(block + behind[dtype], d);
    }
    if (dtype == VD_DTYPE_Q4_1 || dtype == VD_DTYPE_Q5_1 || dtype == VD_DTYPE_Q4_K ||
        dtype == VD_DTYPE_Q5_K || dtype == VD_DTYPE_Q2_K)
        put_f16(block + behind[dtype] + 2, min);
}

void check_fill_rows(vd_dtype dtype, unsigned char *rows, size_t n_rows, size_t n_cols)
{
    const vd_dtype_info *info = vd_dtype_get(dtype);
    size_t n_blocks = n_rows * n_cols / info->block;
    for (size_t b = 0; b < n_blocks; b++) {
        unsigned char *block = rows + b * info->bytes;
        if (info->block == 1) {
            fill_value(dtype, block);
            continue;
        }
        for (size_t i = 0; i < info->bytes; i++)
            block[i] = (unsigned char)check_random();
        bool super = info->block == 256;
        float size = super ? 0.0005f : 0.02f;
        put_scales(dtype, block, check_random_float() * size, check_random_float() * size);
    }
}

void check_spoil(float *x, size_t n, int kind)
{
    static const float values[KIND_LIMIT] = {0, NAN, INFINITY, 1e-41f, 0};
    if (n == 0 || kind == KIND_PLAIN)
        return;
    if (kind == KIND_NAN || kind == KIND_INF) {
        x[check_random_below(n)] = values[kind];
        return;
    }
    for (size_t i = 0; i < n; i++)
        x[i] = values[kind] * (float)(int)(i % 7);
}

/* ---- guarded memory ---------------------------------------------------------------------------*/

enum { CANARY = 64, PATTERN = 0xa5 };

static void *guard(size_t bytes, size_t shift)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t whole = (bytes + shift + CANARY + page - 1) / page * page;
    if (check_globals.n_buffers == CHECK_BUFFERS_MAX)
        exit(2);
    unsigned char *base = mmap(NULL, whole + page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + whole, page, PROT_NONE) != 0)
        exit(2);
    check_buffer *b = &check_globals.buffers[check_globals.n_buffers++];
    *b = (check_buffer){base, whole + page, base + whole - shift - bytes};
    memset(base, PATTERN, whole);
    return b->start;
}

void *check_memory(size_t bytes)
{
    return guard(bytes, 0);
}

void *check_memory_aligned(size_t bytes)
{
    return guard(bytes, (64 - bytes % 64) % 64);
}

bool check_untouched(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        if (p[i] != PATTERN)
            return false;
    return true;
}

void check_done_all(const char *what)
{
    bool whole = true;
    for (size_t i = 0; i < check_globals.n_buffers; i++) {
        check_buffer *b = &check_globals.buffers[i];
        whole = whole && check_untouched(b->start - CANARY, CANARY);
        munmap(b->base, b->bytes);
    }
    check_globals.n_buffers = 0;
    check_expect(whole, "%s wrote before one of its buffers", what);
}

/* ---- verdicts ---------------------------------------------------------------------------------*/

void check_now(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(check_globals.current, sizeof check_globals.current, fmt, args);
    va_end(args);
}

const char *check_current(void)
{
    return check_globals.current;
}

void check_expect(bool ok, const char *fmt, ...)
{
    va_list args;
    if (ok) {
        check_globals.n_passed++;
        return;
    }
    check_globals.n_failed++;
    if (check_globals.n_failed > 50)
        return;
    printf("FAILED [%s] ", check_globals.current);
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

void check_close(const char *what, const float *got, const float *want, size_t n, double relative,
                 double absolute)
{
    for (size_t i = 0; i < n; i++) {
        double g = (double)got[i], w = (double)want[i];
        bool ok = isfinite(w) ? fabs(g - w) <= relative * fabs(w) + absolute : !isfinite(g);
        if (!ok) {
            check_expect(false, "%s: value %zu of %zu is %.9g and should be %.9g", what, i, n, g,
                         w);
            return;
        }
    }
    check_expect(true, "%s", what);
}

void check_nmse(const char *what, const float *got, const float *want, size_t n, double energy,
                double limit)
{
    double error = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        double g = (double)got[i], w = (double)want[i];
        if (!isfinite(w)) {
            if (!isfinite(g))
                continue;
            error = INFINITY;
        }
        error += (g - w) * (g - w);
        squares += w * w;
    }
    energy = energy > 0 ? energy : squares;
    check_expect(error <= limit * energy + 1e-60, "%s: NMSE %.3g is above %.3g", what,
                 error / energy, limit);
}

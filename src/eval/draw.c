/*
 * draw.c - the tasks that llama-perplexity draws, so that scores on a part of a file compare.
 *
 * Its order is that of std::mt19937 with seed 1 (Matsumoto and Nishimura 1998) through libstdc++'s
 * uniform_int_distribution<size_t>, which since GCC 11 is the multiplication of Lemire ("Fast
 * Random Integer Generation in an Interval", 2019): numbers r * n with a low half below 2^32 mod n
 * are thrown away, the high half of the rest is the answer.
 */
#include <string.h>

#include "eval/tasks.h"

enum { N = 624, M = 397 };

typedef struct twister {
    uint32_t state[N];
    size_t at;
} twister;

static void seed(twister *t, uint32_t value)
{
    t->state[0] = value;
    for (uint32_t i = 1; i < N; i++)
        t->state[i] = 1812433253u * (t->state[i - 1] ^ (t->state[i - 1] >> 30)) + i;
    t->at = N;
}

static void twist(twister *t)
{
    for (size_t i = 0; i < N; i++) {
        uint32_t y = (t->state[i] & 0x80000000u) | (t->state[(i + 1) % N] & 0x7fffffffu);
        t->state[i] = t->state[(i + M) % N] ^ (y >> 1) ^ ((y & 1) != 0 ? 0x9908b0dfu : 0);
    }
    t->at = 0;
}

static uint32_t next(twister *t)
{
    if (t->at == N)
        twist(t);
    uint32_t y = t->state[t->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* Uniform in [0, n). */
static uint32_t below(twister *t, uint32_t n)
{
    uint64_t product = (uint64_t)next(t) * n;
    if ((uint32_t)product < n) {
        uint32_t reject = (0u - n) % n;
        while ((uint32_t)product < reject)
            product = (uint64_t)next(t) * n;
    }
    return (uint32_t)(product >> 32);
}

void vd_task_set_draw(vd_task_set *set, size_t n)
{
    twister t;
    seed(&t, 1);
    if (n == 0 || n > set->n)
        n = set->n;
    /* A drawn task moves to the front; those not yet drawn keep their order behind it. */
    for (size_t i = 0; i < n; i++) {
        size_t from = i + below(&t, (uint32_t)(set->n - i));
        vd_task drawn = set->task[from];
        memmove(set->task + i + 1, set->task + i, (from - i) * sizeof(drawn));
        set->task[i] = drawn;
    }
    set->n = n;
}

/* scan.c - see scan.h. Reductions go through LANES partial results: that is what may be vectorized
 * without changing the order of additions. */
#include "engine/scan.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/checked.h"

enum { LANES = 16 };

/* -inf where there is no number. */
static float largest(const float *x, size_t n)
{
    float lane[LANES], max = -INFINITY;
    size_t i = 0;
    for (int j = 0; j < LANES; j++)
        lane[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] = x[i + (size_t)j] > lane[j] ? x[i + (size_t)j] : lane[j];
    for (int j = 0; j < LANES; j++)
        max = lane[j] > max ? lane[j] : max;
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

int32_t vd_scan_best(const float *x, size_t n)
{
    float max = -INFINITY;
    size_t chunk = 0;
    for (size_t i = 0; i < n; i += VD_SCAN_CHUNK) {
        float here = largest(x + i, VD_MIN(n - i, (size_t)VD_SCAN_CHUNK));
        if (here > max) {
            max = here;
            chunk = i;
        }
    }
    if (max == -INFINITY)
        return -1;
    while (x[chunk] != max)
        chunk++;
    return (int32_t)chunk;
}

/* Whether a is worse than b: smaller, or as large and behind it. */
static bool worse(const float *x, int32_t a, int32_t b)
{
    return x[a] < x[b] || (x[a] == x[b] && a > b);
}

/* heap[0] is the worst of the best so far. */
static void sift_down(const float *x, int32_t *heap, size_t root, size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && worse(x, heap[child + 1], heap[child]))
            child++;
        if (worse(x, heap[root], heap[child]))
            return;
        int32_t swap = heap[root];
        heap[root] = heap[child];
        heap[child] = swap;
    }
}

size_t vd_scan_top(const float *x, size_t n, size_t k, int32_t *ret_index)
{
    size_t n_kept = 0;
    float bar = -INFINITY; /* what a value must exceed */
    for (size_t begin = 0; k > 0 && begin < n; begin += LANES) {
        size_t end = VD_MIN(begin + LANES, n);
        if (!(largest(x + begin, end - begin) > bar))
            continue;
        for (size_t i = begin; i < end; i++) {
            if (!(x[i] > bar))
                continue;
            if (n_kept < k) {
                ret_index[n_kept++] = (int32_t)i;
                for (size_t j = n_kept / 2; n_kept == k && j-- > 0;)
                    sift_down(x, ret_index, j, k);
            } else {
                ret_index[0] = (int32_t)i;
                sift_down(x, ret_index, 0, k);
            }
            if (n_kept == k)
                bar = x[ret_index[0]];
        }
    }
    return n_kept;
}

size_t vd_scan_from(const float *x, size_t n, float floor, int32_t *ret_index)
{
    size_t n_kept = 0;
    for (size_t begin = 0; begin < n; begin += LANES) {
        size_t end = VD_MIN(begin + LANES, n);
        if (largest(x + begin, end - begin) < floor)
            continue;
        for (size_t i = begin; i < end; i++)
            if (x[i] >= floor)
                ret_index[n_kept++] = (int32_t)i;
    }
    return n_kept;
}

static inline int32_t bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float float_of(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* e^x for x <= 0, 0 for a NaN: 2^n times a polynomial in what is left (the Cephes library's;
 * Moshier 1989). Compared are whole numbers: comparing floats, which may trap, keeps a loop scalar.
 */
static inline float exp_of(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    const int32_t limit = 0x42ac0000; /* 86.0f; a NaN's bits are above it too */
    int32_t size = bits_of(x) & 0x7fffffff;
    float in = -float_of(size < limit ? size : limit);
    float n = (in * 1.44269504f + magic) - magic;
    float r = (in - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    float y = p * float_of((int32_t)((uint32_t)((int32_t)n + 127) << 23));
    return float_of(bits_of(y) & -(int32_t)(size < limit));
}

float vd_scan_weights(const float *x, size_t n, float max, float temperature, float *out)
{
    float lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    if (isinf(max))
        for (size_t j = 0; j < n; j++)
            out[j] = x[j] == max ? 1.0f : 0.0f;
    else
        for (size_t j = 0; j < n; j++) /* distances to the best stay finite near temperature 0 */
            out[j] = exp_of((x[j] - max) / temperature);
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += out[i + (size_t)j];
    for (int j = 0; j < LANES; j++)
        sum += lane[j];
    for (; i < n; i++)
        sum += out[i];
    return sum;
}

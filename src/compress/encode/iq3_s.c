/*
 * iq3_s.c - IQ3_S: the magnitudes of four neighbours are one of 512 points with coordinates 1, 3 ..
 * 15 (iq_grids.h), and each has its sign. See super.h for the search, decode_iq3_s.c for the
 * layout.
 *
 * Rounding to a point: each magnitude is rounded to its nearest coordinate. Where that is a point
 * it is the nearest one; elsewhere the NEAR points nearest to it, found once for all 4096
 * combinations, are compared by their weighted distance to the values themselves.
 */
#include <pthread.h>
#include <stdlib.h>

#include "compress/encode/super.h"
#include "kernels/ref/iq_grids.h"

enum { N_POINTS = 512, N_CELLS = 4096, NEAR = 16, NO_POINT = 0xffff };

/* Written by find_near alone. near[c][1] is NO_POINT where cell c is itself a point. */
static uint16_t near_points[N_CELLS][NEAR];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A cell's number has the coordinates' indices as octal digits, the first value's lowest. */
static unsigned cell_of(const int8_t *point)
{
    unsigned cell = 0;
    for (int i = 0; i < 4; i++)
        cell |= (unsigned)(point[i] / 2) << 3 * i;
    return cell;
}

/* Distance and number in one, so that sorting them sorts by distance. */
static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void find_near(void)
{
    const vd_iq_grids *grids = vd_iq_grids_get();
    uint32_t order[N_POINTS];
    for (unsigned cell = 0; cell < N_CELLS; cell++) {
        for (unsigned p = 0; p < N_POINTS; p++) {
            uint32_t distance = 0;
            for (int i = 0; i < 4; i++) {
                int step = (int)(cell >> 3 * i & 7) - grids->iq3_s[p][i] / 2;
                distance += (uint32_t)(step * step);
            }
            order[p] = distance << 16 | p;
        }
        qsort(order, N_POINTS, sizeof(order[0]), by_value);
        for (int i = 0; i < NEAR; i++)
            near_points[cell][i] = (uint16_t)order[i];
        if (order[0] >> 16 == 0)
            near_points[cell][1] = NO_POINT;
    }
}

/* The point for four magnitudes in units of their scale. */
static const int8_t *nearest(const vd_iq_grids *grids, const float *magnitude, const float *w)
{
    unsigned cell = 0;
    for (int i = 0; i < 4; i++) {
        float index = vd_clamp((magnitude[i] - 1.0f) * 0.5f, 0.0f, 7.0f);
        cell |= (unsigned)(index + 0.5f) << 3 * i;
    }
    const uint16_t *near = near_points[cell];
    if (near[1] == NO_POINT)
        return grids->iq3_s[near[0]];
    const int8_t *found = NULL;
    float best = INFINITY;
    for (int k = 0; k < NEAR; k++) {
        const int8_t *point = grids->iq3_s[near[k]];
        float distance = 0;
        for (int i = 0; i < 4; i++) {
            float left = magnitude[i] - (float)point[i];
            distance += w[i] * left * left;
        }
        if (distance < best) {
            best = distance;
            found = point;
        }
    }
    return found != NULL ? found : grids->iq3_s[near[0]];
}

static void round_levels(const float *x, const float *w, float id, int n, float *level)
{
    const vd_iq_grids *grids = vd_iq_grids_get();
    for (int i = 0; i < n; i += 4) {
        float magnitude[4];
        for (int j = 0; j < 4; j++)
            magnitude[j] = fabsf(x[i + j] * id);
        const int8_t *point = nearest(grids, magnitude, w + i);
        for (int j = 0; j < 4; j++)
            level[i + j] = x[i + j] < 0.0f ? (float)-point[j] : (float)point[j];
    }
}

static const vd_family family = {.sub = 32, .s_min = 0, .s_max = 15, .s_step = 2, .s_first = 1,
                                 .low = 15, .high = 15, .step = 0.7f, .n_steps = 4,
                                 .rounder = round_levels};

VD_ENCODER(vd_encode_iq3_s)
{
    pthread_once(&once, find_near);
    for (size_t b = 0; b < n_blocks; b++, x += VD_SUPER, w = vd_next(w, VD_SUPER), dst += 110) {
        vd_superblock block;
        vd_super_search(&family, x, w, &block);
        memset(dst, 0, 110);
        for (int g = 0; g < VD_SUPER / 4; g++) {
            int8_t magnitude[4];
            for (int j = 0; j < 4; j++) {
                float level = block.level[4 * g + j];
                magnitude[j] = (int8_t)fabsf(level);
                dst[74 + g / 2] |= (uint8_t)((level < 0.0f) << (g % 2 * 4 + j));
            }
            unsigned point = near_points[cell_of(magnitude)][0];
            dst[2 + g] = (uint8_t)point;
            dst[66 + g / 8] |= (uint8_t)(point >> 8 << g % 8);
        }
        for (int i = 0; i < 8; i++)
            dst[106 + i / 2] |= (uint8_t)(block.s[i] << i % 2 * 4);
        vd_store_f16(dst, block.d);
    }
}

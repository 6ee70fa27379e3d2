/* iq_grids.c - the grids of the IQ types, spread out once. See iq_grids.h. */
#include "kernels/ref/iq_grids.h"

#include <pthread.h>
#include <string.h>

static vd_iq_grids grids; /* written by fill alone */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Point after point: `skips` says how many numbers lie between one and the next. The digits of a
 * number to the base n_levels, lowest first, choose the values of its point. */
static void spread(const char *skips, const int8_t *level, uint32_t n_levels, size_t n_digits,
                   int8_t *dst)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-";
    uint32_t number = 0;
    for (; *skips != '\0'; skips++) {
        uint32_t skip = (uint32_t)(strchr(digits, *skips) - digits);
        number += skip;
        if (skip == 63)
            continue; /* no point yet */
        uint32_t rest = number++;
        for (size_t i = 0; i < n_digits; i++, rest /= n_levels)
            *dst++ = level[rest % n_levels];
    }
}

static void fill(void)
{
    static const int8_t of_iq2[] = {8, 25, 43}, of_iq1[] = {-1, 0, 1};
    static const int8_t of_iq3_xxs[] = {4, 12, 20, 28, 36, 44, 52, 62};
    static const int8_t of_iq3_s[] = {1, 3, 5, 7, 9, 11, 13, 15};
    spread(vd_iq2_xxs_skips, of_iq2, 3, 8, grids.iq2_xxs[0]);
    spread(vd_iq2_xs_skips, of_iq2, 3, 8, grids.iq2_xs[0]);
    spread(vd_iq2_s_skips, of_iq2, 3, 8, grids.iq2_s[0]);
    spread(vd_iq3_xxs_skips, of_iq3_xxs, 8, 4, grids.iq3_xxs[0]);
    spread(vd_iq3_s_skips, of_iq3_s, 8, 4, grids.iq3_s[0]);
    spread(vd_iq1_skips, of_iq1, 3, 8, grids.iq1[0]);
}

const vd_iq_grids *vd_iq_grids_get(void)
{
    pthread_once(&once, fill);
    return &grids;
}

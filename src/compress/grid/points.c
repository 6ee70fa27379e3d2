/*
 * points.c - grids of code books: IQ3, IQ2, IQ1. A code is what a super-block holds of eight
 * values but for their scale (encode/book.h): a point or two, signs, and IQ1_M's shift.
 *
 * All points are tried: squared differences, coordinate by coordinate, so that the loops run over
 * points. Signs are those of the values. Where their number must be even and is odd, one value gets
 * the wrong one, which costs 4 weight |w| scale p.
 */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "compress/encode/iq.h"
#include "compress/grid/families.h"
#include "kernels/ref/iq_grids.h"

enum { SUPER = 256, EIGHT = 8, POINTS_MAX = VD_BOOK_POINTS_MAX };

typedef struct code {
    uint16_t point[2];
    uint8_t minus, down;
} code;
_Static_assert(sizeof(code) <= EIGHT, "the code of eight values fits in their eight bytes");

/* Coordinates of points, one after the other. */
typedef struct points {
    int n, group;
    float at[EIGHT][POINTS_MAX];
} points;

/* A point and what it costs. */
typedef struct found {
    int point;
    float error;
} found;

/* Of eight values. */
typedef struct wanted {
    float x[EIGHT], weight[EIGHT]; /* x in units of the scale; sizes where signs are apart */
    unsigned minus;
} wanted;

/* The best of all points for the values from `first` on, shifted; with a wrong sign where that
 * costs least. */
static found find_point(const points *p, const wanted *w, int first, float shift, bool wrong)
{
    float error[POINTS_MAX] = {0}, loss[POINTS_MAX];
    found best = {0, INFINITY};
    for (int k = 0; wrong && k < p->n; k++)
        loss[k] = INFINITY;
    for (int i = 0; i < p->group; i++) {
        float x = w->x[first + i] - shift, weight = w->weight[first + i];
        for (int k = 0; k < p->n; k++) {
            float off = x - p->at[i][k];
            error[k] += weight * off * off;
        }
        for (int k = 0; wrong && k < p->n; k++) {
            float more = 4 * weight * x * p->at[i][k];
            loss[k] = more < loss[k] ? more : loss[k];
        }
    }
    for (int k = 0; k < p->n; k++) {
        float now = error[k] + (wrong ? loss[k] : 0);
        if (now < best.error)
            best = (found){k, now};
    }
    return best;
}

/* Whose wrong sign costs least. */
static unsigned wrong_sign(const points *p, const wanted *w, int first, int point)
{
    int least = 0;
    for (int i = 1; i < p->group; i++)
        if (w->weight[first + i] * w->x[first + i] * p->at[i][point] <
            w->weight[first + least] * w->x[first + least] * p->at[least][point])
            least = i;
    return 1u << (first + least);
}

static code find_signed(const points *p, const wanted *w, bool even)
{
    code c = {.minus = (uint8_t)w->minus};
    int n = EIGHT / p->group;
    found right[2], other[2] = {0};
    bool odd = even && __builtin_parity(w->minus) != 0;
    for (int i = 0; i < n; i++) {
        right[i] = find_point(p, w, i * p->group, 0, false);
        if (odd)
            other[i] = find_point(p, w, i * p->group, 0, true);
    }
    int wrong = odd && n == 2 && other[1].error - right[1].error < other[0].error - right[0].error;
    if (odd)
        right[wrong] = other[wrong];
    for (int i = 0; i < n; i++)
        c.point[i] = (uint16_t)right[i].point;
    if (odd)
        c.minus ^= (uint8_t)wrong_sign(p, w, wrong * p->group, right[wrong].point);
    return c;
}

static code find_shifted(const points *p, const wanted *w)
{
    found up = find_point(p, w, 0, VD_IQ1_SHIFT, false);
    found down = find_point(p, w, 0, -VD_IQ1_SHIFT, false);
    return (code){.point = {(uint16_t)(down.error < up.error ? down.point : up.point)},
                  .down = down.error < up.error};
}

/* ---- types ------------------------------------------------------------------------------------*/

static points all[VD_IQ_TYPES]; /* written by spread_points alone */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void spread_points(void)
{
    for (vd_iq_type type = 0; type < VD_IQ_TYPES; type++) {
        const vd_book_family *f = &vd_iq_get(type)->book->family;
        all[type].n = f->n_points;
        all[type].group = f->group;
        for (int k = 0; k < f->n_points; k++)
            for (int i = 0; i < f->group; i++)
                all[type].at[i][k] = (float)f->point[k * f->group + i];
    }
}

/* value = scale * (shift + coordinate), exactly: few bits each. */
static void decode(const points *p, const code *c, float scale, float shift, bool shifted,
                   double *value)
{
    for (int i = 0; i < EIGHT; i++) {
        float x = p->at[i % p->group][c->point[i / p->group]] + shift;
        value[i] = (double)(scale * (!shifted && c->minus >> i & 1 ? -x : x));
    }
}

/* min: in IQ1_S the shift of the sub-block, times -scale; else 0. */
static void nearest(vd_iq_type type, float scale, float min, const double *w, const double *weight,
                    uint8_t *ret_code, double *value)
{
    pthread_once(&once, spread_points);
    const points *p = &all[type];
    vd_book_signs signs = vd_iq_get(type)->book->family.signs;
    bool shifted = signs == VD_BOOK_SHIFT_SUB || signs == VD_BOOK_SHIFT_GROUP;
    wanted in = {.minus = 0};
    code c = {0};
    double most = 0;
    for (int i = 0; i < EIGHT; i++)
        most = fmax(most, weight[i]);
    for (int i = 0; i < EIGHT && scale != 0; i++) {
        double x = (w[i] + (double)min) / (double)scale;
        in.minus |= (unsigned)(x < 0) << i;
        in.x[i] = (float)(shifted ? x : fabs(x));
        in.weight[i] = (float)(weight[i] / most);
    }
    if (scale != 0 && signs == VD_BOOK_SHIFT_SUB)
        c.point[0] = (uint16_t)find_point(p, &in, 0, 0, false).point;
    else if (scale != 0)
        c = shifted ? find_shifted(p, &in) : find_signed(p, &in, signs == VD_BOOK_EVEN);
    float shift = signs == VD_BOOK_SHIFT_SUB   ? scale != 0 ? -min / scale : 0
                  : signs == VD_BOOK_SHIFT_GROUP ? c.down ? -VD_IQ1_SHIFT : VD_IQ1_SHIFT
                                                 : 0;
    decode(p, &c, scale, shift, shifted, value);
    memcpy(ret_code, &c, sizeof(c));
}

static void read(vd_iq_type type, const uint8_t *block, float *scale, float *min)
{
    const vd_iq *iq = vd_iq_get(type);
    const vd_book_family *f = &iq->book->family;
    vd_book_block b = {0};
    iq->scales(block, &b);
    for (int i = 0; i < SUPER / f->sub; i++) {
        scale[i] = b.d * f->unit * (float)(2 * b.s[i] + 1);
        if (f->signs == VD_BOOK_SHIFT_SUB)
            min[i] = scale[i] * (b.down[i * f->sub / EIGHT] ? VD_IQ1_SHIFT : -VD_IQ1_SHIFT);
    }
}

static void put(vd_iq_type type, uint8_t *block, const uint8_t *codes)
{
    const vd_iq *iq = vd_iq_get(type);
    int n = EIGHT / iq->book->family.group;
    vd_book_block b = {0};
    iq->scales(block, &b);
    for (int i = 0; i < SUPER / EIGHT; i++) {
        code c;
        memcpy(&c, codes + i * EIGHT, sizeof(c));
        memcpy(&b.point[i * n], c.point, (size_t)n * sizeof(*c.point));
        b.minus[i] = c.minus;
        if (iq->book->family.signs == VD_BOOK_SHIFT_GROUP)
            b.down[i] = c.down != 0;
    }
    memset(block, 0, iq->bytes);
    if (b.d > 0)
        iq->pack(&b, block);
}

#define GRID(name, type, n_bytes, n_sub)                                                           \
    static void nearest_##name(float scale, float min, const double *w, const double *weight,      \
                               uint8_t *c, double *value)                                          \
    {                                                                                              \
        nearest(type, scale, min, w, weight, c, value);                                            \
    }                                                                                              \
    static void read_##name(const uint8_t *block, float *scale, float *min)                        \
    {                                                                                              \
        read(type, block, scale, min);                                                             \
    }                                                                                              \
    static void put_##name(uint8_t *block, const uint8_t *codes)                                   \
    {                                                                                              \
        put(type, block, codes);                                                                   \
    }                                                                                              \
    const vd_grid vd_grid_##name = {.bytes = n_bytes, .block = SUPER, .sub = n_sub,                \
                                    .group = EIGHT, .nearest = nearest_##name,                     \
                                    .read = read_##name, .put = put_##name};
GRID(iq3_s, VD_IQ3_S, 110, 32)
GRID(iq3_xxs, VD_IQ3_XXS, 98, 32)
GRID(iq2_s, VD_IQ2_S, 82, 16)
GRID(iq2_xs, VD_IQ2_XS, 74, 16)
GRID(iq2_xxs, VD_IQ2_XXS, 66, 32)
GRID(iq1_m, VD_IQ1_M, 56, 16)
GRID(iq1_s, VD_IQ1_S, 50, 32)

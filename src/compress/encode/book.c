/* book.c - see book.h. */
#include "compress/encode/book.h"

#include "compress/encode/path.h"
#include "compress/encode/super.h"
#include "kernels/ref/iq_grids.h"

enum {
    SUB_CORNERS = 8 * 2 * VD_CORNERS_MAX, /* of a sub-block: eight groups, each one or two ways */
    PASSES = 4
};

/* Of each half a point: its part of Q and L, and of the least loss for a wrong sign. */
typedef struct halves {
    float q[VD_BOOK_HALVES], l[VD_BOOK_HALVES], least[VD_BOOK_HALVES];
} halves;

/* The best points of a group from t on. */
typedef struct step {
    float t;
    vd_spot at;
} step;

typedef struct group_path {
    int n;
    vd_corner corner[VD_CORNERS_MAX];
} group_path;

typedef struct sub_path {
    int n;
    float best; /* scale: where the error is least */
    step *step;
} sub_path;

typedef struct search {
    const vd_book *book;
    float x[VD_SUPER], w[VD_SUPER]; /* x in units of the largest magnitude */
    unsigned minus[32];             /* signs of x, of each eight values a bit each */
    group_path path[VD_BOOK_GROUPS][2];   /* 1: with a wrong sign; shifted down */
    sub_path sub[VD_BOOK_SUBS];
    step steps[8 * SUB_CORNERS];
    vd_spots spots;
} search;

static int n_of_half(const vd_book *book)
{
    return book->family.group == 4 ? 2 : 4;
}

static uint8_t digits_of(const vd_book *book, const int8_t *coordinate)
{
    int digits = 0;
    for (int i = n_of_half(book); i-- > 0;) {
        int digit = 0;
        while (book->level[digit] < (float)coordinate[i])
            digit++;
        digits = digits * book->n_levels + digit;
    }
    return (uint8_t)digits;
}

/* The least magnitude of a coordinate, shifted or not. */
static int smallest(const vd_book *book)
{
    return book->level[0] < 0.0f ? 0 : (int)book->level[0];
}

void vd_book_make(const vd_book_family *family, vd_book *ret)
{
    *ret = (vd_book){.family = *family};
    for (int level = INT8_MIN; level <= INT8_MAX; level++) {
        bool used = false;
        for (int i = 0; i < family->n_points * family->group && !used; i++)
            used = family->point[i] == level;
        if (used)
            ret->level[ret->n_levels++] = (float)level;
    }
    for (int p = 0; p < family->n_points; p++) {
        bool lowest = true;
        for (int i = 0; i < family->group; i++)
            lowest = lowest && family->point[p * family->group + i] == smallest(ret);
        ret->lowest = lowest ? p : ret->lowest;
    }
    ret->n_halves = 1;
    for (int i = 0; i < n_of_half(ret); i++)
        ret->n_halves *= ret->n_levels;
    for (int p = 0; p < family->n_points; p++) {
        const int8_t *point = family->point + p * family->group;
        ret->low[p] = digits_of(ret, point);
        ret->begin[digits_of(ret, point + n_of_half(ret)) + 1] = (uint16_t)(p + 1);
    }
    for (int h = 1; h <= ret->n_halves; h++) /* upper halves that no point has */
        if (ret->begin[h] == 0)
            ret->begin[h] = ret->begin[h - 1];
}

/* ---- paths ------------------------------------------------------------------------------------*/

/* All halves of the values x: each coordinate multiplies what there is by its levels. */
static void spread_halves(const vd_book *book, const float *x, const float *w, float shift,
                          halves *ret)
{
    int n = 1;
    *ret = (halves){.least = {INFINITY}};
    for (int i = 0; i < n_of_half(book); i++) {
        for (int v = book->n_levels; v-- > 0;) { /* the lowest last: it takes the place */
            float level = book->level[v] + shift;
            float q = w[i] * level * level, l = w[i] * x[i] * level;
            for (int k = 0; k < n; k++) {
                ret->q[v * n + k] = ret->q[k] + q;
                ret->l[v * n + k] = ret->l[k] + l;
                ret->least[v * n + k] = l < ret->least[k] ? l : ret->least[k];
            }
        }
        n *= book->n_levels;
    }
}

/* Where the points of a group are for values x, behind those that are there. */
static void place(const vd_book *book, const float *x, const float *w, float shift, bool wrong,
                  vd_spots *ret)
{
    halves low, high;
    float *restrict q = ret->q + ret->n, *restrict l = ret->l + ret->n;
    spread_halves(book, x, w, shift, &low);
    spread_halves(book, x + n_of_half(book), w + n_of_half(book), shift, &high);
    ret->n += book->family.n_points;
    for (int h = 0; h < book->n_halves; h++) {
        float high_q = high.q[h], high_l = high.l[h], least = high.least[h];
        int end = book->begin[h + 1];
        for (int p = book->begin[h]; p < end; p++) {
            q[p] = low.q[book->low[p]] + high_q;
            l[p] = low.l[book->low[p]] + high_l;
        }
        for (int p = book->begin[h]; wrong && p < end; p++) {
            float loss = low.least[book->low[p]];
            l[p] -= 2.0f * (loss < least ? loss : least);
        }
    }
}

static void find_path(search *s, int g, int way, float shift, bool wrong)
{
    const vd_book_family *f = &s->book->family;
    const float *w = s->w + g * f->group;
    float size[8] = {0};
    for (int i = 0; i < f->group; i++) {
        float x = s->x[g * f->group + i];
        size[i] = f->signs == VD_BOOK_FREE || f->signs == VD_BOOK_EVEN ? fabsf(x) : x;
    }
    s->spots.n = 0;
    s->spots.lowest = s->book->lowest;
    place(s->book, size, w, shift, wrong, &s->spots);
    if (f->signs == VD_BOOK_SHIFT_GROUP)
        place(s->book, size, w, -shift, false, &s->spots);
    if (s->spots.n > f->n_points && s->spots.l[f->n_points + s->book->lowest] >
                                        s->spots.l[s->book->lowest])
        s->spots.lowest += f->n_points;
    s->path[g][way].n = vd_path_find(&s->spots, s->path[g][way].corner);
}

static bool is_odd(const search *s, int g)
{
    return __builtin_parity(s->minus[g * s->book->family.group / 8]) != 0;
}

static int spots_of(const group_path *path, vd_spot *ret)
{
    for (int i = 0; i < path->n; i++)
        ret[i] = path->corner[i].at;
    return path->n;
}

/* n groups from `begin` on together, each the way it is given. */
static int add_groups(const search *s, int begin, int n, int way, vd_spot *ret)
{
    vd_spot first[SUB_CORNERS / 2], second[SUB_CORNERS / 2];
    if (n == 1)
        return spots_of(&s->path[begin][way], ret);
    int n_first = add_groups(s, begin, n / 2, way, first);
    int n_second = add_groups(s, begin + n / 2, n - n / 2, way, second);
    return vd_path_add(first, n_first, second, n_second, ret);
}

/* Two points of four, one of which has a wrong sign. */
static int add_odd_pair(const search *s, int g, vd_spot *ret)
{
    vd_spot right[VD_CORNERS_MAX], wrong[VD_CORNERS_MAX], first[2 * VD_CORNERS_MAX],
        second[2 * VD_CORNERS_MAX];
    int n_right = spots_of(&s->path[g + 1][0], right), n_wrong = spots_of(&s->path[g][1], wrong);
    int n_first = vd_path_add(wrong, n_wrong, right, n_right, first);
    n_right = spots_of(&s->path[g][0], right);
    n_wrong = spots_of(&s->path[g + 1][1], wrong);
    int n_second = vd_path_add(right, n_right, wrong, n_wrong, second);
    return vd_path_either(first, n_first, second, n_second, ret);
}

/* A whole sub-block: its groups begin at g. */
static int add_sub(const search *s, int g, int n_groups, vd_spot *ret)
{
    const vd_book_family *f = &s->book->family;
    vd_spot one[SUB_CORNERS], sum[SUB_CORNERS];
    if (f->signs == VD_BOOK_SHIFT_SUB) {
        int n_up = add_groups(s, g, n_groups, 0, one), n_down = add_groups(s, g, n_groups, 1, sum);
        return vd_path_either(one, n_up, sum, n_down, ret);
    }
    if (f->signs != VD_BOOK_EVEN || f->group == 8)
        return add_groups(s, g, n_groups, 0, ret);
    int n = 0;
    for (int pair = g; pair < g + n_groups; pair += 2) {
        int n_one = is_odd(s, pair) ? add_odd_pair(s, pair, one) : add_groups(s, pair, 2, 0, one);
        memcpy(sum, ret, (size_t)n * sizeof(*sum));
        if (n > 0)
            n = vd_path_add(sum, n, one, n_one, ret);
        else {
            memcpy(ret, one, (size_t)n_one * sizeof(*one));
            n = n_one;
        }
    }
    return n;
}

static void find_group(search *s, int g)
{
    const vd_book_family *f = &s->book->family;
    bool even = f->signs == VD_BOOK_EVEN, one = f->group == 8;
    float shift = f->signs == VD_BOOK_SHIFT_SUB || f->signs == VD_BOOK_SHIFT_GROUP ? VD_IQ1_SHIFT
                                                                                   : 0;
    find_path(s, g, 0, shift, even && one && is_odd(s, g));
    if (even && !one && is_odd(s, g))
        find_path(s, g, 1, 0, true);
    if (f->signs == VD_BOOK_SHIFT_SUB)
        find_path(s, g, 1, -shift, false);
}

static void find_sub(search *s, int i, step *steps)
{
    const vd_book_family *f = &s->book->family;
    int n_groups = f->sub / f->group;
    vd_spot corner[SUB_CORNERS] = {0};
    for (int g = i * n_groups; g < (i + 1) * n_groups; g++)
        find_group(s, g);
    sub_path *sub = &s->sub[i];
    *sub = (sub_path){.n = add_sub(s, i * n_groups, n_groups, corner), .step = steps};
    float gain = 0;
    for (int k = 0; k < sub->n; k++) {
        vd_spot at = corner[k];
        sub->step[k] = (step){.at = at};
        if (k > 0)
            sub->step[k].t = 2.0f * (corner[k - 1].l - at.l) / (corner[k - 1].q - at.q);
        if (at.l > 0.0f && at.l * at.l > gain * at.q) {
            gain = at.l * at.l / at.q;
            sub->best = at.l / at.q;
        }
    }
}

/* ---- scales -----------------------------------------------------------------------------------*/

static vd_spot spot_at(const sub_path *sub, float t)
{
    int low = 0, high = sub->n;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (sub->step[middle].t <= t)
            low = middle;
        else
            high = middle;
    }
    return sub->step[low].at;
}

/* The best s around the one that is nearest to the sub-block's own scale; d in units of `unit`. */
static float choose_s(const search *s, const sub_path *sub, float d, int *ret_s, vd_spot *ret_at)
{
    int last = s->book->family.n_s - 1;
    float near = vd_round(vd_clamp((sub->best / d - 1.0f) * 0.5f, 0.0f, (float)last));
    float best = INFINITY;
    for (int i = (int)near - 1; i <= (int)near + 1; i++) {
        if (i < 0 || i > last)
            continue;
        float t = d * (float)(2 * i + 1);
        vd_spot at = spot_at(sub, t);
        float error = vd_spot_error(at, t);
        if (error < best) {
            best = error;
            *ret_s = i;
            *ret_at = at;
        }
    }
    return best;
}

/* From a given d, until the error no longer falls. x is in units of `most`. */
static void descend(const search *s, float d, float most, float *error, vd_book_block *ret)
{
    const vd_book_family *f = &s->book->family;
    for (int pass = 0; pass < PASSES; pass++) {
        vd_book_block b = {.d = vd_round_f16(d * most)};
        float now = 0, in_units = b.d * f->unit / most, q = 0, l = 0;
        if (!(b.d > 0.0f))
            return;
        for (int i = 0; i < VD_SUPER / f->sub; i++) {
            vd_spot at = {0, 0};
            now += choose_s(s, &s->sub[i], in_units, &b.s[i], &at);
            float scale = (float)(2 * b.s[i] + 1);
            q += scale * scale * at.q;
            l += scale * at.l;
        }
        if (!(now < *error))
            return;
        *error = now;
        ret->d = b.d;
        memcpy(ret->s, b.s, sizeof(b.s));
        d = l / q / f->unit;
    }
}

/* ---- points -----------------------------------------------------------------------------------*/

static const vd_corner *corner_at(const group_path *path, float t, float *error)
{
    const vd_corner *found = &path->corner[0];
    float best = vd_spot_error(found->at, t);
    for (int i = 1; i < path->n; i++) {
        float now = vd_spot_error(path->corner[i].at, t);
        if (now < best) {
            best = now;
            found = &path->corner[i];
        }
    }
    *error += best;
    return found;
}

/* The value of a group whose sign is wrong, where that costs least. */
static unsigned wrong_sign(const search *s, int g, int point)
{
    const vd_book_family *f = &s->book->family;
    int found = 0;
    float least = INFINITY;
    for (int i = 0; i < f->group; i++) {
        int at = g * f->group + i;
        float loss = s->w[at] * fabsf(s->x[at]) * (float)f->point[point * f->group + i];
        if (loss < least) {
            least = loss;
            found = at % 8;
        }
    }
    return 1u << found;
}

/* Groups of eight, or two of four, at the scale t. */
static void take_eight(const search *s, int eight, float t, vd_book_block *ret)
{
    int n = s->book->family.group == 4 ? 2 : 1, g = eight * n, wrong = -1;
    bool odd = s->book->family.signs == VD_BOOK_EVEN && is_odd(s, g);
    float right_error[2] = {0, 0}, wrong_error[2] = {0, 0};
    const vd_corner *right[2] = {0}, *other[2] = {0};
    ret->minus[eight] = (uint8_t)s->minus[eight];
    for (int i = 0; i < n; i++) {
        right[i] = corner_at(&s->path[g + i][0], t, &right_error[i]);
        if (odd && n == 2)
            other[i] = corner_at(&s->path[g + i][1], t, &wrong_error[i]);
    }
    if (odd && n == 2) {
        wrong = wrong_error[0] + right_error[1] <= right_error[0] + wrong_error[1] ? 0 : 1;
        right[wrong] = other[wrong];
    } else if (odd)
        wrong = 0;
    for (int i = 0; i < n; i++)
        ret->point[g + i] = right[i]->spot;
    if (wrong >= 0)
        ret->minus[eight] ^= (uint8_t)wrong_sign(s, g + wrong, ret->point[g + wrong]);
}

static void take_shifted(const search *s, int i, float t, vd_book_block *ret)
{
    const vd_book_family *f = &s->book->family;
    int n = f->sub / f->group, begin = i * n;
    float error[2] = {0, 0};
    uint16_t spot[2][8];
    for (int way = 0; way < (f->signs == VD_BOOK_SHIFT_SUB ? 2 : 1); way++)
        for (int g = 0; g < n; g++)
            spot[way][g] = corner_at(&s->path[begin + g][way], t, &error[way])->spot;
    int way = f->signs == VD_BOOK_SHIFT_SUB && error[1] < error[0] ? 1 : 0;
    for (int g = 0; g < n; g++) {
        ret->down[begin + g] = way == 1 || spot[way][g] >= f->n_points;
        ret->point[begin + g] = (uint16_t)(spot[way][g] % f->n_points);
    }
}

static void take_points(const search *s, float most, vd_book_block *ret)
{
    const vd_book_family *f = &s->book->family;
    for (int i = 0; i < VD_SUPER / f->sub; i++) {
        float t = ret->d * f->unit / most * (float)(2 * ret->s[i] + 1);
        if (f->signs == VD_BOOK_SHIFT_SUB || f->signs == VD_BOOK_SHIFT_GROUP)
            take_shifted(s, i, t, ret);
        else
            for (int eight = i * f->sub / 8; eight < (i + 1) * f->sub / 8; eight++)
                take_eight(s, eight, t, ret);
    }
}

void vd_book_search(const vd_book *book, const float *x, const float *given, vd_book_block *ret)
{
    static const float starts[] = {1.0f, 0.93f, 1.07f, 0.87f, 1.15f};
    const float least = 1e-12f; /* the smallest value of an f16 scale is about 1e-8 */
    search s;
    float most = 0, error = INFINITY, extreme = 0;
    step *steps = s.steps;
    *ret = (vd_book_block){0};
    for (int i = 0; i < VD_SUPER; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    if (!(most > least))
        return;
    s.book = book;
    for (int i = 0; i < VD_SUPER; i++) {
        s.x[i] = x[i] / most;
        if (i % 8 == 0)
            s.minus[i / 8] = 0;
        s.minus[i / 8] |= (unsigned)(x[i] < 0.0f) << i % 8;
    }
    if (given != NULL)
        (void)vd_given_weights(s.x, given, VD_SUPER, s.w);
    else
        (void)vd_weights(s.x, VD_SUPER, s.w);
    for (int i = 0; i < VD_SUPER / book->family.sub; i++) {
        find_sub(&s, i, steps);
        steps += s.sub[i].n;
        extreme = s.sub[i].best > extreme ? s.sub[i].best : extreme;
    }
    float end = (float)(2 * book->family.n_s - 1) * book->family.unit;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        descend(&s, extreme / end * starts[i], most, &error, ret);
    if (error < 0.0f)
        take_points(&s, most, ret);
    else /* zeros are nearer than what an f16 scale can hold */
        ret->d = 0.0f;
}

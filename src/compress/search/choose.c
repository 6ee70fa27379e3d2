/* choose.c - see search.h: the front, and the point of it that a target asks for. */
#include <math.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/search/search_internal.h"

enum { FRONT_POINTS = 24, BISECTIONS = 5 };

static uint64_t sum_of(const vd_search *s, bool largest)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += s->subject[i].choice[largest ? s->subject[i].n - 1 : 0].bytes;
    return sum;
}

/* The best within a budget for the subjects. */
static vd_status solve(const vd_search *s, uint64_t budget, vd_pick *pick, vd_err *err)
{
    return vd_knapsack_solve(s->item, s->n, budget, pick, err);
}

vd_status vd_search_make_front(vd_search *s, vd_pick *pick, vd_search_result *result, vd_err *err)
{
    uint64_t most = sum_of(s, true), least = sum_of(s, false);
    vd_status st = vd_alloc_array(FRONT_POINTS, sizeof(*result->point), "the front",
                                  &result->point, err);
    for (size_t i = 0; st == VD_OK && i < FRONT_POINTS; i++) {
        double part = (double)(FRONT_POINTS - 1 - i) / (FRONT_POINTS - 1);
        /* Closer together where files are small: bytes by ratio, not by difference. */
        double bytes = (double)least * pow((double)most / (double)least, part);
        st = solve(s, i + 1 < FRONT_POINTS ? VD_MAX((uint64_t)bytes, least) : least, pick, err);
        vd_search_point point = vd_search_point_of(s, pick);
        bool news = result->n_points == 0 ||
                    point.file_bytes < result->point[result->n_points - 1].file_bytes;
        if (st == VD_OK && news)
            result->point[result->n_points++] = point;
    }
    return st;
}

static vd_status measure(vd_search *s, const vd_pick *pick, vd_search_point *point, vd_err *err)
{
    vd_probe_result r;
    vd_status st = vd_search_measure_point(s, pick->choice, &r, err);
    if (st == VD_OK) {
        point->kl = r.kl;
        point->loss = r.loss;
    }
    return st;
}

/* Built beside the target, timed, and gone again. */
static vd_status time_point(vd_search *s, const vd_pick *pick, vd_search_point *point, vd_err *err)
{
    char *path = NULL;
    vd_status st = vd_search_name(s, ".search.gguf", &path, err);
    if (st == VD_OK)
        st = vd_search_build(s, pick->choice, path, err);
    if (st == VD_OK) {
        st = vd_search_time(s, path, point, err);
        unlink(path);
    }
    vd_free(path);
    return st;
}

static bool is_fast(const vd_target *t, const vd_search_point *point)
{
    return (t->tps == 0 || point->tps >= t->tps) && (t->jpt == 0 || point->jpt <= t->jpt);
}

/* What of a target needs a file that is small. */
typedef vd_status (*point_fn)(vd_search *s, const vd_pick *pick, vd_search_point *point,
                              vd_err *err);

/* The largest budget up to `most` (of the subjects' bytes) whose point is fast enough, or with
 * `upwards` the smallest that loses little enough. `pick` and `point` become it; where none is, the
 * nearest. */
typedef struct bisection {
    point_fn fn;
    bool (*good)(const vd_target *target, const vd_search_point *point);
    uint64_t least, most;
    bool upwards;
} bisection;

static vd_status try_point(vd_search *s, const bisection *b, uint64_t bytes, vd_pick *pick,
                           vd_search_point *point, bool *ret_good, vd_err *err)
{
    vd_status st = solve(s, bytes, pick, err);
    *point = vd_search_point_of(s, pick);
    if (st == VD_OK)
        st = b->fn(s, pick, point, err);
    *ret_good = st == VD_OK && b->good(&s->options->target, point);
    return st;
}

static vd_status bisect(vd_search *s, const bisection *b, vd_pick *pick, vd_search_point *point,
                        bool *ret_good, vd_err *err)
{
    uint64_t best = b->upwards ? b->least : b->most, worst = b->upwards ? b->most : b->least;
    bool good;
    vd_status st = try_point(s, b, best, pick, point, ret_good, err);
    if (st != VD_OK || *ret_good)
        return st;
    st = try_point(s, b, worst, pick, point, ret_good, err);
    if (st != VD_OK || !*ret_good)
        return st; /* not even there */
    uint64_t found = worst, bad = best;
    for (size_t i = 0; st == VD_OK && i < BISECTIONS; i++) {
        uint64_t middle = found / 2 + bad / 2;
        st = try_point(s, b, middle, pick, point, &good, err);
        if (good)
            found = middle;
        else
            bad = middle;
    }
    return st == VD_OK ? try_point(s, b, found, pick, point, ret_good, err) : st;
}

static bool loses_little(const vd_target *t, const vd_search_point *point)
{
    return point->loss <= t->loss;
}

static vd_status unreachable(const vd_search *s, const vd_search_point *point, vd_err *err)
{
    const vd_target *t = &s->options->target;
    if (t->tps != 0 && !(point->tps >= t->tps))
        return VD_FAIL(err, VD_ERR_LIMIT, "%g tokens per second cannot be had: the smallest file "
                       "(%llu bytes) gives %.4g; nothing was written", t->tps,
                       (unsigned long long)point->file_bytes, point->tps);
    return VD_FAIL(err, VD_ERR_LIMIT, "%g joules per token cannot be had: the smallest file "
                   "(%llu bytes) takes %.4g; nothing was written", t->jpt,
                   (unsigned long long)point->file_bytes, point->jpt);
}

/* The budget for the subjects that bytes and bpw leave. */
static vd_status budget_of(const vd_search *s, uint64_t *ret, vd_err *err)
{
    const vd_target *t = &s->options->target;
    uint64_t budget = sum_of(s, true), least = sum_of(s, false);
    if (t->bytes != 0)
        budget = VD_MIN(budget, t->bytes > s->fixed_bytes ? t->bytes - s->fixed_bytes : 0);
    if (t->bpw != 0) {
        double all = t->bpw * (double)s->n_values / 8 - (double)s->fixed_tensor_bytes;
        budget = VD_MIN(budget, all > 0 ? (uint64_t)VD_MIN(all, 1e18) : 0);
    }
    if (budget < least)
        return VD_FAIL(err, VD_ERR_LIMIT, "so few bytes cannot be had: the smallest file is %llu "
                       "bytes, %.3f bits per weight; nothing was written. Ask for more, or allow "
                       "smaller types that suit the rows with --search-types",
                       (unsigned long long)(s->fixed_bytes + least),
                       8 * (double)(s->fixed_tensor_bytes + least) / (double)s->n_values);
    *ret = budget;
    return VD_OK;
}

vd_status vd_search_choose(vd_search *s, vd_pick *pick, vd_search_point *point, vd_err *err)
{
    const vd_target *t = &s->options->target;
    uint64_t budget = 0;
    bool good = true;
    vd_status st = budget_of(s, &budget, err);
    bisection b = {.least = sum_of(s, false)};
    if (st == VD_OK && t->jpt != 0 && s->options->joules == NULL)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "joules per token are not measured here: there is no "
                     "meter");
    if (st == VD_OK && (t->tps != 0 || t->jpt != 0)) {
        b = (bisection){time_point, is_fast, b.least, budget, false};
        st = bisect(s, &b, pick, point, &good, err);
        if (st == VD_OK && !good)
            st = unreachable(s, point, err);
        budget = st == VD_OK ? pick->bytes : budget;
    }
    if (st == VD_OK && t->loss != 0) {
        double tps = point->tps, jpt = point->jpt;
        b = (bisection){measure, loses_little, b.least, budget, true};
        st = bisect(s, &b, pick, point, &good, err);
        if (st == VD_OK && !good)
            st = VD_FAIL(err, VD_ERR_LIMIT, "a loss of %g %% cannot be had within the rest of the "
                         "target: the nearest is %.3g %% with %llu bytes; nothing was written",
                         100 * t->loss, 100 * point->loss, (unsigned long long)point->file_bytes);
        if (st == VD_OK && pick->bytes == budget) {
            point->tps = tps;
            point->jpt = jpt;
        }
    } else if (st == VD_OK) {
        double tps = point->tps, jpt = point->jpt;
        vd_probe_result r = {.kl = NAN, .loss = NAN};
        st = solve(s, budget, pick, err);
        if (st == VD_OK && s->probe != NULL)
            st = vd_search_measure_point(s, pick->choice, &r, err);
        *point = vd_search_point_of(s, pick);
        point->kl = r.kl;
        point->loss = r.loss;
        point->tps = t->tps != 0 || t->jpt != 0 ? tps : NAN;
        point->jpt = t->tps != 0 || t->jpt != 0 ? jpt : NAN;
    }
    return st;
}

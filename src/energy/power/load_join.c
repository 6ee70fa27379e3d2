/*
 * load_join.c - a meter's rows beside the steps of a load: whose clock is how far off, and what
 * each step drew. See meter_csv.h.
 *
 * The steps make the power go up and down in a pattern of their own, so the offset of two clocks is
 * where the meter's power correlates best with the power that the model expects of the steps (the
 * usual estimator of a delay: Knapp and Carter 1976, without weights, since both are smooth).
 */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "energy/power/meter_csv.h"

static const double least_correlation = 0.8;
/* The beginning of a step still shows the one before: meters average, and fans follow. */
static const double settle_part = 0.25;

static size_t first_from(const vd_recording *s, double time_s)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->time_s[middle] < time_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static double settled_s(const vd_load_step *step)
{
    return step->begin_s + settle_part * (step->end_s - step->begin_s);
}

/* Sums of the first k rows, so that an offset costs two searches a step however many rows there
 * are: there may be millions, and some hundred thousand offsets are tried. */
typedef struct tape {
    const vd_recording *rows;
    double *sum, *square; /* [n + 1], of watts less their mean; owned */
} tape;

static void tape_done(tape *t)
{
    vd_free(t->sum);
    vd_free(t->square);
}

static vd_status tape_init(tape *t, const vd_recording *s, vd_err *err)
{
    double mean = 0;
    *t = (tape){.rows = s};
    vd_status st = vd_alloc_array(s->n + 1, sizeof(*t->sum), "sums of a meter", &t->sum, err);
    if (st == VD_OK)
        st = vd_alloc_array(s->n + 1, sizeof(*t->square), "sums of a meter", &t->square, err);
    for (size_t k = 0; k < s->n && st == VD_OK; k++)
        mean += s->watts[k] / (double)s->n;
    for (size_t k = 0; k < s->n && st == VD_OK; k++) {
        double y = s->watts[k] - mean;
        t->sum[k + 1] = t->sum[k] + y;
        t->square[k + 1] = t->square[k] + y * y;
    }
    return st;
}

/* Correlation of the rows with the expected watts of the step they fall in, the meter's clock being
 * `offset_s` ahead; -1 where a third of the steps has no row. */
static double follow(const tape *t, const vd_load_step *steps, const double *expected, size_t n,
                     double offset_s)
{
    double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0, count = 0;
    size_t n_met = 0;
    for (size_t i = 0; i < n; i++) {
        size_t from = first_from(t->rows, settled_s(&steps[i]) + offset_s);
        size_t to = first_from(t->rows, steps[i].end_s + offset_s);
        double x = expected[i], y = t->sum[to] - t->sum[from], rows = (double)(to - from);
        sx += x * rows;
        sy += y;
        sxx += x * x * rows;
        syy += t->square[to] - t->square[from];
        sxy += x * y;
        count += rows;
        n_met += to > from;
    }
    if (3 * n_met < 2 * n || count < 3)
        return -1;
    double vx = sxx - sx * sx / count, vy = syy - sy * sy / count;
    return vx > 0 && vy > 0 ? (sxy - sx * sy / count) / sqrt(vx * vy) : -1;
}

/* The best offset in centre +- range; ties go to the one nearer to zero. */
static double search(const tape *t, const vd_load_step *steps, const double *expected, size_t n,
                     double centre, double range, double step, double *ret_offset)
{
    double best = -2;
    long count = lround(range / step);
    for (long i = 0; i <= 2 * count; i++) {
        double offset = centre + (double)(i % 2 == 0 ? i / 2 : -(i / 2) - 1) * step;
        double r = follow(t, steps, expected, n, offset);
        if (r > best + 1e-9) {
            best = r;
            *ret_offset = offset;
        }
    }
    return best;
}

static double mean_of(const vd_recording *s, double from_s, double to_s, size_t *ret_rows)
{
    double sum = 0;
    size_t k = first_from(s, from_s), begin = k;
    for (; k < s->n && s->time_s[k] < to_s; k++)
        sum += s->watts[k];
    *ret_rows = k - begin;
    return k > begin ? sum / (double)(k - begin) : 0;
}

/* A machine under full load draws between a fiftieth and fifty times of what is expected of its
 * processor, and up to 1,500 W whatever that is (a plug sees all of it): what lies outside is of
 * another unit. */
static vd_status check_unit(const vd_recording *s, const vd_power *guess, const vd_load_step *steps,
                            size_t n, vd_err *err)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = VD_MAX(most, steps[i].at.watts);
    vd_power_point full = {.load = 1};
    double least_w = vd_power_watts(guess, &full) / 50, most_w = vd_power_watts(guess, &full) * 50;
    most_w = VD_MAX(most_w, 1500);
    if (most >= least_w && most <= most_w)
        return VD_OK;
    const char *other = most < least_w && most * 1000 >= least_w ? "kW"
                        : most > most_w && most / 1000 <= most_w ? "mW"
                                                                 : NULL;
    if (other == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "'%s' rises to %g W, which no machine with this processor draws",
                       s->watts_column, most);
    return VD_FAIL(err, VD_ERR_FORMAT,
                   "'%s' rises to %g %s, which no machine with this processor draws: if it is in "
                   "%s, say --watts-unit %s",
                   s->watts_column, most, s->unit, other, other);
}

static vd_status find_offset(const tape *t, const vd_load_step *steps, const double *expected,
                             size_t n, vd_load_joined *joined, vd_err *err)
{
    const vd_recording *s = t->rows;
    enum { NEAR_S = 120, FAR_S = 26 * 3600 };
    double step = VD_MIN(VD_MAX(s->period_s / 2, 0.5), 5);
    double offset = 0, r = search(t, steps, expected, n, 0, NEAR_S, step, &offset);
    if (r < least_correlation) { /* another time zone, or a clock that is far off */
        double far_offset = 0, far = search(t, steps, expected, n, 0, FAR_S, step, &far_offset);
        if (far > r + 0.05) {
            r = far;
            offset = far_offset;
        }
    }
    if (r <= -1)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "the meter's rows are from %.0f to %.0f (seconds since 1970), every %.3g s, "
                       "and do not cover the load from %.0f to %.0f",
                       s->time_s[0], s->time_s[s->n - 1], s->period_s, steps[0].begin_s,
                       steps[n - 1].end_s);
    r = VD_MAX(r, search(t, steps, expected, n, offset, step, step / 10, &offset));
    if (r < least_correlation)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "the meter's power does not follow the load (correlation %.2f at best): is "
                       "it the plug of this machine?",
                       r);
    joined->offset_s = offset;
    joined->correlation = r;
    return VD_OK;
}

vd_status vd_load_join(const vd_recording *recording, const vd_power *guess, vd_load_step *steps,
                       size_t n, vd_load_joined *ret_joined, vd_err *err)
{
    enum { STEPS_MAX = 1024 };
    double expected[STEPS_MAX];
    vd_load_joined joined = {0};
    if (n == 0 || n > STEPS_MAX)
        return VD_FAIL(err, VD_ERR_ARG, "%zu steps of load; 1 to %d are possible", n, STEPS_MAX);
    for (size_t i = 0; i < n; i++)
        expected[i] = vd_power_watts(guess, &steps[i].at);
    tape t;
    vd_status st = tape_init(&t, recording, err);
    if (st == VD_OK)
        st = find_offset(&t, steps, expected, n, &joined, err);
    tape_done(&t);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < n; i++) {
        steps[i].at.watts =
            mean_of(recording, settled_s(&steps[i]) + joined.offset_s,
                    steps[i].end_s + joined.offset_s, &steps[i].n_rows);
        joined.n_steps += steps[i].n_rows > 0;
    }
    st = check_unit(recording, guess, steps, n, err);
    if (st == VD_OK)
        *ret_joined = joined;
    return st;
}

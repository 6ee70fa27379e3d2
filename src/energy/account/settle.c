/*
 * settle.c - a window closes: what the meter counted in it is cut, and handed out by weight.
 *
 *      start                           last step's end     now
 *        |--- idle power of all who are present -------------|
 *        |--- active energy of the steps -------|-- open? ---|
 *
 * Open is the active energy of a step that runs and was not announced; the next window's steps pay
 * it. A step that was announced has its weight up to now, so nothing of it stays open.
 */
#include "energy/account/account_state.h"

#include <math.h>

#include "base/checked.h"
#include "energy/method.h"

/* A counter that says it is exact at the moment of reading (RAPL) is renewed about once in a
 * millisecond (Hackenberg et al. 2013). */
static const uint64_t fast_grain_ns = 1000000;
static const double recent_ns = 10e9; /* how much machine time the active power is a mean of */

/* What a window has to give. */
typedef struct window {
    uint64_t active_uj, idle_uj; /* to share out */
    uint64_t active_part[VD_PART_N], idle_part[VD_PART_N];
    uint64_t active_weight, idle_weight; /* sums of all payers' weights */
    uint64_t grain_ns;
    double unsure; /* relative: how far off one weight may be against another, 90 % */
} window;

/* Cuts the window's energy into idle, active, open and, in w, what is shared out now. */
static void cut_window(vd_account *a, const vd_reading *now, bool announced, bool others_stay,
                       window *w)
{
    uint64_t ns = now->at_ns - a->start.at_ns;
    uint64_t tail_ns = now->at_ns - a->mark.at_ns;
    uint64_t open_now = 0, unattributed = 0;
    for (size_t c = 0; c < VD_PART_N; c++) {
        uint64_t metered = now->uj[c] - a->start.uj[c];
        uint64_t idle = vd_account_idle_part(a, now, (vd_part)c, metered, ns);
        uint64_t active = metered - idle + a->open_uj[c], open = 0;
        a->totals.part_uj[c] += metered + a->open_uj[c];
        a->totals.meter_uj += metered + a->open_uj[c];
        if (a->gap) {
            unattributed += active + idle;
            active = idle = 0;
        } else if (others_stay && !announced) { /* a step may run since the last one ended */
            uint64_t tail = now->uj[c] - a->mark.uj[c];
            open = tail - vd_account_idle_part(a, now, (vd_part)c, tail, tail_ns);
            open = a->n_steps == 0 ? active : VD_MIN(open, active);
        } else if (a->n_steps == 0 && !announced) {
            /* nobody computed: load from outside, or the model's loading */
            unattributed += active;
            active = 0;
        }
        a->totals.part_uj[c] -= open;
        a->totals.meter_uj -= open;
        open_now += open;
        a->open_uj[c] = open;
        w->active_part[c] = active - open;
        w->idle_part[c] = idle;
        w->active_uj += w->active_part[c];
        w->idle_uj += idle;
    }
    a->totals.open_uj = open_now;
    a->totals.unattributed_uj += unattributed;
}

static void add_entry(vd_account *a, size_t *n, uint64_t id, vd_wide share, int64_t carry,
                      void *payer)
{
    if (share != 0)
        a->entry[(*n)++] =
            (vd_split_entry){.id = id, .share = share, .carry = carry, .payer = payer};
}

/* Every resident's real share, by component and phase, for the split of its total at the end. */
static void note_parts(vd_resident *r, const window *w, vd_wide active, vd_wide idle)
{
    const double to_uj = 1.0 / (double)(UINT64_C(1) << VD_SPLIT_BITS);
    double active_uj = (double)active * to_uj, idle_uj = (double)idle * to_uj;
    uint64_t weight = r->prefill_weight + r->decode_weight;
    if (weight != 0) {
        double prefill = active_uj * ((double)r->prefill_weight / (double)weight);
        double others = 1 - (double)weight / (double)w->active_weight;
        r->prefill_uj += prefill;
        r->decode_uj += active_uj - prefill;
        /* A wrong weight moves energy to or from the others: d ln(share) = (1 - share) d ln(w). */
        r->unsure_uj += active_uj * others * w->unsure;
    }
    r->idle_uj += idle_uj;
    for (size_t c = 0; c < VD_PART_N; c++) {
        if (w->active_uj != 0)
            r->part_uj[c] += active_uj * ((double)w->active_part[c] / (double)w->active_uj);
        if (w->idle_uj != 0)
            r->part_uj[c] += idle_uj * ((double)w->idle_part[c] / (double)w->idle_uj);
    }
}

static void note_meter(vd_account *a, vd_resident *r, const vd_reading *now, uint64_t grain_ns)
{
    r->method = vd_method_join(r->method, now->method);
    r->saw_gap |= a->gap;
    r->common_pct = VD_MAX(r->common_pct, now->common_pct);
    r->independent_pct = VD_MAX(r->independent_pct, now->independent_pct);
    r->grain_ns = VD_MAX(r->grain_ns, grain_ns);
    if (r->from_ns == 0)
        r->from_ns = a->start.at_ns;
}

static uint64_t time_of(const vd_account *a, const vd_resident *r)
{
    return (r->departed ? r->clock_until : a->clock) - r->clock_from;
}

/* Whom the window's energy goes to, with fractions: residents, `idle` and `unattributed`. */
static size_t list_payers(vd_account *a, const vd_reading *now, const window *w)
{
    size_t n = 0;
    for (size_t i = 0; i < a->residents.n; i++) {
        vd_resident *r = &a->residents.item[i];
        uint64_t time = time_of(a, r);
        vd_wide active =
            vd_split_share(w->active_uj, r->prefill_weight + r->decode_weight, w->active_weight);
        vd_wide idle = vd_split_share(w->idle_uj, time, w->idle_weight);
        note_parts(r, w, active, idle);
        note_meter(a, r, now, w->grain_ns);
        add_entry(a, &n, r->id, active + idle, r->carry, r);
        r->machine_time += time;
        r->prefill_weight = r->decode_weight = 0;
        r->clock_from = r->clock_until = 0;
    }
    add_entry(a, &n, UINT64_MAX, vd_split_share(w->idle_uj, a->empty, w->idle_weight),
              a->idle_carry, &a->totals.idle_uj);
    add_entry(a, &n, UINT64_MAX - 1,
              vd_split_share(w->active_uj, a->stranger_weight, w->active_weight),
              a->unattributed_carry, &a->totals.unattributed_uj);
    return n;
}

/* Hands the window's energy out, to the last microjoule; gives the number of a->share. */
static size_t share_out(vd_account *a, const vd_reading *now, const window *w)
{
    size_t n = list_payers(a, now, w), n_share = 0;
    vd_split(w->active_uj + w->idle_uj, a->entry, n);
    double g_per_kwh = a->observer.g_per_kwh == NULL
                           ? 0 : a->observer.g_per_kwh(a->observer.ctx, now->at_ns);
    for (size_t i = 0; i < n; i++) {
        vd_split_entry *e = &a->entry[i];
        if (e->payer == &a->totals.idle_uj) {
            a->totals.idle_uj += e->got;
            a->idle_carry = e->carry;
        } else if (e->payer == &a->totals.unattributed_uj) {
            a->totals.unattributed_uj += e->got;
            a->unattributed_carry = e->carry;
        } else {
            vd_resident *r = e->payer;
            r->total_uj += e->got;
            r->carry = e->carry;
            r->operational_ug += (double)e->got * g_per_kwh / 3.6e6;
            a->totals.requests_uj += e->got;
            if (e->got != 0)
                a->share[n_share++] = (vd_window_share){r->id, e->got};
        }
    }
    return n_share;
}

/* Tells the observer what the window gave: the totals' growth since `before`. */
static void tell_window(const vd_account *a, const vd_reading *now, const vd_account_totals *before,
                        size_t n_share)
{
    if (a->observer.on_window == NULL)
        return;
    vd_window told = {
        .begin_ns = a->start.at_ns,
        .end_ns = now->at_ns,
        .meter_uj = a->totals.meter_uj - before->meter_uj,
        .idle_uj = a->totals.idle_uj - before->idle_uj,
        .unattributed_uj = a->totals.unattributed_uj - before->unattributed_uj,
        .share = a->share,
        .n_share = n_share,
        .method = now->method,
        .common_pct = now->common_pct,
        .independent_pct = now->independent_pct,
        .gap = a->gap,
    };
    for (size_t c = 0; c < VD_PART_N; c++)
        told.part_uj[c] = a->totals.part_uj[c] - before->part_uj[c];
    a->observer.on_window(a->observer.ctx, &told);
}

/* The active power while steps run, for estimates and for joules per step. */
static void note_power(vd_account *a, const window *w)
{
    double ns = (double)(w->active_weight >> VD_CLOCK_BITS), keep = recent_ns / (recent_ns + ns);
    if (ns == 0 || w->active_uj == 0)
        return;
    a->recent_ns = a->recent_ns * keep + ns;
    a->recent_square =
        a->recent_square * keep + (double)w->active_uj * (double)w->active_uj / ns;
    for (size_t c = 0; c < VD_PART_N; c++)
        a->recent_uj[c] = a->recent_uj[c] * keep + (double)w->active_part[c];
}

/* How much the active power differed between recent windows, relative: within one, it is taken to
 * be the same for all steps. */
static double power_spread(const vd_account *a)
{
    double mean = 0;
    for (size_t c = 0; a->recent_ns > 0 && c < VD_PART_N; c++)
        mean += a->recent_uj[c] / a->recent_ns;
    double square = mean > 0 ? a->recent_square / a->recent_ns / (mean * mean) - 1 : 0;
    return square > 0 ? sqrt(square) : 0;
}

/* Sums of weights, and what the window knows of its own sharpness. */
static window weigh_window(vd_account *a, const vd_reading *now)
{
    /* Before the idle power is known much of what is called active is none. A slow meter's window
     * may be empty for most of its time: that time then counts as a step of nobody's. */
    if (a->refresh_ns != 0 && !a->totals.idle_measured && !vd_reading_is_model(now))
        a->stranger_weight += a->empty;
    window w = {.active_weight = a->stranger_weight, .idle_weight = a->empty};
    for (size_t i = 0; i < a->residents.n; i++) {
        const vd_resident *r = &a->residents.item[i];
        w.active_weight += r->prefill_weight + r->decode_weight;
        w.idle_weight += time_of(a, r);
    }
    double bias = 0;
    for (size_t i = 0; i < VD_ACCOUNT_MODELS_MAX; i++)
        if (a->stepper[i].stepped)
            bias = VD_MAX(bias, vd_cost_bias(&a->stepper[i].cost));
    w.unsure = VD_Z90 * hypot(bias, power_spread(a));
    if (!vd_reading_is_model(now))
        w.grain_ns = VD_MAX(a->refresh_ns, fast_grain_ns);
    return w;
}

static void open_next(vd_account *a, const vd_reading *now)
{
    a->start = a->mark = *now;
    a->n_steps = 0;
    a->gap = a->loading = false;
    a->clock = a->busy = a->empty = a->stranger_weight = 0;
    for (size_t i = 0; i < VD_ACCOUNT_MODELS_MAX; i++) {
        a->stepper[i].busy_from = 0;
        a->stepper[i].stepped = false;
    }
}

void vd_account_settle(vd_account *a, const vd_reading *now, bool others_stay)
{
    const vd_account_totals before = a->totals;
    vd_account_move_clocks(a, now->at_ns);
    bool announced = vd_account_cut_steps(a);
    a->gap |= now->gap;
    window w = weigh_window(a, now);
    if (a->residents.n == 0 && a->clock == 0 && a->n_steps == 0 && !announced && !a->gap &&
        !a->loading)
        vd_account_learn_idle(a, now);
    cut_window(a, now, announced, others_stay, &w);
    if (w.active_weight == 0) { /* steps without any weight */
        a->totals.unattributed_uj += w.active_uj;
        w.active_uj = 0;
    }
    if (w.idle_weight == 0) {
        a->totals.unattributed_uj += w.idle_uj;
        w.idle_uj = 0;
    }
    note_power(a, &w);
    size_t n_share = share_out(a, now, &w);
    tell_window(a, now, &before, n_share);
    a->totals.n_windows++;
    a->totals.n_gaps += a->gap;
    a->totals.method = now->method;
    a->totals.uncertainty_pct = now->uncertainty_pct;
    open_next(a, now);
}

/*
 * account.c - windows, shares and sums. See account.h for the idea and docs/energy.md for proofs.
 *
 * Time is shared twice, both times in integers. Who is resident gets 1/n of every nanosecond: a
 * clock that runs at the speed 1/n is read at join and at leave, as virtual time is in fair
 * queueing (Parekh and Gallager 1993), so that nobody is visited when nothing changes. Who is in a
 * step gets its Shapley share of the step's nanoseconds. When the window settles, its idle energy
 * follows the first and its active energy the second.
 *
 *      settle                          step end          settle (a leave)
 *        |--- idle power of all residents ------------------|
 *        |--- active energy of the finished steps --|-open--|   open: a step is running; the next
 *                                                               window's steps pay for it
 */
#include "energy/account.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "energy/cost.h"
#include "energy/residents.h"
#include "energy/split.h"

enum {
    RESIDENTS_DEFAULT = 4096,
    RESIDENTS_LIMIT = 1 << 17, /* split.h needs fewer than 2^18 payers */
    CLOCK_BITS = 10,           /* of fraction, below a nanosecond */
    QUIET_N = 15               /* quiet windows whose median is the idle power */
};

static const uint64_t window_ns = UINT64_C(1000000000);
static const uint64_t quiet_ns = UINT64_C(100000000); /* shorter ones are mostly noise */

struct vd_account {
    pthread_mutex_t lock;
    /* guarded by lock: */
    vd_meter *meter;
    vd_residents residents;
    vd_split_entry *entry; /* room for all residents, `idle` and `unattributed` */
    vd_window_share *share;        /* room for all residents */
    vd_account_observer observer;
    vd_cost_fit cost;
    vd_account_totals totals;

    /* the window */
    vd_reading start, mark; /* its first reading; at the end of its last step */
    uint64_t n_steps;
    bool gap;                    /* some reading inside reported one */
    uint64_t open_uj[VD_PART_N]; /* active energy of the step that the window before cut */
    uint64_t clock, clock_ns;    /* the clock of speed 1/n, fixed-point ns; when it was moved */
    uint64_t empty;              /* time without residents, fixed-point ns */
    uint64_t stranger_weight;    /* of step shares whose request is not resident */
    int64_t idle_carry, unattributed_carry;

    bool loading;                          /* this window teaches nothing about waiting */
    uint64_t quiet_uw[QUIET_N][VD_PART_N]; /* a ring */
    size_t n_quiet, next_quiet;
    uint64_t model_idle_uw[VD_PART_N];
};

vd_status vd_account_create(vd_meter *meter, const vd_account_options *options,
                            vd_account **ret_account, vd_err *err)
{
    size_t n =
        options != NULL && options->max_residents != 0 ? options->max_residents : RESIDENTS_DEFAULT;
    if (n > RESIDENTS_LIMIT)
        return VD_FAIL(err, VD_ERR_ARG, "max_residents is %zu, the limit is %d", n,
                       RESIDENTS_LIMIT);
    vd_account *account = vd_calloc(1, sizeof(*account));
    if (account == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the energy account");
    pthread_mutex_init(&account->lock, NULL);
    account->meter = meter;
    vd_status st = vd_residents_init(&account->residents, n, err);
    if (st != VD_OK)
        goto out;
    st = vd_alloc_array(n + 2, sizeof(*account->entry), "energy shares", &account->entry, err);
    if (st != VD_OK)
        goto out;
    st = vd_alloc_array(n, sizeof(*account->share), "energy shares", &account->share, err);
    if (st != VD_OK)
        goto out;
    if (options != NULL)
        account->observer = options->observer;
    vd_cost_init(&account->cost);
    vd_meter_info info;
    vd_meter_info_get(meter, &info);
    memcpy(account->model_idle_uw, info.idle_uw, sizeof(info.idle_uw));
    memcpy(account->totals.idle_uw, info.idle_uw, sizeof(info.idle_uw));
    vd_meter_read(meter, &account->start);
    account->mark = account->start;
    account->clock_ns = account->start.at_ns;
    account->loading = true;
    account->totals.method = account->start.method;
    account->totals.uncertainty_pct = account->start.uncertainty_pct;
    *ret_account = account;
    account = NULL;
out:
    vd_account_free(account);
    return st;
}

void vd_account_free(vd_account *account)
{
    if (account == NULL)
        return;
    vd_residents_done(&account->residents);
    vd_free(account->entry);
    vd_free(account->share);
    pthread_mutex_destroy(&account->lock);
    vd_free(account);
}

/* Moves the clock of speed 1/n to `now_ns`; before every change of n and every settling. */
static void move_clock(vd_account *a, uint64_t now_ns)
{
    uint64_t elapsed = now_ns > a->clock_ns ? now_ns - a->clock_ns : 0;
    /* 2^45 ns are ten hours: windows last a second, but a stopped process may make one longer. */
    elapsed = VD_MIN(elapsed, UINT64_C(1) << 45) << CLOCK_BITS;
    if (a->residents.n == 0)
        a->empty += elapsed;
    else
        a->clock += elapsed / a->residents.n;
    a->clock_ns = VD_MAX(now_ns, a->clock_ns);
}

static uint64_t power_for(uint64_t uw, uint64_t ns)
{
    return (uint64_t)((vd_wide)uw * ns / 1000000000u);
}

static bool is_model(const vd_reading *reading)
{
    return strcmp(reading->method, "model") == 0;
}

/* The idle part of `metered` microjoules in `ns`. Before any quiet time was seen the model's figure
 * serves, but never for more than half: it may be of quite another machine. */
static uint64_t idle_part(const vd_account *a, const vd_reading *now, vd_part part,
                          uint64_t metered, uint64_t ns)
{
    if (is_model(now))
        return VD_MIN(metered, power_for(a->model_idle_uw[part], ns));
    uint64_t idle = power_for(a->totals.idle_uw[part], ns);
    return VD_MIN(idle, a->totals.idle_measured ? metered : metered / 2);
}

/* A quiet window tells what the machine draws when it only waits: the median of the last ones. */
static void learn_idle(vd_account *a, const vd_reading *now)
{
    uint64_t ns = now->at_ns - a->start.at_ns;
    if (ns < quiet_ns || is_model(now))
        return;
    for (size_t c = 0; c < VD_PART_N; c++)
        a->quiet_uw[a->next_quiet][c] =
            (uint64_t)((vd_wide)(now->uj[c] - a->start.uj[c]) * 1000000000u / ns);
    a->next_quiet = (a->next_quiet + 1) % QUIET_N;
    a->n_quiet = VD_MIN(a->n_quiet + 1, (size_t)QUIET_N);
    for (size_t c = 0; c < VD_PART_N; c++) {
        uint64_t sorted[QUIET_N] = {0};
        for (size_t i = 0; i < a->n_quiet; i++) {
            size_t k = i;
            for (; k > 0 && sorted[k - 1] > a->quiet_uw[i][c]; k--)
                sorted[k] = sorted[k - 1];
            sorted[k] = a->quiet_uw[i][c];
        }
        a->totals.idle_uw[c] = sorted[a->n_quiet / 2];
    }
    a->totals.idle_measured = true;
}

/* What a window has to give. */
typedef struct window {
    uint64_t active_uj, idle_uj; /* to share out */
    uint64_t active_part[VD_PART_N], idle_part[VD_PART_N];
    uint64_t active_weight, idle_weight; /* sums of all payers' weights */
} window;

/* Cuts the window's energy into idle, active, open and, in w, what is shared out now. */
static void cut_window(vd_account *a, const vd_reading *now, bool others_stay, window *w)
{
    uint64_t ns = now->at_ns - a->start.at_ns;
    uint64_t tail_ns = now->at_ns - a->mark.at_ns;
    uint64_t open_now = 0, unattributed = 0;
    for (size_t c = 0; c < VD_PART_N; c++) {
        uint64_t metered = now->uj[c] - a->start.uj[c];
        uint64_t idle = idle_part(a, now, (vd_part)c, metered, ns);
        uint64_t active = metered - idle + a->open_uj[c], open = 0;
        a->totals.part_uj[c] += metered + a->open_uj[c];
        a->totals.meter_uj += metered + a->open_uj[c];
        if (a->gap) {
            unattributed += active + idle;
            active = idle = 0;
        } else if (others_stay) { /* since the last step ended, another one has been running */
            uint64_t tail = now->uj[c] - a->mark.uj[c];
            open = tail - idle_part(a, now, (vd_part)c, tail, tail_ns);
            open = a->n_steps == 0 ? active : VD_MIN(open, active);
        } else if (a->n_steps ==
                   0) { /* nobody computed: load from outside, or the model's loading */
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
        r->prefill_uj += prefill;
        r->decode_uj += active_uj - prefill;
    }
    r->idle_uj += idle_uj;
    for (size_t c = 0; c < VD_PART_N; c++) {
        if (w->active_uj != 0)
            r->part_uj[c] += active_uj * ((double)w->active_part[c] / (double)w->active_uj);
        if (w->idle_uj != 0)
            r->part_uj[c] += idle_uj * ((double)w->idle_part[c] / (double)w->idle_uj);
    }
}

/* Hands the window's energy out to residents, `idle` and `unattributed`, to the last microjoule. */
static size_t share_out(vd_account *a, const vd_reading *now, const window *w)
{
    size_t n = 0;
    for (size_t i = 0; i < a->residents.n; i++) {
        vd_resident *r = &a->residents.item[i];
        uint64_t time = a->clock - r->clock_from;
        vd_wide active =
            vd_split_share(w->active_uj, r->prefill_weight + r->decode_weight, w->active_weight);
        vd_wide idle = vd_split_share(w->idle_uj, time, w->idle_weight);
        note_parts(r, w, active, idle);
        add_entry(a, &n, r->id, active + idle, r->carry, r);
        r->machine_time += time;
        r->saw_rapl |= !is_model(now);
        r->saw_model |= is_model(now);
        r->saw_gap |= a->gap;
        r->uncertainty_pct = VD_MAX(r->uncertainty_pct, now->uncertainty_pct);
        r->common_pct = VD_MAX(r->common_pct, now->common_pct);
        r->independent_pct = VD_MAX(r->independent_pct, now->independent_pct);
        r->prefill_weight = r->decode_weight = 0;
        r->clock_from = 0;
    }
    add_entry(a, &n, UINT64_MAX, vd_split_share(w->idle_uj, a->empty, w->idle_weight),
              a->idle_carry, &a->totals.idle_uj);
    add_entry(a, &n, UINT64_MAX - 1,
              vd_split_share(w->active_uj, a->stranger_weight, w->active_weight),
              a->unattributed_carry, &a->totals.unattributed_uj);
    vd_split(w->active_uj + w->idle_uj, a->entry, n);
    double g_per_kwh = a->observer.g_per_kwh == NULL
                           ? 0 : a->observer.g_per_kwh(a->observer.ctx, now->at_ns);
    size_t n_share = 0;
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

/* Closes the window at `now` and opens the next. `others_stay`: somebody remains resident. */
static void settle(vd_account *a, const vd_reading *now, bool others_stay)
{
    const vd_account_totals before = a->totals;
    move_clock(a, now->at_ns);
    a->gap |= now->gap;
    window w = {.active_weight = a->stranger_weight, .idle_weight = a->empty};
    for (size_t i = 0; i < a->residents.n; i++) {
        const vd_resident *r = &a->residents.item[i];
        w.active_weight += r->prefill_weight + r->decode_weight;
        w.idle_weight += a->clock - r->clock_from;
    }
    if (a->residents.n == 0 && a->clock == 0 && !a->gap && !a->loading)
        learn_idle(a, now);
    cut_window(a, now, others_stay, &w);
    if (w.active_weight == 0) { /* steps without any weight */
        a->totals.unattributed_uj += w.active_uj;
        w.active_uj = 0;
    }
    if (w.idle_weight == 0) {
        a->totals.unattributed_uj += w.idle_uj;
        w.idle_uj = 0;
    }
    size_t n_share = share_out(a, now, &w);
    tell_window(a, now, &before, n_share);
    a->totals.n_windows++;
    a->totals.n_gaps += a->gap;
    a->totals.method = now->method;
    a->totals.uncertainty_pct = now->uncertainty_pct;
    a->start = a->mark = *now;
    a->n_steps = 0;
    a->gap = a->loading = false;
    a->clock = a->empty = a->stranger_weight = 0;
}

vd_status vd_account_join(vd_account *account, uint64_t request_id, vd_err *err)
{
    vd_status st = VD_OK;
    pthread_mutex_lock(&account->lock);
    if (vd_residents_find(&account->residents, request_id) != NULL) {
        st = VD_FAIL(err, VD_ERR_EXISTS, "request %" PRIu64 " is in the energy account already",
                     request_id);
        goto out;
    }
    if (account->residents.n == account->residents.capacity) {
        st = VD_FAIL(err, VD_ERR_LIMIT, "the energy account holds %zu requests at once at most",
                     account->residents.capacity);
        goto out;
    }
    vd_reading now;
    vd_meter_read(account->meter, &now);
    if (account->residents.n == 0) {
        settle(account, &now, false);
    } else { /* the window goes on; energy stays where it is, only the speed of the clock changes */
        account->gap |= now.gap;
        move_clock(account, now.at_ns);
    }
    vd_residents_add(&account->residents, request_id)->clock_from = account->clock;
out:
    pthread_mutex_unlock(&account->lock);
    return st;
}

static void weigh_step(vd_account *a, const vd_step *step)
{
    uint64_t ns = step->end_ns > step->begin_ns ? step->end_ns - step->begin_ns : 1;
    uint64_t n_prefill = 0, n_decode = 0, n_kv = 0;
    for (size_t i = 0; i < step->n_share; i++) {
        n_prefill += step->share[i].n_prefill;
        n_decode += step->share[i].n_decode;
        n_kv += step->share[i].n_kv_read;
    }
    vd_cost_learn(&a->cost, ns, n_prefill, n_decode, n_kv);
    const vd_step_cost cost = vd_cost_get(&a->cost);
    /* The whole from sums of counts, not of products: the same whatever the order of the shares. */
    double whole = cost.fixed_ns + cost.prefill_ns * (double)n_prefill +
                   cost.decode_ns * (double)n_decode + cost.kv_read_ns * (double)n_kv;
    double unit = (double)ns * 1024 / whole;
    if (step->n_share == 0)
        a->stranger_weight += ns * 1024;
    for (size_t i = 0; i < step->n_share; i++) {
        const vd_step_share *s = &step->share[i];
        double prefill = cost.prefill_ns * s->n_prefill, decode = cost.decode_ns * s->n_decode;
        /* Shapley: an equal part of what is there whoever runs, and one's own marginal cost. */
        uint64_t weight = (uint64_t)(unit * (cost.fixed_ns / (double)step->n_share + prefill +
                                             decode + cost.kv_read_ns * (double)s->n_kv_read));
        vd_resident *r = vd_residents_find(&a->residents, s->request_id);
        if (r == NULL) {
            a->stranger_weight += weight;
            continue;
        }
        /* A share with both kinds of tokens cuts the common terms by what each kind costs. */
        uint64_t first =
            prefill > 0 ? (uint64_t)((double)weight * (prefill / (prefill + decode))) : 0;
        r->prefill_weight += VD_MIN(first, weight);
        r->decode_weight += weight - VD_MIN(first, weight);
    }
}

void vd_account_step(vd_account *account, const vd_step *step)
{
    pthread_mutex_lock(&account->lock);
    weigh_step(account, step);
    vd_meter_read(account->meter, &account->mark);
    account->gap |= account->mark.gap;
    account->n_steps++;
    if (account->mark.at_ns - account->start.at_ns >= window_ns) {
        vd_reading now = account->mark;
        now.gap = false; /* taken in above */
        settle(account, &now, account->residents.n > 0);
    }
    pthread_mutex_unlock(&account->lock);
}

static const char *method_of(const vd_resident *r)
{
    return r->saw_rapl && r->saw_model ? "rapl+model" : r->saw_model ? "model" : "rapl";
}

static void bill(const vd_resident *r, vd_energy *ret)
{
    uint64_t phase[3], part[VD_PART_N];
    vd_split_small(r->total_uj, (double[]){r->prefill_uj, r->decode_uj, r->idle_uj}, phase, 3);
    vd_split_small(r->total_uj, r->part_uj, part, VD_PART_N);
    *ret = (vd_energy){
        .total_uj = r->total_uj,
        .active_uj = phase[0] + phase[1],
        .prefill_uj = phase[0],
        .decode_uj = phase[1],
        .idle_share_uj = phase[2],
        .cpu_uj = part[VD_PART_CPU],
        .dram_uj = part[VD_PART_DRAM],
        .gpu_uj = part[VD_PART_GPU],
        .machine_ns = r->machine_time >> CLOCK_BITS,
        .operational_ug = r->operational_ug,
        .method = method_of(r),
        .uncertainty_pct = r->saw_gap ? 100 : r->uncertainty_pct,
        .common_pct = r->common_pct,
        .independent_pct = r->saw_gap ? 100 : r->independent_pct,
        .settled = true,
        .incomplete = r->saw_gap,
    };
}

vd_status vd_account_leave(vd_account *account, uint64_t request_id, vd_energy *ret_energy,
                           vd_err *err)
{
    vd_status st = VD_OK;
    pthread_mutex_lock(&account->lock);
    if (vd_residents_find(&account->residents, request_id) == NULL) {
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "request %" PRIu64 " is not in the energy account",
                     request_id);
        goto out;
    }
    vd_reading now;
    vd_meter_read(account->meter, &now);
    settle(account, &now, account->residents.n > 1);
    vd_energy energy;
    bill(vd_residents_find(&account->residents, request_id), &energy);
    vd_residents_remove(&account->residents, request_id);
    account->totals.prefill_uj += energy.prefill_uj;
    account->totals.decode_uj += energy.decode_uj;
    account->totals.idle_share_uj += energy.idle_share_uj;
    account->totals.n_left++;
    if (account->observer.on_settled != NULL)
        account->observer.on_settled(account->observer.ctx, request_id, &energy);
    *ret_energy = energy;
out:
    pthread_mutex_unlock(&account->lock);
    return st;
}

void vd_account_tick(vd_account *account)
{
    pthread_mutex_lock(&account->lock);
    vd_reading now;
    vd_meter_read(account->meter, &now);
    account->gap |= now.gap;
    /* Nearly: a timer of one second may come a little early. */
    if (now.at_ns - account->start.at_ns >= window_ns / 10 * 9)
        settle(account, &now, account->residents.n > 0);
    pthread_mutex_unlock(&account->lock);
}

void vd_account_measure_idle(vd_account *account, uint64_t duration_ns)
{
    enum { PARTS = 5 };
    uint64_t part_ns = VD_MAX(duration_ns / PARTS, quiet_ns);
    const struct timespec part = {.tv_sec = (time_t)(part_ns / 1000000000u),
                                  .tv_nsec = (long)(part_ns % 1000000000u)};
    for (int i = 0; i <= PARTS; i++) {
        pthread_mutex_lock(&account->lock);
        if (account->residents.n == 0) {
            vd_reading now;
            vd_meter_read(account->meter, &now);
            account->loading |= i == 0; /* what came before was not waiting */
            settle(account, &now, false);
        }
        pthread_mutex_unlock(&account->lock);
        if (i < PARTS)
            nanosleep(&part, NULL);
    }
}

void vd_account_totals_get(vd_account *account, vd_account_totals *ret_totals)
{
    pthread_mutex_lock(&account->lock);
    *ret_totals = account->totals;
    ret_totals->n_resident = account->residents.n;
    pthread_mutex_unlock(&account->lock);
}

vd_step_cost vd_account_cost(vd_account *account)
{
    pthread_mutex_lock(&account->lock);
    vd_step_cost cost = vd_cost_get(&account->cost);
    pthread_mutex_unlock(&account->lock);
    return cost;
}

/*
 * account.c - the functions of account.h, each under the lock. account_state.h says which file does
 * what; docs/energy.md has the proofs.
 *
 * With a fast meter a leave closes the window, and the bill is exact at once. With a slow one a
 * window lasts at least a second and ten refreshes of the meter: who leaves before is `departed`
 * (present no more, so it pays no more idle power, but with its weights in the window), gets an
 * estimate, and its exact bill when the window closes.
 */
#include "energy/account/account.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "energy/account/account_state.h"

enum {
    RESIDENTS_DEFAULT = 4096,
    RESIDENTS_LIMIT = 1 << 17 /* split.h needs fewer than 2^18 payers */
};

static const uint64_t window_ns = UINT64_C(1000000000);
static const uint64_t idle_part_ns = UINT64_C(100000000), idle_most_ns = UINT64_C(3000000000);

/* ---- life of the account ---------------------------------------------------------------------*/

static void ask_meter(vd_account *a)
{
    vd_meter_info info;
    vd_meter_info_get(a->meter, &info);
    a->refresh_ns = a->refresh_option_ns != 0 ? a->refresh_option_ns : info.refresh_ns;
    memcpy(a->model_idle_uw, info.idle_uw, sizeof(info.idle_uw));
}

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
    if (options != NULL) {
        account->observer = options->observer;
        account->refresh_option_ns = options->refresh_ns;
    }
    for (size_t i = 0; i < VD_ACCOUNT_MODELS_MAX; i++)
        vd_cost_init(&account->stepper[i].cost);
    ask_meter(account);
    memcpy(account->totals.idle_uw, account->model_idle_uw, sizeof(account->model_idle_uw));
    vd_meter_read(meter, &account->start);
    account->mark = account->start;
    account->clock_ns = account->start.at_ns;
    account->loading = true;
    account->totals.method = account->start.method;
    account->totals.uncertainty_pct = account->start.uncertainty_pct;
    account->opened = true;
    *ret_account = account;
    account = NULL;
out:
    vd_account_free(account);
    return st;
}

/* Closes the window; who departed is billed, `id` also to *ret_energy. */
static void close_window(vd_account *a, const vd_reading *now, bool others_stay, uint64_t id,
                         vd_energy *ret_energy)
{
    const char *method = a->totals.method;
    vd_account_settle(a, now, others_stay);
    vd_account_release(a, now, id, ret_energy);
    if (now->method != method) /* another source, perhaps with another refresh */
        ask_meter(a);
}

static void close_plain(vd_account *a, const vd_reading *now)
{
    close_window(a, now, vd_account_n_present(a) > 0, 0, NULL);
}

void vd_account_free(vd_account *account)
{
    if (account == NULL)
        return;
    if (account->opened) { /* the last window: nobody steps any more, so nothing stays open */
        vd_reading now;
        vd_meter_read(account->meter, &now);
        close_window(account, &now, false, 0, NULL);
    }
    vd_residents_done(&account->residents);
    vd_free(account->entry);
    vd_free(account->share);
    pthread_mutex_destroy(&account->lock);
    vd_free(account);
}

/* ---- requests --------------------------------------------------------------------------------*/

/* Is a window that began so long ago old enough to be closed? `early_ns`: for timers. */
static bool is_due(const vd_account *a, const vd_reading *now, uint64_t early_ns)
{
    uint64_t age = now->at_ns - a->start.at_ns;
    return age >= window_ns - early_ns && age >= VD_REFRESHES * a->refresh_ns;
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
    bool full = account->residents.n == account->residents.capacity;
    if (full && account->n_departed == 0) {
        st = VD_FAIL(err, VD_ERR_LIMIT, "the energy account holds %zu requests at once at most",
                     account->residents.capacity);
        goto out;
    }
    vd_reading now;
    vd_meter_read(account->meter, &now);
    bool first = vd_account_n_present(account) == 0;
    if (full || (first && (account->refresh_ns == 0 || is_due(account, &now, 0)))) {
        close_plain(account, &now);
    } else { /* the window goes on; energy stays where it is, only the speed of the clock changes */
        account->gap |= now.gap;
        vd_account_move_clocks(account, now.at_ns);
    }
    vd_residents_add(&account->residents, request_id)->clock_from = account->clock;
out:
    pthread_mutex_unlock(&account->lock);
    return st;
}

vd_status vd_account_leave(vd_account *account, uint64_t request_id, vd_energy *ret_energy,
                           vd_err *err)
{
    vd_status st = VD_OK;
    pthread_mutex_lock(&account->lock);
    vd_resident *r = vd_residents_find(&account->residents, request_id);
    if (r == NULL || r->departed) {
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "request %" PRIu64 " is not in the energy account",
                     request_id);
        goto out;
    }
    vd_reading now;
    vd_meter_read(account->meter, &now);
    vd_account_move_clocks(account, now.at_ns);
    r->departed = true;
    r->clock_until = account->clock;
    account->n_departed++;
    if (account->refresh_ns == 0) {
        close_window(account, &now, vd_account_n_present(account) > 0, request_id, ret_energy);
    } else {
        account->gap |= now.gap;
        vd_account_estimate(account, r, &now, ret_energy);
    }
out:
    pthread_mutex_unlock(&account->lock);
    return st;
}

/* ---- steps and time --------------------------------------------------------------------------*/

void vd_account_step_begin(vd_account *account, const vd_step *step)
{
    pthread_mutex_lock(&account->lock);
    vd_account_begin_step(account, step);
    pthread_mutex_unlock(&account->lock);
}

void vd_account_step(vd_account *account, const vd_step *step)
{
    pthread_mutex_lock(&account->lock);
    vd_account_end_step(account, step);
    vd_meter_read(account->meter, &account->mark);
    account->gap |= account->mark.gap;
    account->n_steps++;
    if (is_due(account, &account->mark, 0)) {
        const vd_reading now = account->mark;
        close_plain(account, &now);
    }
    pthread_mutex_unlock(&account->lock);
}

void vd_account_tick(vd_account *account)
{
    pthread_mutex_lock(&account->lock);
    vd_reading now;
    vd_meter_read(account->meter, &now);
    account->gap |= now.gap;
    /* Nearly: a timer of one second may come a little early. */
    if (is_due(account, &now, window_ns / 10))
        close_plain(account, &now);
    pthread_mutex_unlock(&account->lock);
}

void vd_account_flush(vd_account *account)
{
    pthread_mutex_lock(&account->lock);
    vd_reading now;
    vd_meter_read(account->meter, &now);
    close_plain(account, &now);
    pthread_mutex_unlock(&account->lock);
}

void vd_account_measure_idle(vd_account *account, uint64_t duration_ns)
{
    pthread_mutex_lock(&account->lock);
    uint64_t slow_ns = VD_REFRESHES * account->refresh_ns;
    pthread_mutex_unlock(&account->lock);
    const int n_parts = slow_ns == 0 ? 5 : 1;
    uint64_t part_ns = VD_MAX(duration_ns / (uint64_t)n_parts, VD_MAX(idle_part_ns, slow_ns));
    if (slow_ns > idle_most_ns)
        return;
    const struct timespec part = {.tv_sec = (time_t)(part_ns / 1000000000u),
                                  .tv_nsec = (long)(part_ns % 1000000000u)};
    for (int i = 0; i <= n_parts; i++) {
        pthread_mutex_lock(&account->lock);
        if (account->residents.n == 0) {
            vd_reading now;
            vd_meter_read(account->meter, &now);
            account->loading |= i == 0; /* what came before was not waiting */
            close_plain(account, &now);
        }
        pthread_mutex_unlock(&account->lock);
        if (i < n_parts)
            nanosleep(&part, NULL);
    }
}

/* ---- figures ---------------------------------------------------------------------------------*/

void vd_account_totals_get(vd_account *account, vd_account_totals *ret_totals)
{
    pthread_mutex_lock(&account->lock);
    *ret_totals = account->totals;
    ret_totals->n_resident = vd_account_n_present(account);
    ret_totals->n_departed = account->n_departed;
    pthread_mutex_unlock(&account->lock);
}

vd_step_cost vd_account_cost(vd_account *account, uint32_t model)
{
    pthread_mutex_lock(&account->lock);
    const vd_cost_fit *fit =
        &account->stepper[VD_MIN(model, (uint32_t)VD_ACCOUNT_MODELS_MAX - 1)].cost;
    vd_step_cost cost = vd_cost_get(fit);
    cost.miss_pct = 100 * vd_cost_miss(fit);
    cost.bias_pct = 100 * vd_cost_bias(fit);
    cost.n_steps = fit->n_seen;
    for (size_t c = 0; account->recent_ns > 0 && c < VD_PART_N; c++)
        cost.active_w += account->recent_uj[c] / account->recent_ns * 1e3;
    pthread_mutex_unlock(&account->lock);
    return cost;
}

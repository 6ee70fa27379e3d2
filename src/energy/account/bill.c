/*
 * bill.c - what a request that left has to answer for.
 *
 * Its total is the exact sum of its shares; prefill, decode and idle, and the components, are that
 * integer split by what was noted beside. With a slow meter the answer goes out before its window
 * closes: its estimate is what it paid in the windows before, plus its weight in this one times the
 * power of the last ten seconds of steps, plus its time times the idle power.
 */
#include "energy/account/account_state.h"

#include <math.h>

#include "base/checked.h"
#include "energy/method.h"

/* A counter's last renewal lies up to a grain back at each end of a stay: the difference of two
 * uniform errors, of which 90 % lie within 1 - sqrt(0.1) of a grain. */
static const double edge90 = 0.684;
/* How far off an estimate may be (90 %), until so many were settled and have told: with the power
 * of closed windows to go by, and without. */
static const double estimate_start = 0.3, estimate_blind = 1;
enum { FEW_ESTIMATES = 10, RECENT_ESTIMATES = 100 };
/* A gigajoule: what a meter's jump makes of a power may not fit an integer. */
static const double most_uj = 1e15;

static double estimate_unsure(const vd_account *a)
{
    if (a->n_estimates >= FEW_ESTIMATES)
        return VD_Z90 * sqrt(a->estimate_miss);
    return a->recent_ns > 0 ? estimate_start : estimate_blind;
}

static void note_estimate(vd_account *a, const vd_resident *r)
{
    double added = (double)(r->total_uj - r->told_before_uj);
    double told = (double)(r->told_uj - r->told_before_uj);
    if (added == 0 || r->saw_gap)
        return;
    double miss = (told - added) / added;
    a->n_estimates++;
    a->estimate_miss += (miss * miss - a->estimate_miss) /
                        (double)VD_MIN(a->n_estimates, (uint64_t)RECENT_ESTIMATES);
}

static double independent_of(const vd_resident *r, const vd_reading *now)
{
    double span = now->at_ns > r->from_ns ? (double)(now->at_ns - r->from_ns) : 1;
    double edge = r->grain_ns == 0 ? 0 : 100 * edge90 * (double)r->grain_ns / span;
    double whole = r->prefill_uj + r->decode_uj + r->idle_uj;
    double split = whole > 0 ? 100 * r->unsure_uj / whole : 0;
    double all = sqrt(r->independent_pct * r->independent_pct + edge * edge + split * split);
    return VD_MIN(all, 100);
}

void vd_account_bill(const vd_resident *r, const vd_reading *now, vd_energy *ret)
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
        .machine_ns = r->machine_time >> VD_CLOCK_BITS,
        .operational_ug = r->operational_ug,
        .method = r->method,
        .common_pct = r->common_pct,
        .independent_pct = r->saw_gap ? 100 : independent_of(r, now),
        .settled = true,
        .incomplete = r->saw_gap,
    };
    ret->uncertainty_pct = r->saw_gap ? 100 : vd_energy_uncertainty(ret);
}

/* Adds what this window will probably bring: weight times power, by component. */
static void add_active(const vd_account *a, vd_resident *r, const vd_reading *now)
{
    double weight = (double)(r->prefill_weight + r->decode_weight);
    double ns = weight / (1 << VD_CLOCK_BITS), whole = 0;
    if (weight == 0)
        return;
    for (size_t c = 0; c < VD_PART_N; c++) {
        double power = 0; /* uJ per ns of machine time */
        if (a->recent_ns > 0) {
            power = a->recent_uj[c] / a->recent_ns;
        } else if (now->at_ns > a->start.at_ns) { /* the first window: what it shows so far */
            uint64_t metered = now->uj[c] - a->start.uj[c], span = now->at_ns - a->start.at_ns;
            uint64_t idle = vd_account_idle_part(a, now, (vd_part)c, metered, span);
            power = (double)(metered - idle) / (double)span;
        }
        r->part_uj[c] += power * ns;
        whole += power * ns;
    }
    r->prefill_uj += whole * ((double)r->prefill_weight / weight);
    r->decode_uj += whole * ((double)r->decode_weight / weight);
}

void vd_account_estimate(const vd_account *a, vd_resident *resident, const vd_reading *now,
                         vd_energy *ret)
{
    vd_resident r = *resident;
    uint64_t time = (r.departed ? r.clock_until : a->clock) - r.clock_from;
    double before = r.prefill_uj + r.decode_uj + r.idle_uj;
    const uint64_t *idle_uw =
        vd_reading_is_model(now) ? a->model_idle_uw : a->totals.idle_uw;
    add_active(a, &r, now);
    for (size_t c = 0; c < VD_PART_N; c++) {
        double uj = (double)idle_uw[c] * 1e-9 * ((double)time / (1 << VD_CLOCK_BITS));
        r.idle_uj += uj;
        r.part_uj[c] += uj;
    }
    double added = r.prefill_uj + r.decode_uj + r.idle_uj - before;
    r.total_uj += (uint64_t)(VD_MIN(added, most_uj) + 0.5);
    if (a->observer.g_per_kwh != NULL)
        r.operational_ug += added * a->observer.g_per_kwh(a->observer.ctx, now->at_ns) / 3.6e6;
    r.machine_time += time;
    r.method = vd_method_join(r.method, now->method);
    r.saw_gap |= a->gap;
    r.common_pct = VD_MAX(r.common_pct, now->common_pct);
    r.independent_pct = VD_MAX(r.independent_pct, now->independent_pct);
    r.from_ns = r.from_ns == 0 ? a->start.at_ns : r.from_ns;
    r.unsure_uj += added * estimate_unsure(a);
    resident->told_before_uj = resident->total_uj;
    resident->told_uj = r.total_uj;
    vd_account_bill(&r, now, ret);
    ret->settled = false;
}

void vd_account_release(vd_account *a, const vd_reading *now, uint64_t id, vd_energy *ret_energy)
{
    for (size_t i = 0; a->n_departed > 0 && i < a->residents.n;) {
        vd_resident *r = &a->residents.item[i];
        if (!r->departed) {
            i++;
            continue;
        }
        vd_energy energy;
        vd_account_bill(r, now, &energy);
        if (r->told_uj != 0)
            note_estimate(a, r);
        a->totals.prefill_uj += energy.prefill_uj;
        a->totals.decode_uj += energy.decode_uj;
        a->totals.idle_share_uj += energy.idle_share_uj;
        a->totals.left_uj[VD_PART_CPU] += energy.cpu_uj;
        a->totals.left_uj[VD_PART_DRAM] += energy.dram_uj;
        a->totals.left_uj[VD_PART_GPU] += energy.gpu_uj;
        a->totals.n_left++;
        uint64_t whose = r->id;
        if (r->running != 0) /* what its step still does is nobody's */
            a->stepper[r->running - 1].stranger +=
                vd_account_fixed_part(r->prefill_part + r->decode_part);
        vd_residents_remove(&a->residents, whose); /* the last one stands at i now */
        a->n_departed--;
        if (a->observer.on_settled != NULL)
            a->observer.on_settled(a->observer.ctx, whose, &energy);
        if (ret_energy != NULL && whose == id)
            *ret_energy = energy;
    }
}

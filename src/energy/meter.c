/*
 * meter.c - RAPL where it can be read, the model of the machine where not. See meter.h.
 */
#include "energy/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"

__extension__ typedef unsigned __int128 wide;

/* Socket and memory counters of servers since Haswell agree with external meters within a few
 * percent (Desrochers, Paradis, Weaver 2016; Khan et al. 2018). */
static const double rapl_pct = 5;
/* Without a dram zone the memory is missing: 5-20 % of what a server's sockets and memory draw. */
static const double rapl_without_dram_pct = 15;
/* A zone that stays away this long leaves the work to the model. */
static const uint64_t lost_ns = UINT64_C(30000000000);
/* Ten periods of the scheduler's quota. */
static const uint64_t late_most_ns = UINT64_C(1000000000);

struct vd_meter {
    vd_meter_options options;
    vd_machine machine;
    uint64_t idle_uw[VD_PART_N]; /* the whole machine, waiting */
    uint64_t busy_uw;            /* one hardware thread at work, above its idle power */
    vd_reading now;              /* the last one given */
    uint64_t cpu_ns;             /* the process's CPU time then */
    uint64_t rest_fj[VD_PART_N]; /* femtojoules (uW * ns) of the model below one microjoule */
    uint64_t late_ns;            /* CPU time that add_model has put off */
    bool away;                   /* the model stood in for lost zones at the last reading */
    vd_rapl rapl;
};

static uint64_t process_cpu_ns(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(const vd_meter *meter)
{
    return meter->options.now_ns != NULL ? meter->options.now_ns(meter->options.ctx) : vd_now_ns();
}

static uint64_t cpu_ns(const vd_meter *meter)
{
    return meter->options.cpu_ns != NULL ? meter->options.cpu_ns(meter->options.ctx)
                                         : process_cpu_ns();
}

static bool uses_rapl(const vd_meter *meter)
{
    return meter->rapl.n_zones > 0 && meter->rapl.why == VD_OK;
}

static double rapl_uncertainty(const vd_meter *meter)
{
    return meter->rapl.has_dram ? rapl_pct : rapl_without_dram_pct;
}

static void init_model(vd_meter *meter, const char *sysfs)
{
    vd_machine *m = &meter->machine;
    vd_machine_find(sysfs, m);
    meter->idle_uw[VD_PART_CPU] = (uint64_t)(m->n_cpu * m->idle_w * 1e6);
    meter->idle_uw[VD_PART_DRAM] =
        (uint64_t)((double)m->memory_bytes / 1e9 * VD_DRAM_W_PER_GB * 1e6);
    meter->busy_uw = (uint64_t)((m->full_w - m->idle_w) * 1e6);
}

vd_status vd_meter_open(const vd_meter_options *options, vd_meter **ret_meter, vd_err *err)
{
    vd_meter *meter = vd_calloc(1, sizeof(*meter));
    if (meter == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the energy meter");
    if (options != NULL)
        meter->options = *options;
    const char *sysfs = meter->options.sysfs;
    if (sysfs == NULL)
        sysfs = getenv("VERDANT_SYSFS");
    if (sysfs == NULL || sysfs[0] == '\0')
        sysfs = "/sys";
    meter->options.sysfs = NULL; /* borrowed for this call only */

    init_model(meter, sysfs);
    meter->now.at_ns = now_ns(meter);
    meter->cpu_ns = cpu_ns(meter);
    if (meter->options.model_only) {
        meter->rapl.why = VD_ERR_NOT_FOUND;
        snprintf(meter->rapl.why_text, sizeof(meter->rapl.why_text), "switched off by option");
    } else {
        vd_rapl_open(&meter->rapl, sysfs, meter->options.open_file, meter->options.ctx,
                     meter->now.at_ns);
    }
    *ret_meter = meter;
    return VD_OK;
}

void vd_meter_close(vd_meter *meter)
{
    if (meter == NULL)
        return;
    vd_rapl_close(&meter->rapl);
    vd_free(meter);
}

static void model_part(vd_meter *meter, vd_part part, wide fj)
{
    fj += meter->rest_fj[part];
    meter->now.uj[part] += (uint64_t)(fj / 1000000000u);
    meter->rest_fj[part] = (uint64_t)(fj % 1000000000u);
}

static void add_model(vd_meter *meter, uint64_t elapsed_ns, uint64_t busy_ns)
{
    /* No more CPU time than the machine has: clocks of threads run a little ahead, and a quota lets
     * a burst pass and takes the time back later. What is too much counts in the next interval. */
    uint64_t most_ns = (uint64_t)((double)elapsed_ns * meter->machine.n_cpu);
    busy_ns += meter->late_ns;
    uint64_t late_ns = busy_ns > most_ns ? busy_ns - most_ns : 0;
    busy_ns -= late_ns;
    meter->late_ns = VD_MIN(late_ns, late_most_ns);
    model_part(meter, VD_PART_CPU,
               (wide)meter->idle_uw[VD_PART_CPU] * elapsed_ns + (wide)meter->busy_uw * busy_ns);
    model_part(meter, VD_PART_DRAM, (wide)meter->idle_uw[VD_PART_DRAM] * elapsed_ns);
}

void vd_meter_read(vd_meter *meter, vd_reading *ret_reading)
{
    uint64_t now = now_ns(meter), cpu = cpu_ns(meter);
    vd_reading *reading = &meter->now;
    uint64_t elapsed = now > reading->at_ns ? now - reading->at_ns : 0;
    uint64_t busy = cpu > meter->cpu_ns ? cpu - meter->cpu_ns : 0;
    reading->gap = false;
    reading->method = "model";
    reading->uncertainty_pct = reading->common_pct = VD_MODEL_UNCERTAINTY_PCT;
    bool model = !uses_rapl(meter);
    if (!model) {
        uint64_t uj[VD_PART_N] = {0};
        bool seen = vd_rapl_read(&meter->rapl, now, uj);
        uint64_t lost = meter->rapl.lost_since_ns;
        bool away = lost != 0 && now - lost > lost_ns;
        /* Zones that come back show what they used meanwhile; the model has counted that. */
        model = away || meter->away;
        meter->away = away;
        if (!model) {
            for (size_t i = 0; i < VD_PART_N; i++)
                reading->uj[i] += uj[i];
            reading->gap = !seen;
            reading->method = "rapl";
            reading->uncertainty_pct = reading->common_pct = rapl_uncertainty(meter);
        }
    }
    if (model)
        add_model(meter, elapsed, busy);
    reading->at_ns = now > reading->at_ns ? now : reading->at_ns;
    meter->cpu_ns = cpu;
    *ret_reading = *reading;
}

void vd_meter_info_get(const vd_meter *meter, vd_meter_info *ret_info)
{
    const vd_rapl *rapl = &meter->rapl;
    bool model = !uses_rapl(meter) ||
                 (rapl->lost_since_ns != 0 && meter->now.at_ns - rapl->lost_since_ns > lost_ns);
    *ret_info = (vd_meter_info){
        .method = model ? "model" : "rapl",
        .uncertainty_pct = model ? VD_MODEL_UNCERTAINTY_PCT : rapl_uncertainty(meter),
        .common_pct = model ? VD_MODEL_UNCERTAINTY_PCT : rapl_uncertainty(meter),
        .has_rapl = uses_rapl(meter),
        .why = rapl->why,
        .n_gaps = rapl->n_gaps,
        .machine = meter->machine,
        .n_zones = rapl->n_zones,
    };
    memcpy(ret_info->idle_uw, meter->idle_uw, sizeof(ret_info->idle_uw));
    memcpy(ret_info->why_text, rapl->why_text, sizeof(ret_info->why_text));
    memcpy(ret_info->powercap, rapl->root, sizeof(ret_info->powercap));
    memcpy(ret_info->last_gap, rapl->last_gap, sizeof(ret_info->last_gap));
    for (size_t i = 0; i < rapl->n_zones; i++)
        ret_info->zone[i] = rapl->zone[i].info;
}

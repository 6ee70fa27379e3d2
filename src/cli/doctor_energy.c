/* doctor_energy.c - the meter that is read, zone by zone, in watts. */
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "cli/doctor.h"

/* Counters of processors move every millisecond; this makes one part in hundreds of it. Slower
 * meters are given three refreshes more, and no watts where that is too long for a visit. */
static const uint64_t look_ns = UINT64_C(400000000), slowest_ns = UINT64_C(2000000000);

static void look(uint64_t refresh_ns)
{
    uint64_t ns = look_ns + 3 * refresh_ns;
    nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                                 .tv_nsec = (long)(ns % 1000000000u)},
              NULL);
}

static double watts(uint64_t from_uj, uint64_t to_uj, const vd_reading *from, const vd_reading *to)
{
    double ns = (double)(to->at_ns - from->at_ns);
    return ns > 0 ? (double)(to_uj - from_uj) * 1e3 / ns : 0;
}

static double watts_of_all(const vd_reading *from, const vd_reading *to)
{
    double sum = 0;
    for (size_t i = 0; i < VD_PART_N; i++)
        sum += watts(from->uj[i], to->uj[i], from, to);
    return sum;
}

/* CPU time of a reading: of this thread, the mean of many. */
static double cost_of_reading_us(vd_meter *meter)
{
    enum { READINGS = 200 };
    struct timespec from, to;
    vd_reading reading;
    vd_meter_read(meter, &reading);
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from) != 0)
        return 0;
    for (int i = 0; i < READINGS; i++)
        vd_meter_read(meter, &reading);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    return ns / READINGS * 1e-3;
}

vd_status vd_doctor_meter_open(vd_doctor_energy *energy, vd_meter **ret_meter, vd_err *err)
{
    vd_err why = {0};
    vd_status st = vd_meter_open(NULL, ret_meter, &why);
    if (st == VD_OK)
        return st;
    snprintf(energy->refused, sizeof(energy->refused), "%s", why.message);
    return vd_meter_open(&(vd_meter_options){.spec = "auto"}, ret_meter, err);
}

void vd_doctor_energy_find(vd_doctor_energy *energy, vd_meter *meter, void (*work)(void *ctx),
                           void *ctx)
{
    vd_meter_info *info = &energy->info, *earlier = vd_alloc(sizeof(*earlier));
    vd_reading start, waited, worked;
    vd_meter_info_get(meter, info);
    energy->n_remedies = vd_remedies_find(info, energy->remedy);
    if (work == NULL || earlier == NULL) {
        vd_free(earlier);
        return;
    }
    energy->read_us = cost_of_reading_us(meter);
    if (info->refresh_ns > slowest_ns) {
        snprintf(energy->unwatched, sizeof(energy->unwatched),
                 "not measured: its figures are up to %.0f s old", (double)info->refresh_ns * 1e-9);
        work(ctx);
        vd_free(earlier);
        return;
    }
    vd_meter_read(meter, &start);
    vd_meter_info_get(meter, earlier);
    look(info->refresh_ns);
    vd_meter_read(meter, &waited);
    vd_meter_info_get(meter, info);
    for (size_t i = 0; i < info->n_zones; i++)
        energy->zone[i].waiting =
            watts(earlier->zone[i].counted_uj, info->zone[i].counted_uj, &start, &waited);
    *earlier = *info;
    work(ctx);
    vd_meter_read(meter, &worked);
    vd_meter_info_get(meter, info);
    for (size_t i = 0; i < info->n_zones; i++)
        energy->zone[i].reading =
            watts(earlier->zone[i].counted_uj, info->zone[i].counted_uj, &waited, &worked);
    energy->all = (vd_doctor_watts){watts_of_all(&start, &waited), watts_of_all(&waited, &worked)};
    energy->watched = !waited.gap && !worked.gap;
    if (!energy->watched) /* what was not seen is not zero watts */
        snprintf(energy->unwatched, sizeof(energy->unwatched), "not known: %.400s", info->last_gap);
    vd_free(earlier);
}

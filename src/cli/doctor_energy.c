/* doctor_energy.c - the meter that is read, zone by zone, in watts. */
#include <time.h>

#include "base/alloc.h"
#include "cli/doctor.h"

/* The counters move every millisecond; this makes one part in hundreds of it. */
static const struct timespec look = {.tv_nsec = 400000000};

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
    vd_meter_read(meter, &start);
    vd_meter_info_get(meter, earlier);
    nanosleep(&look, NULL);
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
    energy->watched = true;
    vd_free(earlier);
}

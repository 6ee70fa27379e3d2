/*
 * energy.h - what one request cost, in integer microjoules.
 *
 * Two exact readings of the same total:  prefill + decode = active, active + idle share = total;
 * cpu + dram + gpu = total. See docs/energy.md for what each word means.
 */
#ifndef VD_ENERGY_ENERGY_H
#define VD_ENERGY_ENERGY_H

#include <stdbool.h>
#include <stdint.h>

typedef enum vd_part { VD_PART_CPU, VD_PART_DRAM, VD_PART_GPU, VD_PART_N } vd_part;

typedef struct vd_energy {
    uint64_t total_uj;      /* active_uj + idle_share_uj */
    uint64_t active_uj;     /* prefill_uj + decode_uj */
    uint64_t idle_share_uj; /* its share of what the machine draws when it only waits */
    uint64_t prefill_uj, decode_uj;
    uint64_t cpu_uj, dram_uj, gpu_uj; /* the same total by component */
    uint64_t machine_ns;    /* its share of the machine's time: n residents get 1/n each */
    double operational_ug;  /* micrograms of CO2e: sum of E_t x I_t over windows, before PUE; 0
                             * where the account was told no intensity */
    const char *method; /* "rapl", "model", "rapl+nvml", "rapl+model"; static storage (method.h) */
    double uncertainty_pct; /* of total_uj, +-, 90 %: both parts below together */
    double common_pct;      /* of all figures of this machine and method: cancels in a ratio */
    double independent_pct; /* differs from answer to answer */
    bool settled;           /* false: a slow meter's window is still open */
    bool incomplete;        /* the meter failed while the request was there: total_uj is too low */
} vd_energy;

/* Both parts together: the root of the sum of squares. */
double vd_energy_uncertainty(const vd_energy *energy);

/* Adds `one` to `sum`, which is {0} at first: several sequences of one answer. All integers add up
 * exactly. Of the common uncertainty the larger stays, for a meter's does not average out; the
 * independent ones add up in squares. */
void vd_energy_add(vd_energy *sum, const vd_energy *one);

#endif

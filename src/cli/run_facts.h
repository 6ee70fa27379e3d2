/*
 * run_facts.h - what bench and eval put into a run record about model, machine, meter and grid.
 *
 * The strings of the vd_run then point into the vd_run_facts, which must outlive it. Single-owner.
 */
#ifndef VD_CLI_RUN_FACTS_H
#define VD_CLI_RUN_FACTS_H

#include <verdant/engine.h>

#include "base/sha256.h"
#include "energy/meter.h"
#include "report/record.h"

typedef struct vd_run_facts {
    char name[128], file[256], quant[24], architecture[64];
    char sha256[VD_SHA256_HEX + 1];
    char cpu[96], machine_id[VD_RUN_SERIES_MAX], created[VD_RUN_TIME_MAX], valid_at[16];
} vd_run_facts;

/* kind, created, program, and of the model: name, file, bytes, SHA-256 (of the store's note; else
 * computed where the file is at most 1 GiB), quantization, architecture, parameters. `name` is what
 * the user wrote. */
VD_NODISCARD vd_status vd_run_facts_model(const char *kind, const char *name, const char *path,
                                          vd_run_facts *facts, vd_run *run, vd_err *err);
/* The machine, and the method and uncertainty of its meter. */
void vd_run_facts_meter(const vd_meter *meter, vd_run_facts *facts, vd_run *run);
/* Threads, kernels and memory of an open engine. */
void vd_run_facts_engine(vd_engine *engine, const vd_engine_options *options, vd_run *run);
/* The grid's intensity and the hardware's embodied carbon, after vd_run_facts_meter; zone NULL: the
 * world. */
VD_NODISCARD vd_status vd_run_facts_carbon(const char *zone, vd_run_facts *facts, vd_run *run,
                                           vd_err *err);

/* Joules of a component between two readings, and of all of them. */
double vd_joules_between(const vd_reading *from, const vd_reading *to, vd_part part);
/* Fills joules, cpu_j, dram_j, gpu_j and seconds. */
void vd_run_phase_fill(vd_run_phase *phase, const vd_reading *from, const vd_reading *to);
/* Watts of the machine while this program sleeps for `duration_ns`. */
double vd_idle_watts(vd_meter *meter, uint64_t duration_ns);

#endif

/* cmd_doctor.c - what this machine offers, and what to do where it offers too little. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/doctor_calibrate.h"
#include "cli/format.h"

static const char help[] =
    "usage: verdant doctor [--quick] [--json] [--meter SPEC]\n"
    "       verdant doctor --calibrate [--meter-csv FILE] [--seconds N] [-o FILE]\n"
    "       verdant doctor --fit TABLE [--cpu-type NAME] [--threads N] [-o FILE]\n"
    "\n"
    "What this machine offers: processor and kernels, memory and how fast it is read, the energy\n"
    "meter that is used and its watts, and if none can be read, why and what to do; GPUs, MPI,\n"
    "and the model store. Changes nothing; takes about two seconds. Exit status 1 when the\n"
    "machine cannot serve.\n"
    "\n"
    "  --quick   measure nothing: no bandwidth, no watts\n"
    "  --meter SPEC  look at these energy meters (docs/meters.md): rapl, nvml, hwmon:NAME, ...;\n"
    "            default auto, the best for each component\n"
    "  --json    the same as one object; null where there is nothing to say:\n"
    "            version, can_serve, problems[], notes[],\n"
    "            cpu{model, virtual_machine, packages, cores, threads, numa_nodes, usable_cores,\n"
    "              usable_cpus, caches[]{level, kind, bytes, count}, extensions[]},\n"
    "            kernels{used, mask, levels[]{name, runs, used, lacks}},\n"
    "            memory{total_bytes, usable_bytes, available_bytes, huge_pages,\n"
    "              read_bandwidth{gb_s, median_gb_s, bytes, threads, passes}},\n"
    "            energy{method, uncertainty_pct, watts{waiting, reading_memory}, why,\n"
    "              sources[]{name, method, components[], refresh_ms, uncertainty_pct, lost},\n"
    "              refused[]{name, why}, sampler{us_per_reading, core_pct_at_100_hz},\n"
    "              energy_filtering, remedies[]{what, command}, powercap,\n"
    "              zones[]{id, name, component, use, range_uj, watts{...}},\n"
    "              model{family, source, waiting_w, full_w, threads, memory_w_per_gb,\n"
    "                memory_bytes, uncertainty_pct, common_pct, independent_pct, calibrated,\n"
    "                calibration}},\n"
    "            gpus{used, nvml, devices[]{vendor, name, address, driver, memory_bytes}},\n"
    "            mpi{used, library, file, launcher},\n"
    "            store{directory, exists, writable, free_bytes, models[]{name, bytes}}\n"
    "            A zone's use is read, part, whole, twin, denied, broken or other.\n"
    "\n"
    "  --calibrate  makes a calibration: power over load; the model is twice as sure with\n"
    "            it where no meter can be read. Runs loads for a minute; the watts come from this\n"
    "            machine's own meter (then good for virtual machines on the same processor type)\n"
    "            or from a plug meter's table. Writes $VERDANT_HOME/calibration/TYPE.json, once\n"
    "            all has gone well; docs/power-model.md\n"
    "  --seconds N       how long the loads run, 60\n"
    "  --meter-csv FILE  a table with a column of time (ISO 8601 or seconds since 1970) and one\n"
    "            of power; the offset of its clock is found and said\n"
    "  --time-column NAME, --watts-column NAME, --watts-unit W|kW|mW  if they are not recognised\n"
    "  --save-loads FILE  keeps what ran when; --loads FILE with --meter-csv joins it later\n"
    "  --fit TABLE       instead: loads and watts recorded elsewhere; columns load (0..1 or %),\n"
    "            watts, and where they are there spread and clock_mhz\n"
    "  --cpu-type NAME, --threads N, --base-mhz N, --memory-gb N  of that machine; else this one\n"
    "  --covers package|wall  what the watts are of: wall with --meter-csv, else package\n"
    "  --meter-pct N     90 % of the meter's own error: 3 for a plug, else 5\n"
    "  -o, --output FILE  where to write it\n"
    "\n"
    "VERDANT_SYSFS points to another tree than /sys, VERDANT_CPU=LEVEL is the highest level of\n"
    "kernels used, by its name as doctor lists it, VERDANT_HOME is where models and calibrations\n"
    "lie; VERDANT_CALIBRATION names another calibration, or none.\n"
    "\n"
    "Examples:\n"
    "  verdant doctor\n"
    "  verdant doctor --calibrate --meter-csv plug.csv\n";

static void measure(void *ctx)
{
    vd_doctor *d = ctx;
    vd_doctor_bandwidth_measure(&d->bandwidth, &d->cpu, &d->memory);
}

static vd_status examine(vd_doctor *d, bool quick, vd_err *err)
{
    vd_meter *meter = NULL;
    vd_status st = vd_doctor_meter_open(&d->energy, &meter, err);
    if (st != VD_OK)
        return st;
    vd_meter_info_get(meter, &d->energy.info);
    vd_doctor_cpu_find(&d->cpu);
    d->n_kernels = vd_kernels_describe(d->kernels);
    const char *mask = getenv("VERDANT_CPU");
    d->mask = mask != NULL && mask[0] != '\0' ? mask : NULL;
    vd_doctor_memory_find(&d->memory, d->energy.info.machine.memory_bytes);
    vd_doctor_energy_find(&d->energy, meter, quick ? NULL : measure, d);
    vd_doctor_gpus_find(&d->gpus);
    vd_doctor_mpi_find(&d->mpi);
    vd_doctor_store_find(&d->store);
    vd_doctor_judge(d);
    vd_meter_close(meter);
    return VD_OK;
}

static int doctor_main(int argc, char **argv)
{
    bool json = false, quick = false;
    vd_err err = {0};
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--calibrate") == 0 || strncmp(argv[i], "--fit", 5) == 0)
            return vd_doctor_calibrate(argc, argv);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--quick") == 0)
            quick = true;
        else if (strcmp(argv[i], "--meter") == 0 && i + 1 < argc)
            vd_cli_use_meter(argv[++i]);
        else if (strcmp(argv[i], "--meter") == 0)
            return vd_cli_misuse("doctor", "--meter needs the name of a meter, such as rapl");
        else
            return vd_cli_misuse("doctor", "'%s' is not understood", argv[i]);
    }
    vd_doctor *d = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*d), "the report", &d, &err);
    if (st == VD_OK)
        st = examine(d, quick, &err);
    int status = VD_EXIT_OK;
    if (st != VD_OK)
        status = vd_cli_failed("doctor", &err);
    else if (json)
        status = vd_cli_put_json("doctor", vd_doctor_json(d));
    else
        vd_doctor_print(d);
    if (status == VD_EXIT_OK && d->n_problems > 0)
        status = VD_EXIT_FAILED;
    if (d != NULL)
        vd_doctor_store_done(&d->store);
    vd_free(d);
    return status;
}

const vd_command vd_cmd_doctor = {.name = "doctor",
                                  .summary = "what this machine offers, and what to do about it",
                                  .help = help,
                                  .main = doctor_main};

/* sources.h - the kinds of meters there are. Each is one file; source.h says what they promise. */
#ifndef VD_ENERGY_SOURCES_SOURCES_H
#define VD_ENERGY_SOURCES_SOURCES_H

#include "energy/sources/source.h"

/* Counters of the host's processor and memory: the better of perf events and powercap, or one. */
vd_status vd_source_rapl_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);
vd_status vd_source_rapl_perf_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);
vd_status vd_source_rapl_powercap_open(const vd_source_env *env, vd_source *ret_source,
                                       vd_err *err);
/* RAPL as verdant-meterd reads it; spec: its socket. */
vd_status vd_source_meterd_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);
/* The platform counter of laptops: processor, memory and what else hangs on the same supply. */
vd_status vd_source_psys_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

/* NVIDIA GPUs, by NVIDIA's management library: a board's own counter of millijoules since Volta;
 * older boards and virtual GPUs by their power, integrated 20 times a second, and the method is
 * then "nvml-power", for that is a worse figure. Spec "": the GPUs that CUDA shows this process;
 * else indices or UUIDs (or their beginnings) joined by +: "0+2". A board is counted whole, with
 * the work of others on it, also for a MIG slice. Also VD_ERR_IO where the driver fails,
 * VD_ERR_UNSUPPORTED where a GPU shows neither energy nor power. */
vd_status vd_source_nvml_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

/* AMD GPUs, by the files of their driver: the energy counter where it has one, else its power.
 * Graphics inside a processor are left out, for they show the power of the whole package. Spec:
 * "" for all, or names joined by +: "card0+card1". */
vd_status vd_source_amdgpu_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

/* Any sensor of the kernel's hwmon class. Spec: "NAME", "NAME/LABEL" or "NAME/LABEL*", and behind
 * it "@cpu", "@dram", "@gpu" or "@all" for what it covers where the driver's name does not say.
 * "": energy drivers of AMD processors. An error lists what is there. */
vd_status vd_source_hwmon_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

/* The batteries of a laptop while they are being discharged: the whole machine. On mains power
 * nothing is known, which is a gap. */
vd_status vd_source_battery_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

/* What a host counted for this virtual machine, in the files that Scaphandre passes in. Spec: their
 * folder, "" for /var/scaphandre. */
vd_status vd_source_scaphandre_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

/* A metric of an exporter in Prometheus' text format: an external meter. Spec:
 * "http://HOST:PORT/metrics#METRIC{label="x"}", and behind it "&unit=W" (J, mJ, uJ, kJ, Wh, kWh, mW,
 * uW, kW) where the name does not end in its unit, "&refresh=5" and "&stale=900" in seconds,
 * "&pct=2", "&part=all". Opening waits for an answer, up to three seconds. Also VD_ERR_IO,
 * VD_ERR_LIMIT for a page above 4 MiB. */
vd_status vd_source_prometheus_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

/* A server's power by its supplies and management controller: the whole machine. Spec: "acpi" for
 * ACPI's power meter, a device file for DCMI ("/dev/ipmi0"), "" for the first that is there. */
vd_status vd_source_ipmi_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

#endif

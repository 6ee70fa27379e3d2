/*
 * doctor.h - what `verdant doctor` finds out, part by part, and its two ways of saying it.
 *
 * Each vd_doctor_…_find looks at one thing, changes nothing on the machine and cannot fail: what is
 * not there is 0, "" or said in words. Inside src/cli only; single-threaded but for the bandwidth.
 */
#ifndef VD_CLI_DOCTOR_H
#define VD_CLI_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bandwidth.h"
#include "energy/meter.h"
#include "energy/remedy.h"
#include "kernels/kernels.h"
#include "model/store.h"

enum {
    VD_DOCTOR_CACHES_MAX = 8,
    VD_DOCTOR_GPUS_MAX = 32,
    VD_DOCTOR_LINES_MAX = 12,
    VD_DOCTOR_PATH_MAX = 512
};

typedef struct vd_doctor_cache {
    unsigned level;
    const char *kind; /* "data", "instruction", "unified" */
    uint64_t bytes;   /* of one */
    size_t n;
} vd_doctor_cache;

typedef struct vd_doctor_cpu {
    size_t n_packages, n_cores, n_threads, n_numa; /* of the machine; 0: hwloc cannot tell */
    size_t n_usable_cores;                         /* that this process may use */
    vd_doctor_cache cache[VD_DOCTOR_CACHES_MAX];
    size_t n_caches;
    uint64_t last_level_bytes; /* of all last-level caches together */
    char extensions[256];      /* instruction sets that matter here, as the kernel names them */
} vd_doctor_cpu;

typedef struct vd_doctor_memory {
    uint64_t total_bytes;     /* the machine's */
    uint64_t usable_bytes;    /* the control group's limit where that is lower */
    uint64_t available_bytes; /* without swapping, within the limit */
    char huge_pages[16];      /* "always", "madvise", "never", "unknown" */
} vd_doctor_memory;

/* Mean watts while the machine waited and while the bandwidth was measured. */
typedef struct vd_doctor_watts {
    double waiting, reading;
} vd_doctor_watts;

typedef struct vd_doctor_energy {
    vd_meter_info info;
    bool watched; /* the watts below were measured (or modelled) */
    char unwatched[VD_ERR_MESSAGE_MAX]; /* why they were not, though they were to be; "" */
    vd_doctor_watts all, zone[VD_RAPL_ZONES_MAX];
    /* CPU time of one reading of the meter; 0: not measured. At 100 readings a second, percent of a
     * core: read_us / 100. */
    double read_us;
    char refused[VD_ERR_MESSAGE_MAX]; /* why the meter that was named is not read; "" */
    vd_remedy remedy[VD_REMEDIES_MAX];
    size_t n_remedies;
} vd_doctor_energy;

typedef struct vd_doctor_gpu {
    const char *vendor;    /* "NVIDIA", "AMD", "Intel" */
    char name[96];         /* as its driver says, else the PCI id */
    char address[24];      /* 0000:3b:00.0 */
    char driver[48];       /* the kernel's, "" for none */
    uint64_t memory_bytes; /* 0: unknown */
} vd_doctor_gpu;

typedef struct vd_doctor_gpus {
    vd_doctor_gpu gpu[VD_DOCTOR_GPUS_MAX];
    size_t n;
    char nvml[128]; /* of NVIDIA's library: its driver's version, or why it cannot be asked */
} vd_doctor_gpus;

typedef struct vd_doctor_mpi {
    char library[160]; /* what the library says of itself, "" for none */
    char file[32];     /* the name it was found by */
    char launcher[VD_DOCTOR_PATH_MAX];
} vd_doctor_mpi;

typedef struct vd_doctor_store {
    char *directory; /* NULL: see error */
    bool exists, writable;
    uint64_t free_bytes;
    vd_store_entry *models;
    size_t n_models;
    char error[VD_ERR_MESSAGE_MAX];
} vd_doctor_store;

typedef struct vd_doctor {
    vd_doctor_cpu cpu;
    vd_kernels_info kernels[VD_KERNELS_INFO_MAX];
    size_t n_kernels;
    const char *mask; /* VERDANT_CPU, or NULL */
    vd_doctor_memory memory;
    vd_bandwidth bandwidth;
    vd_doctor_energy energy;
    vd_doctor_gpus gpus;
    vd_doctor_mpi mpi;
    vd_doctor_store store;
    /* Why it cannot serve; what is worth knowing. */
    char problem[VD_DOCTOR_LINES_MAX][256], note[VD_DOCTOR_LINES_MAX][256];
    size_t n_problems, n_notes;
} vd_doctor;

/* The root of the system's tree: $VERDANT_SYSFS, else /sys. */
const char *vd_doctor_sysfs(void);
/* The first line of root/path; "" and false when there is none. */
bool vd_doctor_line(const char *root, const char *path, char *text, size_t size);

void vd_doctor_cpu_find(vd_doctor_cpu *cpu);
/* `limit_bytes` is the machine model's idea of the memory (vd_machine.memory_bytes). */
void vd_doctor_memory_find(vd_doctor_memory *memory, uint64_t limit_bytes);
/* Reads more memory than the caches hold, on all cores, for about a second. */
void vd_doctor_bandwidth_measure(vd_bandwidth *bandwidth, const vd_doctor_cpu *cpu,
                                 const vd_doctor_memory *memory);
/* The meter that is asked for, or, with the reason in energy->refused, the best there is. */
vd_status vd_doctor_meter_open(vd_doctor_energy *energy, vd_meter **ret_meter, vd_err *err);
/* Reads the meter, waits a little, calls work(ctx) and reads again. NULL: only looks. */
void vd_doctor_energy_find(vd_doctor_energy *energy, vd_meter *meter, void (*work)(void *ctx),
                           void *ctx);
void vd_doctor_gpus_find(vd_doctor_gpus *gpus);
void vd_doctor_mpi_find(vd_doctor_mpi *mpi);
void vd_doctor_store_find(vd_doctor_store *store);
void vd_doctor_store_done(vd_doctor_store *store);

/* Fills problems and notes from the rest. */
void vd_doctor_judge(vd_doctor *doctor);

void vd_doctor_print(const vd_doctor *doctor);
json_t *vd_doctor_json(const vd_doctor *doctor); /* NULL when memory is short */

#endif

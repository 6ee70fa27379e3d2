/*
 * rapl.h - the energy counters of the powercap tree, read with care.
 *
 *   class/powercap/intel-rapl:0          package-0     read
 *   class/powercap/intel-rapl:0:0        core          part of package-0
 *   class/powercap/intel-rapl:0:1        dram          read
 *   class/powercap/intel-rapl:1          psys          holds the packages
 *   class/powercap/intel-rapl-mmio:0     package-0     the twin of intel-rapl:0
 *
 *   class/powercap/intel-rapl:0          package-0-die-0   on AMD all dies show one counter: the
 *   class/powercap/intel-rapl:1          package-0-die-1   first is read, the others are its twins
 *
 * A zone is known by its directory's name, which the kernel keeps unique; names such as "dram"
 * stand many times. Layout and file names: Documentation/power/powercap/powercap.rst of the kernel.
 *
 * Threads: single-owner.
 */
#ifndef VD_ENERGY_RAPL_H
#define VD_ENERGY_RAPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "energy/energy.h"

enum { VD_RAPL_ZONES_MAX = 128, VD_RAPL_ID_MAX = 48, VD_RAPL_PATH_MAX = 512 };

typedef enum vd_rapl_use {
    VD_RAPL_READ,   /* added up */
    VD_RAPL_PART,   /* core, uncore: inside its package; with psys packages too */
    VD_RAPL_WHOLE,  /* psys: holds the packages */
    VD_RAPL_TWIN,   /* a counter that is read already, by another interface or another die */
    VD_RAPL_DENIED, /* EACCES */
    VD_RAPL_BROKEN, /* unreadable for another reason, or malformed */
    VD_RAPL_OTHER   /* a name we do not know */
} vd_rapl_use;

/* "read", "part of its package", ... */
const char *vd_rapl_use_text(vd_rapl_use use);

typedef struct vd_rapl_zone_info {
    char id[VD_RAPL_ID_MAX]; /* "intel-rapl:0:1" */
    char name[32];           /* what the kernel calls it: "package-0", "dram" */
    vd_part part;
    vd_rapl_use use;
    uint64_t range_uj; /* the counter runs 0..range_uj; 0: unknown, then it cannot be unwrapped */
    uint64_t counted_uj; /* what it has added since it was opened */
    bool missing;      /* was read once, and cannot be now or stands still */
} vd_rapl_zone_info;

typedef struct vd_rapl_zone {
    vd_rapl_zone_info info;
    char dir[VD_RAPL_PATH_MAX];
    int fd; /* energy_uj or the perf event, or -1 */
    uint64_t last_uj, last_ns, moved_ns;
    bool ends_line; /* its number had a newline behind it: without one it is cut short */
    size_t index; /* sources/meterd.c: its place in the daemon's list */
    struct { /* sources/perf.c: the event, its last count and the energy since it was opened */
        uint64_t code, factor, raw, uj;
        uint32_t rest; /* of a microjoule, 32 bits */
        int cpu;
        size_t group, member; /* where in the groups that are read together */
    } perf;
} vd_rapl_zone;

typedef int (*vd_rapl_open_fn)(void *ctx, const char *path);

typedef struct vd_rapl vd_rapl;

struct vd_rapl {
    /* How a zone's counter is read: 0 or an errno. NULL: its file energy_uj. */
    int (*value)(vd_rapl *rapl, vd_rapl_zone *zone, uint64_t *ret_uj);
    /* Before a round of readings; NULL: nothing to do. */
    void (*refresh)(vd_rapl *rapl);
    void *self; /* theirs */
    void (*free_self)(void *self);
    bool relative; /* counters start at 0 when opened: their values do not show twins */
    vd_rapl_open_fn open_file;
    void *ctx;
    char root[VD_RAPL_PATH_MAX]; /* the folder class/powercap */
    size_t n_zones;
    vd_rapl_zone zone[VD_RAPL_ZONES_MAX];
    size_t n_directories; /* looked at */
    bool too_many;        /* zones or directories: some were not looked at */
    bool psys; /* psys is read, and nothing else */
    bool has_dram;
    vd_status why;                     /* VD_OK: every package is being read */
    char why_text[VD_ERR_MESSAGE_MAX]; /* what is wrong; with VD_OK what is missing. See remedy.h */
    uint64_t lost_since_ns;            /* a zone has been missing since; 0 = none is */
    uint64_t n_gaps;
    char last_gap[VD_ERR_MESSAGE_MAX];
};

/* Finds and opens the zones below `sysfs`, packages and dram or psys alone; rapl->why says whether
 * they can serve. Keeps files open until vd_rapl_close. Allocates nothing of ours. */
void vd_rapl_open(vd_rapl *rapl, const char *sysfs, bool psys, vd_rapl_open_fn open_file,
                  void *ctx, uint64_t now_ns);
void vd_rapl_close(vd_rapl *rapl);

/* Adds to uj[] what the zones counted since the last call; false when some of it went unseen (then
 * what is added is true but belongs to an unknown time, or a zone is missing). */
bool vd_rapl_read(vd_rapl *rapl, uint64_t now_ns, uint64_t uj[VD_PART_N]);

#endif

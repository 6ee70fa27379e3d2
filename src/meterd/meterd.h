/*
 * meterd.h - the parts of verdant-meterd. Single-threaded; nothing here frees what it does not own.
 *
 *   options ─► counters opened ─► socket bound ─► root given up ─► one loop serves all clients
 */
#ifndef VD_METERD_METERD_H
#define VD_METERD_METERD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <verdant/status.h>

#include "energy/sources/meterd_wire.h"

typedef struct vd_meterd_options {
    const char *socket, *sysfs;
    mode_t mode;
    bool has_group;
    gid_t group;
    uid_t user; /* who it becomes when it was root */
    gid_t user_group;
} vd_meterd_options;

/* The counters: packages, dram and psys, each an open descriptor. */
typedef struct vd_meterd_counters {
    size_t n;
    vd_meterd_zone zone[VD_RAPL_ZONES_MAX];
    int fd[VD_RAPL_ZONES_MAX]; /* -1: could not be opened, zone[].error says why */
} vd_meterd_counters;

/* VD_ERR_NOT_FOUND where there is none, VD_ERR_PERM where none may be read. */
VD_NODISCARD vd_status vd_meterd_counters_open(const char *sysfs, vd_meterd_counters *counters,
                                               vd_err *err);
/* Reads all of them once, into zone[].uj and zone[].error. */
void vd_meterd_counters_read(vd_meterd_counters *counters);

/* A listening socket at options->socket with its mode and group. Replaces one whose daemon is gone;
 * VD_ERR_EXISTS where something answers there, or is no socket. */
VD_NODISCARD vd_status vd_meterd_listen(const vd_meterd_options *options, int *ret_fd,
                                        vd_err *err);

/* Gives up root, all capabilities, and all system calls but those of the loop. */
VD_NODISCARD vd_status vd_meterd_confine(const vd_meterd_options *options, vd_err *err);

/* SIGTERM and SIGINT end the loop below; SIGPIPE is ignored. */
void vd_meterd_catch_signals(void);
/* Serves until then. */
VD_NODISCARD vd_status vd_meterd_serve(int listening, vd_meterd_counters *counters, vd_err *err);

#endif

/*
 * perf_group.h - perf events of one CPU that are read by one system call.
 *
 * The kernel asks a CPU for the counters of its package by an interrupt; a group
 * (PERF_FORMAT_GROUP) costs one of them however many members it has. perf_event_open(2), "Reading
 * results":
 *
 *   u64 n   u64 count[n]      in the order in which they were opened, the leader first
 *
 * Threads: single-owner. The descriptors are the caller's; closing the leader's ends the group.
 */
#ifndef VD_ENERGY_SOURCES_PERF_GROUP_H
#define VD_ENERGY_SOURCES_PERF_GROUP_H

#include <stddef.h>
#include <stdint.h>

enum { VD_PERF_MEMBERS_MAX = 4 };

/* A counter of the perf event PMU `type` on one CPU, in the group of the descriptor `group`, or
 * leading one of its own (-1); a descriptor, or -1 and errno. NULL stands for perf_event_open. */
typedef int (*vd_perf_open_fn)(void *ctx, uint32_t type, uint64_t config, int cpu, int group);

typedef struct vd_perf_group {
    int fd; /* the leader's, borrowed; -1: none is open */
    int cpu;
    uint32_t type;
    size_t n;
    uint64_t count[VD_PERF_MEMBERS_MAX]; /* of the last reading, where error is 0 */
    int error;                           /* an errno */
    vd_perf_open_fn open;
    void *ctx;
} vd_perf_group;

/* Opens one more counter and reads all once. 0 and *ret_fd, its count being the last; or an errno,
 * and the group is as it was. */
int vd_perf_group_add(vd_perf_group *group, uint64_t config, int *ret_fd);
/* Fills count and error, and returns that: ENODEV for an event that the kernel gave up. */
int vd_perf_group_read(vd_perf_group *group);

#endif

/*
 * sensor_set.h - several small files that are read together: what a source made of files is.
 *
 * Inside src/energy/sources only. Threads: single-owner.
 */
#ifndef VD_ENERGY_SOURCES_SENSOR_SET_H
#define VD_ENERGY_SOURCES_SENSOR_SET_H

#include "energy/sources/channel.h"
#include "energy/sources/sensor.h"

enum { VD_SENSOR_SET_MAX = 64 };

typedef enum vd_sensor_kind {
    VD_SENSOR_COUNTER,   /* microjoules */
    VD_SENSOR_REWRITTEN, /* the same, by a program: a file written anew is not stuck */
    VD_SENSOR_GAUGE      /* microwatts */
} vd_sensor_kind;

typedef struct vd_sensor_set {
    size_t n;
    struct {
        vd_sensor_kind kind;
        vd_sensor file;
        vd_channel channel;
        char runtime_status[VD_SENSOR_PATH_MAX]; /* "", or see vd_sensor_sleeps */
    } item[VD_SENSOR_SET_MAX];
} vd_sensor_set;

/* NULL without memory. Freed by vd_sensor_set_free, which closes the files. */
vd_sensor_set *vd_sensor_set_create(void);
/* void *: for vd_sampler_plan. NULL is a no-op. */
void vd_sensor_set_free(void *set);

/* Opens the file and reads it once; `driver` as in vd_sensor_follow, or "". VD_ERR_PERM,
 * VD_ERR_FORMAT, VD_ERR_NOT_FOUND, VD_ERR_IO, VD_ERR_LIMIT. */
VD_NODISCARD vd_status vd_sensor_set_add(vd_sensor_set *set, const vd_source_env *env,
                                         const char *path, vd_sensor_kind kind,
                                         const vd_channel *channel, const char *driver,
                                         vd_err *err);

/* Reads all of them, but for those whose device sleeps. */
void vd_sensor_set_sample(void *set, uint64_t now_ns, vd_sample *sample);

#endif

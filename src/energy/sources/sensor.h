/*
 * sensor.h - a small file that holds one number: an attribute of sysfs, or a file that a program
 * rewrites. Kept open; opened anew when it was replaced or has gone and come back.
 *
 * Inside src/energy/sources only. Threads: single-owner. Allocates nothing.
 */
#ifndef VD_ENERGY_SOURCES_SENSOR_H
#define VD_ENERGY_SOURCES_SENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "energy/sources/source.h"

enum { VD_SENSOR_PATH_MAX = 512 };

typedef struct vd_sensor {
    char path[VD_SENSOR_PATH_MAX];
    int fd; /* -1: not open */
    int (*open_file)(void *ctx, const char *path);
    void *ctx;
    int64_t mtime_ns; /* of the file at the last reading */
    char driver[40];  /* "", or what the file `name` beside it says: see vd_sensor_follow */
} vd_sensor;

/* Opens `path` and reads it once into *ret_value (NULL allowed): 0 or an errno; EBADMSG for what is
 * no number, ENAMETOOLONG. On failure the sensor is closed but may be read again later. */
int vd_sensor_open(vd_sensor *sensor, const vd_source_env *env, const char *path,
                   int64_t *ret_value);
/* The number now: 0, an errno or EBADMSG. */
int vd_sensor_read(vd_sensor *sensor, int64_t *ret_value);
void vd_sensor_close(vd_sensor *sensor);

/* The number of a folder .../hwmonN changes when its device is reset or its driver loaded anew.
 * Where the file has gone, it is looked for from now on in the one sibling of that driver. */
void vd_sensor_follow(vd_sensor *sensor, const char *driver);

/* What went wrong, for people. Static storage. */
const char *vd_sensor_error(int failed);

/* A device that is switched off while nobody uses it, by its file power/runtime_status
 * (Documentation/ABI/testing/sysfs-devices-power of the kernel). Reading a sensor would wake it. */
bool vd_sensor_sleeps(const vd_source_env *env, const char *runtime_status);

/* The first line of a file; "" and false when unreadable, empty or longer. */
bool vd_sensor_text(const vd_source_env *env, const char *path, char *text, size_t size);

#endif

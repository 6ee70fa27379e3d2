/* sensor_set.c - see sensor_set.h. */
#include "energy/sources/sensor_set.h"

#include <errno.h>
#include <inttypes.h>

#include "base/alloc.h"
#include "base/fail.h"

vd_sensor_set *vd_sensor_set_create(void)
{
    return vd_calloc(1, sizeof(vd_sensor_set));
}

void vd_sensor_set_free(void *self)
{
    vd_sensor_set *set = self;
    for (size_t i = 0; set != NULL && i < set->n; i++)
        vd_sensor_close(&set->item[i].file);
    vd_free(set);
}

static vd_status status_of(int failed)
{
    switch (failed) {
    case EACCES:
    case EPERM:
        return VD_ERR_PERM;
    case ENOENT:
        return VD_ERR_NOT_FOUND;
    case EBADMSG:
        return VD_ERR_FORMAT;
    default:
        return VD_ERR_IO;
    }
}

vd_status vd_sensor_set_add(vd_sensor_set *set, const vd_source_env *env, const char *path,
                            vd_sensor_kind kind, const vd_channel *channel, const char *driver,
                            vd_err *err)
{
    if (set->n == VD_SENSOR_SET_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "more than %d sensors: name fewer", VD_SENSOR_SET_MAX);
    int failed = vd_sensor_open(&set->item[set->n].file, env, path, NULL);
    if (failed != 0)
        return VD_FAIL(err, status_of(failed), "%.300s cannot be read: %s%s", path,
                       vd_sensor_error(failed),
                       failed == EACCES ? "; chmod a+r it at start-up, or run as root" : "");
    vd_sensor_follow(&set->item[set->n].file, driver);
    set->item[set->n].kind = kind;
    set->item[set->n].channel = *channel;
    set->n++;
    return VD_OK;
}

void vd_sensor_set_sample(void *self, uint64_t now_ns, vd_sample *sample)
{
    vd_sensor_set *set = self;
    for (size_t i = 0; i < set->n; i++) {
        vd_sensor *file = &set->item[i].file;
        vd_channel *channel = &set->item[i].channel;
        const vd_source_env env = {.open_file = file->open_file, .ctx = file->ctx};
        if (vd_sensor_sleeps(&env, set->item[i].runtime_status)) {
            vd_channel_asleep(channel, now_ns, sample);
            continue;
        }
        int64_t value = 0, written_ns = file->mtime_ns;
        int failed = vd_sensor_read(file, &value);
        bool written = set->item[i].kind == VD_SENSOR_REWRITTEN && file->mtime_ns != written_ns;
        if (failed == 0 && written && (uint64_t)value == channel->last)
            vd_channel_alive(channel, now_ns);
        if (failed != 0)
            vd_channel_fail(channel, sample, "cannot be read: %s", vd_sensor_error(failed));
        else if (value < 0)
            vd_channel_fail(channel, sample, "says %" PRId64 ", less than nothing", value);
        else if (set->item[i].kind == VD_SENSOR_GAUGE)
            vd_channel_gauge(channel, now_ns, (uint64_t)value, sample);
        else
            vd_channel_counter(channel, now_ns, (uint64_t)value, sample);
    }
}

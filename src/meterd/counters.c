/*
 * counters.c - the energy counters, opened while we are root and read ever after.
 *
 * Of RAPL's domains only those are handed out that make up a bill: packages, memory and the
 * platform. Who adds them up, and without twins, is the client's business (energy/rapl/rapl.h).
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "energy/rapl/rapl_file.h"
#include "meterd/meterd.h"

static int read_counter(int fd, uint64_t *ret_uj)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof(text), 0);
    if (n < 0)
        return errno;
    return vd_rapl_parse(text, (size_t)n, ret_uj) ? 0 : EBADMSG;
}

void vd_meterd_counters_read(vd_meterd_counters *counters)
{
    for (size_t i = 0; i < counters->n; i++)
        if (counters->fd[i] >= 0)
            counters->zone[i].error = read_counter(counters->fd[i], &counters->zone[i].uj);
}

static void add(vd_meterd_counters *counters, const vd_rapl *rapl, vd_rapl_zone *zone)
{
    vd_rapl_use use = zone->info.use;
    if (use == VD_RAPL_PART || use == VD_RAPL_OTHER ||
        !vd_meterd_word(zone->info.id, sizeof(zone->info.id)) ||
        !vd_meterd_word(zone->info.name, sizeof(zone->info.name)))
        return;
    vd_meterd_zone *to = &counters->zone[counters->n];
    memcpy(to->id, zone->info.id, sizeof(to->id));
    memcpy(to->name, zone->info.name, sizeof(to->name));
    to->range_uj = zone->info.range_uj;
    to->error = vd_rapl_zone_open(rapl, zone, &to->uj);
    counters->fd[counters->n++] = zone->fd;
    zone->fd = -1; /* moved */
}

vd_status vd_meterd_counters_open(const char *sysfs, vd_meterd_counters *counters, vd_err *err)
{
    vd_rapl *rapl = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*rapl), "the energy counters", &rapl, err);
    if (st != VD_OK)
        return st;
    vd_rapl_open(rapl, sysfs, false, NULL, NULL, 0);
    size_t n_open = 0;
    for (size_t i = 0; i < rapl->n_zones; i++)
        add(counters, rapl, &rapl->zone[i]);
    for (size_t i = 0; i < counters->n; i++)
        n_open += counters->fd[i] >= 0;
    if (n_open == 0)
        st = VD_FAIL(err, rapl->why != VD_OK ? rapl->why : VD_ERR_NOT_FOUND, "%s",
                     rapl->why_text[0] != '\0' ? rapl->why_text : "there is no energy counter");
    vd_rapl_close(rapl);
    vd_free(rapl);
    return st;
}

/* perf_group.c - see perf_group.h. */
#include "energy/sources/perf_group.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_event(uint32_t type, uint64_t config, int cpu, int group)
{
    struct perf_event_attr attr = {
        .size = sizeof(attr), .type = type, .config = config, .read_format = PERF_FORMAT_GROUP};
    return (int)syscall(SYS_perf_event_open, &attr, -1, cpu, group, PERF_FLAG_FD_CLOEXEC);
}

static int read_counts(const vd_perf_group *group, uint64_t count[VD_PERF_MEMBERS_MAX])
{
    uint64_t record[1 + VD_PERF_MEMBERS_MAX];
    size_t size = (1 + group->n) * sizeof(record[0]);
    ssize_t n = read(group->fd, record, sizeof(record));
    if (n < 0)
        return errno;
    if (n == 0)
        return ENODEV; /* the kernel says so of an event in error */
    if ((size_t)n != size || record[0] != group->n)
        return EBADMSG;
    memcpy(count, record + 1, size - sizeof(record[0]));
    return 0;
}

int vd_perf_group_read(vd_perf_group *group)
{
    group->error = group->fd < 0 ? ENODEV : read_counts(group, group->count);
    return group->error;
}

int vd_perf_group_add(vd_perf_group *group, uint64_t config, int *ret_fd)
{
    if (group->n == VD_PERF_MEMBERS_MAX)
        return ENOSPC;
    int fd = group->open != NULL
                 ? group->open(group->ctx, group->type, config, group->cpu, group->fd)
                 : open_event(group->type, config, group->cpu, group->fd);
    if (fd < 0)
        return errno;
    vd_perf_group grown = *group;
    grown.fd = group->fd < 0 ? fd : group->fd;
    grown.n++;
    int saved = vd_perf_group_read(&grown);
    if (saved != 0) {
        close(fd);
        return saved;
    }
    *group = grown;
    *ret_fd = fd;
    return 0;
}

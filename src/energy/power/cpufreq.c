/* cpufreq.c - see cpufreq.h. */
#include "energy/power/cpufreq.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const uint64_t every_ns = 100000000;

void vd_cpufreq_open(vd_cpufreq *freq, const char *sysfs)
{
    *freq = (vd_cpufreq){0};
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return;
    /* Every k-th of them, so that those of one socket do not stand for two. */
    int every = (CPU_COUNT(&set) + VD_CPUFREQ_MAX - 1) / VD_CPUFREQ_MAX, seen = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && freq->n < VD_CPUFREQ_MAX; cpu++) {
        if (!CPU_ISSET(cpu, &set) || seen++ % every != 0)
            continue;
        char path[512];
        snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", sysfs,
                 cpu);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            freq->fd[freq->n++] = fd;
    }
}

void vd_cpufreq_close(vd_cpufreq *freq)
{
    for (size_t i = 0; i < freq->n; i++)
        close(freq->fd[i]);
    freq->n = 0;
}

double vd_cpufreq_mhz(vd_cpufreq *freq, uint64_t now_ns)
{
    if (freq->n == 0 || (freq->read_ns != 0 && now_ns - freq->read_ns < every_ns))
        return freq->mhz;
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < freq->n; i++) {
        char text[32];
        ssize_t got = pread(freq->fd[i], text, sizeof(text) - 1, 0);
        if (got <= 0)
            continue;
        text[got] = '\0';
        double khz = strtod(text, NULL);
        if (khz > 0) {
            sum += khz / 1000;
            n++;
        }
    }
    freq->read_ns = now_ns;
    freq->mhz = n > 0 ? sum / (double)n : 0;
    return freq->mhz;
}

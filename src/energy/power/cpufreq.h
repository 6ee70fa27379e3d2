/*
 * cpufreq.h - the mean clock of the processor, where the kernel tells it. Inside src/energy only.
 * Threads: single-owner.
 */
#ifndef VD_ENERGY_CPUFREQ_H
#define VD_ENERGY_CPUFREQ_H

#include <stddef.h>
#include <stdint.h>

enum { VD_CPUFREQ_MAX = 16 };

typedef struct vd_cpufreq {
    int fd[VD_CPUFREQ_MAX];
    size_t n; /* 0: the kernel does not tell, as in most virtual machines */
    uint64_t read_ns;
    double mhz;
} vd_cpufreq;

/* Opens scaling_cur_freq of at most VD_CPUFREQ_MAX of the CPUs that this process may use. */
void vd_cpufreq_open(vd_cpufreq *freq, const char *sysfs);
void vd_cpufreq_close(vd_cpufreq *freq);
/* MHz, read again when the last reading is older than a tenth of a second; 0: not known. A few
 * microseconds per CPU; allocates nothing. */
double vd_cpufreq_mhz(vd_cpufreq *freq, uint64_t now_ns);

#endif

/*
 * doctor_memory.c - how much memory there is, and how fast it can be read.
 *
 * A decode step reads all weights once, so bytes per second over bytes of weights is the limit of
 * tokens per second. Each thread writes its own pages first, which places them near it, and then
 * reads them again and again. The best pass is the figure, as STREAM takes it (McCalpin 1995): the
 * other work of a machine only ever slows a pass down.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/pool.h"
#include "cli/doctor.h"

enum { HUGE_PAGE = 2 << 20, PASSES_MIN = 5, PASSES_MAX = 200 };

static const uint64_t least_bytes = UINT64_C(64) << 20;
/* Shared caches of a host may be larger than what a virtual machine is shown. */
static const uint64_t wanted_bytes = UINT64_C(512) << 20, most_bytes = UINT64_C(8) << 30;
static const uint64_t enough_ns = UINT64_C(600000000), too_long_ns = UINT64_C(2000000000);

/* A line "MemAvailable:   123 kB" of /proc/meminfo in bytes, or 0. */
static uint64_t meminfo(const char *key)
{
    char line[256];
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL)
        return 0;
    size_t n = strlen(key);
    while (bytes == 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ':')
            bytes = (uint64_t)strtoull(line + n + 1, NULL, 10) * 1024;
    fclose(file);
    return bytes;
}

/* The word in brackets of "always [madvise] never". */
static void find_huge_pages(char *text, size_t size)
{
    char line[128];
    snprintf(text, size, "unknown");
    if (!vd_doctor_line("/sys/kernel/mm/transparent_hugepage", "enabled", line, sizeof(line)))
        return;
    const char *open = strchr(line, '[');
    if (open != NULL)
        snprintf(text, size, "%.*s", (int)VD_MIN(strcspn(open + 1, "]"), size - 1), open + 1);
}

void vd_doctor_memory_find(vd_doctor_memory *memory, uint64_t limit_bytes)
{
    char line[64];
    memory->total_bytes = meminfo("MemTotal");
    memory->usable_bytes = limit_bytes;
    memory->available_bytes = meminfo("MemAvailable");
    find_huge_pages(memory->huge_pages, sizeof(memory->huge_pages));
    if (limit_bytes >= memory->total_bytes ||
        !vd_doctor_line(vd_doctor_sysfs(), "fs/cgroup/memory.current", line, sizeof(line)))
        return;
    uint64_t used = (uint64_t)strtoull(line, NULL, 10);
    uint64_t left = used < limit_bytes ? limit_bytes - used : 0;
    memory->available_bytes = VD_MIN(memory->available_bytes, left);
}

typedef struct job {
    unsigned char *data;
    size_t begin, end;                     /* in huge pages, which the threads take in turn */
    bool reads;                            /* else: writes */
    uint64_t sum[VD_POOL_THREADS_MAX * 8]; /* a cache line per thread; keeps reads from vanishing */
} job;

/* Four sums of 64 bytes, so that the additions of one need not wait for those before. */
typedef uint64_t lanes __attribute__((vector_size(64)));

static uint64_t sum_of(const lanes *p, size_t n)
{
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i + 4 <= n; i += 4) {
        a += p[i];
        b += p[i + 1];
        c += p[i + 2];
        d += p[i + 3];
    }
    a += b + (c + d);
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++)
        sum += a[i];
    return sum;
}

static void run_part(void *ctx, size_t thread, size_t n_threads)
{
    job *j = ctx;
    for (size_t i = j->begin + thread; i < j->end; i += n_threads) {
        unsigned char *page = j->data + i * HUGE_PAGE;
        if (j->reads)
            j->sum[thread * 8] += sum_of((const lanes *)page, HUGE_PAGE / sizeof(lanes));
        else
            memset(page, 1, HUGE_PAGE);
    }
}

/* Writes up to `n_pages`, fewer where the system takes long to give them. */
static void fill(vd_pool *pool, job *j, size_t n_pages)
{
    uint64_t begin = vd_now_ns();
    size_t n = VD_MAX(least_bytes / HUGE_PAGE, vd_pool_n_threads(pool));
    while (j->end < n_pages && (j->end == 0 || vd_now_ns() - begin < enough_ns)) {
        j->begin = j->end;
        j->end = VD_MIN(j->end + n, n_pages);
        vd_pool_run(pool, run_part, j);
    }
    j->begin = 0;
    j->reads = true;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void time_passes(vd_doctor_bandwidth *bandwidth, vd_pool *pool, job *j)
{
    uint64_t ns[PASSES_MAX], all = 0;
    size_t n = 0;
    while (n < PASSES_MAX && (n < PASSES_MIN ? n == 0 || all < too_long_ns : all < enough_ns)) {
        uint64_t begin = vd_now_ns();
        vd_pool_run(pool, run_part, j);
        ns[n] = VD_MAX(vd_now_ns() - begin, 1);
        all += ns[n++];
    }
    qsort(ns, n, sizeof(ns[0]), by_value);
    bandwidth->bytes = (uint64_t)j->end * HUGE_PAGE;
    bandwidth->best_gb_s = (double)bandwidth->bytes / (double)ns[0];
    bandwidth->median_gb_s = (double)bandwidth->bytes / (double)ns[n / 2];
    bandwidth->n_passes = n;
}

void vd_doctor_bandwidth_measure(vd_doctor_bandwidth *bandwidth, const vd_doctor_cpu *cpu,
                                 const vd_doctor_memory *memory)
{
    vd_pool *pool = NULL;
    job *j = vd_calloc(1, sizeof(*j));
    vd_err err = {0};
    uint64_t bytes = VD_MIN(VD_MAX(wanted_bytes, 2 * cpu->last_level_bytes), most_bytes);
    bytes = VD_MIN(bytes, memory->available_bytes / 4) / HUGE_PAGE * HUGE_PAGE;
    if (bytes < least_bytes) {
        snprintf(bandwidth->why_not, sizeof(bandwidth->why_not), "too little memory is available");
        goto out;
    }
    if (vd_pool_create(0, &pool, &err) != VD_OK) {
        snprintf(bandwidth->why_not, sizeof(bandwidth->why_not), "%.100s", err.message);
        goto out;
    }
    if (j != NULL)
        j->data = vd_alloc_aligned((size_t)bytes, HUGE_PAGE);
    if (j == NULL || j->data == NULL) {
        snprintf(bandwidth->why_not, sizeof(bandwidth->why_not), "no memory for the measurement");
        goto out;
    }
    (void)madvise(j->data, (size_t)bytes, MADV_HUGEPAGE); /* as weights are; a wish */
    bandwidth->n_threads = vd_pool_n_threads(pool);
    fill(pool, j, (size_t)(bytes / HUGE_PAGE));
    time_passes(bandwidth, pool, j);
out:
    vd_pool_free(pool);
    if (j != NULL)
        vd_free(j->data);
    vd_free(j);
}

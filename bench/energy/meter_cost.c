/*
 * meter_cost.c - what reading the energy meter costs: CPU time of a reading, and of 100 readings a
 * second in percent of one core, one after the other and with waits between them. The bound is
 * 0.5 %.
 *
 *   meter_cost [SECONDS] [DIRECTORY]     10, /dev/shm: files there are memory, like the kernel's
 *
 * On a tree of two sockets with two zones each, as files; then by perf events, where they are
 * allowed: a software event stands in for each of the PMU's four; then the model alone. The
 * kernel's own share of a real reading (a register of another socket is asked for by an interrupt)
 * is not in it: `verdant doctor` shows that of its own machine.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "energy/meter.h"

static char root[256];

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

static bool put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof(full), "%s/%s", root, path);
    for (char *p = full + strlen(root) + 1; *p != '\0'; p++)
        if (*p == '/') {
            *p = '\0';
            mkdir(full, 0755);
            *p = '/';
        }
    FILE *file = fopen(full, "w");
    if (file == NULL)
        return false;
    bool good = fputs(text, file) >= 0;
    return fclose(file) == 0 && good;
}

static bool put_zone(const char *id, const char *name)
{
    char path[128], text[64];
    snprintf(path, sizeof(path), "class/powercap/%s/name", id);
    snprintf(text, sizeof(text), "%s\n", name);
    bool good = put(path, text);
    snprintf(path, sizeof(path), "class/powercap/%s/max_energy_range_uj", id);
    good = good && put(path, "262143328850\n");
    snprintf(path, sizeof(path), "class/powercap/%s/energy_uj", id);
    return good && put(path, "123456789012\n");
}

static bool put_event(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s", name);
    bool good = put(path, "event=0x00\n"); /* PERF_COUNT_SW_CPU_CLOCK: nanoseconds */
    snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s.scale", name);
    good = good && put(path, "1e-9\n");
    snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s.unit", name);
    return good && put(path, "Joules\n");
}

static bool make_tree(void)
{
    return put_zone("intel-rapl:0", "package-0") && put_zone("intel-rapl:0:0", "dram") &&
           put_zone("intel-rapl:1", "package-1") && put_zone("intel-rapl:1:0", "dram") &&
           put("bus/event_source/devices/power/type", "1\n") &&
           put("bus/event_source/devices/power/cpumask", "0-1\n") && put_event("energy-pkg") &&
           put_event("energy-ram") &&
           put("devices/system/cpu/cpu0/topology/physical_package_id", "0\n") &&
           put("devices/system/cpu/cpu1/topology/physical_package_id", "1\n");
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* CPU time in percent of a core while `meter` (NULL: nothing) is read 100 times a second: caches
 * are cold then, and waking up costs too. */
static double at_100_hz(vd_meter *meter, double seconds)
{
    vd_reading reading;
    uint64_t begin_ns = vd_now_ns(), n = 0;
    double begin = cpu_seconds();
    while ((double)(vd_now_ns() - begin_ns) < seconds * 1e9) {
        if (meter != NULL)
            vd_meter_read(meter, &reading);
        uint64_t next_ns = begin_ns + ++n * UINT64_C(10000000), now_ns = vd_now_ns();
        uint64_t wait_ns = next_ns > now_ns ? next_ns - now_ns : 0;
        nanosleep(&(struct timespec){.tv_nsec = (long)wait_ns}, NULL);
    }
    double spent = cpu_seconds() - begin, passed = (double)(vd_now_ns() - begin_ns) * 1e-9;
    return spent / passed * 100;
}

static void measure(const char *label, const char *spec, double waking_pct, double seconds)
{
    enum { READINGS = 20000 };
    vd_meter *meter = NULL;
    vd_err err = {0};
    vd_reading reading;
    if (vd_meter_open(&(vd_meter_options){.sysfs = root, .spec = spec}, &meter, &err) != VD_OK) {
        printf("%-32s  %s\n", label, err.message);
        return;
    }
    for (int i = 0; i < 1000; i++)
        vd_meter_read(meter, &reading);
    double begin = cpu_seconds();
    for (int i = 0; i < READINGS; i++)
        vd_meter_read(meter, &reading);
    double one = (cpu_seconds() - begin) / READINGS, pct = at_100_hz(meter, seconds);
    printf("%-32s %9.2f %14.3f %14.3f\n", label, one * 1e6, one * 1e4, pct - waking_pct);
    vd_meter_close(meter);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 10;
    snprintf(root, sizeof(root), "%.200s/verdant-meter-XXXXXX", argc > 2 ? argv[2] : "/dev/shm");
    if (!(seconds > 0) || mkdtemp(root) == NULL || !make_tree()) {
        fprintf(stderr, "usage: meter_cost [SECONDS] [DIRECTORY], which must be writable\n");
        return 2;
    }
    double waking_pct = at_100_hz(NULL, seconds);
    printf("%-32s %9s %14s %14s\n", "", "us each", "%, in a row", "%, at 100 Hz");
    measure("powercap, 2 sockets x 2 zones", "rapl-powercap", waking_pct, seconds);
    measure("perf events, 2 sockets x 2 zones", "rapl-perf", waking_pct, seconds);
    measure("the model", "model", waking_pct, seconds);
    printf("waking up 100 times a second costs %.3f %% by itself; it is not in the figures above\n",
           waking_pct);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/*
 * account_cost.c - what the energy account itself costs: CPU time of this thread per engine step,
 * so that other work of the machine does not count, and of a core at so many steps a second.
 *
 *   account_cost [STEPS_PER_S [RESIDENTS [SECONDS]]]      default 100 32 10
 *
 * This machine's own meter and four RAPL zones as an Intel server has them; step after step, and
 * paced by sleeping, with caches as cold as in a server (what the sleep costs is taken off).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "energy/account/account.h"

enum { RESIDENTS_MAX = 1024, ZONES = 4 };

typedef struct setup {
    unsigned steps_per_s, n_residents, seconds;
} setup;

static uint64_t simulated_ns;

static uint64_t simulated_now(void *ctx)
{
    return simulated_ns;
}

static uint64_t thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void require(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "account_cost: %s\n", what);
    exit(1);
}

/* One second of a server: all answer, then one goes and another comes, and a timer ticks. */
static void live(vd_account *account, const setup *s, uint64_t *next_id,
                 void (*pause)(const setup *), uint64_t (*now_ns)(void *))
{
    static vd_step_share share[RESIDENTS_MAX];
    static uint32_t position;
    vd_energy energy;
    for (unsigned k = 0; k < s->steps_per_s; k++, position++) {
        uint64_t first = *next_id - s->n_residents;
        for (unsigned i = 0; i < s->n_residents; i++)
            share[i] = (vd_step_share){
                .request_id = first + i, .n_decode = 1, .n_kv_read = 100 + position % 1000};
        vd_step step = {.begin_ns = now_ns(NULL), .share = share, .n_share = s->n_residents};
        vd_account_step_begin(account, &step);
        pause(s);
        step.end_ns = now_ns(NULL);
        vd_account_step(account, &step);
    }
    require(vd_account_leave(account, *next_id - s->n_residents, &energy, NULL) == VD_OK, "leave");
    require(vd_account_join(account, (*next_id)++, NULL) == VD_OK, "join");
    vd_account_tick(account);
}

static void pass(const setup *s)
{
    simulated_ns += 1000000000u / s->steps_per_s;
}

static void sleep_on(const setup *s)
{
    const struct timespec t = {.tv_nsec = 1000000000 / (long)s->steps_per_s};
    nanosleep(&t, NULL);
}

static uint64_t real_now(void *ctx)
{
    return vd_now_ns();
}

static void measure(const char *name, const vd_meter_options *options, const setup *s, bool paced)
{
    vd_meter *meter = NULL;
    vd_account *account = NULL;
    uint64_t next_id = 1, empty_ns = 0;
    require(vd_meter_open(options, &meter, NULL) == VD_OK, "meter");
    require(vd_account_create(meter, NULL, &account, NULL) == VD_OK, "account");
    for (unsigned i = 0; i < s->n_residents; i++)
        require(vd_account_join(account, next_id++, NULL) == VD_OK, "join");
    unsigned n_seconds = paced ? s->seconds : s->seconds * 20;
    uint64_t begin = thread_ns();
    for (unsigned i = 0; i < n_seconds; i++)
        live(account, s, &next_id, paced ? sleep_on : pass, paced ? real_now : simulated_now);
    uint64_t ns = thread_ns() - begin;
    uint64_t n_steps = (uint64_t)n_seconds * s->steps_per_s;
    if (paced) {
        begin = thread_ns();
        for (unsigned i = 0; i < s->steps_per_s; i++)
            sleep_on(s);
        empty_ns = (thread_ns() - begin) * n_seconds;
    }
    double step_us = (double)ns * 1e-3 / (double)n_steps;
    double sleep_us = (double)empty_ns * 1e-3 / (double)n_steps;
    printf("%-28s %7.2f us/step", name, step_us);
    if (paced)
        printf(" (%.2f of them asleep)", sleep_us);
    printf("  %.3f %% of a core at %u steps/s\n", (step_us - sleep_us) * s->steps_per_s * 1e-4,
           s->steps_per_s);
    vd_account_free(account);
    vd_meter_close(meter);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[640];
    snprintf(path, sizeof(path), "%.500s/%s", folder, name);
    FILE *f = fopen(path, "w");
    require(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0, path);
}

/* Two sockets, each a package and its memory. */
static void make_tree(char *root, char folder[ZONES][128])
{
    static const char *const zones[ZONES][2] = {{"intel-rapl:0", "package-0\n"},
                                                {"intel-rapl:0:0", "dram\n"},
                                                {"intel-rapl:1", "package-1\n"},
                                                {"intel-rapl:1:0", "dram\n"}};
    char path[128];
    require(mkdtemp(root) != NULL, root);
    snprintf(path, sizeof(path), "%s/class", root);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/class/powercap", root);
    mkdir(path, 0755);
    for (int i = 0; i < ZONES; i++) {
        snprintf(folder[i], 128, "%s/class/powercap/%s", root, zones[i][0]);
        mkdir(folder[i], 0755);
        write_file(folder[i], "name", zones[i][1]);
        write_file(folder[i], "max_energy_range_uj", "262143328850\n");
        write_file(folder[i], "energy_uj", "1000000\n");
    }
}

static void remove_tree(const char *root, char folder[ZONES][128])
{
    static const char *const files[] = {"name", "max_energy_range_uj", "energy_uj"};
    char path[640];
    for (int i = 0; i < ZONES; i++) {
        for (size_t k = 0; k < 3; k++) {
            snprintf(path, sizeof(path), "%s/%s", folder[i], files[k]);
            unlink(path);
        }
        rmdir(folder[i]);
    }
    snprintf(path, sizeof(path), "%s/class/powercap", root);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/class", root);
    rmdir(path);
    rmdir(root);
}

int main(int argc, char **argv)
{
    setup s = {100, 32, 10};
    unsigned *const fields[] = {&s.steps_per_s, &s.n_residents, &s.seconds};
    for (int i = 1; i < argc && i <= 3; i++)
        *fields[i - 1] = (unsigned)strtoul(argv[i], NULL, 10);
    require(s.steps_per_s >= 1 && s.steps_per_s <= 1000000 && s.n_residents >= 1 &&
                s.n_residents <= RESIDENTS_MAX && s.seconds >= 1,
            "STEPS_PER_S up to 1000000, RESIDENTS up to 1024, SECONDS from 1");
    char root[] = "/tmp/verdant-cost-XXXXXX", folder[ZONES][128];
    vd_meter_options own = {.now_ns = simulated_now}, zones = own, paced = {0};
    simulated_ns = vd_now_ns();
    make_tree(root, folder);
    zones.sysfs = root;
    zones.spec = "rapl";
    printf("%u residents, CPU time of the thread\n", s.n_residents);
    measure("own meter", &own, &s, false);
    measure("four RAPL zones", &zones, &s, false);
    measure("own meter, paced", &paced, &s, true);
    zones.now_ns = NULL;
    measure("four RAPL zones, paced", &zones, &s, true);
    remove_tree(root, folder);
    return 0;
}

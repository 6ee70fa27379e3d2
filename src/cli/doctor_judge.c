/* doctor_judge.c - what stands in the way of serving, and what is worth knowing. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/format.h"

/* The default model: 98 MB of file, and about as much again when it runs. */
static const uint64_t least_memory_bytes = UINT64_C(256) << 20;
static const uint64_t least_disk_bytes = UINT64_C(100000000);

static void say(char lines[VD_DOCTOR_LINES_MAX][256], size_t *n, const char *fmt, ...)
    VD_PRINTF(3, 4);
static void say(char lines[VD_DOCTOR_LINES_MAX][256], size_t *n, const char *fmt, ...)
{
    if (*n == VD_DOCTOR_LINES_MAX)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(lines[(*n)++], sizeof(lines[0]), fmt, args);
    va_end(args);
}

static void judge_store(vd_doctor *d)
{
    const vd_doctor_store *s = &d->store;
    if (s->error[0] != '\0') {
        say(d->problem, &d->n_problems, "%.240s", s->error);
        return;
    }
    if (s->n_models > 0)
        return;
    if (!s->writable)
        say(d->problem, &d->n_problems,
            "there are no models, and %.120s cannot be written: set VERDANT_HOME to a folder that "
            "can",
            s->directory);
    else if (s->free_bytes < least_disk_bytes)
        say(d->problem, &d->n_problems,
            "there are no models, and %.120s has room for %s: the default model needs %s",
            s->directory, vd_cli_size(s->free_bytes).text, vd_cli_size(least_disk_bytes).text);
    else
        say(d->note, &d->n_notes, "there are no models yet: verdant pull smollm2");
}

static void judge_energy(vd_doctor *d)
{
    const vd_meter_info *info = &d->energy.info;
    if (d->energy.refused[0] != '\0')
        say(d->problem, &d->n_problems, "%.240s", d->energy.refused);
    if (info->measured && vd_filtering_text(info->filtering)[0] != '\0')
        say(d->note, &d->n_notes, "%s", vd_filtering_text(info->filtering));
    if (info->why != VD_OK)
        say(d->note, &d->n_notes, "no energy meter is read: joules are modelled, +-%.0f %%%s",
            info->uncertainty_pct,
            info->calibrated ? "" : "; with a plug meter, doctor --calibrate makes them surer");
    else if (info->why_text[0] != '\0')
        say(d->note, &d->n_notes, "%.240s", info->why_text);
    for (size_t i = 0; i < info->n_sources; i++)
        if (info->source[i].lost)
            say(d->note, &d->n_notes,
                "%.60s cannot be read at present: until it is back, or the model stands in for it, "
                "answers are \"incomplete\"",
                info->source[i].name);
    for (size_t i = 0; i < info->n_zones; i++) {
        const vd_doctor_watts *w = &d->energy.zone[i];
        if (d->energy.watched && info->zone[i].use == VD_RAPL_READ && !(w->waiting > 0) &&
            !(w->reading > 0))
            say(d->note, &d->n_notes, "the counter of %s (%s) did not move", info->zone[i].id,
                info->zone[i].name);
    }
}

static void judge_kernels(vd_doctor *d)
{
    const vd_kernels_info *used = &d->kernels[0], *best = used;
    for (size_t i = 0; i < d->n_kernels; i++) {
        if (d->kernels[i].used)
            used = &d->kernels[i];
        if (d->kernels[i].lacks[0] == '\0')
            best = &d->kernels[i];
    }
    if (d->mask != NULL && strcmp(d->mask, used->name) != 0)
        say(d->note, &d->n_notes, "VERDANT_CPU=%.40s is no level of this machine and is ignored",
            d->mask);
    else if (used != best)
        say(d->note, &d->n_notes, "VERDANT_CPU=%.40s holds the kernels below %s", d->mask,
            best->name);
    if (best == &d->kernels[0])
        say(d->note, &d->n_notes, "only plain C runs here: correct, and slow");
}

void vd_doctor_judge(vd_doctor *d)
{
    const vd_machine *machine = &d->energy.info.machine;
    if (d->memory.available_bytes < least_memory_bytes)
        say(d->problem, &d->n_problems,
            "%s of memory is available: the smallest models need about %s",
            vd_cli_size(d->memory.available_bytes).text, vd_cli_size(least_memory_bytes).text);
    judge_store(d);
    judge_kernels(d);
    judge_energy(d);
    if (machine->n_cpu + 0.01 < (double)d->cpu.n_usable_cores)
        say(d->note, &d->n_notes,
            "a quota gives %.1f CPUs to %zu threads: start with --threads %.0f", machine->n_cpu,
            d->cpu.n_usable_cores, machine->n_cpu < 1 ? 1 : machine->n_cpu);
    if (d->bandwidth.n_passes > 0 && d->bandwidth.bytes < 2 * d->cpu.last_level_bytes)
        say(d->note, &d->n_notes,
            "memory came slowly: the bandwidth is that of %s, which caches may partly hold",
            vd_cli_size(d->bandwidth.bytes).text);
    if (strcmp(d->memory.huge_pages, "never") == 0)
        say(d->note, &d->n_notes,
            "huge pages are switched off, which costs bandwidth: echo madvise | sudo tee "
            "/sys/kernel/mm/transparent_hugepage/enabled");
}

/* doctor_print.c - the report for people: a label, then what there is. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <verdant/verdant.h>

#include "base/checked.h"
#include "cli/doctor.h"
#include "cli/format.h"

enum { LABEL = 12, COLUMNS = 96 };

/* Words of `text` in lines of COLUMNS, the label before the first. What comes from outside may hold
 * anything, so it is printed clean. */
static void put(const char *label, const char *text)
{
    size_t used = LABEL;
    printf("%-*s", LABEL, label);
    while (*text != '\0') {
        size_t blanks = strspn(text, " "), n = strcspn(text + blanks, " ");
        if (used > LABEL && used + blanks + n > COLUMNS) {
            printf("\n%*s", LABEL, "");
            used = LABEL;
        } else {
            printf("%*s", (int)blanks, "");
            used += blanks;
        }
        vd_cli_put_clean(stdout, text + blanks, n, n * 4);
        used += n;
        text += blanks + n;
    }
    putchar('\n');
}

static void putf(const char *label, const char *fmt, ...) VD_PRINTF(2, 3);
static void putf(const char *label, const char *fmt, ...)
{
    char text[1536];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    put(label, text);
}

static const char *s(size_t n)
{
    return n == 1 ? "" : "s";
}

static void print_cpu(const vd_doctor *d)
{
    const vd_doctor_cpu *cpu = &d->cpu;
    const vd_machine *machine = &d->energy.info.machine;
    char text[256];
    size_t used = 0;
    putf("processor", "%s%s", machine->cpu,
         machine->virtual_machine ? ", in a virtual machine" : "");
    if (cpu->n_threads > 0)
        putf("", "%zu socket%s, %zu core%s, %zu thread%s, %zu NUMA node%s; %g CPU%s usable here",
             cpu->n_packages, s(cpu->n_packages), cpu->n_cores, s(cpu->n_cores), cpu->n_threads,
             s(cpu->n_threads), cpu->n_numa, s(cpu->n_numa), machine->n_cpu,
             machine->n_cpu == 1 ? "" : "s");
    for (size_t i = 0; i < cpu->n_caches && used < sizeof(text); i++) {
        const vd_doctor_cache *c = &cpu->cache[i];
        bool mib = c->bytes >= 1 << 20;
        const char *kind = c->kind[0] == 'd' ? "d" : c->kind[0] == 'i' ? "i" : "";
        int n = snprintf(text + used, sizeof(text) - used, "%sL%u%s %zu x %g %s",
                         i > 0 ? ", " : "", c->level, kind, c->n,
                         (double)c->bytes / (mib ? 1 << 20 : 1 << 10), mib ? "MiB" : "KiB");
        used += n > 0 ? (size_t)n : 0;
    }
    if (cpu->n_caches > 0)
        put("caches", text);
    if (cpu->extensions[0] != '\0')
        put("extensions", cpu->extensions);
}

static void print_kernels(const vd_doctor *d)
{
    bool masked = true; /* above the level in use */
    for (size_t i = d->n_kernels; i-- > 0;) {
        const vd_kernels_info *k = &d->kernels[i];
        const char *state = masked ? "runs; VERDANT_CPU holds it back" : "runs, and is slower";
        if (k->lacks[0] != '\0')
            state = "does not run: the machine lacks ";
        else if (k->used)
            state = "used";
        masked &= !k->used;
        putf(i + 1 == d->n_kernels ? "kernels" : "", "%-7s %s%s", k->name, state, k->lacks);
    }
}

static void print_memory(const vd_doctor *d)
{
    const vd_doctor_memory *m = &d->memory;
    const vd_bandwidth *b = &d->bandwidth;
    char limit[64] = "";
    if (m->usable_bytes < m->total_bytes)
        snprintf(limit, sizeof(limit), ", %s by a limit", vd_cli_size(m->usable_bytes).text);
    putf("memory", "%s%s, %s available; huge pages: %s", vd_cli_size(m->total_bytes).text, limit,
         vd_cli_size(m->available_bytes).text, m->huge_pages);
    if (b->n_passes > 0)
        putf("bandwidth",
             "%.1f GB/s reading %s with %zu thread%s, best of %zu passes (median %.1f)",
             b->best_gb_s, vd_cli_size(b->bytes).text, b->n_threads, s(b->n_threads), b->n_passes,
             b->median_gb_s);
    else if (b->why_not[0] != '\0')
        putf("bandwidth", "not measured: %s", b->why_not);
}

static void print_watts(const char *label, const char *before, const vd_doctor_watts *w)
{
    putf(label, "%s%s%.1f W waiting, %.1f W reading memory", before, before[0] != '\0' ? ", " : "",
         w->waiting, w->reading);
}

/* "rapl by perf events: cpu, dram; +-5 %", and what a reading costs. */
static void print_meters(const vd_doctor_energy *e)
{
    static const char *const parts[VD_PART_N] = {"cpu", "dram", "gpu"};
    const vd_meter_info *info = &e->info;
    for (size_t i = 0; i < info->n_sources; i++) {
        const vd_meter_source *source = &info->source[i];
        char components[32] = "";
        for (size_t part = 0, used = 0; part < VD_PART_N; part++)
            if (source->parts >> part & 1)
                used += (size_t)snprintf(components + used, sizeof(components) - used, "%s%s",
                                         used > 0 ? ", " : "", parts[part]);
        putf(i == 0 ? "  meters" : "", "%s: %s%s", source->name, components,
             source->lost ? "; cannot be read at present" : "");
    }
    if (e->read_us > 0)
        putf("  reading", "takes %.1f us of CPU time: %.3f %% of a core at 100 times a second",
             e->read_us, e->read_us / 100);
    char absent[128] = "";
    for (size_t i = 0, used = 0; i < info->n_refused && used < sizeof(absent); i++) {
        const vd_meter_refusal *refusal = &info->refused[i];
        if (refusal->status == VD_ERR_NOT_FOUND)
            used += (size_t)snprintf(absent + used, sizeof(absent) - used, "%s%s",
                                     used > 0 ? ", " : "", refusal->name);
        else if (i > 0 || info->why == VD_OK) /* the first is the "why" below */
            putf("  not read", "%s: %s", refusal->name, refusal->text);
    }
    if (absent[0] != '\0')
        putf("  not here", "%s", absent);
}

static void print_energy(const vd_doctor *d)
{
    const vd_doctor_energy *e = &d->energy;
    const vd_machine *m = &e->info.machine;
    bool read = e->info.measured;
    putf("energy", "%s (%s), +-%.0f %%", read ? "counters" : "a model of the machine",
         e->info.method, e->info.uncertainty_pct);
    if (e->watched)
        print_watts("", "", &e->all);
    else if (e->unwatched[0] != '\0')
        putf("  watts", "%s", e->unwatched);
    print_meters(e);
    for (size_t i = 0; i < e->info.n_zones; i++) {
        const vd_rapl_zone_info *z = &e->info.zone[i];
        char row[160];
        snprintf(row, sizeof(row), "%-18s %-15s %s", z->id, z->name,
                 z->use == VD_RAPL_READ && !read ? "readable, and not used without the others"
                                                 : vd_rapl_use_text(z->use));
        if (e->watched && z->use == VD_RAPL_READ)
            print_watts(i == 0 ? "  zones" : "", row, &e->zone[i]);
        else
            put(i == 0 ? "  zones" : "", row);
    }
    if (e->info.why_text[0] != '\0')
        put("  why", e->info.why_text);
    for (size_t i = 0; i < e->n_remedies; i++) {
        putf(i == 0 ? "  to do" : "", "%s%s", e->remedy[i].what,
             e->remedy[i].command[0] != '\0' ? ":" : "");
        if (e->remedy[i].command[0] != '\0') /* in one line, to be copied */
            printf("%*s%s\n", LABEL + 2, "", e->remedy[i].command);
    }
    vd_power_estimate waiting, full;
    vd_power_predict(&e->info.power, &(vd_power_point){0}, &waiting);
    vd_power_predict(&e->info.power, &(vd_power_point){.load = 1}, &full);
    putf("  model", "%s%s: %.1f W waiting +-%.0f %%, %.1f W full +-%.0f %%, for %g threads",
         read ? "(should counters be lost) " : "", m->family, waiting.watts, waiting.pct,
         full.watts, full.pct, m->n_cpu);
    putf("", "and %.1f W for memory", (double)m->memory_bytes / 1e9 * VD_DRAM_W_PER_GB);
    if (!e->info.calibrated)
        putf("", "from %s", m->family_source);
    if (e->info.calibration[0] != '\0')
        put("", e->info.calibration);
}

static void print_gpus(const vd_doctor *d)
{
    bool nvidia = false;
    for (size_t i = 0; i < d->gpus.n; i++) {
        const vd_doctor_gpu *g = &d->gpus.gpu[i];
        bool named = strncmp(g->name, g->vendor, strlen(g->vendor)) == 0; /* "NVIDIA H100" */
        nvidia |= strcmp(g->vendor, "NVIDIA") == 0;
        putf(i == 0 ? "GPUs" : "", "%s%s%s at %s, %s%s%s%s", named ? "" : g->vendor,
             named ? "" : " ", g->name, g->address,
             g->memory_bytes != 0 ? vd_cli_size(g->memory_bytes).text : "",
             g->memory_bytes != 0 ? ", " : "",
             g->driver[0] != '\0' ? "driver " : "no driver", g->driver);
    }
    if (d->gpus.n == 0)
        put("GPUs", "none");
    else
        putf("", "not used yet%s%s", nvidia ? "; NVML: " : "", nvidia ? d->gpus.nvml : "");
}

static void print_rest(const vd_doctor *d)
{
    const vd_doctor_store *store = &d->store;
    const vd_doctor_mpi *mpi = &d->mpi;
    uint64_t bytes = 0;
    if (mpi->file[0] == '\0' && mpi->launcher[0] == '\0')
        put("MPI", "none");
    else if (mpi->file[0] == '\0')
        putf("MPI", "no library; launcher %s; not used yet", mpi->launcher);
    else
        putf("MPI", "%s (%s), launcher %s; not used yet", mpi->library, mpi->file,
             mpi->launcher[0] != '\0' ? mpi->launcher : "none");
    for (size_t i = 0; i < store->n_models; i++)
        bytes += store->models[i].bytes;
    if (store->directory != NULL)
        putf("models", "%s%s, %s free; %zu model%s, %s", store->directory,
             store->writable ? "" : " (not writable)", vd_cli_size(store->free_bytes).text,
             store->n_models, s(store->n_models), vd_cli_size(bytes).text);
}

void vd_doctor_print(const vd_doctor *d)
{
    printf("Verdant %s: this machine can%s serve\n\n", vd_version(),
           d->n_problems == 0 ? "" : "not");
    print_cpu(d);
    print_kernels(d);
    print_memory(d);
    print_energy(d);
    print_gpus(d);
    print_rest(d);
    if (d->n_problems + d->n_notes > 0)
        putchar('\n');
    for (size_t i = 0; i < d->n_problems; i++)
        put(i == 0 ? "problem" : "", d->problem[i]);
    for (size_t i = 0; i < d->n_notes; i++)
        put(i == 0 ? "note" : "", d->note[i]);
}

/* doctor_json.c - the report for machines; `verdant doctor --help` lists the keys. */
#include <math.h>
#include <string.h>
#include <verdant/verdant.h>

#include "base/checked.h"
#include "cli/doctor.h"
#include "cli/format.h"

static json_t *text(const char *s)
{
    return vd_cli_json_string(s, strlen(s));
}

/* null for "", which means that there is none. */
static json_t *text_or_null(const char *s)
{
    return s[0] != '\0' ? text(s) : json_null();
}

static json_t *bytes_or_null(uint64_t bytes)
{
    return bytes != 0 ? json_integer((json_int_t)bytes) : json_null();
}

/* Three decimals: more than such measurements can bear. */
static json_t *rounded(double x)
{
    return json_real(round(x * 1e3) / 1e3);
}

static json_t *lines(const char line[VD_DOCTOR_LINES_MAX][256], size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, text(line[i]));
    return list;
}

static json_t *cpu_json(const vd_doctor *d)
{
    const vd_doctor_cpu *cpu = &d->cpu;
    const vd_machine *machine = &d->energy.info.machine;
    json_t *caches = json_array(), *extensions = json_array();
    for (size_t i = 0; i < cpu->n_caches; i++)
        json_array_append_new(
            caches, json_pack("{s:i, s:s, s:I, s:I}", "level", (int)cpu->cache[i].level, "kind",
                              cpu->cache[i].kind, "bytes", (json_int_t)cpu->cache[i].bytes, "count",
                              (json_int_t)cpu->cache[i].n));
    for (const char *at = cpu->extensions; *at != '\0';) {
        size_t n = strcspn(at, " ");
        json_array_append_new(extensions, json_stringn(at, n));
        at += n + (at[n] == ' ');
    }
    return json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o}", "model",
                     text(machine->cpu), "virtual_machine", machine->virtual_machine, "packages",
                     (json_int_t)cpu->n_packages, "cores", (json_int_t)cpu->n_cores, "threads",
                     (json_int_t)cpu->n_threads, "numa_nodes", (json_int_t)cpu->n_numa,
                     "usable_cores", (json_int_t)cpu->n_usable_cores, "usable_cpus",
                     machine->n_cpu, "caches", caches, "extensions", extensions);
}

static json_t *kernels_json(const vd_doctor *d)
{
    json_t *levels = json_array();
    const char *used = "";
    for (size_t i = 0; i < d->n_kernels; i++) {
        const vd_kernels_info *k = &d->kernels[i];
        used = k->used ? k->name : used;
        json_array_append_new(levels,
                              json_pack("{s:s, s:b, s:b, s:o}", "name", k->name, "runs",
                                        k->lacks[0] == '\0', "used", k->used, "lacks",
                                        text_or_null(k->lacks)));
    }
    return json_pack("{s:s, s:o, s:o}", "used", used, "mask",
                     text_or_null(d->mask != NULL ? d->mask : ""), "levels", levels);
}

static json_t *memory_json(const vd_doctor *d)
{
    const vd_doctor_memory *m = &d->memory;
    const vd_bandwidth *b = &d->bandwidth;
    json_t *bandwidth =
        b->n_passes == 0
            ? json_null()
            : json_pack("{s:o, s:o, s:I, s:I, s:I}", "gb_s", rounded(b->best_gb_s), "median_gb_s",
                        rounded(b->median_gb_s), "bytes", (json_int_t)b->bytes, "threads",
                        (json_int_t)b->n_threads, "passes", (json_int_t)b->n_passes);
    return json_pack("{s:I, s:I, s:I, s:s, s:o}", "total_bytes", (json_int_t)m->total_bytes,
                     "usable_bytes", (json_int_t)m->usable_bytes, "available_bytes",
                     (json_int_t)m->available_bytes, "huge_pages", m->huge_pages, "read_bandwidth",
                     bandwidth);
}

static json_t *watts_json(const vd_doctor_energy *e, const vd_doctor_watts *w, bool known)
{
    if (!e->watched || !known)
        return json_null();
    return json_pack("{s:o, s:o}", "waiting", rounded(w->waiting), "reading_memory",
                     rounded(w->reading));
}

static const char *use_word(vd_rapl_use use)
{
    static const char *const words[] = {
        [VD_RAPL_READ] = "read",     [VD_RAPL_PART] = "part",     [VD_RAPL_WHOLE] = "whole",
        [VD_RAPL_TWIN] = "twin",     [VD_RAPL_DENIED] = "denied", [VD_RAPL_BROKEN] = "broken",
        [VD_RAPL_OTHER] = "other",
    };
    return (size_t)use < VD_COUNT(words) ? words[use] : "other";
}

static json_t *zones_json(const vd_doctor_energy *e)
{
    static const char *const parts[VD_PART_N] = {"cpu", "dram", "gpu"};
    json_t *list = json_array();
    for (size_t i = 0; i < e->info.n_zones; i++) {
        const vd_rapl_zone_info *z = &e->info.zone[i];
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:s, s:s, s:o, s:o}", "id", text(z->id), "name",
                            text(z->name), "component", parts[z->part], "use", use_word(z->use),
                            "range_uj", bytes_or_null(z->range_uj), "watts",
                            watts_json(e, &e->zone[i], z->use == VD_RAPL_READ)));
    }
    return list;
}

static json_t *sources_json(const vd_meter_info *info)
{
    static const char *const parts[VD_PART_N] = {"cpu", "dram", "gpu"};
    json_t *list = json_array();
    for (size_t i = 0; i < info->n_sources; i++) {
        const vd_meter_source *source = &info->source[i];
        json_t *components = json_array();
        for (size_t part = 0; part < VD_PART_N; part++)
            if (source->parts >> part & 1)
                json_array_append_new(components, text(parts[part]));
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:o, s:f, s:f, s:b}", "name", text(source->name), "method",
                            source->method, "components", components, "refresh_ms",
                            (double)source->refresh_ns * 1e-6, "uncertainty_pct",
                            hypot(source->common_pct, source->independent_pct), "lost",
                            source->lost));
    }
    return list;
}

static json_t *refused_json(const vd_meter_info *info)
{
    json_t *list = json_array();
    for (size_t i = 0; i < info->n_refused; i++)
        json_array_append_new(list, json_pack("{s:s, s:o}", "name", info->refused[i].name, "why",
                                              text(info->refused[i].text)));
    return list;
}

static json_t *sampler_json(const vd_doctor_energy *e)
{
    return e->read_us > 0 ? json_pack("{s:o, s:o}", "us_per_reading", rounded(e->read_us),
                                      "core_pct_at_100_hz", rounded(e->read_us / 100))
                          : json_null();
}

static const char *filtering_word(vd_filtering filtering)
{
    static const char *const words[] = {"none", "unknown", "likely", "on"};
    return (size_t)filtering < VD_COUNT(words) ? words[filtering] : "unknown";
}

static json_t *energy_json(const vd_doctor *d)
{
    const vd_doctor_energy *e = &d->energy;
    const vd_machine *m = &e->info.machine;
    json_t *remedies = json_array();
    for (size_t i = 0; i < e->n_remedies; i++)
        json_array_append_new(remedies,
                              json_pack("{s:s, s:o}", "what", e->remedy[i].what, "command",
                                        text_or_null(e->remedy[i].command)));
    vd_power_estimate waiting, full;
    vd_power_predict(&e->info.power, &(vd_power_point){0}, &waiting);
    vd_power_predict(&e->info.power, &(vd_power_point){.load = 1}, &full);
    json_t *model = json_pack(
        "{s:s, s:s, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:f, s:b, s:o}", "family", m->family,
        "source", m->family_source, "waiting_w", waiting.watts, "full_w", full.watts, "threads",
        m->n_cpu, "memory_w_per_gb", VD_DRAM_W_PER_GB, "memory_bytes",
        (json_int_t)m->memory_bytes, "uncertainty_pct", full.pct, "common_pct", full.common_pct,
        "independent_pct", full.independent_pct, "calibrated", e->info.calibrated, "calibration",
        text_or_null(e->info.calibration));
    return json_pack("{s:s, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "method",
                     e->info.method,
                     "uncertainty_pct", e->info.uncertainty_pct, "watts",
                     watts_json(e, &e->all, true), "why", text_or_null(e->info.why_text),
                     "remedies", remedies, "powercap", text(e->info.powercap), "zones",
                     zones_json(e), "model", model, "sources", sources_json(&e->info), "refused",
                     refused_json(&e->info), "sampler", sampler_json(e), "energy_filtering",
                     filtering_word(e->info.filtering));
}

static json_t *gpus_json(const vd_doctor *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->gpus.n; i++) {
        const vd_doctor_gpu *g = &d->gpus.gpu[i];
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:o, s:o, s:o}", "vendor", g->vendor, "name",
                            text(g->name), "address", text(g->address), "driver",
                            text_or_null(g->driver), "memory_bytes",
                            bytes_or_null(g->memory_bytes)));
    }
    return json_pack("{s:b, s:o, s:o}", "used", false, "nvml", text(d->gpus.nvml), "devices", list);
}

static json_t *store_json(const vd_doctor *d)
{
    const vd_doctor_store *s = &d->store;
    json_t *models = json_array();
    for (size_t i = 0; i < s->n_models; i++)
        json_array_append_new(models,
                              json_pack("{s:o, s:I}", "name", text(s->models[i].name), "bytes",
                                        (json_int_t)s->models[i].bytes));
    return json_pack("{s:o, s:b, s:b, s:I, s:o}", "directory",
                     text_or_null(s->directory != NULL ? s->directory : ""), "exists", s->exists,
                     "writable", s->writable, "free_bytes", (json_int_t)s->free_bytes, "models",
                     models);
}

json_t *vd_doctor_json(const vd_doctor *d)
{
    json_t *mpi = json_pack("{s:b, s:o, s:o, s:o}", "used", false, "library",
                            text_or_null(d->mpi.library), "file", text_or_null(d->mpi.file),
                            "launcher", text_or_null(d->mpi.launcher));
    return json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
                     vd_version(), "can_serve", d->n_problems == 0, "problems",
                     lines(d->problem, d->n_problems), "notes", lines(d->note, d->n_notes), "cpu",
                     cpu_json(d), "kernels", kernels_json(d), "memory", memory_json(d), "energy",
                     energy_json(d), "gpus", gpus_json(d), "mpi", mpi, "store", store_json(d));
}

/* run_facts.c - see run_facts.h. */
#include "cli/run_facts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/utf8.h"
#include "carbon/carbon.h"
#include "compress/filetype.h"
#include "model/gguf.h"
#include "model/store.h"

enum { HASHED_BYTES_MAX = 1 << 30 };

/* A record holds UTF-8 only; a path may hold anything. */
static void copy_clean(const char *text, size_t n, char *out, size_t size)
{
    n = VD_MIN(n, size - 1);
    for (size_t i = 0; i < n; i++)
        out[i] = text[i];
    while (n > 0 && !vd_utf8_valid(out, n)) {
        size_t at = 0;
        uint32_t code;
        int length;
        while (at < n && (length = vd_utf8_decode(out + at, n - at, &code)) > 0)
            at += (size_t)length;
        if (at < n)
            out[at] = '?';
    }
    out[n] = '\0';
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* "q4.gguf" is called q4, also where its folder was named with it. */
static void name_of(const char *given, char *name, size_t size)
{
    const char *base = last_component(given);
    size_t n = strlen(base);
    if (n > 5 && strcmp(base + n - 5, ".gguf") == 0)
        n -= 5;
    copy_clean(base, n, name, size);
}

/* What the store noted when it fetched the model; "" where it knows nothing. */
static void stored_sha256(const char *path, char *sha256)
{
    vd_store_entry *entry = NULL;
    size_t n = 0;
    if (vd_store_list(&entry, &n, NULL) != VD_OK)
        return;
    for (size_t i = 0; i < n; i++)
        if (entry[i].sha256 != NULL && strlen(entry[i].sha256) == VD_SHA256_HEX &&
            vd_file_same(entry[i].path, path))
            memcpy(sha256, entry[i].sha256, VD_SHA256_HEX + 1);
    vd_store_entries_free(entry, n);
}

static uint64_t count_params(const vd_gguf *gguf)
{
    uint64_t n = 0;
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        n += t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
    }
    return n;
}

static const char *quant_of(const vd_gguf *gguf)
{
    uint32_t number = UINT32_MAX;
    if (vd_gguf_get_u32(gguf, "general.file_type", &number))
        for (size_t i = 0; i < vd_filetype_n(); i++)
            if ((uint32_t)vd_filetype_at(i)->number == number)
                return vd_filetype_at(i)->name;
    return "";
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

vd_status vd_run_facts_model(const char *kind, const char *name, const char *path,
                             vd_run_facts *facts, vd_run *run, vd_err *err)
{
    vd_gguf *gguf = NULL;
    vd_gguf_options options = {.metadata_only = true};
    vd_str architecture = {0};
    *facts = (vd_run_facts){0};
    vd_run_init(run);
    vd_status st = vd_gguf_open(path, &options, &gguf, err);
    if (st != VD_OK)
        return st;
    uint64_t bytes = vd_gguf_file_bytes(gguf);
    name_of(name, facts->name, sizeof(facts->name));
    copy_clean(last_component(path), strlen(last_component(path)), facts->file,
               sizeof(facts->file));
    snprintf(facts->quant, sizeof(facts->quant), "%s", quant_of(gguf));
    if (vd_gguf_get_str(gguf, "general.architecture", &architecture))
        copy_clean(architecture.data, architecture.n, facts->architecture,
                   sizeof(facts->architecture));
    run->model = (vd_run_model){.name = facts->name,
                                .file = facts->file,
                                .quant = or_null(facts->quant),
                                .architecture = or_null(facts->architecture),
                                .bytes = bytes,
                                .params = count_params(gguf)};
    vd_gguf_free(gguf);

    unsigned no, count;
    size_t stem;
    stored_sha256(path, facts->sha256);
    if (facts->sha256[0] == '\0' && bytes <= HASHED_BYTES_MAX &&
        !vd_gguf_shard_name(path, &no, &count, &stem))
        st = vd_sha256_file(path, facts->sha256, err);
    if (st != VD_OK)
        return st;
    run->model.sha256 = or_null(facts->sha256);
    vd_run_time(facts->created);
    run->kind = kind;
    run->created = facts->created;
    run->program = "verdant " VD_VERSION;
    return VD_OK;
}

/* A name for this installation that says nothing about it: a hash of the system's own id. */
static void machine_id(char id[VD_RUN_SERIES_MAX])
{
    char *text = NULL, hex[VD_SHA256_HEX + 1];
    size_t n = 0;
    vd_sha256 sha;
    id[0] = '\0';
    if (vd_file_read("/etc/machine-id", 4096, &text, &n, NULL) != VD_OK)
        return;
    vd_sha256_init(&sha);
    vd_sha256_add(&sha, "verdant run record", 18);
    vd_sha256_add(&sha, text, n);
    vd_sha256_end(&sha, hex);
    vd_free(text);
    if (n >= 32)
        snprintf(id, VD_RUN_SERIES_MAX, "%.16s", hex);
}

void vd_run_facts_meter(const vd_meter *meter, vd_run_facts *facts, vd_run *run)
{
    vd_meter_info info;
    vd_meter_info_get(meter, &info);
    machine_id(facts->machine_id);
    copy_clean(info.machine.cpu, strlen(info.machine.cpu), facts->cpu, sizeof(facts->cpu));
    run->machine = (vd_run_machine){.id = or_null(facts->machine_id),
                                    .cpu = facts->cpu,
                                    .virtual_machine = info.machine.virtual_machine,
                                    .logical_cpus = info.machine.n_cpu,
                                    .memory_bytes = info.machine.memory_bytes,
                                    .load_average = NAN};
    (void)getloadavg(&run->machine.load_average, 1);
    run->meter.method = info.method;
    run->meter.common_pct = info.common_pct;
    run->meter.independent_pct = info.independent_pct;
}

void vd_run_facts_engine(vd_engine *engine, const vd_engine_options *options, vd_run *run)
{
    vd_engine_info info = vd_engine_info_get(engine);
    run->settings.threads = info.n_threads;
    run->settings.kernels = info.kernels;
    run->settings.kv = vd_kv_type_name(options->kv_type);
    run->settings.precision = options->exact ? "exact" : "fast";
    run->settings.processes = 1;
    run->weights_bytes = info.weight_bytes + info.draft_weight_bytes;
    run->kv_bytes = info.kv_bytes + info.draft_kv_bytes;
    run->model.params = info.n_params;
}

vd_status vd_run_facts_carbon(const char *zone_code, vd_run_facts *facts, vd_run *run, vd_err *err)
{
    const vd_zone *zone;
    vd_status st = vd_zone_find(zone_code, &zone, err);
    if (st != VD_OK)
        return st;
    vd_intensity now = vd_zone_intensity(zone, (int64_t)(vd_wall_ns() / 1000000000u));
    vd_hardware hardware =
        vd_hardware_guess(&(vd_hardware_facts){.cpu = run->machine.cpu,
                                               .virtual_machine = run->machine.virtual_machine,
                                               .n_cpu = run->machine.logical_cpus,
                                               .memory_bytes = run->machine.memory_bytes});
    snprintf(facts->valid_at, sizeof(facts->valid_at), "%d", zone->year);
    run->carbon = (vd_run_carbon){.g_per_kwh = now.g_per_kwh,
                                  .zone = zone->code,
                                  .kind = now.kind,
                                  .scope = now.scope,
                                  .basis = now.basis,
                                  .boundary = now.boundary,
                                  .source = now.source,
                                  .valid_at = facts->valid_at,
                                  .pue = NAN,
                                  .wue_site_l_per_kwh = NAN,
                                  .wue_grid_l_per_kwh = NAN,
                                  .server_kg = hardware.server_kg,
                                  .life_years = hardware.life_years,
                                  .reserved_share = hardware.reserved_share};
    return VD_OK;
}

double vd_joules_between(const vd_reading *from, const vd_reading *to, vd_part part)
{
    if (part < VD_PART_N)
        return (double)(to->uj[part] - from->uj[part]) * 1e-6;
    double uj = 0;
    for (int i = 0; i < VD_PART_N; i++)
        uj += (double)(to->uj[i] - from->uj[i]);
    return uj * 1e-6;
}

void vd_run_phase_fill(vd_run_phase *phase, const vd_reading *from, const vd_reading *to)
{
    phase->seconds = (double)(to->at_ns - from->at_ns) * 1e-9;
    phase->joules = vd_joules_between(from, to, VD_PART_N);
    phase->cpu_j = vd_joules_between(from, to, VD_PART_CPU);
    phase->dram_j = vd_joules_between(from, to, VD_PART_DRAM);
    phase->gpu_j = vd_joules_between(from, to, VD_PART_GPU);
}

double vd_idle_watts(vd_meter *meter, uint64_t duration_ns)
{
    vd_reading from, to;
    struct timespec wait = {(time_t)(duration_ns / 1000000000u),
                            (long)(duration_ns % 1000000000u)};
    vd_meter_read(meter, &from);
    nanosleep(&wait, NULL);
    vd_meter_read(meter, &to);
    if (to.at_ns <= from.at_ns)
        return NAN;
    return vd_joules_between(&from, &to, VD_PART_N) / ((double)(to.at_ns - from.at_ns) * 1e-9);
}

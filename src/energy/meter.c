/*
 * meter.c - sums up sources that do not overlap, and lets the model fill what they leave. See
 * meter.h.
 *
 * The model runs along all the time and is only listened to for components that nothing counts, and
 * while a source is lost: then it stands in for that source's components, up to and including the
 * reading at which the source is back, so that no time is counted twice.
 */
#include "energy/meter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "energy/choose.h"
#include "energy/method.h"
#include "energy/sources/model.h"

/* A source that stays away this long leaves the work to the model. */
static const uint64_t lost_ns = UINT64_C(30000000000);
/* Where nothing counts or models the memory: 5-20 % of what a server's sockets and memory draw. */
static const double without_dram_pct = 15;

struct vd_meter {
    vd_meter_options options;
    vd_choice choice;
    bool away[VD_METER_SOURCES_MAX]; /* the model stood in for it at the last reading */
    uint64_t counted_uj[VD_METER_SOURCES_MAX + 1]; /* the model's is the last */
    vd_source model;
    vd_reading now;    /* the last one given */
    uint64_t serving;  /* who served then: a bit per source, the model's is the highest */
    uint64_t n_gaps;
    char last_gap[VD_ERR_MESSAGE_MAX];
    vd_filtering filtering;
    vd_status why;
    char why_text[VD_ERR_MESSAGE_MAX];
    char powercap[VD_RAPL_PATH_MAX];
    vd_rapl_zone_info *unread; /* powercap's zones where they are not read, or NULL */
    size_t n_unread;
};

/* Who counts which component in an interval. */
typedef struct roles {
    const vd_source *by[VD_PART_N]; /* NULL: nobody */
    uint64_t serving;
} roles;

static const uint64_t model_bit = UINT64_C(1) << VD_METER_SOURCES_MAX;

static uint64_t now_ns(const vd_meter *meter)
{
    return meter->options.now_ns != NULL ? meter->options.now_ns(meter->options.ctx) : vd_now_ns();
}

static void assign(roles *r, const vd_source *source, unsigned parts, uint64_t bit)
{
    for (unsigned part = 0; part < VD_PART_N; part++)
        if (parts >> part & 1)
            r->by[part] = source;
    r->serving |= bit;
}

static unsigned unserved(const roles *r)
{
    unsigned parts = 0;
    for (unsigned part = 0; part < VD_PART_N; part++)
        parts |= r->by[part] == NULL ? 1u << part : 0;
    return parts;
}

/* Percent of the sum: each source by the energy of its components, or the worst before any. */
static void combine(const vd_meter *meter, const roles *r, double *ret_common,
                    double *ret_independent)
{
    double energy = 0, common = 0, independent = 0, worst_common = 0, worst_independent = 0;
    for (size_t part = 0; part < VD_PART_N; part++) {
        const vd_source *source = r->by[part];
        if (source == NULL)
            continue;
        double uj = (double)meter->now.uj[part];
        energy += uj;
        bool by_part = source->by_part;
        double c = by_part ? source->part_common_pct[part] : source->common_pct;
        double i = by_part ? source->part_independent_pct[part] : source->independent_pct;
        common += uj * c;
        independent += uj * i;
        worst_common = VD_MAX(worst_common, c);
        worst_independent = VD_MAX(worst_independent, i);
    }
    *ret_common = energy > 0 ? common / energy : worst_common;
    if (r->by[VD_PART_CPU] != NULL && r->by[VD_PART_DRAM] == NULL)
        *ret_common = VD_MAX(*ret_common, without_dram_pct);
    *ret_independent = energy > 0 ? independent / energy : worst_independent;
}

static const char *method_of(const vd_meter *meter, uint64_t serving)
{
    const char *method = NULL;
    for (size_t i = 0; i < meter->choice.n_sources; i++)
        if (serving >> i & 1)
            method = vd_method_join(method, meter->choice.source[i].method);
    return serving & model_bit ? vd_method_join(method, meter->model.method)
                               : vd_method_join(method, NULL);
}

/* Lost for long, and there is a model of what it counted. */
static bool is_away(const vd_meter *meter, const vd_source *source, uint64_t now)
{
    return meter->choice.with_model && source->lost_since_ns != 0 &&
           now - source->lost_since_ns > lost_ns && (source->parts & meter->model.parts) != 0;
}

static void open_survey(vd_meter *meter, const vd_source_env *env)
{
    vd_rapl *rapl = vd_calloc(1, sizeof(*rapl));
    meter->unread = vd_calloc(VD_RAPL_ZONES_MAX, sizeof(*meter->unread));
    if (rapl != NULL && meter->unread != NULL) {
        vd_rapl_open(rapl, env->sysfs, false, env->open_file, env->ctx, env->now_ns);
        meter->n_unread = rapl->n_zones;
        for (size_t i = 0; i < rapl->n_zones; i++)
            meter->unread[i] = rapl->zone[i].info;
        vd_rapl_close(rapl);
    }
    vd_free(rapl);
}

/* Counters of the processor are less sure where its maker blurs them. */
static void judge_filtering(vd_meter *meter, const vd_source_env *env)
{
    const char *msr = strcmp(env->sysfs, "/sys") == 0 ? "/dev/cpu/0/msr" : NULL;
    meter->filtering = vd_filtering_find(env->sysfs, msr, env->open_file, env->ctx);
    for (size_t i = 0; i < meter->choice.n_sources; i++) {
        vd_source *source = &meter->choice.source[i];
        if (strcmp(source->method, "rapl") == 0 || strcmp(source->method, "psys") == 0)
            vd_filtering_widen(meter->filtering, &source->common_pct, &source->independent_pct);
    }
}

/* Why nothing counts the processor, or what the source that does has to say. */
static void say_why(vd_meter *meter)
{
    const vd_choice *choice = &meter->choice;
    const vd_source *host = NULL;
    for (size_t i = 0; i < choice->n_sources; i++)
        if (choice->source[i].parts >> VD_PART_CPU & 1)
            host = &choice->source[i];
    if (host != NULL) {
        bool no_memory = (host->parts >> VD_PART_DRAM & 1) == 0;
        snprintf(meter->why_text, sizeof(meter->why_text), "%.400s%s", host->note,
                 host->note[0] == '\0' || !no_memory ? ""
                 : choice->with_model                ? ": the energy of the memory is modelled"
                                      : ": the energy of the memory is not in the figures");
        return;
    }
    meter->why = VD_ERR_NOT_FOUND;
    const char *text = "no meter of the processor was asked for";
    if (choice->n_refused > 0) { /* by the best one */
        meter->why = choice->refused[0].status;
        text = choice->refused[0].text;
    }
    snprintf(meter->why_text, sizeof(meter->why_text), "%s", text);
}

static const char *from_environment(const char *given, const char *name, const char *otherwise)
{
    const char *value = given != NULL ? given : getenv(name);
    return value != NULL && value[0] != '\0' ? value : otherwise;
}

vd_status vd_meter_open(const vd_meter_options *options, vd_meter **ret_meter, vd_err *err)
{
    vd_meter *meter = vd_calloc(1, sizeof(*meter));
    if (meter == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the energy meter");
    if (options != NULL)
        meter->options = *options;
    const vd_meter_options *o = &meter->options;
    const vd_source_env env = {
        .sysfs = from_environment(o->sysfs, "VERDANT_SYSFS", "/sys"),
        .spec = "",
        .now_ns = now_ns(meter),
        .sample_in_read = o->now_ns != NULL,
        .open_file = o->open_file,
        .open_perf = o->open_perf,
        .ctx = o->ctx,
    };
    vd_status st = vd_source_model_open(&env, o->cpu_ns, &meter->model, err);
    if (st == VD_OK)
        st = vd_choice_open(from_environment(o->spec, "VERDANT_METER", "auto"), &env,
                            &meter->choice, err);
    if (st != VD_OK)
        goto out;
    meter->now.at_ns = env.now_ns;
    snprintf(meter->powercap, sizeof(meter->powercap), "%s/class/powercap", env.sysfs);
    say_why(meter);
    judge_filtering(meter, &env);
    if (!meter->choice.has_host)
        open_survey(meter, &env);
    meter->options.sysfs = meter->options.spec = NULL; /* borrowed for this call only */
    *ret_meter = meter;
    meter = NULL;
out:
    vd_meter_close(meter);
    return st;
}

void vd_meter_close(vd_meter *meter)
{
    if (meter == NULL)
        return;
    vd_choice_close(&meter->choice);
    if (meter->model.ops != NULL)
        meter->model.ops->close(&meter->model);
    vd_free(meter->unread);
    vd_free(meter);
}

/* Adds what the i-th source counted, unless the model stands in for it. */
static void read_source(vd_meter *meter, size_t i, uint64_t now, roles *r)
{
    vd_source *source = &meter->choice.source[i];
    uint64_t uj[VD_PART_N] = {0};
    bool seen = source->ops->read(source, now, uj);
    bool away = is_away(meter, source, now), was_away = meter->away[i];
    meter->away[i] = away;
    /* One that comes back shows what it used meanwhile; the model has counted that. */
    if (away || was_away)
        return;
    for (size_t part = 0; part < VD_PART_N; part++) {
        meter->now.uj[part] += uj[part];
        meter->counted_uj[i] += uj[part];
    }
    assign(r, source, source->parts, UINT64_C(1) << i);
    if (!seen) {
        meter->now.gap = true;
        memcpy(meter->last_gap, source->last_gap, sizeof(meter->last_gap));
    }
}

static void read_model(vd_meter *meter, uint64_t now, roles *r)
{
    uint64_t uj[VD_PART_N] = {0};
    unsigned parts = unserved(r) & meter->model.parts;
    meter->model.ops->read(&meter->model, now, uj);
    if (!meter->choice.with_model || parts == 0)
        return;
    for (size_t part = 0; part < VD_PART_N; part++)
        if (parts >> part & 1) {
            meter->now.uj[part] += uj[part];
            meter->counted_uj[VD_METER_SOURCES_MAX] += uj[part];
        }
    assign(r, &meter->model, parts, model_bit);
}

void vd_meter_read(vd_meter *meter, vd_reading *ret_reading)
{
    uint64_t now = now_ns(meter);
    vd_reading *reading = &meter->now;
    roles r = {0};
    reading->gap = false;
    for (size_t i = 0; i < meter->choice.n_sources; i++)
        read_source(meter, i, now, &r);
    read_model(meter, now, &r);
    meter->n_gaps += reading->gap;
    if (reading->method == NULL || r.serving != meter->serving)
        reading->method = method_of(meter, r.serving);
    meter->serving = r.serving;
    combine(meter, &r, &reading->common_pct, &reading->independent_pct);
    reading->uncertainty_pct = hypot(reading->common_pct, reading->independent_pct);
    reading->at_ns = VD_MAX(now, reading->at_ns);
    *ret_reading = *reading;
}

static void describe_source(const vd_meter *meter, const vd_source *source, unsigned parts,
                            uint64_t counted_uj, vd_meter_info *info)
{
    vd_meter_source *to = &info->source[info->n_sources++];
    *to = (vd_meter_source){
        .method = source->method,
        .parts = parts,
        .refresh_ns = source->refresh_ns,
        .common_pct = source->common_pct,
        .independent_pct = source->independent_pct,
        .counted_uj = counted_uj,
        .lost = source->lost_since_ns != 0,
    };
    snprintf(to->name, sizeof(to->name), "%s", source->name);
    info->refresh_ns = VD_MAX(info->refresh_ns, source->refresh_ns);
    if (source->ops->zones != NULL)
        info->n_zones += source->ops->zones(source, info->zone + info->n_zones,
                                            VD_COUNT(info->zone) - info->n_zones);
}

void vd_meter_info_get(const vd_meter *meter, vd_meter_info *ret_info)
{
    const vd_choice *choice = &meter->choice;
    *ret_info = (vd_meter_info){
        .why = meter->why,
        .filtering = meter->filtering,
        .n_gaps = meter->n_gaps,
        .machine = *vd_model_machine(meter->model.self),
        .power = *vd_model_power(meter->model.self),
        .calibrated = vd_model_calibrated(meter->model.self),
        .n_refused = choice->n_refused,
    };
    roles r = {0};
    for (size_t i = 0; i < choice->n_sources; i++) {
        const vd_source *source = &choice->source[i];
        if (!is_away(meter, source, meter->now.at_ns))
            assign(&r, source, source->parts, UINT64_C(1) << i);
        describe_source(meter, source, source->parts, meter->counted_uj[i], ret_info);
    }
    unsigned left = unserved(&r) & meter->model.parts;
    ret_info->measured = r.by[VD_PART_CPU] != NULL;
    if (choice->with_model && left != 0) {
        assign(&r, &meter->model, left, model_bit);
        describe_source(meter, &meter->model, left, meter->counted_uj[VD_METER_SOURCES_MAX],
                        ret_info);
    }
    ret_info->method = method_of(meter, r.serving);
    combine(meter, &r, &ret_info->common_pct, &ret_info->independent_pct);
    ret_info->uncertainty_pct = hypot(ret_info->common_pct, ret_info->independent_pct);
    memcpy(ret_info->idle_uw, vd_model_idle_uw(meter->model.self), sizeof(ret_info->idle_uw));
    snprintf(ret_info->calibration, sizeof(ret_info->calibration), "%s",
             vd_model_note(meter->model.self));
    memcpy(ret_info->why_text, meter->why_text, sizeof(ret_info->why_text));
    memcpy(ret_info->powercap, meter->powercap, sizeof(ret_info->powercap));
    memcpy(ret_info->last_gap, meter->last_gap, sizeof(ret_info->last_gap));
    memcpy(ret_info->refused, choice->refused, sizeof(ret_info->refused));
    if (!choice->has_host && meter->unread != NULL) {
        ret_info->n_zones = meter->n_unread;
        memcpy(ret_info->zone, meter->unread, meter->n_unread * sizeof(*meter->unread));
    }
}

/* choose.c - see choose.h. */
#include "energy/choose.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "energy/sources/sources.h"

/* BY_SPEC: what stands behind its name says it, and vd_source.parts once it is open. */
typedef enum kind_covers { HOST, GPU, WHOLE, BY_SPEC } kind_covers;

typedef struct kind {
    const char *name;
    vd_source_open_fn open;
    kind_covers covers;
    bool automatic;
} kind;

/* In the order in which `auto` tries them. */
static const kind kinds[] = {
    {"rapl", vd_source_rapl_open, HOST, true},
    {"rapl-perf", vd_source_rapl_perf_open, HOST, false},
    {"rapl-powercap", vd_source_rapl_powercap_open, HOST, false},
    {"meterd", vd_source_meterd_open, HOST, true},
    {"scaphandre", vd_source_scaphandre_open, HOST, true},
    {"hwmon", vd_source_hwmon_open, BY_SPEC, true},
    {"psys", vd_source_psys_open, WHOLE, false},
    {"battery", vd_source_battery_open, WHOLE, false},
    {"ipmi", vd_source_ipmi_open, WHOLE, false},
    {"prometheus", vd_source_prometheus_open, BY_SPEC, false},
    {"nvml", vd_source_nvml_open, GPU, true},
    {"amdgpu", vd_source_amdgpu_open, GPU, true},
};

enum { SPEC_ITEM_MAX = 512, SHOWN_MAX = 80 /* of a name in a message */ };

static const kind *find_kind(const char *name, size_t n)
{
    for (size_t i = 0; i < VD_COUNT(kinds); i++)
        if (strlen(kinds[i].name) == n && memcmp(kinds[i].name, name, n) == 0)
            return &kinds[i];
    return NULL;
}

static vd_status fail_unknown(const char *item, size_t n, vd_err *err)
{
    char names[256] = "auto, model";
    for (size_t i = 0; i < VD_COUNT(kinds); i++) {
        size_t at = strlen(names);
        snprintf(names + at, sizeof(names) - at, ", %s", kinds[i].name);
    }
    if (n == 0)
        return VD_FAIL(err, VD_ERR_ARG, "a meter's name is missing: use one of %s", names);
    if ((n == 4 && memcmp(item, "auto", n) == 0) || (n == 5 && memcmp(item, "model", n) == 0))
        return VD_FAIL(err, VD_ERR_ARG, "nothing may stand behind %.*s: in the meters that are "
                       "named", (int)n, item);
    return VD_FAIL(err, VD_ERR_ARG, "no meter is called '%.*s'%s: use one of %s",
                   (int)VD_MIN(n, SHOWN_MAX), item, n > SHOWN_MAX ? " (and so on)" : "", names);
}

/* Sources of one component are added up only where they are GPUs of different makes, which are
 * different GPUs; whose GPU a sensor is that was named, nobody knows. */
static vd_status check_parts(const vd_choice *choice, const vd_source *source, bool by_spec,
                             vd_err *err)
{
    const unsigned gpu = 1u << VD_PART_GPU;
    for (size_t i = 0; i < choice->n_sources; i++) {
        const vd_source *other = &choice->source[i];
        unsigned both = other->parts & source->parts;
        bool makes = other->parts == gpu && source->parts == gpu && !by_spec && !choice->by_spec[i];
        if (both != 0 && !makes)
            return VD_FAIL(err, VD_ERR_ARG,
                           "the meters %s and %s overlap: both count the same component, name one "
                           "of them",
                           other->name, source->name);
    }
    return VD_OK;
}

static vd_status take(vd_choice *choice, const kind *k, const char *argument,
                      const vd_source_env *env, vd_err *err)
{
    vd_source_env asked = *env;
    asked.spec = argument;
    if (choice->n_sources == VD_COUNT(choice->source))
        return VD_FAIL(err, VD_ERR_LIMIT, "more than %zu meters at once",
                       VD_COUNT(choice->source));
    vd_status st = k->open(&asked, &choice->source[choice->n_sources], err);
    if (st != VD_OK)
        return st;
    vd_source *source = &choice->source[choice->n_sources];
    st = check_parts(choice, source, k->covers == BY_SPEC, err);
    if (st != VD_OK) {
        source->ops->close(source);
        return st;
    }
    choice->by_spec[choice->n_sources++] = k->covers == BY_SPEC;
    choice->has_host |= (source->parts >> VD_PART_CPU & 1) != 0;
    return VD_OK;
}

/* What was named before, to see what would be added twice. */
typedef struct named {
    const kind *kind[VD_METER_SOURCES_MAX];
    size_t n;
    bool whole, host, automatic, model;
} named;

static vd_status check_overlap(const named *before, const kind *k, vd_err *err)
{
    for (size_t i = 0; i < before->n; i++)
        if (before->kind[i] == k)
            return VD_FAIL(err, VD_ERR_ARG, "the meter %s is named twice", k->name);
    if (before->n > 0 && (before->whole || k->covers == WHOLE))
        return VD_FAIL(err, VD_ERR_ARG,
                       "the meters %s and %s overlap: one of them counts the whole machine, "
                       "name it alone",
                       before->kind[0]->name, k->name);
    if (before->host && k->covers == HOST)
        return VD_FAIL(err, VD_ERR_ARG,
                       "the meter %s and another both count the processor: name one of them",
                       k->name);
    return VD_OK;
}

static vd_status open_named(const char *item, size_t n, named *before, const vd_source_env *env,
                            vd_choice *choice, vd_err *err)
{
    char argument[SPEC_ITEM_MAX];
    const char *colon = memchr(item, ':', n);
    size_t n_name = colon != NULL ? (size_t)(colon - item) : n;
    const kind *k = find_kind(item, n_name);
    if (k == NULL)
        return fail_unknown(item, n_name, err);
    if (n - n_name >= sizeof(argument))
        return VD_FAIL(err, VD_ERR_ARG, "what stands behind %s: is longer than %d bytes", k->name,
                       SPEC_ITEM_MAX - 2);
    snprintf(argument, sizeof(argument), "%.*s", colon != NULL ? (int)(n - n_name - 1) : 0,
             colon != NULL ? colon + 1 : "");
    vd_status st = check_overlap(before, k, err);
    if (st != VD_OK)
        return st;
    st = take(choice, k, argument, env, err);
    if (st != VD_OK) {
        vd_err_prefix(err, "the meter %.*s%s", (int)VD_MIN(n, SHOWN_MAX), item,
                      n > SHOWN_MAX ? "..." : "");
        return st;
    }
    before->kind[before->n++] = k;
    before->whole |= choice->source[choice->n_sources - 1].parts == VD_SOURCE_WHOLE;
    before->host |= k->covers == HOST;
    return VD_OK;
}

static void refuse(vd_choice *choice, const kind *k, const vd_err *err)
{
    if (choice->n_refused == VD_COUNT(choice->refused))
        return;
    vd_meter_refusal *refusal = &choice->refused[choice->n_refused++];
    refusal->name = k->name;
    refusal->status = err->status;
    memcpy(refusal->text, err->message, sizeof(refusal->text));
}

/* The best for the host unless one was named, and every kind of GPU. */
static vd_status open_automatic(const named *before, const vd_source_env *env, vd_choice *choice,
                                vd_err *err)
{
    for (size_t i = 0; i < VD_COUNT(kinds); i++) {
        const kind *k = &kinds[i];
        bool is_named = false;
        for (size_t m = 0; m < before->n; m++)
            is_named |= before->kind[m] == k;
        if (!k->automatic || is_named || (k->covers != GPU && choice->has_host))
            continue;
        vd_err why = {0};
        vd_status st = take(choice, k, "", env, &why);
        if (st == VD_ERR_NOMEM)
            return VD_FAIL(err, st, "%s", why.message);
        if (st != VD_OK)
            refuse(choice, k, &why);
    }
    return VD_OK;
}

/* Up to the comma that ends it; those between braces are of a metric's labels. */
static size_t item_length(const char *item)
{
    size_t n = strcspn(item, ",{");
    while (item[n] == '{') {
        n += strcspn(item + n, "}");
        n += strcspn(item + n, ",{");
    }
    return n;
}

vd_status vd_choice_open(const char *spec, const vd_source_env *env, vd_choice *choice, vd_err *err)
{
    *choice = (vd_choice){0};
    named before = {0};
    const char *at = spec;
    for (;;) {
        size_t n = item_length(at);
        vd_status st = VD_OK;
        if (n == 4 && memcmp(at, "auto", n) == 0)
            before.automatic = true;
        else if (n == 5 && memcmp(at, "model", n) == 0)
            before.model = true;
        else
            st = open_named(at, n, &before, env, choice, err);
        if (st != VD_OK)
            return st;
        if (at[n] == '\0')
            break;
        at += n + 1;
    }
    if (before.whole && (before.automatic || before.model))
        return VD_FAIL(err, VD_ERR_ARG, "the meter %s counts the whole machine: name it alone",
                       before.kind[0]->name);
    choice->with_model = before.automatic || before.model;
    return before.automatic ? open_automatic(&before, env, choice, err) : VD_OK;
}

void vd_choice_close(vd_choice *choice)
{
    for (size_t i = 0; i < choice->n_sources; i++)
        choice->source[i].ops->close(&choice->source[i]);
    choice->n_sources = 0;
}

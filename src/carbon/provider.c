/* provider.c - opening a source, and asking it in pieces. See provider.h. */
#include "carbon/provider.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "carbon/sources.h"

static int64_t now_s(void)
{
    return (int64_t)(vd_wall_ns() / 1000000000u);
}

/* ---- the built-in table as a source ----------------------------------------------------------*/

static vd_status table_open(vd_provider *p, const vd_provider_options *o, vd_err *err)
{
    vd_status st = vd_zone_find(o->zone, &p->row, err);
    if (st != VD_OK)
        return st;
    p->tags = vd_zone_intensity(p->row, now_s());
    return VD_OK;
}

static vd_status table_history(vd_provider *p, const vd_asking *asking, int64_t from_s,
                               int64_t to_s, vd_series *out, vd_err *err)
{
    vd_intensity value = vd_zone_intensity(p->row, from_s);
    value.estimated = true; /* a year's mean is no hour's figure, even in its year */
    value.valid_from_s = from_s;
    value.valid_to_s = to_s;
    return vd_series_add(out, &value, err);
}

static vd_status table_latest(vd_provider *p, const vd_asking *asking, vd_series *out, vd_err *err)
{
    enum { HOUR_S = 3600 };
    return table_history(p, asking, asking->now_s, asking->now_s + HOUR_S, out, err);
}

static const vd_provider_ops table = {.name = "table",
                                      .piece_s = INT64_MAX,
                                      .open = table_open,
                                      .latest = table_latest,
                                      .history = table_history};

/* ---- any source ------------------------------------------------------------------------------*/

static const vd_provider_ops *const sources[] = {&table, &vd_source_csv, &vd_source_electricitymaps,
                                                 &vd_source_watttime, &vd_source_uk};

static vd_status find_source(const char *name, const vd_provider_ops **ret_ops, vd_err *err)
{
    char known[128] = "";
    for (size_t i = 0; i < VD_COUNT(sources); i++) {
        size_t n = strlen(known);
        if (name == NULL || strcmp(name, sources[i]->name) == 0) {
            *ret_ops = sources[i];
            return VD_OK;
        }
        snprintf(known + n, sizeof(known) - n, "%s%s", i > 0 ? ", " : "", sources[i]->name);
    }
    return VD_FAIL(err, VD_ERR_ARG, "no carbon provider is called '%.40s'; there are %s", name,
                   known);
}

/* A word that the source cannot follow would be taken for granted. */
static vd_status check_words(const vd_provider *p, const vd_provider_options *o, vd_err *err)
{
    const struct {
        const char *key, *asked, *is;
    } words[] = {{"kind", o->kind, p->tags.kind}, {"scope", o->scope, p->tags.scope}};
    for (size_t i = 0; i < VD_COUNT(words); i++)
        if (words[i].asked != NULL && strcmp(words[i].asked, words[i].is) != 0)
            return VD_FAIL(err, VD_ERR_ARG, "the values of %s for %s are %s; carbon.%s says "
                           "'%.40s'", p->ops->name, p->tags.zone, words[i].is, words[i].key,
                           words[i].asked);
    if (p->ops != &vd_source_csv && (o->file != NULL || o->unit != NULL))
        return VD_FAIL(err, VD_ERR_ARG, "carbon.%s is for the provider csv, not for %s",
                       o->file != NULL ? "file" : "unit", p->ops->name);
    return VD_OK;
}

vd_status vd_provider_open(const vd_provider_options *o, vd_provider **ret_provider, vd_err *err)
{
    vd_provider *p = NULL;
    const vd_provider_ops *ops = NULL;
    vd_status st = find_source(o->name, &ops, err);
    if (st == VD_OK)
        st = vd_alloc_array(1, sizeof(*p), "a carbon provider", &p, err);
    if (st != VD_OK)
        return st;
    p->ops = ops;
    p->timeout_ms = o->timeout_ms;
    st = ops->open(p, o, err);
    if (st == VD_OK)
        st = check_words(p, o, err);
    if (st == VD_OK && o->token_file != NULL && (p->token_file = vd_strdup(o->token_file)) == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a file's name");
    if (st != VD_OK)
        goto out;
    *ret_provider = p;
    p = NULL;
out:
    vd_provider_close(p);
    return st;
}

static void free_secret(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    vd_free(secret);
}

void vd_provider_close(vd_provider *p)
{
    if (p == NULL)
        return;
    free_secret(p->secret);
    free_secret(p->session);
    vd_series_done(&p->kept);
    vd_free(p->url);
    vd_free(p->file);
    vd_free(p->token_file);
    vd_free(p);
}

const char *vd_provider_name(const vd_provider *p)
{
    return p->ops->name;
}

const char *vd_provider_zone(const vd_provider *p)
{
    return p->tags.zone;
}

const char *vd_provider_note(const vd_provider *p)
{
    return p->note;
}

/* Asking again as it stands cannot help; but a file may be mended at any moment, and a key in one
 * replaced. */
static bool is_hopeless(const vd_provider *p, vd_status st)
{
    return p->ops != &vd_source_csv && ((st == VD_ERR_PERM && p->token_file == NULL) ||
                                        st == VD_ERR_NOT_FOUND || st == VD_ERR_ARG);
}

/* A key that was refused is read again where it stands in a file; a pipe would only block. */
static void renew_secret(vd_provider *p)
{
    char *fresh = NULL;
    struct stat about;
    const vd_provider_options o = {.token_file = p->token_file};
    if (!p->refused || p->token_file == NULL || stat(p->token_file, &about) != 0 ||
        !S_ISREG(about.st_mode) || vd_source_secret(&o, "", &fresh, NULL) != VD_OK)
        return;
    free_secret(p->secret);
    free_secret(p->session);
    p->secret = fresh;
    p->session = NULL;
}

vd_status vd_provider_latest(vd_provider *p, const atomic_bool *stop, vd_intensity **ret_values,
                             size_t *ret_n, vd_retry *ret_retry, vd_err *err)
{
    vd_retry unasked, *retry = ret_retry != NULL ? ret_retry : &unasked;
    vd_series found = {0};
    vd_err why = {0};
    *retry = (vd_retry){0};
    const vd_asking asking = {.stop = stop, .retry = retry, .now_s = now_s()};
    renew_secret(p);
    vd_status st = p->ops->latest(p, &asking, &found, &why);
    p->refused = st == VD_ERR_PERM;
    vd_series_tidy(&found);
    if (st == VD_OK && found.n == 0)
        st = VD_FAIL(&why, VD_ERR_NOT_FOUND, "%s has no value for %s", p->ops->name, p->tags.zone);
    retry->hopeless = is_hopeless(p, st);
    if (st == VD_OK)
        vd_series_take(&found, ret_values, ret_n);
    else if (err != NULL)
        *err = why;
    vd_series_done(&found);
    return st;
}

vd_status vd_carbon_history(vd_provider *p, int64_t from_s, int64_t to_s, vd_history_which which,
                            const atomic_bool *stop, vd_intensity **ret_values, size_t *ret_n,
                            vd_err *err)
{
    enum { LONGEST_DAYS = 400, DAY_S = 86400 };
    vd_retry retry = {0};
    vd_series found = {0};
    const vd_asking asking = {.stop = stop, .retry = &retry, .now_s = now_s()};
    vd_status st = VD_OK;
    if (from_s < 0 || to_s < from_s || to_s - from_s > (int64_t)LONGEST_DAYS * DAY_S)
        return VD_FAIL(err, VD_ERR_ARG, "a history ends after it begins and has at most %d days",
                       LONGEST_DAYS);
    for (int64_t at_s = from_s; st == VD_OK && at_s < to_s;) {
        int64_t end_s = to_s - at_s > p->ops->piece_s ? at_s + p->ops->piece_s : to_s;
        st = p->ops->history(p, &asking, at_s, end_s, &found, err);
        at_s = end_s;
    }
    vd_series_tidy(&found);
    vd_series_cut(&found, from_s, to_s, which == VD_HISTORY_FINAL);
    if (st == VD_OK)
        vd_series_take(&found, ret_values, ret_n);
    vd_series_done(&found);
    return st;
}

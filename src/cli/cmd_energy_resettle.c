/* cmd_energy_resettle.c - `verdant energy resettle`: final intensities for what was estimated. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "carbon/provider.h"
#include "cli/energy.h"
#include "cli/format.h"
#include "energy/ledger/resettle.h"
#include "serve/books.h"
#include "serve/config.h"

enum { PIECE_S = 300 * 86400 }; /* a provider is asked for at most 400 days */

typedef struct carbon_args {
    const char *config;
    vd_provider_options provider;
} carbon_args;

static bool parse(int argc, char **argv, carbon_args *a, int *status)
{
    const struct {
        const char *option, **value;
    } options[] = {{"--config", &a->config},
                   {"--provider", &a->provider.name},
                   {"--zone", &a->provider.zone},
                   {"--url", &a->provider.url},
                   {"--file", &a->provider.file},
                   {"--token-file", &a->provider.token_file},
                   {"--kind", &a->provider.kind},
                   {"--scope", &a->provider.scope},
                   {"--unit", &a->provider.unit}};
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < VD_COUNT(options) && strcmp(argv[i], options[k].option) != 0)
            k++;
        if (k == VD_COUNT(options) || i + 1 >= argc) {
            *status = vd_cli_misuse("energy resettle",
                                    k == VD_COUNT(options) ? "'%s' is not understood"
                                                           : "%s needs a value", argv[i]);
            return false;
        }
        *options[k].value = argv[i + 1];
    }
    if (a->config == NULL && a->provider.name == NULL) {
        *status = vd_cli_misuse("energy resettle", "whose values? --provider NAME, or --config F "
                                "with the service's own");
        return false;
    }
    return true;
}

/* What the command line does not say, the service's configuration does. */
static void fill_from(const vd_config *config, vd_provider_options *o)
{
    const vd_config_carbon *c = &config->carbon;
    o->name = o->name != NULL ? o->name : c->provider != NULL ? c->provider : "table";
    if (c->provider == NULL || strcmp(o->name, c->provider) != 0) {
        o->zone = o->zone != NULL ? o->zone : config->zone; /* the rest is another provider's */
        return;
    }
    o->zone = o->zone != NULL ? o->zone : c->zone != NULL ? c->zone : config->zone;
    o->url = o->url != NULL ? o->url : c->url;
    o->file = o->file != NULL ? o->file : c->file;
    o->token_file = o->token_file != NULL ? o->token_file : c->token_file;
    o->kind = o->kind != NULL ? o->kind : c->kind;
    o->scope = o->scope != NULL ? o->scope : c->scope;
    o->unit = o->unit != NULL ? o->unit : c->unit;
}

static vd_status apply(sqlite3 *db, vd_provider *provider, int64_t from_s, int64_t to_s,
                       vd_resettle_done *sum, vd_err *err)
{
    vd_intensity *values = NULL;
    vd_ledger_intensity *rows = NULL;
    vd_resettle_done done = {0};
    size_t n = 0;
    vd_status st = vd_carbon_history(provider, from_s, to_s, VD_HISTORY_FINAL, NULL, &values, &n,
                                     err);
    if (st == VD_OK && n > 0)
        st = vd_alloc_array(n, sizeof(*rows), "intensities", &rows, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        rows[i] = vd_books_intensity(&values[i]);
    if (st == VD_OK)
        st = vd_resettle_apply(db, from_s, to_s, rows, n, &done, err);
    sum->n_shares += done.n_shares;
    sum->n_requests += done.n_requests;
    sum->first_ug += done.first_ug;
    sum->final_ug += done.final_ug;
    vd_free(values);
    vd_free(rows);
    return st;
}

static vd_status resettle(const vd_energy_args *a, const vd_provider_options *o,
                          vd_resettle_need *need, vd_resettle_need *left, vd_resettle_done *sum,
                          vd_err *err)
{
    sqlite3 *db = NULL;
    vd_provider *provider = NULL;
    vd_status st = vd_provider_open(o, &provider, err);
    if (st == VD_OK)
        st = vd_energy_open(a->path, true, &db, err);
    if (st == VD_OK)
        st = vd_resettle_look(db, a->since_s, a->until_s, need, err);
    for (int64_t from_s = need->from_s; st == VD_OK && from_s < need->to_s; from_s += PIECE_S)
        st = apply(db, provider, from_s, VD_MIN(from_s + PIECE_S, need->to_s), sum, err);
    if (st == VD_OK)
        st = vd_resettle_look(db, a->since_s, a->until_s, left, err);
    vd_db_close(db);
    vd_provider_close(provider);
    return st;
}

int vd_energy_resettle_main(int argc, char **argv)
{
    vd_energy_args a;
    carbon_args c = {0};
    int status = VD_EXIT_OK;
    vd_err err = {0};
    vd_config *config = NULL;
    vd_resettle_need need = {0}, left = {0};
    vd_resettle_done sum = {0};
    if (!vd_energy_args_read("energy resettle", "lsuj", &argc, argv, &a, &status))
        return status;
    if (!parse(argc, argv, &c, &status))
        goto out;
    vd_status st = c.config != NULL ? vd_config_load(c.config, &config, &err) : VD_OK;
    if (st == VD_OK && config != NULL)
        fill_from(config, &c.provider);
    if (st == VD_OK)
        st = resettle(&a, &c.provider, &need, &left, &sum, &err);
    if (st != VD_OK)
        status = vd_cli_failed("energy resettle", &err);
    else if (a.json)
        status = vd_cli_put_json(
            "energy resettle",
            json_pack("{s:I, s:I, s:I, s:I, s:f, s:f}", "estimated_shares",
                      (json_int_t)need.n_shares, "changed_shares", (json_int_t)sum.n_shares,
                      "changed_requests", (json_int_t)sum.n_requests, "without_final_shares",
                      (json_int_t)left.n_open, "first_g", sum.first_ug / 1e6, "final_g",
                      sum.final_ug / 1e6));
    else
        printf("%llu shares were booked with an estimate; %llu of %llu requests changed\n"
               "their grams: first %.9f, final %.9f (before PUE)\n"
               "%llu shares have no final value yet\n", (unsigned long long)need.n_shares,
               (unsigned long long)sum.n_shares, (unsigned long long)sum.n_requests,
               sum.first_ug / 1e6, sum.final_ug / 1e6, (unsigned long long)left.n_open);
out:
    vd_config_free(config);
    vd_free(a.path);
    return status;
}

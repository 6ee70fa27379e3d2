/* cmd_carbon.c - what a kilowatt-hour weighs: now, in the past, and by the built-in table. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "carbon/calendar.h"
#include "carbon/provider.h"
#include "carbon/regions.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/format.h"

static const char help[] =
    "usage: verdant carbon now|history|zones [options]\n"
    "\n"
    "Grams of CO2e per kilowatt-hour, with all that says of which kind the figure is.\n"
    "\n"
    "  now                 the value at this moment\n"
    "  history             those of a period, the 24 hours before --to by default\n"
    "  zones [WORD]        the built-in table and the cloud regions it knows; of these those with\n"
    "                      WORD in code or name\n"
    "\n"
    "  --zone Z            as the provider calls it; of the table a country, a state, a grid or a\n"
    "                      cloud region such as aws:eu-west-1; default the world\n"
    "  --provider P        table, csv, electricitymaps, watttime or uk; default table\n"
    "  --file F            csv: the file\n"
    "  --unit U            csv: g/kWh, kg/MWh, kg/kWh or lb/MWh, where the header does not say it\n"
    "  --kind K            csv, watttime: average or marginal\n"
    "  --scope S           csv, electricitymaps: lifecycle or direct\n"
    "  --token-file F      holds the key, or NAME:PASSWORD; otherwise the environment does:\n"
    "                      VERDANT_ELECTRICITYMAPS_TOKEN, VERDANT_WATTTIME_USER and _PASSWORD\n"
    "  --url U             another address of the API\n"
    "  --from T, --to T    of the history: times such as 2026-03-01T00:00:00Z\n"
    "  --final             of the history: only values that will not change any more\n"
    "  --json              for programs\n"
    "\n"
    "Example:\n"
    "  verdant carbon now --zone DE\n"
    "  verdant carbon history --provider uk --zone GB --from 2026-03-01T00:00:00Z \\\n"
    "      --to 2026-03-02T00:00:00Z --final --json\n";

typedef struct args {
    vd_provider_options provider;
    const char *action, *word;
    int64_t from_s, to_s;
    bool source, period, final, json; /* source, period: a word about it was given */
} args;

enum { OPT_ZONE = 256, OPT_PROVIDER, OPT_FILE, OPT_UNIT, OPT_KIND, OPT_SCOPE, OPT_TOKEN, OPT_URL,
       OPT_FROM, OPT_TO, OPT_FINAL, OPT_JSON, DAY_S = 86400 };

static int64_t now_s(void)
{
    return (int64_t)(vd_wall_ns() / 1000000000u);
}

static bool take(int c, args *a)
{
    const struct {
        int option;
        const char **to;
    } words[] = {{OPT_ZONE, &a->provider.zone},   {OPT_PROVIDER, &a->provider.name},
                 {OPT_FILE, &a->provider.file},   {OPT_UNIT, &a->provider.unit},
                 {OPT_KIND, &a->provider.kind},   {OPT_SCOPE, &a->provider.scope},
                 {OPT_TOKEN, &a->provider.token_file}, {OPT_URL, &a->provider.url}};
    for (size_t i = 0; i < VD_COUNT(words); i++)
        if (words[i].option == c) {
            *words[i].to = optarg;
            a->source = true;
        }
    if (c == OPT_FINAL)
        a->final = true;
    else if (c == OPT_JSON)
        a->json = true;
    else if ((c == OPT_FROM || c == OPT_TO) &&
             !vd_time_parse(optarg, strlen(optarg), c == OPT_FROM ? &a->from_s : &a->to_s))
        return vd_cli_misuse("carbon", "'%s' is no time with a zone, such as 2026-03-01T00:00:00Z",
                             optarg) == VD_EXIT_OK;
    a->period |= c == OPT_FROM || c == OPT_TO;
    return true;
}

/* What would be passed over in silence. */
static bool check(const args *a)
{
    if (strcmp(a->action, "now") != 0 && strcmp(a->action, "history") != 0 &&
        strcmp(a->action, "zones") != 0)
        return vd_cli_misuse("carbon", "what is asked for: now, history or zones") == VD_EXIT_OK;
    if (strcmp(a->action, "history") != 0 && (a->period || a->final))
        return vd_cli_misuse("carbon", "--from, --to and --final are for history") == VD_EXIT_OK;
    if (strcmp(a->action, "zones") == 0 && a->source)
        return vd_cli_misuse("carbon", "zones lists the built-in table; choose by a word: verdant "
                             "carbon zones ire") == VD_EXIT_OK;
    if (a->from_s >= a->to_s)
        return vd_cli_misuse("carbon", "--from must lie before --to") == VD_EXIT_OK;
    return true;
}

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {
        {"zone", required_argument, NULL, OPT_ZONE},
        {"provider", required_argument, NULL, OPT_PROVIDER},
        {"file", required_argument, NULL, OPT_FILE},
        {"unit", required_argument, NULL, OPT_UNIT},
        {"kind", required_argument, NULL, OPT_KIND},
        {"scope", required_argument, NULL, OPT_SCOPE},
        {"token-file", required_argument, NULL, OPT_TOKEN},
        {"url", required_argument, NULL, OPT_URL},
        {"from", required_argument, NULL, OPT_FROM},
        {"to", required_argument, NULL, OPT_TO},
        {"final", no_argument, NULL, OPT_FINAL},
        {"json", no_argument, NULL, OPT_JSON},
        {0}};
    int c;
    a->to_s = now_s();
    a->from_s = INT64_MIN;
    while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (c < OPT_ZONE)
            return vd_cli_bad_option("carbon", c, argv) == VD_EXIT_OK;
        if (!take(c, a))
            return false;
    }
    if (a->from_s == INT64_MIN)
        a->from_s = a->to_s - DAY_S;
    a->action = optind < argc ? argv[optind++] : "";
    if (strcmp(a->action, "zones") == 0 && optind < argc)
        a->word = argv[optind++];
    if (optind < argc)
        return vd_cli_misuse("carbon", "'%s' is not understood", argv[optind]) == VD_EXIT_OK;
    return check(a);
}

/* ---- now and history -------------------------------------------------------------------------*/

static void put_value(const vd_intensity *v)
{
    char from[VD_TIME_TEXT], to[VD_TIME_TEXT];
    vd_time_text(v->valid_from_s, from);
    vd_time_text(v->valid_to_s, to);
    printf("%.4g g CO2e/kWh  %s%s%s\n", v->g_per_kwh, v->zone, v->estimated ? ", estimated" : "",
           v->stale ? ", stale" : "");
    printf("%s, %s, %s-based, boundary: %s\n", v->kind, v->scope, v->basis, v->boundary);
    printf("%s to %s; %s%s%s\n", from, to, v->source, v->version[0] != '\0' ? ", version " : "",
           v->version);
}

static int show_now(vd_provider *provider, const args *a, vd_err *err)
{
    vd_intensity *values = NULL, now;
    size_t n = 0;
    if (vd_provider_latest(provider, NULL, &values, &n, NULL, err) != VD_OK)
        return vd_cli_failed("carbon", err);
    bool found = vd_intensity_at(values, n, now_s(), false, &now);
    const vd_zone *row = NULL; /* of a year, and not of this hour */
    if (strcmp(vd_provider_name(provider), "table") == 0 &&
        vd_zone_find(vd_provider_zone(provider), &row, NULL) == VD_OK)
        now = vd_zone_intensity(row, now_s());
    vd_free(values);
    if (!found) {
        (void)VD_FAIL(err, VD_ERR_NOT_FOUND, "%s has no value for %s now",
                      vd_provider_name(provider), vd_provider_zone(provider));
        return vd_cli_failed("carbon", err);
    }
    if (a->json)
        return vd_cli_put_json("carbon", vd_intensity_json(&now));
    put_value(&now);
    return VD_EXIT_OK;
}

/* Takes `value`. A list that is short of one becomes NULL, which is said when it is printed. */
static void append(json_t **list, json_t *value)
{
    if (json_array_append_new(*list, value) == 0)
        return;
    json_decref(*list);
    *list = NULL;
}

static int show_history(vd_provider *provider, const args *a, vd_err *err)
{
    vd_intensity *values = NULL;
    size_t n = 0;
    if (vd_carbon_history(provider, a->from_s, a->to_s,
                          a->final ? VD_HISTORY_FINAL : VD_HISTORY_ALL, NULL, &values, &n,
                          err) != VD_OK)
        return vd_cli_failed("carbon", err);
    json_t *list = a->json ? json_array() : NULL;
    for (size_t i = 0; i < n; i++) {
        char from[VD_TIME_TEXT];
        vd_time_text(values[i].valid_from_s, from);
        if (a->json)
            append(&list, vd_intensity_json(&values[i]));
        else
            printf("%s  %8.4g g CO2e/kWh%s\n", from, values[i].g_per_kwh,
                   values[i].estimated ? "  estimated" : "");
    }
    if (vd_provider_note(provider)[0] != '\0')
        fprintf(stderr, "verdant carbon: %s\n", vd_provider_note(provider));
    if (n == 0 && !a->json)
        fprintf(stderr, "verdant carbon: %s has no%s value of %s for this time\n",
                vd_provider_name(provider), a->final ? " final" : "", vd_provider_zone(provider));
    vd_free(values);
    if (!a->json)
        return VD_EXIT_OK;
    return vd_cli_put_json("carbon",
                           json_pack("{s:s, s:s, s:o}", "provider", vd_provider_name(provider),
                                     "zone", vd_provider_zone(provider), "values", list));
}

/* ---- zones -----------------------------------------------------------------------------------*/

static bool wanted(const char *code, const char *name, const char *word)
{
    return word == NULL || strcasestr(code, word) != NULL || strcasestr(name, word) != NULL;
}

static int show_zones(const args *a)
{
    size_t n_zones, n_regions, n = 0;
    const vd_zone *zone = vd_zone_list(&n_zones);
    const vd_region *region = vd_region_list(&n_regions);
    json_t *list = a->json ? json_array() : NULL;
    for (size_t i = 0; i < n_zones + n_regions; i++) {
        const vd_zone *row = i < n_zones ? &zone[i] : NULL;
        const char *code = row != NULL ? row->code : region[i - n_zones].code;
        if (row == NULL && vd_zone_find(region[i - n_zones].zone, &row, NULL) != VD_OK)
            continue;
        if (!wanted(code, row->name, a->word))
            continue;
        n++;
        if (a->json)
            append(&list, json_pack("{s:s, s:s, s:s, s:f, s:i, s:s, s:s}", "code", code, "zone",
                                    row->code, "name", row->name, "g_per_kwh", row->g_per_kwh,
                                    "year", row->year, "scope", row->scope, "source",
                                    row->source));
        else
            printf("%-28s %5.0f g/kWh  %d  %-9s  %s\n", code, row->g_per_kwh, row->year,
                   row->scope, row->name);
    }
    if (a->json)
        return vd_cli_put_json("carbon", json_pack("{s:o}", "zones", list));
    if (n == 0)
        fputs("verdant carbon: no zone has this word in it\n", stderr);
    return n > 0 ? VD_EXIT_OK : VD_EXIT_FAILED;
}

static int carbon_main(int argc, char **argv)
{
    args a = {.action = ""};
    vd_err err = {0};
    vd_provider *provider = NULL;
    if (!parse(argc, argv, &a))
        return VD_EXIT_USAGE;
    if (strcmp(a.action, "zones") == 0)
        return show_zones(&a);
    vd_status st = vd_provider_open(&a.provider, &provider, &err);
    bool no_zone = st == VD_ERR_NOT_FOUND &&
                   (a.provider.name == NULL || strcmp(a.provider.name, "table") == 0);
    if (st == VD_ERR_ARG || no_zone)
        return vd_cli_misuse("carbon", "%s", err.message);
    if (st != VD_OK)
        return vd_cli_failed("carbon", &err);
    int status = strcmp(a.action, "now") == 0 ? show_now(provider, &a, &err)
                                              : show_history(provider, &a, &err);
    vd_provider_close(provider);
    return status;
}

const vd_command vd_cmd_carbon = {.name = "carbon",
                                  .summary = "grams of CO2e per kilowatt-hour, now and then",
                                  .help = help,
                                  .main = carbon_main};

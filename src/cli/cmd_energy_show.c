/* cmd_energy_show.c - `verdant energy show`: what was used, in a table. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "cli/energy.h"
#include "cli/format.h"
#include "energy/ledger/schema.h"
#include "energy/ledger/sums.h"

static uint64_t number(json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static double real(json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void put_line(const char *name, json_t *g)
{
    size_t n = strlen(name);
    size_t columns = vd_cli_put_clean(stdout, name, n, 24);
    char per_token[24] = "-";
    if (json_is_real(json_object_get(g, "j_per_token")))
        snprintf(per_token, sizeof(per_token), "%.4g", real(g, "j_per_token"));
    printf("%*s %9s %9s %9s %12s %9s %11.4g\n", (int)(24 - columns), "",
           vd_cli_count(number(g, "requests")).text, vd_cli_count(number(g, "prompt_tokens")).text,
           vd_cli_count(number(g, "completion_tokens")).text,
           vd_energy_joules(number(g, "requests_uj")).text, per_token,
           json_object_get(g, "operational_final_g") != NULL ? real(g, "operational_final_g")
                                                             : real(g, "operational_g"));
}

static void put_table(json_t *sums, vd_sums_by by, bool all_models)
{
    json_t *groups = json_object_get(sums, "groups"), *g;
    size_t i;
    printf("%-24s %9s %9s %9s %12s %9s %11s\n", by == VD_SUMS_MODEL ? "model" : "from (UTC)",
           "requests", "tok in", "tok out", "energy", "J/token", "g CO2e");
    json_array_foreach(groups, i, g) {
        const char *name =
            json_string_value(json_object_get(g, by == VD_SUMS_MODEL ? "model" : "from"));
        put_line(name != NULL ? name : "(not settled)", g);
    }
    put_line("all requests", sums);
    if (!all_models)
        return;
    printf("%-54s %12s\n", "idle", vd_energy_joules(number(sums, "idle_uj")).text);
    printf("%-54s %12s\n", "unattributed",
           vd_energy_joules(number(sums, "unattributed_uj")).text);
    printf("%-54s %12s\n", "meter", vd_energy_joules(number(sums, "meter_uj")).text);
}

vd_status vd_energy_open(const char *path, bool write, sqlite3 **ret_db, vd_err *err)
{
    sqlite3 *db = NULL;
    if (access(path, F_OK) != 0) /* a writer would make one */
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s: there is no ledger; `verdant serve` makes one",
                       path);
    vd_status st = vd_db_open(path, !write, &db, err);
    if (st == VD_OK)
        st = vd_schema_check(db, err);
    if (st == VD_OK)
        *ret_db = db;
    else
        vd_db_close(db);
    return st;
}

int vd_energy_show_main(int argc, char **argv)
{
    vd_energy_args a;
    int status = VD_EXIT_OK;
    vd_sums_by by = VD_SUMS_MODEL;
    const char *model = NULL;
    vd_err err = {0};
    sqlite3 *db = NULL;
    json_t *sums = NULL;
    if (!vd_energy_args_read("energy show", "lsuj", &argc, argv, &a, &status))
        return status;
    for (int i = 1; i < argc && status == VD_EXIT_OK; i++) {
        if (strcmp(argv[i], "--by") == 0 && i + 1 < argc && vd_sums_parse(argv[i + 1], &by))
            i++;
        else if (strcmp(argv[i], "--model") == 0 && i + 1 < argc)
            model = argv[++i];
        else
            status = vd_cli_misuse("energy show", "'%s' is not understood; --by model, hour or "
                                   "day and --model NAME there are", argv[i]);
    }
    if (status != VD_EXIT_OK)
        goto out;
    int64_t now_s = (int64_t)(vd_wall_ns() / 1000000000u);
    if (a.since_s == 0 && a.until_s == 0)
        (void)vd_when_parse("today", now_s, &a.since_s);
    vd_status st = vd_energy_open(a.path, false, &db, &err);
    if (st == VD_OK)
        st = vd_sums_run(db, a.since_s, a.until_s, model, by, &sums, &err);
    if (st != VD_OK)
        status = vd_cli_failed("energy show", &err);
    else if (a.json)
        status = vd_cli_put_json("energy show", json_incref(sums));
    else
        put_table(sums, by, model == NULL);
out:
    json_decref(sums);
    vd_db_close(db);
    vd_free(a.path);
    return status;
}

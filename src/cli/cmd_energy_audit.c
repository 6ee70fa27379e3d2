/* cmd_energy_audit.c - `verdant energy audit`: the report of vd_audit_run for people. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/energy.h"
#include "cli/format.h"
#include "energy/ledger/audit.h"

enum { SESSIONS_SHOWN = 10 };

static uint64_t number(json_t *report, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(report, key));
}

static const char *word(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "-";
}

static void put_sum(json_t *report, const char *label, const char *key)
{
    uint64_t uj = number(report, key);
    printf("%-14s %20llu uJ   %s\n", label, (unsigned long long)uj, vd_energy_joules(uj).text);
}

static void put_session(json_t *s, bool is_first)
{
    const char *end = word(s, "end");
    double before_s = (double)json_integer_value(json_object_get(s, "unmetered_before_ns")) / 1e9;
    if (before_s < 0)
        printf("  %.1f s at once with a session before: both counted the machine\n", -before_s);
    else if (!is_first)
        printf("  %.1f s that nobody metered\n", before_s);
    printf("session %-4lld %s to %s, %s%s\n",
           (long long)json_integer_value(json_object_get(s, "session")), word(s, "from"),
           word(s, "to"), word(s, "method"),
           strcmp(end, "clean") == 0     ? ""
           : strcmp(end, "running") == 0 ? ", running"
                                         : ", ended without notice");
}

/* The last ones of all and of those that ended without notice; --json has all. */
static void put_sessions(json_t *report)
{
    json_t *list = json_object_get(report, "sessions"), *s;
    size_t i, n = json_array_size(list), n_left = 0;
    uint64_t n_killed = number(report, "unclean_ends"), killed = 0;
    json_array_foreach(list, i, s) {
        bool is_killed = strcmp(word(s, "end"), "killed") == 0;
        killed += is_killed;
        if (i + SESSIONS_SHOWN >= n || (is_killed && killed + SESSIONS_SHOWN > n_killed))
            put_session(s, i == 0);
        else
            n_left++;
    }
    if (n_left > 0)
        printf("%zu sessions, of which %llu ended without notice; %zu are left out here, --json "
               "has all\n", n, (unsigned long long)n_killed, n_left);
    if (number(report, "unmetered_ns") != 0)
        printf("%.1f s between sessions that nobody metered\n",
               (double)number(report, "unmetered_ns") / 1e9);
}

static void put_report(json_t *report)
{
    json_t *violations = json_object_get(report, "violations"), *v;
    size_t i;
    uint64_t n = number(report, "n_violations");
    put_sum(report, "meter", "meter_uj");
    put_sum(report, "= requests", "requests_uj");
    put_sum(report, "+ idle", "idle_uj");
    put_sum(report, "+ unattributed", "unattributed_uj");
    if (number(report, "unsettled_uj") != 0)
        put_sum(report, "(not settled)", "unsettled_uj");
    if (number(report, "given_up_uj") != 0)
        put_sum(report, "(whose: lost)", "given_up_uj");
    printf("%llu windows, %llu answers, %llu requests; whole windows from %s to %s\n",
           (unsigned long long)number(report, "windows"),
           (unsigned long long)number(report, "answers"),
           (unsigned long long)number(report, "requests"), word(report, "first_window"),
           word(report, "last_window"));
    put_sessions(report);
    json_array_foreach(violations, i, v) {
        printf("WRONG  %s, row %s: ", word(v, "check"), word(v, "row"));
        vd_cli_put_clean(stdout, word(v, "found"), strlen(word(v, "found")), 400);
        putchar('\n');
    }
    if (n > json_array_size(violations))
        printf("       and %llu more\n", (unsigned long long)(n - json_array_size(violations)));
    puts(n == 0 ? "The books add up." : "The books do NOT add up.");
}

int vd_energy_audit_main(int argc, char **argv)
{
    vd_energy_args a;
    int status = VD_EXIT_OK;
    vd_err err = {0};
    json_t *report = NULL;
    if (!vd_energy_args_read("energy audit", "lsuj", &argc, argv, &a, &status))
        return status;
    if (argc > 1) {
        status = vd_cli_misuse("energy audit", "'%s' is not understood", argv[1]);
    } else if (vd_audit_run(&(vd_audit_options){.path = a.path,
                                                .since_s = a.since_s,
                                                .until_s = a.until_s},
                            &report, &err) != VD_OK) {
        status = vd_cli_failed("energy audit", &err);
    } else {
        status = json_is_true(json_object_get(report, "ok")) ? VD_EXIT_OK : VD_EXIT_FAILED;
        if (!a.json)
            put_report(report);
        else if (vd_cli_put_json("energy audit", json_incref(report)) != VD_EXIT_OK)
            status = VD_EXIT_FAILED;
    }
    json_decref(report);
    vd_free(a.path);
    return status;
}

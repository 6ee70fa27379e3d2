/* cmd_energy.c - `verdant energy`: finds the word behind it and runs that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "cli/energy.h"
#include "serve/books.h"

static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
} words[] = {
    {"audit", vd_energy_audit_main},
};

/* ---- times -----------------------------------------------------------------------------------*/

static bool read_ago(const char *text, int64_t now_s, int64_t *ret_s)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long long n = strtoull(text, &end, 10);
    int64_t unit = *end == 's'   ? 1
                   : *end == 'm' ? 60
                   : *end == 'h' ? 3600
                   : *end == 'd' ? 86400
                                 : 0;
    if (unit == 0 || end[1] != '\0' || n > 1000000)
        return false;
    *ret_s = now_s - (int64_t)n * unit;
    return true;
}

bool vd_energy_time(const char *text, int64_t now_s, int64_t *ret_s)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S",
                                        "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M",
                                        "%Y-%m-%d %H:%M:%S"};
    const int64_t day_s = 86400;
    for (size_t i = 0; i < VD_COUNT(forms); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        if (end == NULL || *end != '\0' || tm.tm_year < 70)
            continue;
        *ret_s = (int64_t)timegm(&tm);
        return true;
    }
    if (strcmp(text, "today") == 0 || strcmp(text, "yesterday") == 0) {
        *ret_s = now_s - now_s % day_s - (text[0] == 'y' ? day_s : 0);
        return true;
    }
    if (read_ago(text, now_s, ret_s))
        return true;
    char *end = NULL;
    unsigned long long seconds = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || seconds < 100000000 || seconds > 8000000000ull)
        return false;
    *ret_s = (int64_t)seconds;
    return true;
}

/* ---- options ---------------------------------------------------------------------------------*/

static bool bad_time(const char *command, const char *option, const char *text, int *ret_status)
{
    *ret_status = vd_cli_misuse(command, "%s is '%s'; a time looks like 2026-11-28, "
                                "2026-11-28T10:30, today, yesterday, 90m, 24h or 7d (ago), all UTC",
                                option, text);
    return false;
}

bool vd_energy_args_read(const char *command, const char *allowed, int *argc, char **argv,
                         vd_energy_args *a, int *ret_status)
{
    int n = 1;
    const char *path = NULL;
    int64_t now_s = (int64_t)(vd_wall_ns() / 1000000000u);
    *a = (vd_energy_args){0};
    for (int i = 1; i < *argc; i++) {
        const char *word = argv[i], *value = i + 1 < *argc ? argv[i + 1] : NULL;
        bool takes = false;
        int64_t *time = NULL;
        if (strcmp(word, "--json") == 0 && strchr(allowed, 'j') != NULL) {
            a->json = true;
            continue;
        }
        takes |= strcmp(word, "--ledger") == 0 && strchr(allowed, 'l') != NULL;
        if (strcmp(word, "--since") == 0 && strchr(allowed, 's') != NULL)
            time = &a->since_s;
        if (strcmp(word, "--until") == 0 && strchr(allowed, 'u') != NULL)
            time = &a->until_s;
        if (!takes && time == NULL) {
            argv[n++] = argv[i];
            continue;
        }
        if (value == NULL) {
            *ret_status = vd_cli_misuse(command, "%s needs a value", word);
            return false;
        }
        if (time != NULL && !vd_energy_time(value, now_s, time))
            return bad_time(command, word, value, ret_status);
        if (takes)
            path = value;
        i++;
    }
    *argc = n;
    argv[n] = NULL;
    if (a->until_s != 0 && a->until_s <= a->since_s) {
        *ret_status = vd_cli_misuse(command, "--until is not after --since");
        return false;
    }
    vd_err err = {0};
    vd_status st = VD_OK;
    if (path == NULL && strchr(allowed, 'l') != NULL)
        st = vd_books_home("ledger.db", &a->path, &err);
    else if (path != NULL && (a->path = vd_strdup(path)) == NULL)
        st = VD_ERR_NOMEM;
    if (st != VD_OK)
        *ret_status = vd_cli_failed(command, &err);
    return st == VD_OK;
}

vd_energy_text vd_energy_joules(uint64_t uj)
{
    static const struct {
        double least_uj, unit_uj;
        const char *name;
    } units[] = {{3.6e12, 3.6e12, "kWh"}, {1e12, 1e12, "MJ"}, {1e9, 1e9, "kJ"},
                 {1e6, 1e6, "J"},         {1e3, 1e3, "mJ"},   {0, 1, "uJ"}};
    vd_energy_text out;
    size_t i = 0;
    while ((double)uj < units[i].least_uj)
        i++;
    snprintf(out.text, sizeof(out.text), "%.*f %s", units[i].unit_uj < 10 ? 0 : 3,
             (double)uj / units[i].unit_uj, units[i].name);
    return out;
}

static int energy_main(int argc, char **argv)
{
    if (argc < 2)
        return vd_cli_misuse("energy", "say what: verdant energy audit");
    for (size_t i = 0; i < VD_COUNT(words); i++)
        if (strcmp(argv[1], words[i].name) == 0)
            return words[i].main(argc - 1, argv + 1);
    return vd_cli_misuse("energy", "there is no '%s'", argv[1]);
}

const vd_command vd_cmd_energy = {
    .name = "energy",
    .summary = "the ledger: what was used, by whom, and that it adds up",
    .help =
        "usage: verdant energy audit [--since T] [--until T] [--ledger F] [--json]\n"
        "\n"
        "audit proves that the books add up: in every window of the meter, requests + idle +\n"
        "unattributed are the meter, every request's shares are its total, every answer is the\n"
        "sum of its parts, and no row was changed or is missing. Says what it found and exits 1\n"
        "where that is not so. It also names the times that nobody metered.\n"
        "\n"
        "  --since T, --until T  2026-11-28, 2026-11-28T10:30, today, yesterday, 90m, 24h or 7d\n"
        "                        (ago); UTC. Default: everything\n"
        "  --ledger F            default: ledger.db in VERDANT_HOME\n"
        "  --json                figures as JSON, in microjoules\n"
        "\n"
        "Example:\n"
        "  verdant energy audit --since 24h\n",
    .main = energy_main,
};

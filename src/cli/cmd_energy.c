/* cmd_energy.c - `verdant energy`: finds the word behind it and runs that. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "cli/energy.h"
#include "energy/ledger/sums.h"
#include "serve/books.h"

static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
} words[] = {
    {"show", vd_energy_show_main},
    {"audit", vd_energy_audit_main},
    {"export", vd_energy_export_main},
    {"record", vd_energy_record_main},
    {"resettle", vd_energy_resettle_main},
    {"key", vd_energy_key_main},
    {"verify", vd_energy_verify_main},
};

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
        if (time != NULL && !vd_when_parse(value, now_s, time))
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
    if (path == NULL)
        st = vd_books_path(&a->path, &err);
    else if ((a->path = vd_strdup(path)) == NULL)
        st = VD_FAIL(&err, VD_ERR_NOMEM, "no memory for a path");
    if (st == VD_OK && a->path == NULL)
        st = VD_FAIL(&err, VD_ERR_NOT_FOUND, "VERDANT_LEDGER is off; --ledger F names a ledger");
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
        return vd_cli_misuse("energy", "say what: show, audit, export, record, resettle, key or "
                             "verify");
    for (size_t i = 0; i < VD_COUNT(words); i++)
        if (strcmp(argv[1], words[i].name) == 0)
            return words[i].main(argc - 1, argv + 1);
    return vd_cli_misuse("energy", "there is no '%s'", argv[1]);
}

const vd_command vd_cmd_energy = {
    .name = "energy",
    .summary = "the ledger: what was used, by whom, and that it adds up",
    .help =
        "usage: verdant energy show [--by model|hour|day] [--model NAME] [OPTIONS]\n"
        "       verdant energy audit [OPTIONS]\n"
        "       verdant energy export [--format csv|json|codecarbon] [-o FILE] [OPTIONS]\n"
        "       verdant energy record [--model NAME] [--label TEXT] [-o FILE] [OPTIONS]\n"
        "       verdant energy resettle --provider NAME | --config F [OPTIONS]\n"
        "       verdant energy key [--keys FOLDER] [--json]\n"
        "       verdant energy verify RECEIPT [--key PUBLIC] [--json]\n"
        "\n"
        "show says what was used: today and by model, unless told otherwise.\n"
        "\n"
        "audit proves that the books add up: in every window of the meter, requests + idle +\n"
        "unattributed are the meter, every request's shares are its total, every answer is the\n"
        "sum of its parts, and no row was changed or is missing. Says what it found and exits 1\n"
        "where that is not so. It also names the times that nobody metered.\n"
        "\n"
        "export writes a row per answer (csv, json), or per day and model with the columns of\n"
        "CodeCarbon's emissions.csv.\n"
        "\n"
        "record tells the period as a run record for `verdant report`, a sample per hour.\n"
        "\n"
        "resettle asks the provider of intensities for its final values of the times that were\n"
        "booked with an estimate, and books their grams beside the first ones. --config F takes\n"
        "the provider of a service's configuration; --provider, --zone, --file, --url,\n"
        "--token-file, --kind, --scope and --unit are as its `carbon` keys.\n"
        "\n"
        "key prints the public key of this machine's receipts. verify says whether a receipt (a\n"
        "file, or - for standard input) is whole and signed, offline; --key compares its key with\n"
        "one you trust. Exit status 1 where it is not.\n"
        "\n"
        "  --since T, --until T  2026-11-28, 2026-11-28T10:30, today, yesterday, 90m, 24h or 7d\n"
        "                        (ago); UTC. Default: everything\n"
        "  --ledger F            default: VERDANT_LEDGER, or ledger.db in VERDANT_HOME\n"
        "  --json                figures as JSON, in microjoules\n"
        "\n"
        "Example:\n"
        "  verdant energy audit --since 24h\n"
        "  verdant energy show --since 7d --by day\n",
    .main = energy_main,
};

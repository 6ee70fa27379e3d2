/* cmd_energy_receipt.c - `verdant energy key` and `verdant energy verify`. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/home.h"
#include "cli/energy.h"
#include "cli/format.h"
#include "energy/ledger/receipt.h"

enum { RECEIPT_MAX = 1 << 20 };

int vd_energy_key_main(int argc, char **argv)
{
    vd_err err = {0};
    char *folder = NULL;
    vd_receipt_key *key = NULL;
    bool json = argc > 1 && strcmp(argv[argc - 1], "--json") == 0;
    argc -= json;
    bool named = argc == 3 && strcmp(argv[1], "--keys") == 0;
    if (argc > 1 && !named)
        return vd_cli_misuse("energy key", "'%s' is not understood", argv[1]);
    vd_status st = named ? VD_OK : vd_home_path("keys", &folder, &err);
    if (st == VD_OK)
        st = vd_receipt_key_open(named ? argv[2] : folder, false, &key, &err);
    int status = VD_EXIT_OK;
    if (st != VD_OK)
        status = vd_cli_failed("energy key", &err);
    else if (json)
        status = vd_cli_put_json("energy key",
                                 json_pack("{s:s, s:s}", "algorithm", "Ed25519", "key",
                                           vd_receipt_key_public(key)));
    else
        puts(vd_receipt_key_public(key));
    vd_receipt_key_close(key);
    vd_free(folder);
    return status;
}

static void put_payload(json_t *payload, const char *against)
{
    json_t *energy = json_object_get(payload, "energy"), *carbon = json_object_get(payload,
                                                                                   "carbon");
    const char *id = json_string_value(json_object_get(payload, "id"));
    const char *model = json_string_value(json_object_get(payload, "model"));
    const char *method = json_string_value(json_object_get(energy, "method"));
    uint64_t uj = (uint64_t)json_integer_value(json_object_get(energy, "total_uj"));
    double grams = (double)json_integer_value(json_object_get(carbon, "operational_ng")) / 1e9;
    printf("The receipt is whole and signed by %s.\n", against);
    printf("%-8s ", "request");
    vd_cli_put_clean(stdout, id != NULL ? id : "?", strlen(id != NULL ? id : "?"), 80);
    printf("\n%-8s ", "model");
    vd_cli_put_clean(stdout, model != NULL ? model : "?", strlen(model != NULL ? model : "?"), 80);
    printf("\n%-8s %llu uJ (%s), %s%s\n", "energy", (unsigned long long)uj,
           vd_energy_joules(uj).text, method != NULL ? method : "?",
           json_is_true(json_object_get(energy, "settled")) ? "" : ", not settled");
    printf("%-8s %.9f g CO2e\n", "carbon", grams);
}

int vd_energy_verify_main(int argc, char **argv)
{
    const char *file = NULL, *key = NULL;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--key") == 0 && i + 1 < argc)
            key = argv[++i];
        else if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (file == NULL && (argv[i][0] != '-' || argv[i][1] == '\0'))
            file = argv[i];
        else
            return vd_cli_misuse("energy verify", "'%s' is not understood", argv[i]);
    }
    if (file == NULL)
        return vd_cli_misuse("energy verify", "which receipt? A file, or - for standard input");
    char *text = NULL;
    size_t n = 0;
    vd_err err = {0};
    json_t *payload = NULL;
    vd_status st = vd_file_read(file, RECEIPT_MAX, &text, &n, &err);
    if (st == VD_OK)
        st = vd_receipt_verify(text, n, key, &payload, &err);
    int status = VD_EXIT_OK;
    if (st != VD_OK)
        status = vd_cli_failed("energy verify", &err);
    else if (json)
        status = vd_cli_put_json("energy verify", json_incref(payload));
    else
        put_payload(payload, key != NULL ? "the key given"
                                         : "the key in it (--key compares it with one you trust)");
    json_decref(payload);
    vd_free(text);
    return status;
}

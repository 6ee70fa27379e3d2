/* cmd_list.c - `verdant list`: the models in the store. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "kernels/dtype.h"
#include "model/gguf.h"
#include "model/store.h"

/* What a row says of the file itself; "?" when it does not open. */
typedef struct row_details {
    char architecture[32];
    const char *type; /* the one most bytes are in */
} row_details;

static row_details read_details(const vd_store_entry *entry)
{
    row_details details = {"?", "?"};
    uint64_t bytes[VD_DTYPE_LIMIT] = {0};
    vd_gguf *gguf = NULL;
    vd_str text;
    if (vd_gguf_open(entry->path, &(vd_gguf_options){.metadata_only = true}, &gguf, NULL) != VD_OK)
        return details;
    if (vd_gguf_get_str(gguf, "general.architecture", &text) &&
        text.n < sizeof(details.architecture))
        snprintf(details.architecture, sizeof(details.architecture), "%.*s", (int)text.n,
                 text.data);
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++)
        bytes[vd_gguf_tensor_at(gguf, i)->dtype] += vd_gguf_tensor_at(gguf, i)->n_bytes;
    uint32_t best = 0;
    for (uint32_t i = 1; i < VD_DTYPE_LIMIT; i++)
        if (bytes[i] > bytes[best])
            best = i;
    details.type = vd_gguf_n_tensors(gguf) > 0 ? vd_dtype_name(best) : "none";
    vd_gguf_free(gguf);
    return details;
}

static void format_time(int64_t time_s, char out[32])
{
    time_t when = (time_t)time_s;
    struct tm parts;
    if (gmtime_r(&when, &parts) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &parts) == 0)
        snprintf(out, 32, "?");
}

static void put_table(const vd_store_entry *entries, size_t n)
{
    size_t width = 4;
    for (size_t i = 0; i < n; i++)
        width = VD_MAX(width, strlen(entries[i].name));
    printf("%-*s  %-12s  %-8s  %9s  stored\n", (int)width, "name", "architecture", "type", "size");
    for (size_t i = 0; i < n; i++) {
        row_details details = read_details(&entries[i]);
        char when[32];
        format_time(entries[i].time_s, when);
        printf("%-*s  ", (int)width, entries[i].name);
        size_t used = vd_cli_put_clean(stdout, details.architecture, strlen(details.architecture),
                                       12);
        printf("%*s  %-8s  %9s  %s\n", (int)(used < 12 ? 12 - used : 0), "", details.type,
               vd_cli_size(entries[i].bytes).text, when);
    }
}

static json_t *json_list(const vd_store_entry *entries, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        row_details details = read_details(&entries[i]);
        const vd_store_entry *e = &entries[i];
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:o, s:s?, s:s?}", "name", e->name,
                            "architecture",
                            vd_cli_json_string(details.architecture, strlen(details.architecture)),
                            "type", details.type, "files", (json_int_t)e->n_files, "bytes",
                            (json_int_t)e->bytes, "stored", (json_int_t)e->time_s, "path",
                            vd_cli_json_string(e->path, strlen(e->path)), "source", e->source,
                            "sha256", e->sha256));
    }
    return json_pack("{s:o}", "models", list);
}

static int list_main(int argc, char **argv)
{
    vd_store_entry *entries = NULL;
    size_t n = 0;
    vd_err err = {0};
    bool json = false;
    int status = VD_EXIT_OK;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0)
            return vd_cli_misuse("list", "'%s' is not understood", argv[i]);
        json = true;
    }
    if (vd_store_list(&entries, &n, &err) != VD_OK)
        return vd_cli_failed("list", &err);
    if (json)
        status = vd_cli_put_json("list", json_list(entries, n));
    else if (n > 0)
        put_table(entries, n);
    else
        fputs("There are no models yet. Get the default one by: verdant pull smollm2\n", stderr);
    vd_store_entries_free(entries, n);
    return status;
}

const vd_command vd_cmd_list = {
    .name = "list",
    .summary = "the models that are stored",
    .help = "usage: verdant list [--json]\n"
            "\n"
            "Lists the stored models: name, architecture, the type most of the weights have, size\n"
            "and when it was stored. --json adds path, source and SHA-256.\n"
            "\n"
            "Example:\n"
            "  verdant list\n",
    .main = list_main,
};

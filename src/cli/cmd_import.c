/* cmd_import.c - a folder of Hugging Face to a GGUF file. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "cli/cli.h"
#include "cli/args.h"
#include "cli/format.h"
#include "cli/import_check.h"
#include "cli/progress.h"
#include "import/import.h"
#include "model/store.h"

static const char help[] =
    "usage: verdant import FOLDER [-o FILE.gguf] [options]\n"
    "\n"
    "Makes one GGUF file of a model as Hugging Face has it: config.json, model.safetensors or its\n"
    "shards with model.safetensors.index.json (F32, F16, BF16, 8-bit floats with their scales),\n"
    "tokenizer.json or tokenizer.model, chat template, and the pooling of sentence-transformers.\n"
    "llama.cpp loads the file too. It appears whole or not at all.\n"
    "\n"
    "Architectures: Llama, Mistral, Mixtral, Gemma 2, Gemma 3 (text), Qwen2, Qwen3 and their\n"
    "mixtures of experts, Phi-3, GPT-2, OLMo 2 and 3, OLMoE, StarCoder2, Cohere, Granite,\n"
    "SmolLM3, BERT, Nomic BERT.\n"
    "\n"
    "  -o, --output FILE  where to write. Default: the model store, under the folder's name (or\n"
    "                     --name), so that `verdant run NAME` finds it\n"
    "  --type TYPE        of the matrices: F32, F16, BF16 or auto, which is what the checkpoint\n"
    "                     has (BF16 for 8-bit floats). Default: auto. Vectors, norms and routers\n"
    "                     stay F32. Smaller types: verdant compress\n"
    "  --name NAME        general.name, and the name in the store. Default: the folder's\n"
    "  --pre NAME         the pre-tokenizer (tokenizer.ggml.pre), where its patterns are unknown\n"
    "  --json             {\"architecture\":...,\"type\":...,\"tensors\":...,\"values\":...,\n"
    "                      \"tokenizer\":...,\"pre\":...,\"tokens\":...,\"chat_template\":...,\n"
    "                      \"bytes_before\":...,\"bytes_after\":...,\"output\":...,\n"
    "                      \"notes\":[...]}\n"
    "\n"
    "Example:\n"
    "  verdant import ./SmolLM2-135M-Instruct --type BF16\n"
    "  verdant run SmolLM2-135M-Instruct \"Hello\"\n";

typedef struct args {
    const char *folder, *target;
    vd_import_options options;
    bool json;
} args;

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    stopped = 1;
}

static bool on_progress(void *ctx, uint64_t done, uint64_t total, const char *tensor)
{
    vd_progress_update(ctx, done, total, tensor);
    return stopped == 0;
}

static bool parse_type(const char *word, vd_import_options *o)
{
    static const struct {
        const char *word;
        vd_dtype type;
    } types[] = {{"F32", VD_DTYPE_F32}, {"F16", VD_DTYPE_F16}, {"BF16", VD_DTYPE_BF16}};
    o->natural = strcasecmp(word, "auto") == 0;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcasecmp(word, types[i].word) == 0) {
            o->type = types[i].type;
            return true;
        }
    if (!o->natural)
        vd_cli_misuse("import", "--type is '%s'; F32, F16, BF16 or auto is expected", word);
    return o->natural;
}

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"type", required_argument, NULL, 't'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"pre", required_argument, NULL, 'p'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    bool good = true;
    int c;
    while (good && (c = getopt_long(argc, argv, ":o:", options, NULL)) != -1) {
        if (c == 'o')
            a->target = optarg;
        else if (c == 't')
            good = parse_type(optarg, &a->options);
        else if (c == 'n')
            a->options.name = optarg;
        else if (c == 'p')
            a->options.pre = optarg;
        else if (c == 'j')
            a->json = true;
        else
            good = vd_cli_bad_option("import", c, argv) == VD_EXIT_OK;
    }
    if (good && optind + 1 != argc)
        good = vd_cli_misuse("import", "one FOLDER is needed") == VD_EXIT_OK;
    if (good)
        a->folder = argv[optind];
    return good;
}

/* The last part of the folder's path, as it is asked for: "." too. vd_free. */
static vd_status name_of(const char *folder, char **ret_name, vd_err *err)
{
    char *real = realpath(folder, NULL); /* the C library's memory */
    if (real == NULL)
        return VD_FAIL(err, errno == ENOENT ? VD_ERR_NOT_FOUND : VD_ERR_IO, "cannot open %s: %s",
                       folder, strerror(errno));
    const char *slash = strrchr(real, '/');
    *ret_name = vd_strdup(slash != NULL ? slash + 1 : folder);
    free(real);
    return *ret_name != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory for a name");
}

/* Into a hidden file of the store, and under its name when it is whole. */
static vd_status import_to_store(args *a, vd_notes *notes, vd_import_result *result,
                                 char **ret_path, vd_err *err)
{
    char *name = NULL, *part = NULL, *path = NULL;
    int lock = -1;
    vd_status st = a->options.name != NULL ? VD_OK : name_of(a->folder, &name, err);
    const char *stored = a->options.name != NULL ? a->options.name : name;
    if (st == VD_OK) {
        st = vd_store_name_check(stored, err);
        if (st != VD_OK && name != NULL)
            vd_err_prefix(err, "--name NAME is needed");
    }
    if (st == VD_OK)
        st = vd_store_lock(stored, NULL, &lock, err);
    if (st == VD_OK)
        st = vd_store_part_path(stored, 1, 1, false, &part, err);
    if (st == VD_OK)
        st = vd_store_path(stored, "", ".gguf", &path, err);
    if (st == VD_OK)
        st = vd_import_run(a->folder, part, &a->options, notes, result, err);
    if (st == VD_OK)
        st = vd_store_commit(stored, 1, a->folder, NULL, err);
    vd_store_unlock(stored, &lock);
    if (st == VD_OK) {
        *ret_path = path;
        path = NULL;
    }
    vd_free(name);
    vd_free(part);
    vd_free(path);
    return st;
}

static json_t *notes_json(const char *text)
{
    json_t *list = json_array();
    for (const char *at = text; list != NULL && *at != '\0';) {
        size_t n = strcspn(at, "\n");
        json_array_append_new(list, vd_cli_json_string(at, n));
        at += n + (at[n] == '\n');
    }
    return list;
}

static int print_json(const args *a, const char *path, const vd_import_result *r,
                      const vd_notes *notes)
{
    return vd_cli_put_json(
        "import",
        json_pack("{s:o,s:o,s:s,s:s,s:I,s:I,s:I,s:s,s:s,s:I,s:b,s:I,s:I,s:o}", "input",
                  vd_cli_json_string(a->folder, strlen(a->folder)), "output",
                  vd_cli_json_string(path, strlen(path)), "architecture", r->arch, "type",
                  vd_dtype_name(r->type), "tensors", (json_int_t)r->n_tensors, "values",
                  (json_int_t)r->n_values, "files", (json_int_t)r->n_files, "tokenizer",
                  r->tokenizer, "pre", r->pre, "tokens", (json_int_t)r->n_tokens,
                  "chat_template", r->has_template, "bytes_before", (json_int_t)r->bytes_before,
                  "bytes_after", (json_int_t)r->bytes_after, "notes",
                  notes_json(vd_buf_text(&notes->text))));
}

static void print_text(const char *path, const vd_import_result *r, const vd_notes *notes)
{
    const char *text = vd_buf_text(&notes->text);
    printf("architecture  %s\n", r->arch);
    printf("tensors       %zu, %s values, matrices %s\n", r->n_tensors,
           vd_cli_count(r->n_values).text, vd_dtype_name(r->type));
    printf("tokenizer     %s (%s), %s tokens, %s chat template\n", r->tokenizer, r->pre,
           vd_cli_count(r->n_tokens).text, r->has_template ? "with a" : "without");
    printf("file          %s -> %s  ", vd_cli_size(r->bytes_before).text,
           vd_cli_size(r->bytes_after).text);
    vd_cli_put_clean(stdout, path, strlen(path), SIZE_MAX);
    putchar('\n');
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, "\n");
        fputs("note: ", stderr);
        vd_cli_put_clean(stderr, at, n, SIZE_MAX);
        fputc('\n', stderr);
        at += n + (at[n] == '\n');
    }
}

static int import_main(int argc, char **argv)
{
    args a = {.options = {.natural = true}};
    vd_progress progress;
    vd_import_result result;
    vd_notes notes;
    vd_err err = {0};
    char *path = NULL;
    int status = VD_EXIT_OK;
    if (!parse(argc, argv, &a))
        return VD_EXIT_USAGE;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    vd_notes_init(&notes);
    vd_progress_init(&progress, "import");
    a.options.progress = on_progress;
    a.options.ctx = &progress;
    vd_status st = a.target != NULL
                       ? vd_import_run(a.folder, a.target, &a.options, &notes, &result, &err)
                       : import_to_store(&a, &notes, &result, &path, &err);
    vd_progress_done(&progress);
    const char *output = path != NULL ? path : a.target;
    if (st == VD_OK)
        vd_cli_import_check(output, &notes);
    if (st != VD_OK)
        status = vd_cli_failed("import", &err);
    else if (a.json)
        status = print_json(&a, output, &result, &notes);
    else
        print_text(output, &result, &notes);
    vd_notes_done(&notes);
    vd_free(path);
    return status;
}

const vd_command vd_cmd_import = {
    .name = "import",
    .summary = "a folder of Hugging Face to a GGUF file",
    .help = help,
    .main = import_main,
};

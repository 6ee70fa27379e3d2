/* cmd_logits.c - raw logits of given tokens, for comparing with other engines. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "eval/scorer.h"
#include "model/store.h"

static const char help[] =
    "usage: verdant logits MODEL --ids \"1,2,3\" -o FILE [options]\n"
    "\n"
    "Writes the logits of every position as little-endian f32 [n_tokens, n_vocab], for comparing\n"
    "with other engines. No token is added to those given.\n"
    "\n"
    "  --ids LIST          token ids, separated by commas or spaces\n"
    "  -o, --output FILE   where the logits go\n"
    "  --first N           leave out the logits of the first N positions\n"
    "  --precision WORD    exact (f32 activations) or fast; default fast\n"
    "  --kv TYPE           keys and values as f16, bf16, f32, q8_0 or q4_0; default f16\n"
    "  -t, --threads N     default: one per core\n"
    "\n"
    "Example:\n"
    "  verdant logits smollm2 --ids \"504,3575,282\" -o logits.bin --precision exact --kv f32\n";

typedef struct args {
    const char *model, *output, *ids;
    size_t first;
    vd_scorer_options options;
} args;

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {{"ids", required_argument, NULL, 'i'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"first", required_argument, NULL, 'f'},
                                            {"precision", required_argument, NULL, 'p'},
                                            {"kv", required_argument, NULL, 'k'},
                                            {"threads", required_argument, NULL, 't'},
                                            {0}};
    bool good = true;
    int c;
    while (good && (c = getopt_long(argc, argv, ":o:t:", options, NULL)) != -1) {
        switch (c) {
        case 'i':
            a->ids = optarg;
            break;
        case 'o':
            a->output = optarg;
            break;
        case 'f':
            good = vd_cli_parse_size("logits", "--first", optarg, 0, SIZE_MAX, &a->first);
            break;
        case 'p':
            good = vd_cli_parse_word("logits", "--precision", optarg, "fast", "exact",
                                     &a->options.exact);
            break;
        case 'k':
            good = vd_cli_parse_kv("logits", "--kv", optarg, &a->options.kv_type);
            break;
        case 't':
            good = vd_cli_parse_size("logits", "--threads", optarg, 1, 256, &a->options.n_threads);
            break;
        default:
            good = vd_cli_bad_option("logits", c, argv) == VD_EXIT_OK;
        }
    }
    if (!good)
        return false;
    if (optind + 1 != argc || a->ids == NULL || a->output == NULL) {
        vd_cli_misuse("logits", "one MODEL, --ids and -o are needed");
        return false;
    }
    a->model = argv[optind];
    return true;
}

typedef struct sink {
    FILE *stream;
    size_t n_vocab;
} sink;

static vd_status write_row(void *ctx, size_t pos, const float *logits, vd_err *err)
{
    const sink *s = ctx;
    if (fwrite(logits, sizeof(float), s->n_vocab, s->stream) != s->n_vocab)
        return VD_FAIL(err, VD_ERR_IO, "cannot write the logits of position %zu", pos);
    return VD_OK;
}

static vd_status run(const args *a, const int32_t *ids, size_t n, vd_err *err)
{
    char *path = NULL;
    vd_scorer *scorer = NULL;
    vd_atomic_file file = {0};
    vd_scorer_options options = a->options;
    options.max_tokens = n;
    vd_status st = vd_store_resolve(a->model, &path, err);
    if (st == VD_OK)
        st = vd_scorer_open(path, &options, &scorer, err);
    if (st == VD_OK && vd_scorer_is_file(scorer, a->output))
        st = VD_FAIL(err, VD_ERR_ARG, "%s is the model itself; write to another file", a->output);
    if (st == VD_OK)
        st = vd_atomic_file_open(a->output, &file, err);
    if (st != VD_OK)
        goto out;
    sink s = {.stream = file.stream, .n_vocab = vd_scorer_n_vocab(scorer)};
    st = vd_scorer_run(scorer, ids, n, a->first, write_row, &s, err);
    if (st == VD_OK)
        st = vd_atomic_file_commit(&file, err);
out:
    vd_atomic_file_done(&file);
    vd_scorer_free(scorer);
    vd_free(path);
    return st;
}

static int logits_main(int argc, char **argv)
{
    args a = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    vd_err err = {0};
    if (!parse(argc, argv, &a) || !vd_cli_parse_ids("logits", a.ids, &ids, &n))
        return VD_EXIT_USAGE;
    int status = VD_EXIT_OK;
    if (n == 0)
        status = vd_cli_misuse("logits", "--ids names no token");
    else if (a.first >= n)
        status = vd_cli_misuse("logits", "--first %zu leaves none of %zu positions", a.first, n);
    else if (run(&a, ids, n, &err) != VD_OK)
        status = vd_cli_failed("logits", &err);
    vd_free(ids);
    return status;
}

const vd_command vd_cmd_logits = {
    .name = "logits",
    .summary = "raw logits of given tokens, for comparing with other engines",
    .help = help,
    .main = logits_main,
};

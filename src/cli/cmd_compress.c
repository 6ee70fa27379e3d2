/* cmd_compress.c - a model file to a smaller one, and what that cost. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/compress_print.h"
#include "cli/progress.h"
#include "compress/calibrated.h"
#include "compress/compress.h"
#include "energy/meter.h"
#include "model/store.h"

static const char help[] =
    "usage: verdant compress MODEL -o FILE.gguf [what to do] [options]\n"
    "\n"
    "Writes MODEL smaller, or with weights that are easier to make small. Done in this order, to\n"
    "the matrices of the layers; norms, biases, routers and embeddings are never clipped or\n"
    "pruned:\n"
    "\n"
    "  --clip T            magnitudes above T become T, the sign stays. T is a magnitude (0.25),\n"
    "                      a percentile of each matrix (p99.9), so many times its root mean\n"
    "                      square (4rms), or auto: where the error of --quant is least\n"
    "  --threshold T       weights of a magnitude below T become zero; T as above, not auto\n"
    "  --threshold-above T the other reading in use: those of a magnitude above T become zero\n"
    "  --prune METHOD:KEEP keep a share of each matrix, 1 all and 0 none; what goes is zero\n"
    "                        magnitude:0.5   the larger half of it\n"
    "                        magnitude:2:4   or 2:4: the 2 largest of every 4 in a row\n"
    "                      and with --calib, by what the matrix reads there:\n"
    "                        wanda:0.5       the larger half of each row, times its input's size\n"
    "                        sparsegpt:0.5   and what is left makes up for what goes\n"
    "                        obs:0.5         Wanda's choice, SparseGPT's repair\n"
    "                      each of them N:M too (wanda:2:4)\n"
    "  --calib FILE        a text like those that the model will be used on, not the one it is\n"
    "                      judged by\n"
    "  --calib-ctx N       tokens of a chunk, default 512\n"
    "  --calib-chunks N    so many chunks; by default all that the text has, at most 128\n"
    "  --quant TYPE        fewer bits. By falling size:\n"
    "                        F32 BF16 F16 Q8_0 Q6_K Q5_1 Q5_0 Q5_K_M Q5_K_S Q4_1 Q4_K_M Q4_K_S\n"
    "                        Q4_0 IQ4_NL IQ4_XS MXFP4_MOE Q3_K_L Q3_K_M IQ3_M IQ3_S Q3_K_S Q2_K\n"
    "                      and, for models trained with such weights:\n"
    "                        Q2_0 TQ2_0 TQ1_0 Q1_0\n"
    "                      Q3_K, Q4_K and Q5_K mean the _M mixtures. The types of single tensors\n"
    "                      are those that llama.cpp's quantizer chooses for the same TYPE, and\n"
    "                      Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 come out byte for byte as there.\n"
    "                      Without it every tensor keeps its type\n"
    "  --pure              no mixture: every matrix of the one type\n"
    "\n"
    "The file appears whole or not at all. Start from F32, F16 or BF16: a model that is quantized\n"
    "already loses a second time. Zeros alone make no file smaller; types with a minimum (Q4_1,\n"
    "Q4_K, ...) do not keep them all, which the table shows.\n"
    "\n"
    "  -o FILE             where to write; never over MODEL itself\n"
    "  -t, --threads N     default: one per core\n"
    "  --json              {\"quant\":...,\"before\":{\"F16\":{\"tensors\":...,\"bytes\":...}},\n"
    "                       \"after\":{...},\"file_bytes_before\":...,\"file_bytes_after\":...,\n"
    "                       \"bits_per_weight\":...,\"seconds\":...,\"energy\":{\"total_j\":...,\n"
    "                       \"method\":...,\"uncertainty_pct\":...},\"calib_tokens\":...,\n"
    "                       \"sparsity_edited\":...,\n"
    "                       \"edited\":[{\"tensor\":...,\"values\":...,\"sparsity_before\":...,\n"
    "                       \"sparsity_after\":...,\"clip\":...}]}\n"
    "\n"
    "Example:\n"
    "  verdant compress smollm2-f16.gguf -o smollm2-q4.gguf --quant Q4_K_M\n"
    "  verdant compress smollm2-f16.gguf -o half.gguf --prune magnitude:0.5 --quant Q8_0\n";

typedef struct args {
    const char *model, *target;
    vd_compress_options options;
    bool json;
} args;

/* What the run is doing, for the callback. */
typedef struct watch {
    vd_progress progress;
    vd_meter *meter;
    vd_reading first, last;
    bool gap;
    vd_compress_line *line;
    size_t n_lines, n_lines_max;
    bool lost;
} watch;

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    stopped = 1;
}

/* Also often enough that no counter wraps twice unseen. */
static void read_meter(watch *w)
{
    vd_meter_read(w->meter, &w->last);
    w->gap = w->gap || w->last.gap;
}

static bool on_progress(void *ctx, uint64_t done, uint64_t total, vd_str tensor)
{
    watch *w = ctx;
    char note[64];
    int n = tensor.n < sizeof(note) ? (int)tensor.n : (int)sizeof(note) - 1;
    snprintf(note, sizeof(note), "%.*s", n, tensor.data);
    for (char *c = note; *c != '\0'; c++)
        *c = *c >= 0x20 && *c < 0x7f ? *c : '?';
    vd_progress_update(&w->progress, done, total, note);
    read_meter(w);
    return stopped == 0;
}

static double joules_of(const watch *w)
{
    double uj = 0;
    for (int i = 0; i < VD_PART_N; i++)
        uj += (double)(w->last.uj[i] - w->first.uj[i]);
    return uj * 1e-6;
}

/* A name is what remains after the file is closed. Without memory the line is left out and `lost`
 * says so. */
static void on_edited(void *ctx, const vd_compress_edited *tensor)
{
    watch *w = ctx;
    if (w->n_lines == w->n_lines_max) {
        size_t n_max = w->n_lines_max * 2 + 64;
        vd_compress_line *more = vd_realloc(w->line, n_max * sizeof(*more));
        if (more == NULL) {
            w->lost = true;
            return;
        }
        w->line = more;
        w->n_lines_max = n_max;
    }
    char *name = vd_strndup(tensor->name.data, tensor->name.n);
    w->lost = w->lost || name == NULL;
    if (name == NULL)
        return;
    vd_compress_line *line = &w->line[w->n_lines++];
    *line = (vd_compress_line){name, *tensor};
    line->edited.name.data = name;
}

static bool parse_cut(const char *option, const char *text, bool allow_auto, vd_cut *ret)
{
    if (vd_cut_parse(text, allow_auto, ret))
        return true;
    vd_cli_misuse("compress", "%s is '%s', expected a magnitude such as 0.25, a percentile such "
                  "as p99.9%s a multiple of the root mean square such as 3rms%s", option, text,
                  allow_auto ? "," : " or", allow_auto ? " or auto" : "");
    return false;
}

static bool parse_prune(const char *text, vd_prune *ret)
{
    const char *wrong = vd_prune_parse(text, ret);
    if (wrong != NULL)
        vd_cli_misuse("compress", "--prune is '%s': %s", text, wrong);
    return wrong == NULL;
}

static bool parse_type(const char *text, const vd_filetype **ret)
{
    *ret = vd_filetype_find(text);
    if (*ret == NULL)
        vd_cli_misuse("compress", "there is no type '%s' to compress to", text);
    return *ret != NULL;
}

/* When all options are read. */
static bool check(int argc, const args *a)
{
    const vd_compress_options *o = &a->options;
    bool calibrated = vd_prune_is_calibrated(o->edit.prune.method);
    const char *wrong = NULL;
    if (optind + 1 != argc || a->target == NULL)
        wrong = "one MODEL and -o are needed";
    else if (o->type == NULL && !vd_edit_wanted(&o->edit))
        wrong = "nothing is to be done: say --quant, --prune, --clip or a threshold";
    else if (o->type == NULL && o->mix.pure)
        wrong = "--pure says how to --quant";
    else if (o->edit.clip.kind == VD_CUT_AUTO &&
             (o->type == NULL || vd_dtype_get(o->type->dtype)->block == 1))
        wrong = "--clip auto needs --quant with a type of blocks: it is their error that it "
                "makes small";
    else if (calibrated && o->calib.path == NULL)
        wrong = "this way of pruning needs a text: --calib FILE";
    else if (!calibrated && (o->calib.path != NULL || o->calib.ctx != 0 || o->calib.n_chunks != 0))
        wrong = "nothing here is calibrated: --calib is for --prune wanda, sparsegpt or obs";
    if (wrong != NULL)
        vd_cli_misuse("compress", "%s", wrong);
    return wrong == NULL;
}

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {{"clip", required_argument, NULL, 'c'},
                                            {"threshold", required_argument, NULL, 'b'},
                                            {"threshold-above", required_argument, NULL, 'a'},
                                            {"prune", required_argument, NULL, 'r'},
                                            {"calib", required_argument, NULL, 'l'},
                                            {"calib-ctx", required_argument, NULL, 'x'},
                                            {"calib-chunks", required_argument, NULL, 'k'},
                                            {"quant", required_argument, NULL, 'q'},
                                            {"pure", no_argument, NULL, 'p'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    vd_edit_options *edit = &a->options.edit;
    vd_calib_options *calib = &a->options.calib;
    bool good = true;
    int c;
    while (good && (c = getopt_long(argc, argv, ":o:t:", options, NULL)) != -1) {
        if (c == 'c')
            good = parse_cut("--clip", optarg, true, &edit->clip);
        else if (c == 'b')
            good = parse_cut("--threshold", optarg, false, &edit->below);
        else if (c == 'a')
            good = parse_cut("--threshold-above", optarg, false, &edit->above);
        else if (c == 'r')
            good = parse_prune(optarg, &edit->prune);
        else if (c == 'l')
            calib->path = optarg;
        else if (c == 'x')
            good = vd_cli_parse_size("compress", "--calib-ctx", optarg, 16, VD_CALIB_CTX_MAX,
                                     &calib->ctx);
        else if (c == 'k')
            good = vd_cli_parse_size("compress", "--calib-chunks", optarg, 1, 1 << 20,
                                     &calib->n_chunks);
        else if (c == 'q')
            good = parse_type(optarg, &a->options.type);
        else if (c == 'p')
            a->options.mix.pure = true;
        else if (c == 'o')
            a->target = optarg;
        else if (c == 't')
            good = vd_cli_parse_size("compress", "-t", optarg, 1, 256, &a->options.n_threads);
        else if (c == 'j')
            a->json = true;
        else
            good = vd_cli_bad_option("compress", c, argv) == VD_EXIT_OK;
    }
    good = good && check(argc, a);
    if (good)
        a->model = argv[optind];
    return good;
}

/* The run is over and well. */
static int print(const args *a, const vd_compress_result *result, const watch *w, double seconds)
{
    vd_compress_report report = {.input = a->model, .output = a->target, .options = &a->options,
                                 .result = result, .line = w->line, .n_lines = w->n_lines,
                                 .seconds = seconds, .joules = joules_of(w), .reading = &w->last,
                                 .gap = w->gap};
    if (w->lost)
        fprintf(stderr, "note: there was no memory to list all matrices\n");
    return a->json ? vd_compress_print_json(&report) : vd_compress_print_table(&report);
}

static int compress_main(int argc, char **argv)
{
    args a = {0};
    watch w = {0};
    vd_compress_result result;
    vd_err err = {0};
    char *path = NULL;
    int status = VD_EXIT_OK;
    if (!parse(argc, argv, &a))
        return VD_EXIT_USAGE;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    vd_progress_init(&w.progress, "compress");
    a.options.progress = on_progress;
    a.options.edited = on_edited;
    a.options.ctx = &w;
    vd_status st = vd_store_resolve(a.model, &path, &err);
    if (st == VD_OK)
        st = vd_meter_open(NULL, &w.meter, &err);
    if (st == VD_OK) {
        vd_meter_read(w.meter, &w.first);
        uint64_t begin = vd_now_ns();
        st = vd_compress_run(path, a.target, &a.options, &result, &err);
        double seconds = (double)(vd_now_ns() - begin) * 1e-9;
        read_meter(&w);
        vd_progress_done(&w.progress);
        if (st == VD_OK)
            status = print(&a, &result, &w, seconds);
    }
    if (st != VD_OK)
        status = vd_cli_failed("compress", &err);
    for (size_t i = 0; i < w.n_lines; i++)
        vd_free(w.line[i].name);
    vd_free(w.line);
    vd_meter_close(w.meter);
    vd_free(path);
    return status;
}

const vd_command vd_cmd_compress = {
    .name = "compress",
    .summary = "a smaller model: pruned, in fewer bits",
    .help = help,
    .main = compress_main,
};

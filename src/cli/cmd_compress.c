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
#include "cli/format.h"
#include "cli/progress.h"
#include "compress/compress.h"
#include "energy/meter.h"
#include "model/store.h"

static const char help[] =
    "usage: verdant compress MODEL -o FILE.gguf --quant TYPE [options]\n"
    "\n"
    "Writes MODEL with its matrices in fewer bits. The types of single tensors are those that\n"
    "llama.cpp's quantizer chooses for the same TYPE, and Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 come\n"
    "out byte for byte as there. The file appears whole or not at all. Start from F32, F16 or\n"
    "BF16: a model that is quantized already loses a second time.\n"
    "\n"
    "  --quant TYPE      by falling size:\n"
    "                      F32 BF16 F16 Q8_0 Q6_K Q5_1 Q5_0 Q5_K_M Q5_K_S Q4_1 Q4_K_M Q4_K_S\n"
    "                      Q4_0 IQ4_NL IQ4_XS MXFP4_MOE Q3_K_L Q3_K_M IQ3_M IQ3_S Q3_K_S Q2_K\n"
    "                    and, for models trained with such weights:\n"
    "                      Q2_0 TQ2_0 TQ1_0 Q1_0\n"
    "                    Q3_K, Q4_K and Q5_K mean the _M mixtures\n"
    "  --pure            no mixture: every matrix of the one type\n"
    "  -o FILE           where to write; never over MODEL itself\n"
    "  -t, --threads N   default: one per core\n"
    "  --json            {\"quant\":...,\"before\":{\"F16\":{\"tensors\":...,\"bytes\":...}},\n"
    "                     \"after\":{...},\"file_bytes_before\":...,\"file_bytes_after\":...,\n"
    "                     \"bits_per_weight\":...,\"seconds\":...,\"energy\":{\"total_j\":...,\n"
    "                     \"method\":...,\"uncertainty_pct\":...}}\n"
    "\n"
    "Example:\n"
    "  verdant compress smollm2-f16.gguf -o smollm2-q4.gguf --quant Q4_K_M\n";

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

static json_t *counts_json(const vd_compress_count *count)
{
    json_t *all = json_object();
    for (uint32_t i = 0; all != NULL && i < VD_DTYPE_LIMIT; i++)
        if (count[i].n_tensors > 0)
            json_object_set_new(all, vd_dtype_name(i),
                                json_pack("{s:I,s:I}", "tensors", (json_int_t)count[i].n_tensors,
                                          "bytes", (json_int_t)count[i].n_bytes));
    return all;
}

static double bits_per_weight(const vd_compress_result *r)
{
    uint64_t n_bytes = 0;
    for (int i = 0; i < VD_DTYPE_LIMIT; i++)
        n_bytes += r->after[i].n_bytes;
    return r->n_values > 0 ? 8.0 * (double)n_bytes / (double)r->n_values : 0;
}

static int print_json(const args *a, const vd_compress_result *r, const watch *w, double seconds)
{
    json_t *energy = json_pack("{s:f,s:s,s:f,s:b}", "total_j", joules_of(w), "method",
                               w->last.method, "uncertainty_pct", w->last.uncertainty_pct,
                               "incomplete", w->gap);
    return vd_cli_put_json(
        "compress",
        json_pack("{s:o,s:o,s:s,s:b,s:o,s:o,s:I,s:I,s:f,s:I,s:I,s:I,s:I,s:f,s:o}", "input",
                  vd_cli_json_string(a->model, strlen(a->model)), "output",
                  vd_cli_json_string(a->target, strlen(a->target)), "quant",
                  a->options.type->name, "pure", a->options.mix.pure, "before",
                  counts_json(r->before), "after", counts_json(r->after), "file_bytes_before",
                  (json_int_t)r->file_bytes_before, "file_bytes_after",
                  (json_int_t)r->file_bytes_after, "bits_per_weight", bits_per_weight(r), "values",
                  (json_int_t)r->n_values, "fallbacks", (json_int_t)r->n_fell_back, "requantized",
                  (json_int_t)r->n_requantized, "threads", (json_int_t)r->n_threads, "seconds",
                  seconds, "energy", energy));
}

static void print_counts(const char *title, const vd_compress_count *count)
{
    printf("%s\n", title);
    for (uint32_t i = 0; i < VD_DTYPE_LIMIT; i++)
        if (count[i].n_tensors > 0)
            printf("  %-8s %6zu tensors  %s\n", vd_dtype_name(i), count[i].n_tensors,
                   vd_cli_size(count[i].n_bytes).text);
}

static void print_table(const args *a, const vd_compress_result *r, const watch *w,
                        double seconds)
{
    print_counts("before", r->before);
    print_counts("after", r->after);
    printf("file     %s -> %s, %.2f bits per weight\n", vd_cli_size(r->file_bytes_before).text,
           vd_cli_size(r->file_bytes_after).text, bits_per_weight(r));
    printf("time     %.1f s, %zu threads\n", seconds, r->n_threads);
    printf("energy   %.1f J by %s, +-%.0f %%%s\n", joules_of(w), w->last.method,
           w->last.uncertainty_pct, w->gap ? "; some of it went unseen" : "");
    if (r->n_fell_back > 0)
        fprintf(stderr, "note: rows of %zu tensors do not suit %s; they got the nearest type that "
                        "fits\n", r->n_fell_back, a->options.type->name);
    if (r->n_requantized > 0)
        fprintf(stderr, "note: %zu tensors were quantized before; better start from F16 or BF16\n",
                r->n_requantized);
}

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {{"quant", required_argument, NULL, 'q'},
                                            {"pure", no_argument, NULL, 'p'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    bool good = true;
    int c;
    while (good && (c = getopt_long(argc, argv, ":o:t:", options, NULL)) != -1) {
        if (c == 'q') {
            a->options.type = vd_filetype_find(optarg);
            if (a->options.type == NULL)
                good = vd_cli_misuse("compress", "there is no type '%s' to compress to", optarg) ==
                       VD_EXIT_OK;
        } else if (c == 'p') {
            a->options.mix.pure = true;
        } else if (c == 'o') {
            a->target = optarg;
        } else if (c == 't') {
            good = vd_cli_parse_size("compress", "-t", optarg, 1, 256, &a->options.n_threads);
        } else if (c == 'j') {
            a->json = true;
        } else {
            good = vd_cli_bad_option("compress", c, argv) == VD_EXIT_OK;
        }
    }
    if (good && (optind + 1 != argc || a->target == NULL || a->options.type == NULL))
        good = vd_cli_misuse("compress", "one MODEL, -o and --quant are needed") == VD_EXIT_OK;
    if (good)
        a->model = argv[optind];
    return good;
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
        if (st == VD_OK && a.json)
            status = print_json(&a, &result, &w, seconds);
        else if (st == VD_OK)
            print_table(&a, &result, &w, seconds);
    }
    if (st != VD_OK)
        status = vd_cli_failed("compress", &err);
    vd_meter_close(w.meter);
    vd_free(path);
    return status;
}

const vd_command vd_cmd_compress = {
    .name = "compress",
    .summary = "a model in fewer bits",
    .help = help,
    .main = compress_main,
};

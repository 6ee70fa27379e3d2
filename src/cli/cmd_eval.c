/* cmd_eval.c - perplexity of a model on a text, and its divergence from another model. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "eval/perplexity.h"
#include "model/store.h"

static const char help[] =
    "usage: verdant eval MODEL --text FILE [options]\n"
    "\n"
    "Perplexity, counted as llama.cpp counts it so that figures compare: consecutive chunks of\n"
    "--ctx tokens, the second half of each scored. With --against also how far it is from a base\n"
    "model: KL(base || MODEL) in nats, its mean and what 99 % of the positions stay below, and\n"
    "how often both find the same token likeliest.\n"
    "\n"
    "  --text FILE         the text, UTF-8 (- reads standard input)\n"
    "  --ctx N             tokens per chunk, even; default 512\n"
    "  --chunks N          how many chunks; default all\n"
    "  --against BASE      a second model with the same vocabulary\n"
    "  --precision WORD    exact (f32 activations) or fast; default fast\n"
    "  --base-precision W  the same for BASE; default exact\n"
    "  --kv TYPE           f16 or f32; default f16\n"
    "  -t, --threads N     default: one per core\n"
    "  --json              {\"ppl\":...,\"ppl_stderr\":...,\"n_tokens\":...,\"kl_mean\":...,\n"
    "                      \"kl_99\":...,\"top1_agreement\":...,\"top1_stderr\":...}\n"
    "\n"
    "Example:\n"
    "  verdant eval smollm2 --text wiki.test.raw --ctx 512 --chunks 50\n";

enum { TEXT_MAX = 1 << 30, CTX_MAX = 1 << 20 };

typedef struct args {
    const char *model, *text, *against;
    size_t ctx, n_chunks;
    bool json, base_fast;
    vd_scorer_options options;
} args;

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {{"text", required_argument, NULL, 'x'},
                                            {"ctx", required_argument, NULL, 'c'},
                                            {"chunks", required_argument, NULL, 'n'},
                                            {"against", required_argument, NULL, 'a'},
                                            {"precision", required_argument, NULL, 'p'},
                                            {"base-precision", required_argument, NULL, 'b'},
                                            {"kv", required_argument, NULL, 'k'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    bool good = true;
    int c;
    while (good && (c = getopt_long(argc, argv, ":t:", options, NULL)) != -1) {
        switch (c) {
        case 'x':
            a->text = optarg;
            break;
        case 'c':
            good = vd_cli_parse_size("eval", "--ctx", optarg, 4, CTX_MAX, &a->ctx);
            break;
        case 'n':
            good = vd_cli_parse_size("eval", "--chunks", optarg, 1, SIZE_MAX, &a->n_chunks);
            break;
        case 'a':
            a->against = optarg;
            break;
        case 'p':
            good = vd_cli_parse_word("eval", "--precision", optarg, "fast", "exact",
                                     &a->options.exact);
            break;
        case 'b':
            good = vd_cli_parse_word("eval", "--base-precision", optarg, "exact", "fast",
                                     &a->base_fast);
            break;
        case 'k':
            good = vd_cli_parse_word("eval", "--kv", optarg, "f16", "f32", &a->options.kv_f32);
            break;
        case 't':
            good = vd_cli_parse_size("eval", "--threads", optarg, 1, 256, &a->options.n_threads);
            break;
        case 'j':
            a->json = true;
            break;
        default:
            good = vd_cli_bad_option("eval", c, argv) == VD_EXIT_OK;
        }
    }
    if (good && (optind + 1 != argc || a->text == NULL)) {
        vd_cli_misuse("eval", "one MODEL and --text are needed");
        return false;
    }
    a->model = argv[optind];
    return good;
}

static vd_status open_named(const char *name, const vd_scorer_options *options, vd_scorer **ret,
                            vd_err *err)
{
    char *path = NULL;
    vd_status st = vd_store_resolve(name, &path, err);
    if (st == VD_OK)
        st = vd_scorer_open(path, options, ret, err);
    vd_free(path);
    return st;
}

static void show_chunk(void *ctx, size_t done, size_t total, double ppl)
{
    char note[64];
    snprintf(note, sizeof(note), "perplexity %.4f", ppl);
    vd_progress_update(ctx, done, total, note);
}

static vd_status print_json(const vd_perplexity *p, const args *a, double seconds, vd_err *err)
{
    json_t *out = json_pack("{s:f,s:f,s:I,s:I,s:I,s:f}", "ppl", p->ppl, "ppl_stderr",
                            p->ppl_stderr, "n_tokens", (json_int_t)p->n_tokens, "n_chunks",
                            (json_int_t)p->n_chunks, "ctx", (json_int_t)a->ctx, "seconds", seconds);
    if (out != NULL && a->against != NULL) {
        json_t *kl = json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "base_ppl", p->base_ppl, "kl_mean",
                               p->kl_mean, "kl_stderr", p->kl_stderr, "kl_99", p->kl_99,
                               "top1_agreement", p->top1_agreement, "top1_stderr",
                               p->top1_stderr);
        if (kl == NULL || json_object_update(out, kl) != 0) {
            json_decref(out);
            out = NULL;
        }
        json_decref(kl);
    }
    char *text = vd_json_text(out);
    json_decref(out);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the result");
    puts(text);
    vd_free(text);
    return VD_OK;
}

static void print_table(const vd_perplexity *p, const args *a, double seconds)
{
    printf("perplexity      %.4f +- %.4f\n", p->ppl, p->ppl_stderr);
    printf("scored tokens   %zu in %zu chunks of %zu\n", p->n_tokens, p->n_chunks, a->ctx);
    if (a->against != NULL) {
        printf("against         %s, whose perplexity is %.4f\n", a->against, p->base_ppl);
        printf("mean KL         %.6f +- %.6f nats\n", p->kl_mean, p->kl_stderr);
        printf("99 %% KL         %.6f nats\n", p->kl_99);
        printf("same top token  %.2f +- %.2f %%\n", 100 * p->top1_agreement,
               100 * p->top1_stderr);
    }
    printf("time            %.1f s, %.0f tokens/s\n", seconds,
           (double)(p->n_chunks * a->ctx) / seconds);
}

static vd_status run(args *a, vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    vd_scorer *scorer = NULL, *base = NULL;
    vd_perplexity result;
    vd_progress progress;
    a->options.max_tokens = a->ctx;
    vd_scorer_options base_options = a->options;
    base_options.exact = !a->base_fast;
    vd_progress_init(&progress, "eval");
    vd_status st = vd_file_read(a->text, TEXT_MAX, &text, &n, err);
    if (st == VD_OK)
        st = open_named(a->model, &a->options, &scorer, err);
    if (st == VD_OK && a->against != NULL)
        st = open_named(a->against, &base_options, &base, err);
    if (st != VD_OK)
        goto out;
    uint64_t begin = vd_now_ns();
    st = vd_perplexity_run(scorer, base, text, n, a->ctx, a->n_chunks, show_chunk, &progress,
                           &result, err);
    vd_progress_done(&progress);
    if (st != VD_OK)
        goto out;
    double seconds = (double)(vd_now_ns() - begin) * 1e-9;
    if (a->json)
        st = print_json(&result, a, seconds, err);
    else
        print_table(&result, a, seconds);
out:
    vd_scorer_free(base);
    vd_scorer_free(scorer);
    vd_free(text);
    return st;
}

static int eval_main(int argc, char **argv)
{
    args a = {.ctx = 512};
    vd_err err = {0};
    if (!parse(argc, argv, &a))
        return VD_EXIT_USAGE;
    return run(&a, &err) == VD_OK ? VD_EXIT_OK : vd_cli_failed("eval", &err);
}

const vd_command vd_cmd_eval = {
    .name = "eval",
    .summary = "perplexity of a model, and how far it is from another",
    .help = help,
    .main = eval_main,
};

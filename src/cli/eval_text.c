/* eval_text.c - perplexity of a model on a text, and its divergence from another model. */
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/format.h"
#include "cli/progress.h"
#include "eval/perplexity.h"

enum { TEXT_MAX = 1 << 30 };

static void show_chunk(void *ctx, size_t done, size_t total, double ppl)
{
    char note[64];
    snprintf(note, sizeof(note), "perplexity %.4f", ppl);
    vd_progress_update(ctx, done, total, note);
}

static int print_json(const vd_perplexity *p, const vd_eval_args *a, double seconds)
{
    vd_run_quality quality = {.ppl = p->ppl,
                              .ppl_stderr = p->ppl_stderr,
                              .kl_mean = NAN,
                              .kl_stderr = NAN,
                              .top1 = NAN,
                              .top1_stderr = NAN,
                              .accuracy = NAN,
                              .accuracy_stderr = NAN};
    if (a->against != NULL) {
        quality.kl_mean = p->kl_mean;
        quality.kl_stderr = p->kl_stderr;
        quality.top1 = p->top1_agreement;
        quality.top1_stderr = p->top1_stderr;
    }
    json_t *out = json_pack("{s:f,s:f,s:I,s:I,s:I,s:f}", "ppl", p->ppl, "ppl_stderr",
                            p->ppl_stderr, "n_tokens", (json_int_t)p->n_tokens, "n_chunks",
                            (json_int_t)p->n_chunks, "ctx", (json_int_t)a->ctx, "seconds",
                            seconds);
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
    return vd_eval_put_json(a, &quality, out);
}

static void print_table(const vd_perplexity *p, const vd_eval_args *a, double seconds)
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

int vd_eval_text(const vd_eval_args *a)
{
    vd_err err = {0};
    int status = VD_EXIT_OK;
    char *text = NULL;
    size_t n = 0;
    vd_scorer *scorer = NULL, *base = NULL;
    vd_perplexity result;
    vd_progress progress;
    vd_scorer_options options = a->options, base_options = a->options;
    options.max_tokens = base_options.max_tokens = a->ctx;
    base_options.exact = !a->base_fast;
    if (a->base_kv != NULL)
        (void)vd_kv_type_parse(a->base_kv, &base_options.kv_type); /* looked at before */
    vd_progress_init(&progress, "eval");
    vd_status st = vd_file_read(a->text, TEXT_MAX, &text, &n, &err);
    if (st == VD_OK)
        st = vd_eval_open(a->model, &options, &scorer, &err);
    if (st == VD_OK && a->against != NULL)
        st = vd_eval_open(a->against, &base_options, &base, &err);
    if (st != VD_OK)
        goto out;
    uint64_t begin = vd_now_ns();
    st = vd_perplexity_run(scorer, base, text, n, a->ctx, a->n_chunks, show_chunk, &progress,
                           &result, &err);
    vd_progress_done(&progress);
    if (st != VD_OK)
        goto out;
    double seconds = (double)(vd_now_ns() - begin) * 1e-9;
    if (a->json)
        status = print_json(&result, a, seconds);
    else
        print_table(&result, a, seconds);
out:
    vd_scorer_free(base);
    vd_scorer_free(scorer);
    vd_free(text);
    return st == VD_OK ? status : vd_cli_failed("eval", &err);
}

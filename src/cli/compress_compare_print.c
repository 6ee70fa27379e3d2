/* compress_compare_print.c - see compress_compare.h: the table before and after, and its JSON. */
#include "cli/compress_compare.h"

#include <math.h>
#include <stdio.h>

#include "cli/format.h"

/* Tokens written until what the compression took is saved; NAN: nothing is saved by them. */
static double payback_tokens(const vd_compare *c, const vd_compare_cost *cost)
{
    double saved = c->before.j_per_tok - c->after.j_per_tok;
    return saved > 0 ? cost->joules / saved : NAN;
}

static void put_row(const char *what, const char *before, const char *after, double ratio)
{
    printf("%-26s %12s %12s", what, before, after);
    if (isfinite(ratio))
        printf(" %8.3fx", ratio);
    printf("\n");
}

static void put_number(const char *what, int decimals, double before, double after)
{
    char texts[2][32] = {"-", "-"};
    double values[2] = {before, after};
    for (int i = 0; i < 2; i++)
        if (isfinite(values[i]))
            snprintf(texts[i], sizeof(texts[i]), "%.*f", decimals, values[i]);
    put_row(what, texts[0], texts[1], before != 0 ? after / before : NAN);
}

static void put_bytes(const char *what, uint64_t before, uint64_t after)
{
    if (before != 0 && after != 0)
        put_row(what, vd_cli_size(before).text, vd_cli_size(after).text,
                (double)after / (double)before);
}

void vd_compare_print(const vd_compare *c, const vd_compare_cost *cost)
{
    const vd_perplexity *text = &c->text;
    double payback = payback_tokens(c, cost);
    printf("\n%-26s %12s %12s %9s\n", "", "before", "after", "ratio");
    put_bytes("file", cost->bytes_before, cost->bytes_after);
    put_bytes("memory at most", c->before.peak_bytes, c->after.peak_bytes);
    put_number("perplexity", 4, c->before.ppl, c->after.ppl);
    printf("%-26s %12s %12.5f +- %.5f nats a token\n", "KL from before", "-", text->kl_mean,
           text->kl_stderr);
    printf("%-26s %12s %11.2f%% +- %.2f %%\n", "same likeliest token", "-",
           100 * text->top1_agreement, 100 * text->top1_stderr);
    if (c->n_tasks > 0) {
        put_number("questions right, %", 1, 100 * c->before.accuracy,
                   100 * c->after.accuracy);
        printf("%-26s %12zu    (+- %.1f and %.1f %%)\n", "  of", c->n_tasks,
               100 * c->before.accuracy_stderr, 100 * c->after.accuracy_stderr);
    }
    put_number("reads tokens/s", 1, c->before.prefill_tok_s, c->after.prefill_tok_s);
    put_number("writes tokens/s", 1, c->before.decode_tok_s, c->after.decode_tok_s);
    put_number("J per token read", 5, c->before.prefill_j_per_tok,
               c->after.prefill_j_per_tok);
    put_number("J per token written", 5, c->before.j_per_tok, c->after.j_per_tok);
    printf("%zu scored tokens in chunks of %zu; speed and joules: medians of %zu runs in turn; "
           "joules by %s, +-%.0f %%\n", text->n_tokens, c->ctx, c->n_runs, c->method,
           c->uncertainty_pct);
    if (isfinite(payback))
        printf("the %.1f J of the compression are saved after %s tokens written\n", cost->joules,
               vd_cli_count((uint64_t)payback).text);
    else
        printf("the %.1f J of the compression are not saved: a token takes no less\n",
               cost->joules);
}

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *side_json(const vd_compare_side *s, uint64_t file_bytes)
{
    return json_pack("{s:I,s:I,s:f,s:o,s:o,s:f,s:f,s:f,s:f}", "file_bytes",
                     (json_int_t)file_bytes, "peak_rss_bytes", (json_int_t)s->peak_bytes, "ppl",
                     s->ppl, "accuracy", real_or_null(s->accuracy), "accuracy_stderr",
                     real_or_null(s->accuracy_stderr), "prefill_tok_s", s->prefill_tok_s,
                     "decode_tok_s", s->decode_tok_s, "prefill_j_per_tok", s->prefill_j_per_tok,
                     "j_per_tok", s->j_per_tok);
}

json_t *vd_compare_json(const vd_compare *c, const vd_compare_cost *cost)
{
    const vd_perplexity *t = &c->text;
    return json_pack("{s:o,s:o,s:f,s:f,s:f,s:f,s:f,s:f,s:I,s:I,s:I,s:I,s:o}", "before",
                     side_json(&c->before, cost->bytes_before), "after",
                     side_json(&c->after, cost->bytes_after), "ppl_ratio",
                     c->after.ppl / c->before.ppl, "kl_mean", t->kl_mean, "kl_stderr",
                     t->kl_stderr, "kl_99", t->kl_99, "top1_agreement", t->top1_agreement,
                     "top1_stderr", t->top1_stderr, "n_tokens", (json_int_t)t->n_tokens, "ctx",
                     (json_int_t)c->ctx, "n_tasks", (json_int_t)c->n_tasks, "runs",
                     (json_int_t)c->n_runs, "payback_tokens",
                     real_or_null(payback_tokens(c, cost)));
}

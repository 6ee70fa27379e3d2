/* compress_search.c - see compress_search.h. */
#include "cli/compress_search.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fail.h"
#include "cli/cli.h"
#include "cli/compress_print.h"
#include "cli/format.h"
#include "compress/search/picture.h"

static double bits(const vd_search_result *r, const vd_search_point *p)
{
    return r->n_values > 0 ? 8 * (double)p->tensor_bytes / (double)r->n_values : 0;
}

/* null where it was not measured */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *point_json(const vd_search_result *r, const vd_search_point *p)
{
    return json_pack("{s:I,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:I}", "file_bytes",
                     (json_int_t)p->file_bytes, "bits_per_weight", bits(r, p), "weighted_error",
                     number(r->by_error ? p->predicted : NAN), "kl_predicted",
                     number(r->by_error ? NAN : p->predicted), "kl", number(p->kl), "loss",
                     number(p->loss), "tokens_per_s", number(p->tps),
                     "j_per_token", number(p->jpt), "pruned", (json_int_t)p->n_pruned);
}

/* As --types reads it. */
static json_t *wanted_json(const vd_wanted *wanted)
{
    const char *type = vd_dtype_name(wanted->dtype);
    return wanted->keep < 1 ? json_pack("{s:s,s:f}", "type", type, "keep", wanted->keep)
                            : json_string(type);
}

static json_t *target_json(const vd_target *t)
{
    json_t *all = json_object();
    if (t->bytes != 0)
        json_object_set_new(all, "bytes", json_integer((json_int_t)t->bytes));
    if (t->bpw != 0)
        json_object_set_new(all, "bpw", json_real(t->bpw));
    if (t->tps != 0)
        json_object_set_new(all, "tps", json_real(t->tps));
    if (t->jpt != 0)
        json_object_set_new(all, "jpt", json_real(t->jpt));
    if (t->loss != 0)
        json_object_set_new(all, "loss", json_real(t->loss));
    return all;
}

static vd_compare_cost cost_of(const vd_search_result *r, const vd_search_cost *c)
{
    return (vd_compare_cost){.bytes_before = r->source_bytes, .bytes_after = r->chosen.file_bytes,
                             .joules = c->joules, .seconds = c->seconds};
}

static int print_json(const vd_compress_args *a, const vd_search_result *r,
                      const vd_search_cost *c)
{
    json_t *front = json_array(), *tensors = json_object();
    for (size_t i = 0; i < r->n_points; i++)
        json_array_append_new(front, point_json(r, &r->point[i]));
    for (size_t i = 0; i < r->n_types; i++)
        json_object_set_new(tensors, r->type[i].name, wanted_json(&r->type[i].wanted));
    json_t *energy = json_pack("{s:f,s:s,s:f,s:b}", "total_j", c->joules, "method",
                               c->reading->method, "uncertainty_pct", c->reading->uncertainty_pct,
                               "incomplete", c->gap);
    json_t *all = json_pack(
        "{s:o,s:o,s:o,s:I,s:o,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:f,s:o}", "input",
        vd_cli_json_string(a->model, strlen(a->model)), "output",
        vd_cli_json_string(a->target, strlen(a->target)), "target",
        target_json(&a->search.target), "file_bytes_before", (json_int_t)r->source_bytes,
        "ppl_before", number(r->by_error ? NAN : r->source_ppl), "values",
        (json_int_t)r->n_values, "calib_tokens",
        (json_int_t)r->n_tokens, "scored_tokens", (json_int_t)r->n_scored, "resumed",
        (json_int_t)r->n_resumed, "chosen", point_json(r, &r->chosen), "front", front, "tensors",
        tensors, "seconds", c->seconds, "energy", energy);
    vd_compare_cost cost = cost_of(r, c);
    if (all != NULL && a->options.gptq)
        json_object_set_new(all, "tensors_gptq", json_integer((json_int_t)r->n_rounded));
    if (all != NULL && r->gptq_harms)
        json_object_set_new(all, "gptq_left_out", json_true());
    if (all != NULL && c->compare != NULL)
        json_object_set_new(all, "compare", vd_compare_json(c->compare, &cost));
    if (all != NULL && a->stage.n_cuts > 0)
        json_object_set_new(all, "cut", vd_compress_cuts_json(&a->stage, c->cut));
    return vd_cli_put_json("compress", all);
}

static void print_point(const vd_search_result *r, const vd_search_point *p, const char *mark)
{
    printf(r->by_error ? "%s%13llu  %6.3f  %10.5g" : "%s%13llu  %6.3f  %10.6f", mark,
           (unsigned long long)p->file_bytes, bits(r, p), p->predicted);
    if (isfinite(p->kl))
        printf("  %10.6f  %+7.2f %%", p->kl, 100 * p->loss);
    if (isfinite(p->tps))
        printf("  %8.1f", p->tps);
    if (isfinite(p->jpt))
        printf("  %8.4f", p->jpt);
    if (p->n_pruned > 0)
        printf("  %zu pruned", p->n_pruned);
    putchar('\n');
}

/* How many tensors are as the i-th, which is the first such; else 0. */
static size_t count_like(const vd_search_result *r, size_t i)
{
    const vd_wanted *one = &r->type[i].wanted;
    size_t n = 0;
    for (size_t k = 0; k < r->n_types; k++) {
        const vd_wanted *other = &r->type[k].wanted;
        bool like = other->dtype == one->dtype && other->keep == one->keep;
        if (like && k < i)
            return 0;
        n += like;
    }
    return n;
}

static void print_types(const vd_search_result *r)
{
    for (uint32_t type = 0; type < VD_DTYPE_LIMIT; type++)
        for (size_t i = 0; i < r->n_types; i++) {
            size_t n = r->type[i].wanted.dtype == type ? count_like(r, i) : 0;
            if (n == 0)
                continue;
            printf("  %-8s %6zu tensors", vd_dtype_name(type), n);
            if (r->type[i].wanted.keep < 1)
                printf(", %g of the weights kept", r->type[i].wanted.keep);
            putchar('\n');
        }
}

static int print_table(const vd_compress_args *a, const vd_search_result *r,
                       const vd_search_cost *c)
{
    bool timed = isfinite(r->chosen.tps);
    printf("  %13s  %6s  %10s%s%s\n", "bytes", "bpw", r->by_error ? "error" : "KL, summed",
           r->by_error ? "" : "          KL       loss", timed ? "  tokens/s   J/token" : "");
    for (size_t i = 0; i < r->n_points; i++) {
        if (i == 0 || r->point[i - 1].file_bytes > r->chosen.file_bytes)
            if (r->point[i].file_bytes <= r->chosen.file_bytes)
                print_point(r, &r->chosen, "> ");
        print_point(r, &r->point[i], "  ");
    }
    if (r->n_points == 0 || r->point[r->n_points - 1].file_bytes > r->chosen.file_bytes)
        print_point(r, &r->chosen, "> ");
    vd_compress_print_cuts(&a->stage, c->cut);
    printf("types of the chosen point (>)\n");
    print_types(r);
    printf("file     %s -> %s, %.2f bits per weight\n", vd_cli_size(r->source_bytes).text,
           vd_cli_size(r->chosen.file_bytes).text, bits(r, &r->chosen));
    if (!r->by_error)
        printf("text     %zu tokens read, %zu compared; perplexity of %s there %.4f\n",
               r->n_tokens, r->n_scored, a->stage.n_cuts > 0 ? "what the cuts left" : a->model,
               r->source_ppl);
    if (r->n_rounded > 0)
        printf("gptq     %zu tensors; KL and loss of > are with it\n", r->n_rounded);
    else if (a->options.gptq)
        printf("gptq     %s\n", r->gptq_harms ? "left out: KL or loss would be more with it"
                                              : "nothing could be rounded");
    if (r->n_resumed > 0)
        printf("resumed  %zu measurements were there already\n", r->n_resumed);
    printf("time     %.1f s, %.1f J (%s, +- %.0f %%)%s\n", c->seconds, c->joules,
           c->reading->method, c->reading->uncertainty_pct, c->gap ? ", incomplete" : "");
    vd_compare_cost cost = cost_of(r, c);
    if (c->compare != NULL)
        vd_compare_print(c->compare, &cost);
    return VD_EXIT_OK;
}

int vd_compress_print_search(const vd_compress_args *a, const vd_search_result *r,
                             const vd_search_cost *c)
{
    if (r->began_anew)
        fprintf(stderr, "note: %s.search was of another search; this one began anew\n", a->target);
    if (r->n_requantized > 0)
        fprintf(stderr, "note: %zu tensors were quantized before; better start from F16 or BF16\n",
                r->n_requantized);
    return a->json ? print_json(a, r, c) : print_table(a, r, c);
}

vd_status vd_compress_draw_search(const vd_compress_args *a, const vd_search_result *r,
                                  vd_err *err)
{
    vd_buf path;
    vd_buf_init(&path, 1 << 16);
    vd_buf_printf(&path, a->picture != NULL ? "%s" : "%s.svg",
                  a->picture != NULL ? a->picture : a->target);
    vd_status st = vd_buf_status(&path, "a name", err);
    if (st == VD_OK)
        st = vd_search_draw(r, vd_buf_text(&path), err);
    if (st != VD_OK)
        vd_err_prefix(err, "%s is written, its picture is not", a->target);
    vd_buf_done(&path);
    return st;
}

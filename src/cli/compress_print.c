/* compress_print.c - see compress_print.h. */
#include "cli/compress_print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"

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

/* The part of n values that is zero. */
static double sparsity(uint64_t n_zeros, uint64_t n)
{
    return n > 0 ? (double)n_zeros / (double)n : 0;
}

static vd_compare_cost cost_of(const vd_compress_report *report)
{
    return (vd_compare_cost){.bytes_before = report->result->file_bytes_before,
                             .bytes_after = report->result->file_bytes_after,
                             .joules = report->joules, .seconds = report->seconds};
}

/* Also by the keep-rates of --types. */
static bool is_edited(const vd_compress_report *report)
{
    return vd_edit_wanted(&report->options->edit) || report->result->n_edited > 0;
}

static json_t *edited_json(const vd_compress_report *report)
{
    json_t *all = json_array();
    for (size_t i = 0; all != NULL && i < report->n_lines; i++) {
        const vd_compress_edited *e = &report->line[i].edited;
        json_array_append_new(
            all, json_pack("{s:o,s:I,s:f,s:f,s:o}", "tensor",
                           vd_cli_json_string(e->name.data, e->name.n), "values",
                           (json_int_t)e->n_values, "sparsity_before",
                           sparsity(e->n_zeros_before, e->n_values), "sparsity_after",
                           sparsity(e->n_zeros_after, e->n_values), "clip",
                           isfinite(e->clip) ? json_real((double)e->clip) : json_null()));
    }
    return all;
}

json_t *vd_compress_cuts_json(const vd_stage_options *stage, const vd_structured_result *result)
{
    json_t *all = json_array();
    for (size_t i = 0; all != NULL && i < stage->n_cuts; i++) {
        const vd_structured *cut = &stage->cut[i];
        json_array_append_new(all, json_pack("{s:s,s:f,s:I,s:I}", "what",
                                             vd_structured_name(cut->kind), "keep", cut->keep,
                                             "before", (json_int_t)result[i].n_before,
                                             "after", (json_int_t)result[i].n_after));
    }
    return all;
}

void vd_compress_print_cuts(const vd_stage_options *stage, const vd_structured_result *cut)
{
    for (size_t i = 0; i < stage->n_cuts; i++)
        printf("cut      %s: %zu -> %zu%s\n", vd_structured_name(stage->cut[i].kind),
               cut[i].n_before, cut[i].n_after,
               cut[i].uneven ? ", not as many in every layer (architecture deci)" : "");
}

int vd_compress_print_json(const vd_compress_report *report)
{
    const vd_compress_result *r = report->result;
    const vd_compress_options *o = report->options;
    const vd_layered_report *c = &r->calibration;
    json_t *energy = json_pack("{s:f,s:s,s:f,s:b}", "total_j", report->joules, "method",
                               report->reading->method, "uncertainty_pct",
                               report->reading->uncertainty_pct, "incomplete", report->gap);
    json_t *all = json_pack(
        "{s:o,s:o,s:s?,s:b,s:o,s:o,s:I,s:I,s:f,s:I,s:I,s:I,s:I,s:f,s:o}", "input",
        vd_cli_json_string(report->input, strlen(report->input)), "output",
        report->output != NULL ? vd_cli_json_string(report->output, strlen(report->output))
                               : json_null(), "quant",
        o->type != NULL ? o->type->name : NULL, "pure", o->mix.pure, "before",
        counts_json(r->before), "after", counts_json(r->after), "file_bytes_before",
        (json_int_t)r->file_bytes_before, "file_bytes_after", (json_int_t)r->file_bytes_after,
        "bits_per_weight", bits_per_weight(r), "values", (json_int_t)r->n_values, "fallbacks",
        (json_int_t)r->n_fell_back, "requantized", (json_int_t)r->n_requantized, "threads",
        (json_int_t)r->n_threads, "seconds", report->seconds, "energy", energy);
    if (all != NULL && r->n_calib_tokens > 0)
        json_object_set_new(all, "calib_tokens", json_integer((json_int_t)r->n_calib_tokens));
    if (all != NULL && r->n_resumed > 0)
        json_object_set_new(all, "resumed_layers", json_integer((json_int_t)r->n_resumed));
    if (all != NULL && r->n_sparse > 0)
        json_object_set_new(all, "tensors_sparse", json_integer((json_int_t)r->n_sparse));
    if (all != NULL && (r->n_calib_tokens > 0 || o->imatrix != NULL))
        json_object_set_new(all, "tensors_weighted", json_integer((json_int_t)r->n_weighted));
    if (all != NULL && o->gptq)
        json_object_set_new(all, "tensors_gptq", json_integer((json_int_t)r->n_rounded));
    if (all != NULL && c->damping > 0) {
        json_object_set_new(all, "damping", json_real(c->damping));
        json_object_set_new(all, "diagonal_only", json_integer((json_int_t)c->n_diagonal));
    }
    if (all != NULL && is_edited(report)) {
        json_object_set_new(all, "edited", edited_json(report));
        json_object_set_new(all, "sparsity_edited", json_real(sparsity(r->n_zeros_after,
                                                                       r->n_edited)));
    }
    vd_compare_cost cost = cost_of(report);
    if (all != NULL && report->compare != NULL)
        json_object_set_new(all, "compare", vd_compare_json(report->compare, &cost));
    if (all != NULL && report->stage->n_cuts > 0)
        json_object_set_new(all, "cut", vd_compress_cuts_json(report->stage, report->cut));
    return vd_cli_put_json("compress", all);
}

static void print_counts(const char *title, const vd_compress_count *count)
{
    printf("%s\n", title);
    for (uint32_t i = 0; i < VD_DTYPE_LIMIT; i++)
        if (count[i].n_tensors > 0)
            printf("  %-8s %6zu tensors  %s\n", vd_dtype_name(i), count[i].n_tensors,
                   vd_cli_size(count[i].n_bytes).text);
}

static void print_edited(const vd_compress_report *report)
{
    const vd_compress_result *r = report->result;
    enum { WIDTH_MAX = 40 };
    int width = 6;
    for (size_t i = 0; i < report->n_lines; i++)
        width = (int)strlen(report->line[i].name) > width ? (int)strlen(report->line[i].name)
                                                          : width;
    width = width > WIDTH_MAX ? WIDTH_MAX : width;
    printf("%-*s  %11s  %8s  %8s  %10s\n", width, "tensor", "values", "zeros", "now", "clipped at");
    for (size_t i = 0; i < report->n_lines; i++) {
        const vd_compress_edited *e = &report->line[i].edited;
        char clip[32] = "-";
        if (isfinite(e->clip))
            snprintf(clip, sizeof(clip), "%.4g", (double)e->clip);
        int shown = (int)vd_cli_put_clean(stdout, e->name.data, e->name.n, WIDTH_MAX);
        printf("%*s  %11llu  %7.2f%%  %7.2f%%  %10s\n", shown < width ? width - shown : 0, "",
               (unsigned long long)e->n_values,
               100 * sparsity(e->n_zeros_before, e->n_values),
               100 * sparsity(e->n_zeros_after, e->n_values), clip);
    }
    printf("zeros    %.2f %% of the edited matrices (%.2f %% before), %.2f %% of all weights\n",
           100 * sparsity(r->n_zeros_after, r->n_edited),
           100 * sparsity(r->n_zeros_before, r->n_edited),
           100 * sparsity(r->n_zeros_after, r->n_values));
}

static bool was_quantized(const vd_compress_result *r)
{
    for (uint32_t i = 0; i < VD_DTYPE_LIMIT; i++)
        if (r->before[i].n_tensors > 0 && vd_dtype_get(i)->block > 1)
            return true;
    return false;
}

int vd_compress_print_table(const vd_compress_report *report)
{
    const vd_compress_result *r = report->result;
    const vd_compress_options *o = report->options;
    if (is_edited(report))
        print_edited(report);
    vd_compress_print_cuts(report->stage, report->cut);
    if (report->output != NULL) {
        print_counts("before", r->before);
        print_counts("after", r->after);
        printf("file     %s -> %s, %.2f bits per weight\n", vd_cli_size(r->file_bytes_before).text,
               vd_cli_size(r->file_bytes_after).text, bits_per_weight(r));
    }
    if (r->n_sparse > 0)
        printf("sparse   %zu matrices, which Verdant alone reads\n", r->n_sparse);
    if (r->n_weighted > 0)
        printf("weighted %zu tensors by what they read\n", r->n_weighted);
    if (report->options->gptq)
        printf("gptq     %zu tensors\n", r->n_rounded);
    if (r->calibration.damping > 0)
        printf("damping  at most %g\n", r->calibration.damping);
    if (r->calibration.n_diagonal > 0)
        fprintf(stderr, "note: %zu inputs said too little of how columns hang together; those were "
                        "taken alone: give a longer text\n", r->calibration.n_diagonal);
    if (r->n_calib_tokens > 0)
        printf("text     %zu tokens of it were used\n", r->n_calib_tokens);
    if (r->n_resumed > 0)
        printf("resumed  behind %zu layers; time and energy are of the rest\n", r->n_resumed);
    printf("time     %.1f s, %zu threads\n", report->seconds, r->n_threads);
    printf("energy   %.1f J by %s, +-%.0f %%%s\n", report->joules, report->reading->method,
           report->reading->uncertainty_pct, report->gap ? "; some of it went unseen" : "");
    vd_compare_cost cost = cost_of(report);
    if (report->compare != NULL)
        vd_compare_print(report->compare, &cost);
    if (r->n_fell_back > 0)
        fprintf(stderr, "note: rows of %zu tensors do not suit %s; they got the nearest type that "
                        "fits\n", r->n_fell_back, o->type->name);
    if (r->n_requantized > 0)
        fprintf(stderr, "note: %zu tensors were quantized before; better start from F16 or BF16\n",
                r->n_requantized);
    else if (report->stage->n_cuts > 0 && was_quantized(r))
        fprintf(stderr, "note: the model was quantized before; better start from F16 or BF16\n");
    return VD_EXIT_OK;
}

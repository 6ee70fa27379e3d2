/* bench_print.c - what was measured, for people and programs. See bench.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/format.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_value);
    return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

vd_bench_summary vd_bench_summarize(const vd_run *run, bool prefill)
{
    double seconds[VD_BENCH_RUNS_MAX], joules[VD_BENCH_RUNS_MAX];
    size_t n = run->n_samples;
    vd_bench_summary p = {0};
    for (size_t i = 0; i < n; i++) {
        const vd_run_phase *one = prefill ? &run->sample[i].prefill : &run->sample[i].decode;
        p.n_tokens = one->tokens;
        seconds[i] = one->seconds;
        joules[i] = one->joules;
    }
    p.tok_s = (double)p.n_tokens / median(seconds, n); /* sorts */
    p.max_tok_s = (double)p.n_tokens / seconds[0];
    p.min_tok_s = (double)p.n_tokens / seconds[n - 1];
    p.j_per_tok = median(joules, n) / (double)p.n_tokens;
    return p;
}

static json_t *phase_json(const vd_bench_summary *p)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:I}", "tok_s", p->tok_s, "tok_s_min", p->min_tok_s,
                     "tok_s_max", p->max_tok_s, "j_per_tok", p->j_per_tok, "n_tokens",
                     (json_int_t)p->n_tokens);
}

static double uncertainty(const vd_bench *b)
{
    vd_meter_info info;
    vd_meter_info_get(b->meter, &info);
    return info.uncertainty_pct;
}

/* Bytes that one decode step reads, and how fast that was. */
static double step_bytes(const vd_bench_model *m)
{
    return (double)m->weight_bytes +
           (double)m->kv_bytes * (double)m->run.settings.batch;
}

static double read_gb_s(const vd_bench_model *m, const vd_bench_summary *decode)
{
    return step_bytes(m) * decode->tok_s / (double)m->run.settings.batch * 1e-9;
}

static json_t *limit_json(const vd_bench_model *m, const vd_bench_summary *decode)
{
    const vd_bandwidth *w = &m->bandwidth;
    json_t *out = json_pack("{s:I,s:I,s:f}", "weight_bytes", (json_int_t)m->weight_bytes,
                            "kv_bytes", (json_int_t)m->kv_bytes, "gb_s", read_gb_s(m, decode));
    if (out == NULL || w->n_passes == 0)
        return out;
    json_t *more = json_pack("{s:f,s:f,s:I,s:f}", "bandwidth_gb_s", w->best_gb_s,
                             "bandwidth_median_gb_s", w->median_gb_s, "bandwidth_bytes",
                             (json_int_t)w->bytes, "of_bandwidth",
                             read_gb_s(m, decode) / w->best_gb_s);
    bool good = more != NULL && json_object_update(out, more) == 0;
    json_decref(more);
    if (good)
        return out;
    json_decref(out);
    return NULL;
}

/* What `verdant bench` adds to a record: it stands beside the record's own fields. */
static json_t *more_json(const vd_bench_model *m, const vd_bench_summary *decode)
{
    json_t *out = json_pack("{s:o,s:f}", "decode_reads", limit_json(m, decode), "load_s",
                            (double)m->load_ns * 1e-9);
    if (out != NULL && m->pss_bytes > 0 &&
        json_object_set_new(out, "pss_bytes", json_integer((json_int_t)m->pss_bytes)) != 0) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* The medians first, as this command has always printed them, then the record. */
static json_t *model_json(const vd_bench *b, const vd_bench_model *m)
{
    const vd_run *run = &m->run;
    vd_bench_summary prefill = vd_bench_summarize(run, true),
                     decode = vd_bench_summarize(run, false);
    json_t *out = json_pack(
        "{s:o,s:o,s:f,s:s,s:f,s:I,s:I,s:I,s:s,s:I,s:I}", "prefill", phase_json(&prefill), "decode",
        phase_json(&decode), "j_per_tok", decode.j_per_tok, "energy_method", run->meter.method,
        "uncertainty_pct", uncertainty(b), "threads", (json_int_t)run->settings.threads, "depth",
        (json_int_t)b->args->n_depth, "batch", (json_int_t)run->settings.batch, "kernels",
        run->settings.kernels, "runs", (json_int_t)run->n_samples, "weight_bytes",
        (json_int_t)run->weights_bytes);
    json_t *record = vd_run_json(run), *more = more_json(m, &decode);
    bool good = out != NULL && record != NULL && more != NULL &&
                json_object_update(out, record) == 0 && json_object_update(out, more) == 0;
    if (good && run->peak_bytes > 0)
        good = json_object_set_new(out, "peak_rss_bytes",
                                   json_integer((json_int_t)run->peak_bytes)) == 0;
    json_decref(record);
    json_decref(more);
    if (good)
        return out;
    json_decref(out);
    return NULL;
}

static json_t *all_json(const vd_bench *b)
{
    if (b->n_models == 1)
        return model_json(b, &b->model[0]);
    json_t *list = json_array();
    for (size_t i = 0; i < b->n_models; i++)
        if (json_array_append_new(list, model_json(b, &b->model[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static void print_phase(const char *name, const vd_bench_summary *p)
{
    char range[64];
    snprintf(range, sizeof(range), "(%.1f .. %.1f)", p->min_tok_s, p->max_tok_s);
    printf("%-8s %6zu %10.1f   %8.1f %-22s  %.5f\n", name, (size_t)p->n_tokens,
           (double)p->n_tokens / p->tok_s * 1e3, p->tok_s, range, p->j_per_tok);
}

static void print_limit(const vd_bench_model *m, const vd_bench_summary *decode)
{
    const vd_bandwidth *w = &m->bandwidth;
    printf("a decode step reads %s: %.1f GB/s",
           vd_cli_size((uint64_t)step_bytes(m)).text, read_gb_s(m, decode));
    if (w->n_passes > 0)
        printf(", %.0f %% of the %.1f GB/s at which so much is read here",
               100 * read_gb_s(m, decode) / w->best_gb_s, w->best_gb_s);
    printf("\n");
}

static void print_model(const vd_bench *b, const vd_bench_model *m)
{
    const vd_run *run = &m->run;
    vd_bench_summary prefill = vd_bench_summarize(run, true),
                     decode = vd_bench_summarize(run, false);
    size_t n_batch = (size_t)run->settings.batch;
    size_t n_threads = (size_t)run->settings.threads;
    printf("%s, %zu thread%s, kernels %s, %zu sequence%s", m->name, n_threads,
           n_threads == 1 ? "" : "s", run->settings.kernels, n_batch, n_batch == 1 ? "" : "s");
    if (b->args->n_depth > 0)
        printf(" behind %zu tokens", b->args->n_depth);
    printf(", median of %zu runs (min .. max)\n\n", run->n_samples);
    printf("         tokens         ms   tokens/s                         J/token\n");
    print_phase("prefill", &prefill);
    print_phase("decode", &decode);
    printf("\nloaded in %.2f s; weights %s", (double)m->load_ns * 1e-9,
           vd_cli_size(run->weights_bytes).text);
    if (run->peak_bytes > 0)
        printf(", memory %s at most", vd_cli_size(run->peak_bytes).text);
    if (m->pss_bytes > 0)
        printf(", %s without what it shares", vd_cli_size(m->pss_bytes).text);
    vd_engine_info info = vd_engine_info_get(m->engine);
    if (n_batch == 1 && info.n_threads_decode < info.n_threads)
        printf("; decode ended on %zu of the threads", info.n_threads_decode);
    printf("; energy by %s, +-%.0f %%%s\n", run->meter.method, uncertainty(b),
           run->meter.incomplete ? "; some of it went unseen" : "");
    print_limit(m, &decode);
}

/* What may stand in a file name anywhere. */
static void file_label(const char *label, char *out, size_t size)
{
    size_t n = 0;
    for (; label[n] != '\0' && n + 1 < size; n++) {
        char c = label[n];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '_' || (c == '.' && n > 0);
        out[n] = c;
        if (!plain)
            out[n] = '_';
    }
    out[n] = '\0';
}

static vd_status write_one(const char *folder, const char *label, size_t again, const vd_run *run,
                           vd_err *err)
{
    vd_buf path;
    vd_atomic_file file = {0};
    json_t *json = vd_run_json(run);
    char *text = vd_json_text(json);
    json_decref(json);
    vd_buf_init(&path, 4096);
    vd_buf_printf(&path, "%s/%s", folder, label);
    if (again > 0)
        vd_buf_printf(&path, "-%zu", again + 1);
    vd_buf_puts(&path, ".json");
    vd_status st = vd_buf_status(&path, "the record's path", err);
    if (st == VD_OK && text == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the record");
    if (st == VD_OK)
        st = vd_atomic_file_open(vd_buf_text(&path), &file, err);
    if (st == VD_OK && (fputs(text, file.stream) < 0 || fputc('\n', file.stream) == EOF))
        st = VD_FAIL(err, VD_ERR_IO, "cannot write %s", vd_buf_text(&path));
    if (st == VD_OK)
        st = vd_atomic_file_commit(&file, err);
    if (st == VD_OK)
        fprintf(stderr, "wrote %s\n", vd_buf_text(&path));
    vd_atomic_file_done(&file);
    vd_buf_done(&path);
    vd_free(text);
    return st;
}

vd_status vd_bench_write(const char *folder, const vd_run *const *run, size_t n, vd_err *err)
{
    char label[VD_BENCH_MODELS_MAX][96];
    vd_status st = vd_make_dirs(folder, err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        size_t again = 0;
        file_label(run[i]->trace.mode != NULL ? run[i]->trace.mode : run[i]->model.name,
                   label[i], sizeof(label[i]));
        for (size_t k = 0; k < i; k++)
            again += strcmp(label[k], label[i]) == 0;
        st = write_one(folder, label[i], again, run[i], err);
    }
    return st;
}

int vd_bench_print(const vd_bench *b)
{
    const vd_bench_args *a = b->args;
    vd_err err = {0};
    if (a->folder != NULL) {
        const vd_run *run[VD_BENCH_MODELS_MAX];
        for (size_t i = 0; i < b->n_models; i++)
            run[i] = &b->model[i].run;
        if (vd_bench_write(a->folder, run, b->n_models, &err) != VD_OK)
            return vd_cli_failed("bench", &err);
    }
    if (a->json)
        return vd_cli_put_json("bench", all_json(b));
    for (size_t i = 0; i < b->n_models; i++) {
        if (i > 0)
            putchar('\n');
        print_model(b, &b->model[i]);
    }
    return VD_EXIT_OK;
}

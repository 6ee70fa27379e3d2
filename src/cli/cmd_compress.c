/* cmd_compress.c - a model file to a smaller one, and what that cost. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "cli/cli.h"
#include "cli/compress_args.h"
#include "cli/compress_print.h"
#include "cli/compress_search.h"
#include "cli/progress.h"
#include "energy/meter.h"
#include "model/store.h"

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

/* While another program works. */
static bool go_on(void *ctx)
{
    read_meter(ctx);
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

/* The run is over and well. */
static int print(const vd_compress_args *a, const vd_stage_result *result, const watch *w,
                 double seconds, const vd_compare *compare)
{
    vd_compress_report report = {.input = a->model, .output = a->target, .options = &a->options,
                                 .result = &result->compress, .stage = &a->stage,
                                 .cut = result->cut, .line = w->line, .n_lines = w->n_lines,
                                 .seconds = seconds, .joules = joules_of(w), .reading = &w->last,
                                 .gap = w->gap, .compare = compare};
    if (w->lost)
        fprintf(stderr, "note: there was no memory to list all matrices\n");
    return a->json ? vd_compress_print_json(&report) : vd_compress_print_table(&report);
}

/* What was made stays, also where comparing it fails. */
static int finish(const vd_compress_args *a, const vd_compare_input *input, const char *path,
                  const vd_stage_result *result, const watch *w, double seconds)
{
    vd_compare compare;
    vd_err err = {0};
    vd_status st = VD_OK;
    if (a->compare.text != NULL)
        st = vd_compare_run(&a->compare, input, path, a->target, &compare, &err);
    int status = print(a, result, w, seconds,
                       st == VD_OK && a->compare.text != NULL ? &compare : NULL);
    if (st == VD_OK)
        return status;
    vd_err_prefix(&err, "%s is written, but cannot be compared", a->target);
    return vd_cli_failed("compress", &err);
}

static double on_joules(void *ctx)
{
    watch *w = ctx;
    read_meter(w);
    return joules_of(w);
}

typedef struct searching {
    const vd_compress_args *args;
    vd_search_result *result;
} searching;

static vd_status search_model(void *ctx, const char *model, vd_err *err)
{
    const searching *s = ctx;
    return vd_search_run(model, s->args->target, &s->args->search, s->result, err);
}

/* What was made stays, also where its picture or comparing it fails. */
static vd_status search(vd_compress_args *a, const vd_compare_input *input, const char *path,
                        watch *w, int *ret_status, vd_err *err)
{
    vd_search_result result;
    vd_compare compare;
    vd_stage_result stage = {0};
    searching what = {a, &result};
    uint64_t begin = vd_now_ns();
    a->search.calib = a->options.calib;
    a->search.imatrix = a->options.imatrix;
    a->search.save_imatrix = a->options.save_imatrix;
    a->search.sparse = a->stage.sparse;
    a->search.gptq = a->options.gptq;
    a->search.drift = a->options.drift;
    a->search.n_threads = a->options.n_threads;
    a->search.progress = on_progress;
    a->search.joules = on_joules;
    a->search.ctx = w;
    vd_status st = a->stage.n_cuts == 0
                       ? search_model(&what, path, err)
                       : vd_stage_cut(path, a->target, &a->stage, &a->options, search_model, &what,
                                      &stage, err);
    read_meter(w);
    vd_progress_done(&w->progress);
    if (st != VD_OK)
        return st;
    vd_search_cost cost = {(double)(vd_now_ns() - begin) * 1e-9, joules_of(w), &w->last, w->gap,
                           NULL, NULL};
    if (a->stage.n_cuts > 0) {
        cost.cut = stage.cut;
        result.source_bytes = stage.compress.file_bytes_before;
    }
    st = vd_compress_draw_search(a, &result, err);
    if (st == VD_OK && a->compare.text != NULL) {
        st = vd_compare_run(&a->compare, input, path, a->target, &compare, err);
        if (st == VD_OK)
            cost.compare = &compare;
        else
            vd_err_prefix(err, "%s is written, but cannot be compared", a->target);
    }
    *ret_status = vd_compress_print_search(a, &result, &cost);
    vd_search_result_done(&result);
    return st;
}

static int compress_main(int argc, char **argv)
{
    vd_compress_args a = {0};
    watch w = {0};
    vd_stage_result result;
    vd_compare_input input = {0};
    vd_err err = {0};
    char *path = NULL;
    int status = VD_EXIT_OK;
    if (!vd_compress_args_parse(argc, argv, &a))
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
        st = vd_compare_read(&a.compare, &input, &err);
    if (st == VD_OK)
        st = vd_compare_check(&a.compare, &input, path, &err);
    if (st == VD_OK)
        st = vd_meter_open(NULL, &w.meter, &err);
    if (st == VD_OK)
        vd_meter_read(w.meter, &w.first);
    vd_recover_program program = {.program = a.recover, .go_on = go_on, .ctx = &w};
    if (a.recover != NULL)
        a.stage.recover = (vd_recover){vd_recover_by_program, &program};
    if (st == VD_OK && a.searches) {
        st = search(&a, &input, path, &w, &status, &err);
    } else if (st == VD_OK) {
        uint64_t begin = vd_now_ns();
        st = vd_stage_run(path, a.target, &a.stage, &a.options, &result, &err);
        double seconds = (double)(vd_now_ns() - begin) * 1e-9;
        read_meter(&w);
        vd_progress_done(&w.progress);
        if (st == VD_OK)
            status = finish(&a, &input, path, &result, &w, seconds);
    }
    if (st != VD_OK)
        status = vd_cli_failed("compress", &err);
    for (size_t i = 0; i < w.n_lines; i++)
        vd_free(w.line[i].name);
    vd_free(w.line);
    vd_meter_close(w.meter);
    vd_compare_input_done(&input);
    vd_free(path);
    vd_compress_args_done(&a);
    return status;
}

const vd_command vd_cmd_compress = {
    .name = "compress",
    .summary = "a smaller model: pruned, in fewer bits",
    .help = vd_compress_help,
    .help_more = {vd_compress_help_more, vd_compress_help_rest},
    .main = compress_main,
};

/* compress_compare.c - see compress_compare.h: the measuring. */
#include "cli/compress_compare.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/bench.h"
#include "cli/eval.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

enum {
    TEXT_MAX = 1 << 30,
    CTX = 512,
    CHUNKS = 20,
    TASKS = 200,
    PROMPT = 128, /* tokens read and written when speed is measured */
    ANSWER = 64,
    RUNS = 5,
    CHILD_JSON_MAX = 1 << 20
};

vd_status vd_compare_read(const vd_compare_options *o, vd_compare_input *ret, vd_err *err)
{
    vd_compare_input input = {0};
    vd_status st = VD_OK;
    if (o->text != NULL)
        st = vd_file_read(o->text, TEXT_MAX, &input.text, &input.n_text, err);
    if (st == VD_OK && o->task != NULL)
        st = vd_task_set_read(o->task, &input.tasks, err);
    if (st == VD_OK && o->task != NULL)
        vd_task_set_first(&input.tasks, o->n_tasks != 0 ? o->n_tasks : TASKS);
    if (st == VD_OK)
        *ret = input;
    else
        vd_compare_input_done(&input);
    return st;
}

void vd_compare_input_done(vd_compare_input *input)
{
    vd_free(input->text);
    vd_task_set_done(&input->tasks);
    *input = (vd_compare_input){0};
}

vd_status vd_compare_check(const vd_compare_options *o, const vd_compare_input *input,
                           const char *model, vd_err *err)
{
    size_t ctx = o->ctx != 0 ? o->ctx : (size_t)CTX, n_ids = 0;
    vd_tokenizer *tokenizer = NULL;
    vd_gguf *gguf = NULL;
    int32_t *ids = NULL;
    if (o->text == NULL)
        return VD_OK;
    vd_status st = vd_gguf_open(model, NULL, &gguf, err);
    if (st == VD_OK)
        st = vd_tokenizer_create(gguf, &tokenizer, err);
    if (st == VD_OK)
        st = vd_tokenizer_encode(tokenizer, input->text, input->n_text,
                                 &(vd_encode_options){.parse_special = true}, &ids, &n_ids, err);
    if (st == VD_OK && n_ids < 2 * ctx)
        st = VD_FAIL(err, VD_ERR_ARG, "%s has %zu tokens, and --compare needs %zu, two chunks of "
                     "--compare-ctx: give a longer text, or shorter chunks", o->text, n_ids,
                     2 * ctx);
    vd_ids_free(ids);
    vd_tokenizer_free(tokenizer);
    vd_gguf_free(gguf);
    return st;
}

/* ---- quality ----------------------------------------------------------------------------------*/

static void on_chunk(void *ctx, size_t done, size_t total, double ppl)
{
    vd_progress_update(ctx, done, total, "perplexity");
}

static vd_status on_answer(void *ctx, const vd_choose_answer *answer,
                           const vd_choose_result *so_far, vd_err *err)
{
    vd_progress_update(ctx, so_far->n, so_far->n, "tasks");
    return VD_OK;
}

static vd_status answer_tasks(vd_scorer *scorer, const vd_compare_input *input,
                              vd_compare_side *side, vd_progress *progress, vd_err *err)
{
    vd_choose_result result;
    side->accuracy = side->accuracy_stderr = NAN;
    if (input->tasks.n == 0)
        return VD_OK;
    vd_status st = vd_choose_run(scorer, &input->tasks, VD_TASK_FORMAT_AUTO, on_answer, progress,
                                 &result, err);
    if (st == VD_OK) {
        side->accuracy = result.accuracy;
        side->accuracy_stderr = result.stderr_;
    }
    return st;
}

/* Both as a server computes them: what the machine is fastest at. */
static vd_status judge(const vd_compare_options *o, const vd_compare_input *input,
                       const char *before, const char *after, vd_compare *c, vd_err *err)
{
    vd_scorer_options options = {.n_threads = o->n_threads, .max_tokens = c->ctx};
    vd_scorer *base = NULL, *scorer = NULL;
    vd_progress progress;
    vd_progress_init(&progress, "compare");
    vd_status st = vd_scorer_open(before, &options, &base, err);
    if (st == VD_OK)
        st = vd_scorer_open(after, &options, &scorer, err);
    if (st == VD_OK)
        st = vd_perplexity_run(scorer, base, input->text, input->n_text, c->ctx,
                               o->n_chunks != 0 ? o->n_chunks : CHUNKS, on_chunk, &progress,
                               &c->text, err);
    if (st == VD_OK)
        st = answer_tasks(base, input, &c->before, &progress, err);
    if (st == VD_OK)
        st = answer_tasks(scorer, input, &c->after, &progress, err);
    vd_progress_done(&progress);
    vd_scorer_free(scorer);
    vd_scorer_free(base);
    if (st != VD_OK)
        return st;
    c->before.ppl = c->text.base_ppl;
    c->before.ppl_stderr = NAN;
    c->after.ppl = c->text.ppl;
    c->after.ppl_stderr = c->text.ppl_stderr;
    c->n_tasks = input->tasks.n;
    return VD_OK;
}

/* ---- speed and energy -------------------------------------------------------------------------*/

static void take_speed(const vd_bench_model *m, vd_compare_side *side)
{
    vd_bench_summary prefill = vd_bench_summarize(&m->run, true),
                     decode = vd_bench_summarize(&m->run, false);
    side->prefill_tok_s = prefill.tok_s;
    side->prefill_j_per_tok = prefill.j_per_tok;
    side->decode_tok_s = decode.tok_s;
    side->j_per_tok = decode.j_per_tok;
}

static vd_status measure(const vd_compare_options *o, const char *before, const char *after,
                         vd_compare *c, vd_err *err)
{
    const char *model[] = {before, after};
    vd_bench_args args = {.model = model, .n_models = 2, .n_prompt = PROMPT, .n_answer = ANSWER,
                          .n_batch = 1, .n_runs = RUNS, .pue = NAN, .wue_site = NAN,
                          .wue_grid = NAN, .engine = {.n_threads = o->n_threads}};
    vd_bench *bench = NULL;
    vd_meter_info info;
    vd_status st = vd_alloc_array(1, sizeof(*bench), "the measuring", &bench, err);
    if (st != VD_OK)
        return st;
    bench->args = &args;
    vd_progress_init(&bench->progress, "compare");
    st = vd_bench_models(bench, err);
    vd_progress_done(&bench->progress);
    if (st == VD_OK) {
        take_speed(&bench->model[0], &c->before);
        take_speed(&bench->model[1], &c->after);
        vd_meter_info_get(bench->meter, &info);
        c->uncertainty_pct = info.uncertainty_pct;
        snprintf(c->method, sizeof(c->method), "%s", bench->model[0].run.meter.method);
        c->n_runs = RUNS;
    }
    vd_bench_done(bench);
    vd_free(bench);
    return st;
}

/* ---- memory -----------------------------------------------------------------------------------*/

static vd_status read_all(int from, vd_buf *text, vd_err *err)
{
    char piece[4096];
    ssize_t n;
    while ((n = read(from, piece, sizeof(piece))) != 0)
        if (n > 0)
            vd_buf_append(text, piece, (size_t)n);
        else if (errno != EINTR)
            return VD_FAIL(err, VD_ERR_IO, "cannot hear a measuring process: %s", strerror(errno));
    return vd_buf_status(text, "the figures of a measuring process", err);
}

static vd_status spawn(const char *const *words, int *ret_from, pid_t *ret_pid, vd_err *err)
{
    posix_spawn_file_actions_t actions;
    int ends[2], failed;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    failed = posix_spawn_file_actions_init(&actions);
    if (failed == 0) {
        failed = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        if (failed == 0)
            failed = posix_spawn(ret_pid, "/proc/self/exe", &actions, NULL, (char *const *)words,
                                 environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (failed != 0) {
        close(ends[0]);
        return VD_FAIL(err, VD_ERR_IO, "cannot start a measuring process: %s", strerror(failed));
    }
    *ret_from = ends[0];
    return VD_OK;
}

/* The most memory that a process holds which answers with this model alone: `verdant bench`. */
static vd_status find_memory(const vd_compare_options *o, const char *model, uint64_t *ret_bytes,
                             vd_err *err)
{
    char threads[24] = "";
    const char *words[16] = {"verdant", "bench", "-p", "128", "-n", "16", "-r", "1", "--json"};
    size_t n = 9;
    int from = -1, status = 0;
    pid_t pid = 0;
    vd_buf text;
    json_t *json = NULL;
    vd_buf_init(&text, CHILD_JSON_MAX);
    snprintf(threads, sizeof(threads), "%zu", o->n_threads);
    if (o->n_threads != 0) {
        words[n++] = "-t";
        words[n++] = threads;
    }
    words[n++] = "--";
    words[n++] = model;
    vd_status st = spawn(words, &from, &pid, err);
    if (st != VD_OK)
        return st;
    st = read_all(from, &text, err);
    close(from);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (st == VD_OK && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        st = VD_FAIL(err, VD_ERR_CLOSED, "the process that measures memory failed");
    if (st == VD_OK)
        st = vd_json_parse(vd_buf_text(&text), text.n, &json, err);
    if (st == VD_OK)
        *ret_bytes = (uint64_t)json_integer_value(json_object_get(json, "peak_rss_bytes"));
    json_decref(json);
    vd_buf_done(&text);
    return st;
}

/* ---- all of it --------------------------------------------------------------------------------*/

vd_status vd_compare_run(const vd_compare_options *o, const vd_compare_input *input,
                         const char *before, const char *after, vd_compare *ret, vd_err *err)
{
    vd_compare c = {.ctx = o->ctx != 0 ? o->ctx : CTX};
    vd_status st = judge(o, input, before, after, &c, err);
    if (st == VD_OK)
        st = measure(o, before, after, &c, err);
    if (st == VD_OK)
        st = find_memory(o, before, &c.before.peak_bytes, err);
    if (st == VD_OK)
        st = find_memory(o, after, &c.after.peak_bytes, err);
    if (st == VD_OK)
        *ret = c;
    return st;
}

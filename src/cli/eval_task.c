/* eval_task.c - how many questions with choices a model answers right. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/format.h"
#include "cli/progress.h"

typedef struct task_run {
    vd_progress progress;
    size_t n;
    vd_atomic_file scores; /* stream NULL: not wanted */
} task_run;

static vd_status write_score(FILE *out, const vd_choose_answer *a, vd_err *err)
{
    json_t *log_probs = json_array(), *n_tokens = json_array();
    for (size_t i = 0; i < a->task->n_choices; i++) {
        json_array_append_new(log_probs, json_real(a->log_prob[i]));
        json_array_append_new(n_tokens, json_integer((json_int_t)a->n_tokens[i]));
    }
    json_t *line = json_pack("{s:I,s:o,s:o,s:I,s:I,s:b,s:b}", "line", (json_int_t)a->task->line,
                             "log_probs", log_probs, "n_tokens", n_tokens, "picked",
                             (json_int_t)a->picked, "picked_norm", (json_int_t)a->picked_norm,
                             "right", a->right, "right_norm", a->right_norm);
    char *text = vd_json_text(line);
    json_decref(line);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the scores");
    bool written = fputs(text, out) >= 0 && fputc('\n', out) != EOF;
    vd_free(text);
    return written ? VD_OK
                   : VD_FAIL(err, VD_ERR_IO, "cannot write the scores: %s", strerror(errno));
}

static vd_status on_answer(void *ctx, const vd_choose_answer *answer,
                           const vd_choose_result *so_far, vd_err *err)
{
    task_run *run = ctx;
    char note[64];
    snprintf(note, sizeof(note), "%.1f %% right, %.1f %% by the mean", 100 * so_far->accuracy,
             100 * so_far->accuracy_norm);
    vd_progress_update(&run->progress, so_far->n, run->n, note);
    return run->scores.stream != NULL ? write_score(run->scores.stream, answer, err) : VD_OK;
}

static int print_json(const vd_eval_args *a, const vd_choose_result *r, double seconds)
{
    vd_run_quality quality = {.ppl = NAN,
                              .ppl_stderr = NAN,
                              .kl_mean = NAN,
                              .kl_stderr = NAN,
                              .top1 = NAN,
                              .top1_stderr = NAN,
                              .accuracy = r->accuracy,
                              .accuracy_stderr = r->stderr_,
                              .n_tasks = r->n};
    json_t *out = json_pack("{s:f,s:f,s:f,s:f,s:I,s:f,s:s,s:f}", "accuracy", r->accuracy,
                            "stderr", r->stderr_, "accuracy_norm", r->accuracy_norm,
                            "stderr_norm", r->stderr_norm, "n", (json_int_t)r->n, "chance",
                            r->chance, "format",
                            r->format == VD_TASK_FORMAT_QA ? "qa" : "plain", "seconds", seconds);
    return vd_eval_put_json(a, &quality, out);
}

static void print_table(const vd_choose_result *r, double seconds)
{
    printf("accuracy        %.2f +- %.2f %%, by the sum of log-probabilities\n",
           100 * r->accuracy, 100 * r->stderr_);
    printf("accuracy, norm  %.2f +- %.2f %%, by their mean per token\n", 100 * r->accuracy_norm,
           100 * r->stderr_norm);
    printf("by chance       %.2f %%\n", 100 * r->chance);
    printf("tasks           %zu, as %s\n", r->n,
           r->format == VD_TASK_FORMAT_QA ? "\"Question: ...\\nAnswer: ...\""
                                          : "question and choice");
    printf("time            %.1f s, %.1f tasks/s\n", seconds, (double)r->n / seconds);
}

static vd_status open_scores(const vd_eval_args *a, const vd_scorer *scorer, vd_atomic_file *file,
                             vd_err *err)
{
    if (vd_file_same(a->scores, a->task) || vd_scorer_is_file(scorer, a->scores))
        return VD_FAIL(err, VD_ERR_ARG, "--scores %s is what is read; write to another file",
                       a->scores);
    return vd_atomic_file_open(a->scores, file, err);
}

int vd_eval_task(const vd_eval_args *a)
{
    vd_err err = {0};
    int status = VD_EXIT_OK;
    vd_task_set set = {0};
    vd_scorer *scorer = NULL;
    vd_choose_result result;
    task_run run = {0};
    vd_progress_init(&run.progress, "eval");
    vd_status st = vd_task_set_read(a->task, &set, &err);
    if (st != VD_OK)
        goto out;
    if (a->draw)
        vd_task_set_draw(&set, a->limit);
    else
        vd_task_set_first(&set, a->limit);
    run.n = set.n;
    st = vd_eval_open(a->model, &a->options, &scorer, &err);
    if (st == VD_OK && a->scores != NULL)
        st = open_scores(a, scorer, &run.scores, &err);
    if (st != VD_OK)
        goto out;
    uint64_t begin = vd_now_ns();
    st = vd_choose_run(scorer, &set, a->format, on_answer, &run, &result, &err);
    vd_progress_done(&run.progress);
    double seconds = (double)(vd_now_ns() - begin) * 1e-9;
    if (st == VD_OK && a->scores != NULL)
        st = vd_atomic_file_commit(&run.scores, &err);
    if (st != VD_OK)
        goto out;
    if (a->json)
        status = print_json(a, &result, seconds);
    else
        print_table(&result, seconds);
out:
    vd_atomic_file_done(&run.scores);
    vd_scorer_free(scorer);
    vd_task_set_done(&set);
    return st == VD_OK ? status : vd_cli_failed("eval", &err);
}

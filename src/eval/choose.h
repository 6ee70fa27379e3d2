/*
 * choose.h - how often a model finds the right choice of a question likeliest.
 *
 * The text of a choice is QUESTION, a space, CHOICE, tokenized whole as a prompt is. What all
 * choices of a question share in tokens is context; the log-probability of the rest is the
 * choice's. `accuracy` takes the choice with the largest sum, `accuracy_norm` the one with the
 * largest mean per token of the rest: what llama-perplexity --hellaswag and --multiple-choice
 * count. (The Evaluation Harness divides by characters instead.) The first of equals wins.
 */
#ifndef VD_EVAL_CHOOSE_H
#define VD_EVAL_CHOOSE_H

#include "eval/scorer.h"
#include "eval/tasks.h"

typedef enum vd_task_format {
    VD_TASK_FORMAT_AUTO,  /* QA for the options shape, whose questions stand bare; else PLAIN */
    VD_TASK_FORMAT_PLAIN, /* QUESTION CHOICE */
    VD_TASK_FORMAT_QA     /* Question: QUESTION\nAnswer: CHOICE */
} vd_task_format;

typedef struct vd_choose_result {
    size_t n;                     /* tasks */
    double accuracy, stderr_;     /* shares, and their standard errors */
    double accuracy_norm, stderr_norm;
    double chance;                /* what guessing would reach */
    vd_task_format format;        /* PLAIN or QA */
} vd_choose_result;

/* One task, scored. All borrowed for the call. */
typedef struct vd_choose_answer {
    const vd_task *task;
    const double *log_prob;       /* [n_choices], nats */
    const size_t *n_tokens;       /* [n_choices] that log_prob is the sum over */
    size_t picked, picked_norm;
    bool right, right_norm;
} vd_choose_answer;

/* Called once per task, in order, while the run goes on: n_done of n, the result so far. A status
 * other than VD_OK ends the run. */
typedef vd_status (*vd_choose_fn)(void *ctx, const vd_choose_answer *answer,
                                  const vd_choose_result *so_far, vd_err *err);

/* on_answer NULL: nobody is told. Refuses, before anything is computed, a task that is longer than
 * the model's context, VD_ERR_CONTEXT. */
VD_NODISCARD vd_status vd_choose_run(vd_scorer *scorer, const vd_task_set *set,
                                     vd_task_format format, vd_choose_fn on_answer, void *ctx,
                                     vd_choose_result *ret_result, vd_err *err);

#endif

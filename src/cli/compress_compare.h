/*
 * compress_compare.h - a model before and after its compression: how well it predicts a text, how
 * many questions it answers right, how fast it reads and writes, and what that takes in memory and
 * joules. All measured here, the two in turn.
 */
#ifndef VD_CLI_COMPRESS_COMPARE_H
#define VD_CLI_COMPRESS_COMPARE_H

#include "base/json.h"
#include "eval/perplexity.h"
#include "eval/tasks.h"

typedef struct vd_compare_options {
    const char *text; /* file; NULL: nothing is compared */
    const char *task; /* file; NULL: no tasks */
    size_t ctx, n_chunks, n_tasks; /* 0: the default */
    size_t n_threads;
} vd_compare_options;

/* What is read before the compression begins, so that a wrong name costs no hour. */
typedef struct vd_compare_input {
    char *text;
    size_t n_text;
    vd_task_set tasks; /* n 0: none */
} vd_compare_input;

typedef struct vd_compare_side {
    double ppl, ppl_stderr;
    double accuracy, accuracy_stderr;            /* NAN: there were no tasks */
    double prefill_tok_s, decode_tok_s, j_per_tok; /* decode's joules */
    double prefill_j_per_tok;
    uint64_t peak_bytes;                         /* 0: not known */
} vd_compare_side;

typedef struct vd_compare {
    vd_compare_side before, after;
    vd_perplexity text; /* of the model after, against the one before */
    size_t ctx, n_tasks, n_runs;
    char method[32];    /* of the meter */
    double uncertainty_pct;
} vd_compare;

/* VD_ERR_IO, VD_ERR_FORMAT, VD_ERR_NOMEM. `ret` is for vd_compare_input_done. */
VD_NODISCARD vd_status vd_compare_read(const vd_compare_options *options, vd_compare_input *ret,
                                       vd_err *err);
void vd_compare_input_done(vd_compare_input *input);

/* Whether the text is long enough for this model, before hours go into the other one. VD_ERR_ARG
 * where it is not, and as vd_gguf_open. */
VD_NODISCARD vd_status vd_compare_check(const vd_compare_options *options,
                                        const vd_compare_input *input, const char *model,
                                        vd_err *err);

/* before, after: paths of model files. Steps engines in the calling thread and starts processes of
 * this program, one after the other, for the memory of each model alone. VD_ERR_ARG where the text
 * is too short. */
VD_NODISCARD vd_status vd_compare_run(const vd_compare_options *options,
                                      const vd_compare_input *input, const char *before,
                                      const char *after, vd_compare *ret, vd_err *err);

/* Of the files, and of the compression itself. */
typedef struct vd_compare_cost {
    uint64_t bytes_before, bytes_after;
    double joules, seconds;
} vd_compare_cost;

void vd_compare_print(const vd_compare *compare, const vd_compare_cost *cost);
/* NULL when memory is short. */
json_t *vd_compare_json(const vd_compare *compare, const vd_compare_cost *cost);

#endif

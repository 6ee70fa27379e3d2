/* eval.h - what `verdant eval` can count: a text, or questions with choices. */
#ifndef VD_CLI_EVAL_H
#define VD_CLI_EVAL_H

#include <jansson.h>

#include "eval/choose.h"
#include "eval/scorer.h"
#include "report/record.h"

typedef struct vd_eval_args {
    const char *model, *text, *against, *task, *scores;
    size_t ctx, n_chunks; /* of a text; 0 chunks: all */
    size_t limit;         /* tasks; 0: all */
    vd_task_format format;
    bool draw;            /* the tasks llama-perplexity draws */
    bool json, base_fast;
    vd_scorer_options options;
    const char *base_kv; /* of the base: a word of vd_kv_type_parse; NULL: as options has it */
} vd_eval_args;

/* A path or a stored name. Chunks beyond what the model was trained for are noted on stderr. */
VD_NODISCARD vd_status vd_eval_open(const char *name, const vd_scorer_options *options,
                                    vd_scorer **ret_scorer, vd_err *err);

/* Prints `figures` (its reference is taken; NULL: memory was short) and beside them a run record of
 * the kind "eval" with `quality`. Names of files only go into it. Returns the exit status. */
int vd_eval_put_json(const vd_eval_args *args, const vd_run_quality *quality, json_t *figures);

/* Print what they found to stdout, or what went wrong to stderr; return the exit status. */
int vd_eval_text(const vd_eval_args *args);
int vd_eval_task(const vd_eval_args *args);

#endif

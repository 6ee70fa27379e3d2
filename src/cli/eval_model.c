/* eval_model.c - see eval.h: the model of an evaluation, and the record of what was found. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/format.h"
#include "cli/run_facts.h"
#include "model/store.h"

vd_status vd_eval_open(const char *name, const vd_scorer_options *options, vd_scorer **ret_scorer,
                       vd_err *err)
{
    char *path = NULL;
    vd_status st = vd_store_resolve(name, &path, err);
    if (st == VD_OK)
        st = vd_scorer_open(path, options, ret_scorer, err);
    vd_free(path);
    if (st != VD_OK)
        return st;
    size_t trained = vd_scorer_ctx_train(*ret_scorer);
    if (trained > 0 && options->max_tokens > trained)
        fprintf(stderr, "note: %s was trained for %zu tokens; chunks of %zu go beyond\n", name,
                trained, options->max_tokens);
    return VD_OK;
}

static const char *base_name(const char *path)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    return slash != NULL ? slash + 1 : path;
}

int vd_eval_put_json(const vd_eval_args *a, const vd_run_quality *quality, json_t *figures)
{
    vd_run run = {0};
    vd_run_facts facts;
    vd_err err = {0};
    char *path = NULL;
    vd_status st = vd_store_resolve(a->model, &path, &err);
    if (st == VD_OK)
        st = vd_run_facts_model("eval", a->model, path, &facts, &run, &err);
    vd_free(path);
    if (st != VD_OK) {
        json_decref(figures);
        return vd_cli_failed("eval", &err);
    }
    run.quality = *quality;
    run.quality.text = base_name(a->text);
    run.quality.task = base_name(a->task);
    run.quality.against = base_name(a->against);
    json_t *record = vd_run_json(&run);
    if (figures == NULL || json_object_update(figures, record) != 0) {
        json_decref(figures);
        figures = NULL;
    }
    json_decref(record);
    vd_run_done(&run);
    return vd_cli_put_json("eval", figures);
}

/* search.c - see search.h: from a target to a point of the front. */
#include "compress/search/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/sha256.h"
#include "compress/fingerprint.h"
#include "compress/imatrix.h"
#include "compress/search/search_internal.h"

enum { MEASURED_CHUNKS = 2 };

static size_t n_squares(const vd_gguf_tensor *tensor)
{
    return vd_gguf_tensor_experts(tensor) * (size_t)tensor->dim[0];
}

/* What a journal must be of. */
static void describe(const vd_search *s, char *ret_text, size_t n_text)
{
    const vd_gguf *gguf = s->gguf;
    const vd_search_options *o = s->options;
    char model[VD_SHA256_HEX + 1], text[VD_SHA256_HEX + 1];
    vd_sha256 sha;
    vd_sha256_init(&sha);
    vd_fingerprint_model(gguf, &sha);
    vd_sha256_end(&sha, model);
    vd_sha256_init(&sha);
    if (s->probe != NULL) {
        size_t n_tokens;
        const int32_t *tokens = vd_probe_tokens(s->probe, &n_tokens);
        vd_sha256_add(&sha, tokens, n_tokens * sizeof(*tokens));
    }
    for (size_t i = 0; s->probe == NULL && i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        if (s->squares[i] != NULL)
            vd_sha256_add(&sha, s->squares[i], n_squares(t) * sizeof(float));
    }
    vd_sha256_end(&sha, text);
    snprintf(ret_text, n_text, "1 model %s %s %s chunks of %zu, %zu measured", model,
             s->probe != NULL ? "text" : "importance", text, o->calib.ctx, o->n_measured);
}

vd_status vd_search_name(const vd_search *s, const char *end, char **ret_path, vd_err *err)
{
    vd_buf buf;
    vd_buf_init(&buf, 1 << 16);
    vd_buf_printf(&buf, "%s%s", s->target, end);
    vd_status st = vd_buf_status(&buf, "a name", err);
    *ret_path = vd_buf_take(&buf);
    vd_buf_done(&buf);
    return st;
}

/* The squares of an importance file, for each tensor that it knows. */
static vd_status read_squares(vd_search *s, const vd_imatrix *imatrix, vd_err *err)
{
    size_t n = vd_gguf_n_tensors(s->gguf), n_known = 0;
    double sum = 0;
    vd_status st = vd_alloc_array(n, sizeof(*s->squares), "importance", &s->squares, err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(s->gguf, i);
        const vd_imatrix_entry *entry = vd_imatrix_find(imatrix, t->name);
        if (entry == NULL)
            continue;
        st = vd_alloc_array(n_squares(t), sizeof(float), "importance", &s->squares[i], err);
        if (st == VD_OK)
            st = vd_imatrix_means(entry, vd_gguf_tensor_experts(t), (size_t)t->dim[0],
                                  s->squares[i], err);
        for (size_t k = 0; st == VD_OK && k < n_squares(t); k++)
            sum += (double)s->squares[i][k];
        n_known += st == VD_OK ? n_squares(t) : 0;
    }
    s->mean_square = n_known > 0 ? sum / (double)n_known : 1;
    if (st == VD_OK && n_known == 0)
        st = VD_FAIL(err, VD_ERR_ARG, "%s knows none of the model's tensors", s->imatrix);
    return st;
}

/* Costs by an importance file alone. */
static vd_status open_importance(vd_search *s, vd_err *err)
{
    const vd_search_options *o = s->options;
    vd_imatrix *imatrix = NULL;
    vd_status st = vd_gguf_open(s->source, NULL, &s->own_gguf, err);
    s->gguf = s->own_gguf;
    s->imatrix = vd_strdup(o->imatrix);
    if (st == VD_OK && s->imatrix == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a name");
    if (st == VD_OK)
        st = vd_imatrix_read(o->imatrix, &imatrix, err);
    if (st == VD_OK)
        st = read_squares(s, imatrix, err);
    vd_imatrix_free(imatrix);
    return st;
}

/* Costs by what the model says on a text. */
static vd_status open_text(vd_search *s, vd_err *err)
{
    const vd_search_options *o = s->options;
    vd_probe_options probe = {.calib = o->calib,
                              .n_measured = o->n_measured != 0 ? o->n_measured
                                                               : (size_t)MEASURED_CHUNKS};
    vd_status st = vd_search_tell(s, (vd_str){"the text", 8}, err);
    if (st == VD_OK)
        st = vd_probe_open(s->source, &probe, s->pool, &s->probe, err);
    if (st != VD_OK)
        return st;
    s->gguf = vd_probe_gguf(s->probe);
    if (o->save_imatrix == NULL)
        return vd_search_name(s, ".search.imatrix", &s->imatrix, err);
    s->imatrix = vd_strdup(o->save_imatrix);
    return s->imatrix != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory for a name");
}

/* Now and not behind the search. Journal, picture and importances lie beside it. */
static vd_status check_target(const char *target, vd_err *err)
{
    struct stat info;
    if (stat(target, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return VD_FAIL(err, VD_ERR_ARG, "%s is no ordinary file, beside which a search keeps what "
                       "it has measured", target);
    return vd_atomic_file_check(target, err);
}

static vd_status open_search(vd_search *s, vd_search_result *result, vd_err *err)
{
    char about[256], *path = NULL;
    vd_status st = check_target(s->target, err);
    if (st == VD_OK)
        st = vd_pool_create(s->options->n_threads, &s->pool, err);
    if (st == VD_OK)
        st = s->options->imatrix != NULL ? open_importance(s, err) : open_text(s, err);
    if (st == VD_OK && vd_gguf_is_file(s->gguf, s->target))
        st = VD_FAIL(err, VD_ERR_ARG, "%s is the model itself; write to another file", s->target);
    if (st == VD_OK)
        st = vd_search_name(s, ".search", &path, err);
    if (st == VD_OK) {
        describe(s, about, sizeof(about));
        st = vd_journal_open(path, about, &s->journal, err);
    }
    vd_free(path);
    path = NULL;
    /* Only behind its lock: these are another's where two search for one target. */
    if (st == VD_OK && s->probe != NULL)
        st = vd_probe_save_squares(s->probe, s->imatrix, err);
    if (st == VD_OK)
        st = vd_search_name(s, ".search.gguf", &path, err);
    if (st == VD_OK)
        unlink(path); /* of a search that was killed while it was timed */
    vd_free(path);
    if (st == VD_OK) {
        result->n_resumed = vd_journal_n(s->journal);
        result->began_anew = vd_journal_was_other(s->journal);
        st = vd_search_list(s, err);
    }
    return st;
}

static vd_status name_types(const vd_search *s, const vd_pick *pick, vd_search_result *result,
                            vd_err *err)
{
    vd_status st = vd_alloc_array(s->n, sizeof(*result->type), "the types", &result->type, err);
    for (size_t i = 0; st == VD_OK && i < s->n; i++) {
        vd_str name = s->subject[i].tensor->name;
        result->type[i] = (vd_search_tensor_type){vd_strndup(name.data, name.n),
                                                  s->subject[i].candidate[pick->choice[i]].wanted};
        uint32_t own = s->subject[i].tensor->dtype;
        result->n_requantized += vd_dtype_get(own)->block > 1 &&
                                 result->type[i].wanted.dtype != own;
        result->n_types++;
        if (result->type[i].name == NULL)
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a name");
    }
    return st;
}

static void close_search(vd_search *s)
{
    if (s->journal != NULL && s->imatrix != NULL && s->options->save_imatrix == NULL &&
        s->options->imatrix == NULL)
        unlink(s->imatrix);
    for (size_t i = 0; s->squares != NULL && i < vd_gguf_n_tensors(s->gguf); i++)
        vd_free(s->squares[i]);
    vd_free(s->squares);
    vd_free(s->imatrix);
    vd_journal_free(s->journal);
    vd_probe_free(s->probe);
    vd_gguf_free(s->own_gguf);
    vd_pool_free(s->pool);
    vd_free(s->subject);
    vd_free(s->item);
}

vd_status vd_search_run(const char *source, const char *target, const vd_search_options *options,
                        vd_search_result *ret_result, vd_err *err)
{
    vd_search s = {.options = options, .source = source, .target = target};
    vd_search_result result = {0};
    vd_pick pick = {0};
    vd_search_point chosen = {.tps = NAN, .jpt = NAN};
    vd_status st = open_search(&s, &result, err);
    if (st == VD_OK)
        st = vd_alloc_array(s.n, sizeof(*pick.choice), "a point", &pick.choice, err);
    if (st == VD_OK)
        st = vd_search_measure_costs(&s, err);
    if (st == VD_OK)
        st = vd_search_make_front(&s, &pick, &result, err);
    if (st == VD_OK)
        st = vd_search_choose(&s, &pick, &chosen, err);
    if (st == VD_OK)
        st = name_types(&s, &pick, &result, err);
    if (st == VD_OK)
        st = vd_search_build_target(&s, pick.choice, &chosen, &result, err);
    if (st == VD_OK) {
        result.source_bytes = vd_gguf_file_bytes(s.gguf);
        result.n_values = s.n_values;
        result.by_error = s.probe == NULL;
        if (s.probe != NULL) {
            result.source_ppl = vd_probe_ppl(s.probe);
            result.n_scored = vd_probe_n_scored(s.probe);
            (void)vd_probe_tokens(s.probe, &result.n_tokens);
        }
        result.chosen = chosen;
        vd_journal_remove(s.journal);
        *ret_result = result;
        result = (vd_search_result){0};
    }
    vd_search_result_done(&result);
    vd_free(pick.choice);
    close_search(&s);
    return st;
}

void vd_search_result_done(vd_search_result *result)
{
    for (size_t i = 0; i < result->n_types; i++)
        vd_free(result->type[i].name);
    vd_free(result->type);
    vd_free(result->point);
    *result = (vd_search_result){0};
}

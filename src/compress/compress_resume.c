/*
 * compress_resume.c - a compression on a calibration text that was interrupted goes on behind the
 * last layer that was saved. What is saved: the tensors' data (resume.h), the residual stream
 * behind the layer, the counts of the report, and importances that are to be written. Layers come
 * in order and what a layer was is not needed behind it, so that is all.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "compress/compress_internal.h"
#include "compress/fingerprint.h"

enum { PIECE = 1 << 20 };

/* ---- which work it is -------------------------------------------------------------------------*/

static void find_fingerprint(const vd_compress_job *j, char hex[VD_SHA256_HEX + 1])
{
    size_t n_tokens = 0;
    const int32_t *token = vd_layered_tokens(j->layered, &n_tokens);
    vd_sha256 sha;
    vd_sha256_init(&sha);
    vd_sha256_add(&sha, j->options->work, strlen(j->options->work) + 1);
    vd_sha256_add(&sha, token, n_tokens * sizeof(*token));
    vd_fingerprint_model(j->gguf, &sha);
    for (size_t i = 0; i < j->n_entries; i++) { /* a file of types may have changed */
        vd_sha256_add(&sha, &j->entries[i].dtype, sizeof(j->entries[i].dtype));
        vd_sha256_add(&sha, &j->entries[i].keep, sizeof(j->entries[i].keep));
    }
    vd_sha256_end(&sha, hex);
}

/* A device or a pipe has nothing beside it. */
static bool is_special(const char *target)
{
    struct stat info;
    return stat(target, &info) == 0 && !S_ISREG(info.st_mode);
}

vd_status vd_job_keep(vd_compress_job *j, const char *target, vd_err *err)
{
    char fingerprint[VD_SHA256_HEX + 1];
    if (j->options->work == NULL || j->layered == NULL || !vd_layered_walks(j->layered) ||
        is_special(target))
        return VD_OK;
    find_fingerprint(j, fingerprint);
    char *real = realpath(target, NULL); /* behind a symbolic link */
    vd_status st = vd_resume_open(real != NULL ? real : target, fingerprint, &j->resume, err);
    free(real);
    if (st == VD_OK && (j->told = json_array()) == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for what is kept");
    j->saved_ns = vd_now_ns();
    return st;
}

/* ---- the report -------------------------------------------------------------------------------*/

static const struct {
    const char *key;
    size_t at;
} counts[] = {{"edited", offsetof(vd_compress_job, n_edited)},
              {"zeros_before", offsetof(vd_compress_job, n_zeros_before)},
              {"zeros_after", offsetof(vd_compress_job, n_zeros_after)},
              {"weighted", offsetof(vd_compress_job, n_weighted)},
              {"rounded", offsetof(vd_compress_job, n_rounded)}};

static uint64_t *count_at(vd_compress_job *j, size_t i)
{
    return (uint64_t *)(void *)((char *)j + counts[i].at);
}

vd_status vd_job_tell(vd_compress_job *j, const vd_compress_edited *e, vd_err *err)
{
    if (j->options->edited != NULL)
        j->options->edited(j->options->ctx, e);
    if (j->told == NULL)
        return VD_OK;
    json_t *line = json_pack("{s:s%,s:I,s:I,s:I,s:o}", "name", e->name.data, e->name.n, "values",
                             (json_int_t)e->n_values, "before", (json_int_t)e->n_zeros_before,
                             "after", (json_int_t)e->n_zeros_after, "clip",
                             e->clip < (float)1e38 ? json_real((double)e->clip) : json_null());
    if (line == NULL || json_array_append_new(j->told, line) != 0)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for what is kept");
    return VD_OK;
}

/* What was told by another run is told by this one. */
static bool retell(vd_compress_job *j, const json_t *line)
{
    json_int_t values = 0, before = 0, after = 0;
    const char *name = NULL;
    json_t *clip = NULL;
    if (json_unpack((json_t *)line, "{s:s,s:I,s:I,s:I,s:o}", "name", &name, "values", &values,
                    "before", &before, "after", &after, "clip", &clip) != 0)
        return false;
    vd_compress_edited e = {.name = {name, strlen(name)},
                            .n_values = (uint64_t)values,
                            .n_zeros_before = (uint64_t)before,
                            .n_zeros_after = (uint64_t)after,
                            .clip = json_is_real(clip) ? (float)json_real_value(clip) : HUGE_VALF};
    return vd_job_tell(j, &e, NULL) == VD_OK;
}

vd_layered_report vd_job_report(const vd_compress_job *j)
{
    vd_layered_report r = j->resumed_report;
    if (j->layered == NULL)
        return r;
    vd_layered_report own = vd_layered_report_of(j->layered);
    r.damping = VD_MAX(r.damping, own.damping);
    r.n_diagonal += own.n_diagonal;
    return r;
}

static bool take_calibration(const json_t *json, vd_layered_report *ret)
{
    json_int_t n_diagonal = 0;
    double damping = 0;
    if (json_unpack((json_t *)json, "{s:F,s:I}", "damping", &damping, "diagonal", &n_diagonal) != 0)
        return false;
    *ret = (vd_layered_report){damping, (size_t)n_diagonal};
    return true;
}

static vd_status take_report(vd_compress_job *j, const json_t *more, vd_err *err)
{
    json_t *told = json_object_get(more, "told");
    bool good = json_is_array(told) &&
                take_calibration(json_object_get(more, "calibration"), &j->resumed_report);
    for (size_t i = 0; i < VD_COUNT(counts); i++) {
        json_t *value = json_object_get(more, counts[i].key);
        good = good && json_integer_value(value) >= 0 && json_is_integer(value);
        *count_at(j, i) = (uint64_t)json_integer_value(value);
    }
    for (size_t i = 0; good && i < json_array_size(told); i++)
        good = retell(j, json_array_get(told, i));
    return good ? VD_OK
                : VD_FAIL(err, VD_ERR_FORMAT, "%s/state.json says something else than it should; "
                          "remove the folder to begin anew", vd_resume_folder(j->resume));
}

static json_t *report_json(vd_compress_job *j)
{
    vd_layered_report r = vd_job_report(j);
    json_t *calibration = json_pack("{s:f,s:I}", "damping", r.damping, "diagonal",
                                    (json_int_t)r.n_diagonal);
    json_t *more = json_pack("{s:O,s:o}", "told", j->told, "calibration", calibration);
    for (size_t i = 0; more != NULL && i < VD_COUNT(counts); i++)
        if (json_object_set_new(more, counts[i].key,
                                json_integer((json_int_t)*count_at(j, i))) != 0) {
            json_decref(more);
            return NULL;
        }
    return more;
}

/* ---- importances that are to be written -------------------------------------------------------*/

static void imatrix_path(const vd_compress_job *j, size_t layer, char path[4096])
{
    snprintf(path, 4096, "%s/imatrix.%zu.gguf", vd_resume_folder(j->resume), layer);
}

static vd_status keep_imatrix(const vd_compress_job *j, size_t layer, vd_err *err)
{
    char path[4096];
    vd_imatrix_text text = {"", 0, 0};
    if (j->saved == NULL || vd_imatrix_n(j->saved) == 0)
        return VD_OK;
    imatrix_path(j, layer, path);
    return vd_imatrix_write(j->saved, path, &text, err);
}

static vd_status take_imatrix(vd_compress_job *j, size_t layer, vd_err *err)
{
    char path[4096];
    vd_imatrix *known = NULL;
    if (j->saved == NULL)
        return VD_OK;
    imatrix_path(j, layer, path);
    vd_status st = vd_imatrix_read(path, &known, err);
    if (st == VD_OK) {
        vd_imatrix_free(j->saved);
        j->saved = known;
    }
    return st;
}

static void drop_imatrix(const vd_compress_job *j, size_t layer)
{
    char path[4096];
    imatrix_path(j, layer, path);
    if (j->saved != NULL)
        (void)remove(path);
}

/* ---- going on ---------------------------------------------------------------------------------*/

vd_status vd_job_put(vd_compress_job *j, const void *bytes, size_t n, vd_err *err)
{
    vd_status st = vd_gguf_out_data(j->out, bytes, n, err);
    return st == VD_OK && j->resume != NULL ? vd_resume_add(j->resume, bytes, n, err) : st;
}

/* The data of tensor i, from what is kept into the new file. */
static vd_status replay(vd_compress_job *j, size_t i, unsigned char *piece, vd_err *err)
{
    const vd_gguf_tensor *t = j->entries[i].tensor;
    size_t row = 0;
    if (!vd_dtype_row_bytes(j->entries[i].dtype, (size_t)t->dim[0], &row))
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s: its rows are no whole blocks",
                       (int)t->name.n, t->name.data);
    uint64_t left = (uint64_t)row * t->dim[1] * t->dim[2] * t->dim[3];
    vd_status st = VD_OK;
    while (st == VD_OK && left > 0) {
        size_t n = (size_t)VD_MIN(left, (uint64_t)PIECE);
        st = vd_resume_read(j->resume, piece, n, err);
        if (st == VD_OK)
            st = vd_gguf_out_data(j->out, piece, n, err);
        left -= n;
    }
    return st;
}

vd_status vd_job_go_on(vd_compress_job *j, size_t *ret_first, vd_err *err)
{
    const vd_resume_state *state = j->resume != NULL ? vd_resume_found(j->resume) : NULL;
    unsigned char *piece = NULL;
    *ret_first = 0;
    if (state == NULL)
        return VD_OK;
    size_t first = state->n_tensors;
    if (first >= j->n_entries || j->entries[first].layer != (int64_t)state->layer ||
        (first > 0 && j->entries[first - 1].layer == (int64_t)state->layer))
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: tensor %zu of %zu does not begin layer %zu; remove "
                       "the folder to begin anew", vd_resume_folder(j->resume), state->n_tensors,
                       j->n_entries, state->layer);
    vd_status st = vd_alloc_array(PIECE, 1, "a piece", &piece, err);
    for (size_t i = 0; st == VD_OK && j->out != NULL && i < state->n_tensors; i++)
        st = replay(j, i, piece, err);
    if (st == VD_OK)
        st = vd_resume_read_end(j->resume, err);
    if (st == VD_OK)
        st = take_report(j, state->more, err);
    if (st == VD_OK)
        st = take_imatrix(j, state->layer, err);
    if (st == VD_OK)
        st = vd_layered_restore(j->layered, j->resume, state->layer, err);
    if (st == VD_OK) {
        *ret_first = state->n_tensors;
        j->last_layer = state->layer + 1;
        j->resumed = state->layer;
    }
    vd_free(piece);
    return st;
}

static vd_status save(vd_compress_job *j, size_t i, size_t layer, vd_err *err)
{
    const vd_resume_state *before = vd_resume_found(j->resume);
    size_t last = before != NULL ? before->layer : layer;
    json_t *more = report_json(j);
    if (more == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for what is kept");
    vd_resume_state state = {.n_tensors = i, .layer = layer, .more = more};
    vd_status st = keep_imatrix(j, layer, err);
    if (st == VD_OK)
        st = vd_layered_save(j->layered, j->resume, &state, err);
    if (st == VD_OK && last != layer)
        drop_imatrix(j, last);
    j->saved_ns = vd_now_ns();
    json_decref(more);
    return st;
}

vd_status vd_job_pause(vd_compress_job *j, size_t i, vd_err *err)
{
    int layer = j->entries[i].layer;
    if (j->resume == NULL || layer < 0 || j->last_layer == (size_t)layer + 1)
        return VD_OK;
    bool first = j->last_layer == 0;
    j->last_layer = (size_t)layer + 1;
    uint64_t passed_ns = vd_now_ns() - j->saved_ns;
    if (first || (double)passed_ns < j->options->keep_every_s * 1e9)
        return VD_OK;
    vd_status st = vd_layered_advance(j->layered, (size_t)layer, err);
    return st == VD_OK ? save(j, i, (size_t)layer, err) : st;
}

vd_status vd_job_say_kept(const vd_compress_job *j, vd_status st, vd_err *err)
{
    const vd_resume_state *state = j->resume != NULL ? vd_resume_found(j->resume) : NULL;
    if (st == VD_ERR_CANCELLED && state != NULL)
        return VD_FAIL(err, st, "stopped; %zu of %zu layers are kept in %s, and the same command "
                       "goes on behind them", state->layer, j->n_layer,
                       vd_resume_folder(j->resume));
    if (st == VD_ERR_IO && state != NULL && err != NULL) { /* a full disk: what takes room there */
        vd_err why = *err;
        return VD_FAIL(err, st, "%s; %zu of %zu layers are kept in %s", why.message, state->layer,
                       j->n_layer, vd_resume_folder(j->resume));
    }
    return st;
}

void vd_job_keep_end(vd_compress_job *j, bool finished)
{
    const vd_resume_state *state = j->resume != NULL ? vd_resume_found(j->resume) : NULL;
    if (finished && state != NULL)
        drop_imatrix(j, state->layer);
    vd_resume_close(j->resume, finished);
    json_decref(j->told);
    j->resume = NULL;
    j->told = NULL;
}

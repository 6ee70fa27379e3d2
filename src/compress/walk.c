/* walk.c - see walk.h: the text's tokens through one layer after the other. */
#include "compress/walk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/finite.h"

/* ---- the file of the residual stream ----------------------------------------------------------*/

static vd_status map_stream(vd_walk *w, vd_err *err)
{
    size_t n;
    size_t n_streams = w->options.cross && w->options.gram ? 2 : 1;
    if (!vd_mul_size(w->calib.n_chunks * w->calib.ctx, w->model->hp.n_embd, &n) ||
        !vd_mul_size(n, n_streams * sizeof(float), &w->x_bytes))
        return VD_FAIL(err, VD_ERR_LIMIT, "the calibration text is too long");
    const char *folder = w->options.folder;
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) { /* a file system without such files */
        char path[4096];
        int length = snprintf(path, sizeof(path), "%s/.verdant-calib-XXXXXX", folder);
        if (length < (int)sizeof(path) && (fd = mkostemp(path, O_CLOEXEC)) >= 0)
            unlink(path);
    }
    if (fd < 0)
        return VD_FAIL(err, VD_ERR_IO, "%s: no temporary file for the calibration: %s", folder,
                       strerror(errno));
    int failed = posix_fallocate(fd, 0, (off_t)w->x_bytes);
    if (failed == 0) {
        void *map = mmap(NULL, w->x_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        failed = map == MAP_FAILED ? errno : 0;
        w->x = map == MAP_FAILED ? NULL : map;
        w->whole = w->x != NULL && n_streams == 2 ? w->x + n : NULL;
    }
    close(fd);
    if (failed != 0)
        return VD_FAIL(err, VD_ERR_IO, "%s: no room for %zu bytes of the calibration: %s", folder,
                       w->x_bytes, strerror(failed));
    return VD_OK;
}

/* ---- passes -----------------------------------------------------------------------------------*/

static void begin_layer(vd_walk *w)
{
    size_t n_experts = w->model->hp.moe.n_experts;
    w->now = w->model->layer[w->layer];
    if (w->now.expert != NULL) {
        memcpy(w->experts, w->now.expert, n_experts * sizeof(*w->experts));
        w->now.expert = w->experts;
    }
}

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* Chunk i through the layer as it was, if it has not been: what its products read is kept. */
static void pass_whole(vd_walk *w, size_t i, vd_input_fn input)
{
    size_t ctx = w->calib.ctx;
    vd_model_part part = {.first = w->layer, .end = w->layer + 1,
                          .layer = &w->model->layer[w->layer],
                          .x = w->whole + i * ctx * w->model->hp.n_embd};
    vd_batch batch = {.n_tokens = ctx, .token = w->calib.token + i * ctx, .pos = w->pos,
                      .seq = w->seqs, .input = input, .input_ctx = w, .part = &part};
    vd_forward_run(w->forward, &batch);
}

static vd_status fail_not_finite(const vd_walk *w, vd_err *err)
{
    char what[32];
    snprintf(what, sizeof(what), "layer %zu", w->layer);
    return vd_finite_fail(w->model->gguf, what, err);
}

/* All chunks through the layer as it is now; what comes out is kept or not. */
static vd_status pass(vd_walk *w, vd_input_fn input, bool keep, vd_err *err)
{
    size_t ctx = w->calib.ctx, c = w->model->hp.n_embd, n_all = w->calib.n_chunks;
    float *scratch = NULL;
    bool whole = w->whole != NULL && w->whole_layer == w->layer;
    vd_status st = vd_alloc_array(ctx * c, sizeof(float), "a chunk", &scratch, err);
    vd_walk_begin_stream(w);
    for (size_t i = 0; st == VD_OK && i < n_all; i++) {
        float *x = w->x + i * ctx * c;
        if (whole)
            pass_whole(w, i, input != NULL ? vd_walk_on_whole_input : NULL);
        if (!keep || w->options.passed != NULL)
            memcpy(scratch, x, ctx * c * sizeof(float));
        vd_model_part part = {.first = w->layer, .end = w->layer + 1, .layer = &w->now,
                              .x = keep ? x : scratch};
        vd_batch batch = {.n_tokens = ctx, .token = w->calib.token + i * ctx, .pos = w->pos,
                          .seq = w->seqs, .input = input, .input_ctx = w, .part = &part};
        vd_forward_run(w->forward, &batch);
        vd_walk_add_grams(w);
        if (keep && w->options.passed != NULL)
            w->options.passed(w->options.passed_ctx, w->layer, scratch, x, ctx);
        if (!all_finite(part.x, ctx * c))
            st = fail_not_finite(w, err);
        else if (w->options.progress != NULL &&
                 !w->options.progress(w->options.ctx, w->layer, i + 1 + (keep ? n_all : 0),
                                      2 * n_all))
            st = VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    }
    if (whole)
        w->whole_layer++;
    vd_free(scratch);
    return st;
}

static vd_status make_buffers(vd_walk *w, vd_err *err)
{
    const vd_hparams *hp = &w->model->hp;
    size_t ctx = w->calib.ctx;
    w->n_slots = SLOT_EXPERTS + 2 * hp->moe.n_experts;
    vd_status st = vd_alloc_array(w->n_slots, sizeof(*w->slot), "moments", &w->slot, err);
    if (st == VD_OK)
        st = vd_alloc_array(ctx, sizeof(*w->pos), "positions", &w->pos, err);
    if (st == VD_OK)
        st = vd_alloc_array(ctx, sizeof(*w->seqs), "positions", &w->seqs, err);
    if (st == VD_OK && hp->moe.n_experts > 0)
        st = vd_alloc_array(hp->moe.n_experts, sizeof(*w->experts), "experts", &w->experts, err);
    if (st == VD_OK)
        st = vd_kv_create(hp, VD_DTYPE_F32, ctx, &w->kv, err);
    if (st == VD_OK)
        st = vd_kv_seq_init(w->kv, ctx, &w->seq, err);
    if (st == VD_OK && !vd_kv_seq_reserve(w->kv, &w->seq, ctx))
        st = VD_FAIL(err, VD_ERR_NOMEM, "no room for %zu positions", ctx);
    if (st == VD_OK)
        st = vd_forward_create(w->model, w->kv, w->pool, ctx, ctx, &w->forward, err);
    for (size_t i = 0; st == VD_OK && i < ctx; i++) {
        w->pos[i] = (uint32_t)i;
        w->seqs[i] = &w->seq;
    }
    return st;
}

vd_status vd_walk_open(const char *path, const vd_walk_options *options, vd_pool *pool,
                       const vd_linalg *linalg, vd_walk **ret_walk, vd_err *err)
{
    vd_walk *w = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*w), "the calibration", &w, err);
    if (st != VD_OK)
        return st;
    w->options = *options;
    w->pool = pool;
    w->linalg = linalg;
    st = vd_model_open(path, VD_PRECISION_EXACT, pool, &w->model, err);
    if (st == VD_OK && w->model->hp.block.encoder)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s is an encoder; calibration needs a model that "
                     "writes text", w->model->arch->name);
    if (st == VD_OK)
        st = vd_calib_read(w->model->gguf, &options->calib, &w->calib, err);
    if (st == VD_OK && w->calib.ctx > vd_model_ctx_max(w->model))
        st = VD_FAIL(err, VD_ERR_CONTEXT, "chunks of %zu tokens; the model has positions for %zu",
                     w->calib.ctx, vd_model_ctx_max(w->model));
    if (st == VD_OK)
        st = make_buffers(w, err);
    if (st == VD_OK)
        st = map_stream(w, err);
    if (st == VD_OK)
        st = vd_walk_begin(w, err);
    if (st == VD_OK) {
        begin_layer(w);
        *ret_walk = w;
        w = NULL;
    }
    vd_walk_free(w);
    return st;
}

void vd_walk_free(vd_walk *w)
{
    if (w == NULL)
        return;
    vd_walk_drop_changes(w);
    for (size_t i = 0; w->slot != NULL && i < w->n_slots; i++) {
        vd_free(w->slot[i].square);
        vd_free(w->slot[i].gram);
        vd_free(w->slot[i].cross);
    }
    if (w->x != NULL)
        munmap(w->x, w->x_bytes);
    vd_forward_free(w->forward);
    if (w->kv != NULL)
        vd_kv_seq_done(w->kv, &w->seq);
    vd_kv_free(w->kv);
    vd_free(w->slot);
    for (size_t i = 0; i < SLOT_EXPERTS; i++) {
        vd_free(w->kept[i].x);
        vd_free(w->kept[i].whole);
    }
    vd_free(w->gram);
    vd_free(w->pos);
    vd_free(w->seqs);
    vd_free(w->experts);
    vd_free(w->embed_rows);
    vd_free(w->in_text);
    vd_free(w->head.square);
    vd_free(w->head.gram);
    vd_calib_done(&w->calib);
    vd_model_free(w->model);
    vd_free(w);
}

float *vd_walk_stream(vd_walk *walk, size_t *ret_bytes)
{
    *ret_bytes = walk->x_bytes;
    return walk->x;
}

vd_status vd_walk_go_on(vd_walk *w, size_t layer, vd_err *err)
{
    if (layer >= w->model->hp.n_layer)
        return VD_FAIL(err, VD_ERR_FORMAT, "there is no layer %zu to go on with", layer);
    w->layer = w->whole_layer = layer;
    w->embedded = true;
    begin_layer(w);
    return VD_OK;
}

size_t vd_walk_layer(const vd_walk *walk)
{
    return walk->layer;
}

const int32_t *vd_walk_tokens(const vd_walk *walk)
{
    return walk->calib.token;
}

size_t vd_walk_n_tokens(const vd_walk *walk)
{
    return walk->calib.n_chunks * walk->calib.ctx;
}

vd_status vd_walk_gather(vd_walk *w, vd_err *err)
{
    vd_status st = vd_walk_prepare_moments(w, err);
    return st == VD_OK ? pass(w, vd_walk_on_input, false, err) : st;
}

vd_status vd_walk_through(vd_walk *w, vd_err *err)
{
    vd_status st = vd_walk_prepare_moments(w, err);
    if (st == VD_OK)
        st = pass(w, vd_walk_on_input, true, err);
    w->passed = st == VD_OK;
    return st;
}

vd_status vd_walk_next(vd_walk *w, vd_err *err)
{
    vd_status st = w->passed ? VD_OK : pass(w, NULL, true, err);
    w->passed = false;
    vd_walk_drop_changes(w);
    if (st == VD_OK && ++w->layer < w->model->hp.n_layer)
        begin_layer(w);
    return st;
}

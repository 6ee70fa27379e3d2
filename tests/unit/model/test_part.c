/* test_part.c - some layers of a model instead of all, and a look at what products read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "energy/energy.h" /* who counts a pass's joules reads both: no name is of two things */
#include "model/forward.h"
#include "tiny_model.h"

enum { T = 24 };

typedef struct bench {
    char path[64];
    vd_pool *pool;
    vd_model *model;
    vd_kv *kv;
    vd_kv_seq seq;
    vd_forward *forward;
    int32_t token[T];
    uint32_t pos[T], out[T];
    const vd_kv_seq *seqs[T];
    float x[T * TINY_C], logits[T * TINY_V];
    vd_batch batch;
} bench;

static void open_bench(bench *b, vd_precision precision)
{
    memset(b, 0, sizeof(*b));
    snprintf(b->path, sizeof(b->path), "/tmp/verdant-test-part-XXXXXX");
    close(mkstemp(b->path));
    tiny_write(b->path, 3, "llama");
    assert_int_equal(vd_pool_create(2, &b->pool, NULL), VD_OK);
    assert_int_equal(vd_model_open(b->path, precision, b->pool, &b->model, NULL), VD_OK);
    assert_int_equal(vd_kv_create(&b->model->hp, VD_DTYPE_F32, T, &b->kv, NULL), VD_OK);
    assert_int_equal(vd_kv_seq_init(b->kv, T, &b->seq, NULL), VD_OK);
    assert_true(vd_kv_seq_reserve(b->kv, &b->seq, T));
    assert_int_equal(vd_forward_create(b->model, b->kv, b->pool, T, T, &b->forward, NULL), VD_OK);
    for (uint32_t i = 0; i < T; i++) {
        b->token[i] = (int32_t)(i * 11 % 251);
        b->pos[i] = b->out[i] = i;
        b->seqs[i] = &b->seq;
    }
    b->batch = (vd_batch){.n_tokens = T, .token = b->token, .pos = b->pos, .seq = b->seqs,
                          .n_out = T, .out = b->out, .logits = b->logits};
}

static void close_bench(bench *b)
{
    vd_forward_free(b->forward);
    vd_kv_seq_done(b->kv, &b->seq);
    vd_kv_free(b->kv);
    vd_model_free(b->model);
    vd_pool_free(b->pool);
    unlink(b->path);
}

static void layer_by_layer_gives_the_bits_of_the_whole(void **state)
{
    bench b;
    float whole[T * TINY_V];
    open_bench(&b, VD_PRECISION_FAST);
    vd_forward_run(b.forward, &b.batch);
    memcpy(whole, b.logits, sizeof(whole));
    memset(b.logits, 0, sizeof(b.logits));
    for (size_t layer = 0; layer < TINY_LAYERS; layer++) {
        vd_model_part part = {.first = layer, .end = layer + 1, .embed = layer == 0, .x = b.x};
        b.batch.part = &part;
        b.batch.n_out = layer + 1 == TINY_LAYERS ? T : 0;
        vd_forward_run(b.forward, &b.batch);
    }
    assert_memory_equal(whole, b.logits, sizeof(whole));
    close_bench(&b);
}

static void other_weights_take_the_place_of_the_models(void **state)
{
    bench b;
    float plain[T * TINY_C];
    open_bench(&b, VD_PRECISION_EXACT);
    vd_model_part part = {.first = 0, .end = 1, .embed = true, .x = b.x};
    b.batch.part = &part;
    b.batch.n_out = 0;
    vd_forward_run(b.forward, &b.batch);
    memcpy(plain, b.x, sizeof(plain));

    vd_layer layer = b.model->layer[0];
    vd_weight *down = &layer.ffn.down.weight;
    size_t n = down->n_rows * down->n_cols;
    float *rows = vd_calloc(n, sizeof(*rows));
    assert_non_null(rows);
    vd_dtype_decode(down->dtype, down->rows, rows, n);
    assert_int_equal(vd_weight_prepare(b.model->kernels, VD_PRECISION_EXACT, VD_DTYPE_F32,
                                       down->n_rows, down->n_cols, rows, down, NULL), VD_OK);
    part.layer = &layer;
    vd_forward_run(b.forward, &b.batch);
    for (size_t i = 0; i < VD_COUNT(plain); i++)
        assert_true(fabsf(b.x[i] - plain[i]) <= 1e-5f * (1 + fabsf(plain[i])));
    memset(rows, 0, n * sizeof(*rows));
    vd_forward_run(b.forward, &b.batch);
    assert_memory_not_equal(b.x, plain, sizeof(plain));
    vd_free(rows);
    close_bench(&b);
}

/* What the products of the first layer read. */
typedef struct seen {
    const vd_layer *layer;
    size_t n_calls;
    float q[T * TINY_C], v[T * TINY_C], down[T * TINY_F];
} seen;

static void on_input(void *ctx, const vd_dense *dense, const float *x, size_t n, size_t width,
                     size_t ld_x)
{
    seen *s = ctx;
    float *to = dense == &s->layer->q          ? s->q
                : dense == &s->layer->v        ? s->v
                : dense == &s->layer->ffn.down ? s->down
                                               : NULL;
    assert_int_equal(n, T);
    s->n_calls++;
    for (size_t t = 0; to != NULL && t < n; t++)
        memcpy(to + t * width, x + t * ld_x, width * sizeof(float));
}

static void inputs_are_shown_as_the_products_read_them(void **state)
{
    static seen s;
    bench b;
    float normed[TINY_C];
    open_bench(&b, VD_PRECISION_EXACT);
    s = (seen){.layer = &b.model->layer[0]};
    vd_model_part part = {.first = 0, .end = 1, .embed = true, .x = b.x};
    b.batch.part = &part;
    b.batch.n_out = 0;
    b.batch.input = on_input;
    b.batch.input_ctx = &s;
    vd_forward_run(b.forward, &b.batch);
    assert_int_equal(s.n_calls, 7);
    assert_memory_equal(s.q, s.v, sizeof(s.q));
    for (size_t t = 0; t < T; t++) {
        float x[TINY_C];
        vd_model_embed(b.model, b.token[t], t, x);
        b.model->kernels->rms_norm(x, s.layer->attn_norm.weight, b.model->hp.norm_eps, normed,
                                   TINY_C);
        assert_memory_equal(normed, s.q + t * TINY_C, sizeof(normed));
    }
    float most = 0;
    for (size_t i = 0; i < VD_COUNT(s.down); i++)
        most = fmaxf(most, fabsf(s.down[i]));
    assert_true(most > 0);
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_by_layer_gives_the_bits_of_the_whole),
        cmocka_unit_test(other_weights_take_the_place_of_the_models),
        cmocka_unit_test(inputs_are_shown_as_the_products_read_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

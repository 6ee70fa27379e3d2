/*
 * fuzz_model.c - libFuzzer target for running a model: metadata and tensors by a stranger, in both
 * precisions. A file is refused with a message, or a few of its tokens are computed, whatever
 * numbers it holds, in one batch and in several.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "model/forward.h"

enum { N_TOKENS = 24, STEP = 10 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static vd_pool *pool;          /* made once: looking at the machine takes longer than a model */
static volatile double sink;   /* keeps the reads */

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    require(vd_pool_create(1, &pool, NULL) == VD_OK);
    return 0;
}

/* Tokens [begin, end), of which the last one's logits are wanted, or an encoder's embedding. */
static void run_batch(vd_forward *f, const vd_model *model, const vd_kv_seq *seq, size_t begin,
                      size_t end, float *row)
{
    int32_t token[STEP];
    uint32_t pos[STEP], out = (uint32_t)(end - begin - 1);
    const vd_kv_seq *seqs[STEP];
    for (size_t i = 0; i < end - begin; i++) {
        token[i] = (int32_t)((begin + i) * 7 % model->hp.n_vocab);
        pos[i] = (uint32_t)(begin + i);
        seqs[i] = seq;
    }
    bool encoder = model->hp.block.encoder;
    vd_batch batch = {.n_tokens = end - begin, .token = token, .pos = pos, .seq = seqs,
                      .n_out = encoder ? 0 : 1, .out = &out, .logits = row,
                      .n_embed = 1, .embed = &out};
    float *embedding = calloc(model->hp.n_embd, sizeof(*embedding));
    require(embedding != NULL);
    batch.embeddings = embedding;
    vd_forward_run(f, &batch);
    for (size_t i = 0; i < (encoder ? model->hp.n_embd : model->hp.n_vocab); i++)
        sink += (double)(encoder ? embedding[i] : row[i]);
    free(embedding);
}

static void compute(const vd_model *model, vd_dtype kv_dtype)
{
    vd_kv *kv = NULL;
    vd_kv_seq seq = {0};
    vd_forward *f = NULL;
    size_t n = VD_MIN((size_t)N_TOKENS, vd_model_ctx_max(model));
    float *logits = calloc(model->hp.n_vocab, sizeof(*logits));
    if (logits == NULL || vd_kv_create(&model->hp, kv_dtype, n, &kv, NULL) != VD_OK)
        goto out;
    if (vd_kv_seq_init(kv, n, &seq, NULL) != VD_OK || !vd_kv_seq_reserve(kv, &seq, n) ||
        vd_forward_create(model, kv, pool, STEP, n, &f, NULL) != VD_OK)
        goto out;
    for (size_t at = 0; at < n;) { /* 10, then one by one, then the rest; an encoder the first 10 */
        size_t step = at == 0 || at > 14 ? VD_MIN((size_t)STEP, n - at) : 1;
        if (at > 0 && model->hp.block.encoder)
            break;
        run_batch(f, model, &seq, at, at + step, logits);
        at += step;
    }
out:
    vd_forward_free(f);
    if (kv != NULL)
        vd_kv_seq_done(kv, &seq);
    vd_kv_free(kv);
    free(logits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("model", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    for (int exact = 0; exact < 2; exact++) {
        vd_model *model = NULL;
        vd_err err = {0};
        vd_status st = vd_model_open(path, exact ? VD_PRECISION_EXACT : VD_PRECISION_FAST, pool,
                                     &model, &err);
        require((st == VD_OK) == (model != NULL) && (st == VD_OK || err.message[0] != '\0'));
        if (st == VD_OK)
            compute(model, exact ? VD_DTYPE_F32 : VD_DTYPE_F16);
        vd_model_free(model);
    }
    close(fd);
    return 0;
}

/* fingerprint.c - see fingerprint.h. */
#include "compress/fingerprint.h"

#include "base/checked.h"

enum { SAMPLES = 4, SAMPLE_BYTES = 4096 };

static void add_data(const vd_gguf_tensor *t, vd_sha256 *sha)
{
    if (t->n_bytes <= (uint64_t)SAMPLES * SAMPLE_BYTES) {
        vd_sha256_add(sha, t->data, (size_t)t->n_bytes);
        return;
    }
    uint64_t step = (t->n_bytes - SAMPLE_BYTES) / (SAMPLES - 1);
    for (uint64_t i = 0; i + 1 < SAMPLES; i++)
        vd_sha256_add(sha, t->data + i * step, SAMPLE_BYTES);
    vd_sha256_add(sha, t->data + (t->n_bytes - SAMPLE_BYTES), SAMPLE_BYTES);
}

void vd_fingerprint_model(const vd_gguf *gguf, vd_sha256 *sha)
{
    vd_sha256_add(sha, VD_VERSION, sizeof(VD_VERSION));
    for (size_t i = 0; i < vd_gguf_n_kv(gguf); i++) {
        const vd_gguf_kv *kv = vd_gguf_kv_at(gguf, i);
        uint32_t type[2] = {kv->type, kv->item_type};
        vd_sha256_add(sha, kv->key.data, kv->key.n);
        vd_sha256_add(sha, type, sizeof(type));
        vd_sha256_add(sha, &kv->n_items, sizeof(kv->n_items));
        vd_sha256_add(sha, kv->data, vd_gguf_kv_bytes(kv));
    }
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        vd_sha256_add(sha, t->name.data, t->name.n);
        vd_sha256_add(sha, &t->dtype, sizeof(t->dtype));
        vd_sha256_add(sha, t->dim, sizeof(t->dim));
        add_data(t, sha);
    }
}

/*
 * fuzz_imatrix.c - libFuzzer target for importance files, GGUF and .dat: any bytes are refused with
 * a message or give entries whose sizes agree and whose values are finite and not negative.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "compress/imatrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void walk(const vd_imatrix_entry *e)
{
    require(e->n_sums > 0 && e->n_counts > 0 && e->n_sums % e->n_counts == 0);
    require(e->n_cols == 0 || e->n_cols * e->n_counts == e->n_sums);
    require(e->name[0] != '\0');
    float *means = vd_calloc(e->n_sums, sizeof(*means));
    if (means == NULL)
        return;
    require(vd_imatrix_means(e, e->n_counts, e->n_sums / e->n_counts, means, NULL) == VD_OK);
    for (size_t i = 0; i < e->n_sums; i++)
        require(isfinite(e->sum[i]) && e->sum[i] >= 0 && isfinite(means[i]) && means[i] >= 0);
    require(vd_imatrix_means(e, e->n_counts, e->n_sums + 1, means, NULL) == VD_ERR_FORMAT);
    vd_free(means);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vd_imatrix *imatrix = NULL;
    vd_err err = {0};
    vd_status st = vd_imatrix_parse("f", data, size, &imatrix, &err);
    if (st != VD_OK) {
        require(imatrix == NULL && err.status == st && err.message[0] != '\0');
        return 0;
    }
    require(vd_imatrix_n(imatrix) > 0);
    for (size_t i = 0; i < vd_imatrix_n(imatrix); i++) {
        const vd_imatrix_entry *e = vd_imatrix_at(imatrix, i);
        require(vd_imatrix_find(imatrix, (vd_str){e->name, strlen(e->name)}) == e);
        walk(e);
    }
    vd_imatrix_free(imatrix);
    return 0;
}

/* bench_limit.c - see bench_limit.h. */
#include "cli/bench_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "engine/engine.h"

static bool has(const vd_gguf_tensor *t, const char *part)
{
    return memmem(t->name.data, t->name.n, part, strlen(part)) != NULL;
}

/* How much of a tensor one token reads, in parts of one: 0 of tables of which it reads a row. */
static double part_read(const vd_model *model, const vd_gguf_tensor *t)
{
    const vd_moe_params *moe = &model->hp.moe;
    bool own_output = vd_gguf_find_tensor(model->gguf, "output.weight") != NULL;
    if (has(t, "position_embd.") || has(t, "token_types.") ||
        (has(t, "token_embd.weight") && (own_output || model->hp.block.encoder)))
        return 0;
    if (has(t, "_exps.") && moe->n_experts > 0)
        return (double)moe->n_used / (double)moe->n_experts;
    return 1;
}

uint64_t vd_bench_weight_bytes(const vd_engine *e)
{
    double bytes = 0;
    for (size_t i = 0; i < vd_gguf_n_tensors(e->model->gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(e->model->gguf, i);
        bytes += (double)t->n_bytes * part_read(e->model, t);
    }
    return (uint64_t)bytes;
}

uint64_t vd_bench_products(const vd_engine *e, bool prefill)
{
    double n = 0;
    for (size_t i = 0; i < vd_gguf_n_tensors(e->model->gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(e->model->gguf, i);
        bool output = !has(t, "blk.");
        if (t->n_dims >= 2 && !(output && prefill))
            n += (double)(t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3]) *
                 part_read(e->model, t);
    }
    return (uint64_t)n;
}

uint64_t vd_bench_kv_bytes(const vd_engine *e, size_t depth)
{
    const vd_hparams *hp = &e->model->hp;
    vd_engine_info info = vd_engine_info_get(e);
    uint64_t tokens = 0;
    for (size_t i = 0; i < hp->n_layer; i++)
        tokens += hp->local[i] && hp->window > 0 ? VD_MIN(depth, hp->window) : depth;
    if (info.kv_tokens == 0 || hp->n_layer == 0)
        return 0;
    return (uint64_t)((double)info.kv_bytes / (double)info.kv_tokens / (double)hp->n_layer *
                      (double)tokens);
}

/* The number behind `field` in a file of lines "Field:   123 kB", in bytes; 0: there is none. */
static uint64_t read_kb(const char *path, const char *field)
{
    char line[256];
    size_t n = strlen(field);
    uint64_t bytes = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (bytes == 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, field, n) == 0 && line[n] == ':')
            bytes = strtoull(line + n + 1, NULL, 10) * 1024;
    fclose(file);
    return bytes;
}

uint64_t vd_bench_pss_bytes(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    return read_kb(path, "Pss");
}

/* Not ru_maxrss, which a program inherits from the one that started it. */
uint64_t vd_bench_peak_bytes(void)
{
    return read_kb("/proc/self/status", "VmHWM");
}

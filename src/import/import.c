/* import.c - see import.h. */
#include "import/import.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "import/folder.h"
#include "import/template.h"
#include "import/values.h"
#include "import/vocabulary.h"

enum { QUANTIZATION_VERSION = 2, ALIGNMENT = 32, NAME_MAX = 128 };

typedef struct job {
    const vd_import_options *options;
    const char *folder;
    vd_notes *notes;
    const vd_family *family;
    vd_config config;
    vd_checkpoint *checkpoint;
    vd_plan plan;
    vd_vocabulary vocabulary;
    vd_dtype type;
    vd_gguf_out *out;
    uint64_t done;
    const char *tensor; /* being written */
    bool has_template;
} job;

static vd_status put(void *ctx, const void *bytes, size_t n, vd_err *err)
{
    job *j = ctx;
    const vd_import_options *o = j->options;
    vd_status st = vd_gguf_out_data(j->out, bytes, n, err);
    j->done += n;
    if (st == VD_OK && o->progress != NULL &&
        !o->progress(o->ctx, j->done, vd_gguf_out_file_bytes(j->out), j->tensor))
        st = VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    return st;
}

/* The folder's own name, without slashes at its end. */
static void folder_name(const char *folder, char name[NAME_MAX])
{
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && folder[begin - 1] != '/')
        begin--;
    snprintf(name, NAME_MAX, "%.*s", (int)(end - begin < NAME_MAX ? end - begin : NAME_MAX - 1),
             folder + begin);
}

/* "135M", "1.1B": two digits at least. */
static void size_label(double n, char *label, size_t size)
{
    static const struct {
        double unit;
        char letter;
    } units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    size_t i = 0;
    while (i < 3 && n < units[i].unit)
        i++;
    double scaled = n / units[i].unit;
    double rounded = nearbyint(scaled);
    snprintf(label, size, "%.*f%c", rounded >= 10 ? 0 : rounded >= 1 ? 1 : 2, scaled,
             units[i].letter);
}

static void write_general(const job *j)
{
    char name[NAME_MAX], one[24], label[48];
    uint32_t file_type = j->type == VD_DTYPE_F32 ? 0 : j->type == VD_DTYPE_F16 ? 1 : 32;
    uint32_t n_experts = 0;
    double n = (double)j->plan.n_values;
    folder_name(j->folder, name);
    vd_gguf_out_str(j->out, "general.architecture", j->family->arch);
    vd_gguf_out_str(j->out, "general.type", "model");
    vd_gguf_out_str(j->out, "general.name", j->options->name != NULL ? j->options->name : name);
    if (vd_config_u32(&j->config, "num_local_experts num_experts", &n_experts, NULL) == VD_OK &&
        n_experts > 0) /* of one expert with all that is shared */
        n -= (double)j->plan.n_expert_values * (1 - 1.0 / n_experts);
    size_label(n, one, sizeof(one));
    if (n_experts > 0)
        snprintf(label, sizeof(label), "%ux%s", n_experts, one);
    else
        snprintf(label, sizeof(label), "%s", one);
    vd_gguf_out_str(j->out, "general.size_label", label);
    vd_gguf_out_u32(j->out, "general.file_type", file_type);
    vd_gguf_out_u32(j->out, "general.quantization_version", QUANTIZATION_VERSION);
}

static vd_status write_head(job *j, vd_err *err)
{
    const vd_meta meta = {j->out, j->family->arch, &j->config, j->notes};
    write_general(j);
    vd_status st = vd_meta_write(j->family, &meta, err);
    if (st == VD_OK)
        st = vd_pooling_write(j->folder, j->family->arch, j->out, err);
    if (st != VD_OK)
        return st;
    vd_vocabulary_write(&j->vocabulary, j->out);
    st = vd_template_write(j->folder, j->out, &j->has_template, err);
    for (size_t i = 0; st == VD_OK && i < j->plan.n; i++) {
        const vd_out_tensor *t = &j->plan.tensor[i];
        vd_gguf_out_tensor(j->out, (vd_str){t->name, strlen(t->name)}, t->dtype, t->n_dims,
                           t->dim);
    }
    return st == VD_OK ? vd_gguf_out_begin(j->out, err) : st;
}

static vd_status prepare(job *j, vd_err *err)
{
    vd_status st = vd_config_open(j->folder, &j->config, err);
    if (st == VD_OK)
        st = vd_family_find(j->config.architecture, &j->family, err);
    if (st == VD_OK)
        st = vd_checkpoint_open(j->folder, &j->checkpoint, err);
    if (st != VD_OK)
        return st;
    j->type = j->options->natural ? vd_plan_natural_type(j->checkpoint) : j->options->type;
    st = vd_plan_make(j->family, &j->config, j->checkpoint, j->type, &j->plan, err);
    if (st != VD_OK)
        return st;
    const vd_vocabulary_options options = {.pre = j->options->pre, .arch = j->family->arch,
                                           .n = j->plan.n_vocab};
    return vd_vocabulary_load(j->folder, &j->config, &options, j->notes, &j->vocabulary, err);
}

static vd_status write(job *j, const char *target, vd_import_result *ret_result, vd_err *err)
{
    if (vd_checkpoint_is_file(j->checkpoint, target) || vd_folder_is_file(j->folder, target))
        return VD_FAIL(err, VD_ERR_ARG, "%s is a part of the model itself; write to another file",
                       target);
    vd_status st = vd_gguf_out_open(target, ALIGNMENT, &j->out, err);
    if (st == VD_OK)
        st = write_head(j, err);
    for (size_t i = 0; st == VD_OK && i < j->plan.n; i++) {
        j->tensor = j->plan.tensor[i].name;
        st = vd_values_write(&j->plan, &j->plan.tensor[i], put, j, err);
    }
    if (st != VD_OK)
        return st;
    vd_import_result result = {.arch = j->family->arch,
                               .tokenizer = j->vocabulary.model,
                               .pre = j->vocabulary.pre,
                               .type = j->type,
                               .n_tensors = j->plan.n,
                               .n_files = vd_checkpoint_n_files(j->checkpoint),
                               .n_values = j->plan.n_values,
                               .n_tokens = j->plan.n_vocab,
                               .bytes_before = vd_checkpoint_bytes(j->checkpoint),
                               .bytes_after = vd_gguf_out_file_bytes(j->out),
                               .has_template = j->has_template};
    st = vd_gguf_out_commit(j->out, err);
    if (st == VD_OK)
        *ret_result = result;
    return st;
}

vd_status vd_import_run(const char *folder, const char *target, const vd_import_options *options,
                        vd_notes *notes, vd_import_result *ret_result, vd_err *err)
{
    job j = {.options = options, .folder = folder, .notes = notes};
    vd_status st = prepare(&j, err);
    if (st == VD_OK)
        st = write(&j, target, ret_result, err);
    vd_gguf_out_free(j.out);
    vd_vocabulary_done(&j.vocabulary);
    vd_plan_done(&j.plan);
    vd_checkpoint_free(j.checkpoint);
    vd_config_done(&j.config);
    return st;
}

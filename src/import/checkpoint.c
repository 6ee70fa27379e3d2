/* checkpoint.c - see checkpoint.h. */
#include "import/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/strmap.h"
#include "import/folder.h"

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

enum { FILES_MAX = 4096 };

typedef struct part {
    const char *name; /* borrowed from the index, or static */
    char *path;
    vd_safetensors *file;
} part;

struct vd_checkpoint {
    json_t *index; /* NULL for a single file */
    part *part;
    size_t n_parts;
    const vd_st_tensor **tensor; /* of all parts, one after the other */
    size_t n;
    vd_strmap by_name;
    uint64_t n_bytes;
};

void vd_checkpoint_free(vd_checkpoint *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->n_parts; i++) {
        vd_safetensors_free(c->part[i].file);
        vd_free(c->part[i].path);
    }
    vd_free(c->part);
    vd_free(c->tensor);
    vd_strmap_done(&c->by_name);
    json_decref(c->index);
    vd_free(c);
}

size_t vd_checkpoint_n(const vd_checkpoint *c)
{
    return c->n;
}

const vd_st_tensor *vd_checkpoint_at(const vd_checkpoint *c, size_t i)
{
    return c->tensor[i];
}

const vd_st_tensor *vd_checkpoint_find(const vd_checkpoint *c, const char *name)
{
    uint32_t i;
    return vd_strmap_get(&c->by_name, name, strlen(name), &i) ? c->tensor[i] : NULL;
}

uint64_t vd_checkpoint_bytes(const vd_checkpoint *c)
{
    return c->n_bytes;
}

size_t vd_checkpoint_n_files(const vd_checkpoint *c)
{
    return c->n_parts;
}

bool vd_checkpoint_is_file(const vd_checkpoint *c, const char *path)
{
    for (size_t i = 0; i < c->n_parts; i++)
        if (vd_file_same(c->part[i].path, path))
            return true;
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const part *)a)->name, ((const part *)b)->name);
}

/* The files that the index names, each once. */
static vd_status list_parts(vd_checkpoint *c, vd_err *err)
{
    const char *key;
    json_t *value, *map = json_object_get(c->index, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: weight_map must name the file of each tensor",
                       index_name);
    vd_status st = vd_alloc_array(json_object_size(map), sizeof(*c->part), "the list of files",
                                  &c->part, err);
    if (st != VD_OK)
        return st;
    size_t n = 0;
    json_object_foreach (map, key, value) {
        const char *name = json_string_value(value);
        if (name == NULL || name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "%s: the file of tensor %.128s must be a name in the same folder",
                           index_name, key);
        if (n == 0 || strcmp(c->part[n - 1].name, name) != 0)
            c->part[n++].name = name;
    }
    qsort(c->part, n, sizeof(*c->part), by_name);
    for (size_t i = 0; i < n; i++)
        if (c->n_parts == 0 || strcmp(c->part[c->n_parts - 1].name, c->part[i].name) != 0)
            c->part[c->n_parts++].name = c->part[i].name;
    if (c->n_parts > FILES_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "%s names %zu files; at most %d are read", index_name,
                       c->n_parts, FILES_MAX);
    return VD_OK;
}

static vd_status find_parts(vd_checkpoint *c, const char *folder, vd_err *err)
{
    if (vd_folder_has(folder, single_name)) {
        vd_status st = vd_alloc_array(1, sizeof(*c->part), "a file", &c->part, err);
        if (st != VD_OK)
            return st;
        c->part[c->n_parts++].name = single_name;
        return VD_OK;
    }
    vd_status st = vd_folder_json(folder, index_name, &c->index, err);
    if (st == VD_OK && c->index != NULL)
        return list_parts(c, err);
    if (st == VD_OK && (vd_folder_has(folder, "pytorch_model.bin") ||
                        vd_folder_has(folder, "pytorch_model.bin.index.json")))
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s has pytorch_model.bin, a program in disguise; "
                       "only safetensors are read (save_pretrained writes them)", folder);
    if (st == VD_OK)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "%s has neither %s nor %s", folder, single_name,
                     index_name);
    return st;
}

/* The index has this tensor, in this file. */
static vd_status check_indexed(const vd_checkpoint *c, const part *p, const vd_st_tensor *t,
                               vd_err *err)
{
    const char *said = json_string_value(
        json_object_get(json_object_get(c->index, "weight_map"), t->name.data));
    if (said == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: tensor %s is not in %s", p->name, t->name.data,
                       index_name);
    if (strcmp(said, p->name) != 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: tensor %s belongs to %.64s, as %s says", p->name,
                       t->name.data, said, index_name);
    return VD_OK;
}

static vd_status open_parts(vd_checkpoint *c, const char *folder, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < c->n_parts; i++) {
        part *p = &c->part[i];
        st = vd_folder_path(folder, p->name, &p->path, err);
        if (st == VD_OK)
            st = vd_safetensors_open(p->path, &p->file, err);
        if (st == VD_ERR_NOT_FOUND)
            vd_err_prefix(err, "a file that %s names is missing", index_name);
        if (st == VD_OK)
            c->n += vd_safetensors_n(p->file);
    }
    return st;
}

static vd_status list_tensors(vd_checkpoint *c, vd_err *err)
{
    size_t n = 0;
    vd_status st = vd_alloc_array(c->n, sizeof(*c->tensor), "the list of tensors", &c->tensor,
                                  err);
    if (st == VD_OK)
        st = vd_strmap_init(&c->by_name, c->n, err);
    for (size_t i = 0; st == VD_OK && i < c->n_parts; i++)
        for (size_t j = 0; st == VD_OK && j < vd_safetensors_n(c->part[i].file); j++) {
            const vd_st_tensor *t = vd_safetensors_at(c->part[i].file, j);
            if (c->index != NULL)
                st = check_indexed(c, &c->part[i], t, err);
            c->tensor[n] = t;
            c->n_bytes += t->n_bytes;
            if (st == VD_OK)
                st = vd_strmap_put(&c->by_name, t->name.data, t->name.n, (uint32_t)n++, NULL,
                                   err);
        }
    const char *key;
    json_t *value;
    if (st != VD_OK || c->index == NULL)
        return st;
    json_object_foreach (json_object_get(c->index, "weight_map"), key, value)
        if (vd_checkpoint_find(c, key) == NULL)
            return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.128s, which %s names, is not in %.64s",
                           key, index_name, json_string_value(value));
    return VD_OK;
}

vd_status vd_checkpoint_open(const char *folder, vd_checkpoint **ret_checkpoint, vd_err *err)
{
    vd_checkpoint *c = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*c), "a checkpoint", &c, err);
    if (st == VD_OK)
        st = find_parts(c, folder, err);
    if (st == VD_OK)
        st = open_parts(c, folder, err);
    if (st == VD_OK)
        st = list_tensors(c, err);
    if (st == VD_OK) {
        *ret_checkpoint = c;
        c = NULL; /* moved to the caller */
    }
    vd_checkpoint_free(c);
    return st;
}

/*
 * gguf.c - opening GGUF files, alone or as shards, and the accessors. See gguf.h.
 *
 * Shards follow gguf-split of llama.cpp: NAME-00001-of-0000N.gguf ... NAME-0000N-of-0000N.gguf,
 * each a GGUF file of its own with split.no (from 0), split.count and split.tensors.count (of all
 * files together). The first one carries the model's metadata.
 */
#include "model/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "model/gguf_internal.h"

static const char shard_form[] = "-00001-of-00001.gguf";
enum { SHARD_SUFFIX_BYTES = sizeof(shard_form) - 1, SHARDS_MAX = 99999 };

vd_gguf_label vd_gguf_quote(vd_str text)
{
    vd_gguf_label label = {"'"};
    size_t n = text.n < 64 ? text.n : 64, at = 1;
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        label.text[at++] = byte >= 0x20 && byte < 0x7f ? (char)byte : '?';
    }
    const char *end = n < text.n ? "...'" : "'";
    memcpy(label.text + at, end, strlen(end) + 1);
    return label;
}

void vd_gguf_free(vd_gguf *gguf)
{
    if (gguf == NULL)
        return;
    for (size_t i = 0; i < gguf->n_mappings; i++)
        vd_mapping_close(&gguf->mapping[i]);
    vd_free(gguf->mapping);
    vd_free(gguf->kv);
    vd_gguf_free_expanded(gguf);
    vd_free(gguf->tensor);
    vd_strmap_done(&gguf->key_index);
    vd_strmap_done(&gguf->tensor_index);
    vd_free(gguf);
}

bool vd_gguf_is_file(const vd_gguf *gguf, const char *path)
{
    for (size_t i = 0; i < gguf->n_mappings; i++)
        if (vd_mapping_is(&gguf->mapping[i], path))
            return true;
    return false;
}

static vd_status new_gguf(vd_gguf **ret_gguf, vd_err *err)
{
    vd_gguf *gguf = vd_calloc(1, sizeof(*gguf));
    if (gguf == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a GGUF reader");
    *ret_gguf = gguf;
    return VD_OK;
}

vd_status vd_gguf_open_memory(const void *data, size_t size, const vd_gguf_options *options,
                              vd_gguf **ret_gguf, vd_err *err)
{
    vd_gguf *gguf = NULL;
    vd_status st = new_gguf(&gguf, err);
    if (st != VD_OK)
        return st;
    st = vd_gguf_parse(gguf, NULL, data, size, 0, options != NULL && options->metadata_only, err);
    if (st != VD_OK)
        goto out;
    gguf->file_bytes = size;
    st = vd_gguf_find_sparse(gguf, err);
    if (st != VD_OK)
        goto out;
    *ret_gguf = gguf;
    gguf = NULL;
out:
    vd_gguf_free(gguf);
    return st;
}

/* Maps and parses one file as shard number gguf->n_mappings. */
static vd_status add_file(vd_gguf *gguf, vd_gguf *shard_kv, const char *path, bool metadata_only,
                          vd_err *err)
{
    vd_mapping *mapping = &gguf->mapping[gguf->n_mappings];
    vd_status st = vd_mapping_open(path, mapping, err);
    if (st != VD_OK)
        return st;
    uint32_t shard = (uint32_t)gguf->n_mappings++;
    gguf->file_bytes += mapping->size;
    st = vd_gguf_parse(gguf, shard_kv, mapping->data, mapping->size, shard, metadata_only, err);
    if (st != VD_OK)
        vd_err_prefix(err, "%s", path);
    return st;
}

bool vd_gguf_shard_name(const char *path, unsigned *ret_no, unsigned *ret_count, size_t *ret_stem)
{
    size_t n = strlen(path);
    if (n <= SHARD_SUFFIX_BYTES)
        return false;
    const char *suffix = path + n - SHARD_SUFFIX_BYTES;
    unsigned number[2] = {0};
    for (size_t i = 0, k = 0; i < SHARD_SUFFIX_BYTES; i++) {
        if (shard_form[i] != '0' && shard_form[i] != '1') {
            if (suffix[i] != shard_form[i])
                return false;
            k = i > 1; /* the digits behind "-of-" are the second number */
            continue;
        }
        if (suffix[i] < '0' || suffix[i] > '9')
            return false;
        number[k] = number[k] * 10 + (unsigned)(suffix[i] - '0');
    }
    if (number[0] < 1 || number[0] > number[1])
        return false;
    *ret_stem = n - SHARD_SUFFIX_BYTES;
    *ret_no = number[0];
    *ret_count = number[1];
    return true;
}

static vd_status check_split(const vd_gguf *kvs, const char *path, uint32_t no, uint32_t count,
                             vd_err *err)
{
    uint32_t value = 0;
    if (!vd_gguf_get_u32(kvs, "split.count", &value) || value != count)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s: metadata 'split.count' is %" PRIu32 " or of a wrong type, the first "
                       "shard says %" PRIu32, path, value, count);
    value = UINT32_MAX;
    if (!vd_gguf_get_u32(kvs, "split.no", &value) || value != no)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s: metadata 'split.no' is missing or not %" PRIu32 ", the number in the "
                       "file's name less one", path, no);
    return VD_OK;
}

static vd_status add_shard(vd_gguf *gguf, const char *first_path, uint32_t no, uint32_t count,
                           bool metadata_only, vd_err *err)
{
    vd_gguf *shard_kv = NULL;
    vd_buf path;
    vd_buf_init(&path, 1 << 16);
    vd_buf_append(&path, first_path, strlen(first_path) - SHARD_SUFFIX_BYTES);
    vd_buf_printf(&path, "-%05u-of-%05u.gguf", no + 1, count);
    vd_status st = vd_buf_status(&path, "the name of a shard", err);
    if (st != VD_OK)
        goto out;
    if ((st = new_gguf(&shard_kv, err)) != VD_OK)
        goto out;
    st = add_file(gguf, shard_kv, vd_buf_text(&path), metadata_only, err);
    if (st == VD_ERR_NOT_FOUND)
        vd_err_prefix(err, "shard %u of %u is missing", no + 1, count);
    if (st == VD_OK)
        st = check_split(shard_kv, vd_buf_text(&path), no, count, err);
out:
    vd_gguf_free(shard_kv);
    vd_buf_done(&path);
    return st;
}

/* gguf holds the first file; adds the others its metadata speaks of. */
static vd_status add_shards(vd_gguf *gguf, const char *path, uint32_t count, bool metadata_only,
                            vd_err *err)
{
    unsigned name_no = 0, name_count = 0;
    size_t stem = 0;
    if (!vd_gguf_shard_name(path, &name_no, &name_count, &stem) || name_no != 1 ||
        name_count != count)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s is one of %" PRIu32 " shards: open the first one, named "
                       "...-00001-of-%05" PRIu32 ".gguf", path, count, count);
    vd_status st = check_split(gguf, path, 0, count, err);
    if (st != VD_OK)
        return st;
    /* count <= SHARDS_MAX because five digits of the name say the same */
    vd_mapping *mapping = vd_realloc(gguf->mapping, count * sizeof(*mapping));
    if (mapping == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %" PRIu32 " shards", count);
    gguf->mapping = mapping;
    for (uint32_t no = 1; st == VD_OK && no < count; no++)
        st = add_shard(gguf, path, no, count, metadata_only, err);
    if (st != VD_OK)
        return st;
    const vd_gguf_kv *total = vd_gguf_find(gguf, "split.tensors.count");
    uint64_t n_tensors = 0;
    if (total != NULL && (!vd_gguf_item_u64(total, 0, &n_tensors) || n_tensors != gguf->n_tensors))
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s: metadata 'split.tensors.count' is %" PRIu64 ", the shards hold %zu "
                       "tensors", path, n_tensors, gguf->n_tensors);
    return VD_OK;
}

vd_status vd_gguf_open(const char *path, const vd_gguf_options *options, vd_gguf **ret_gguf,
                       vd_err *err)
{
    bool metadata_only = options != NULL && options->metadata_only;
    vd_gguf *gguf = NULL;
    uint32_t count = 0;
    vd_status st = new_gguf(&gguf, err);
    if (st != VD_OK)
        return st;
    st = vd_alloc_array(1, sizeof(*gguf->mapping), "a mapping", &gguf->mapping, err);
    if (st != VD_OK)
        goto out;
    if ((st = add_file(gguf, NULL, path, metadata_only, err)) != VD_OK)
        goto out;
    if (vd_gguf_get_u32(gguf, "split.count", &count) && count > 1 &&
        (st = add_shards(gguf, path, count, metadata_only, err)) != VD_OK)
        goto out;
    if ((st = vd_gguf_find_sparse(gguf, err)) != VD_OK) {
        vd_err_prefix(err, "%s", path);
        goto out;
    }
    *ret_gguf = gguf;
    gguf = NULL;
out:
    vd_gguf_free(gguf);
    return st;
}

uint32_t vd_gguf_version(const vd_gguf *gguf)
{
    return gguf->version;
}

uint64_t vd_gguf_alignment(const vd_gguf *gguf)
{
    return gguf->alignment;
}

uint64_t vd_gguf_file_bytes(const vd_gguf *gguf)
{
    return gguf->file_bytes;
}

size_t vd_gguf_n_kv(const vd_gguf *gguf)
{
    return gguf->n_kv;
}

const vd_gguf_kv *vd_gguf_kv_at(const vd_gguf *gguf, size_t i)
{
    return &gguf->kv[i];
}

size_t vd_gguf_n_tensors(const vd_gguf *gguf)
{
    return gguf->n_tensors;
}

const vd_gguf_tensor *vd_gguf_tensor_at(const vd_gguf *gguf, size_t i)
{
    return &gguf->tensor[i];
}

size_t vd_gguf_tensor_rows(const vd_gguf_tensor *tensor)
{
    return (size_t)(tensor->dim[1] * tensor->dim[2] * tensor->dim[3]);
}

size_t vd_gguf_tensor_experts(const vd_gguf_tensor *tensor)
{
    return tensor->dim[2] > 1 ? (size_t)tensor->dim[2] : 1;
}

const vd_gguf_tensor *vd_gguf_find_tensor(const vd_gguf *gguf, const char *name)
{
    uint32_t i;
    return vd_strmap_get(&gguf->tensor_index, name, strlen(name), &i) ? &gguf->tensor[i] : NULL;
}

/*
 * hub_choose.c - which of a repository's files are the model that is meant. See hub.h.
 *
 * Repositories of GGUF files hold the same model many times, once per type, each in one file or,
 * when large, in several (model/gguf.c). A word chooses where it stands in a name between other
 * than letters and digits, and not before an underscore: Q4_K finds no Q4_K_M, f16 no bf16.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "cli/format.h"
#include "cli/pull/hub.h"
#include "model/gguf.h"

/* A model in the listing: file[first], or the `count` files whose first that is. */
typedef struct candidate {
    size_t first;
    unsigned count;
    int64_t bytes; /* -1: not known */
    bool whole;    /* no file of it is missing */
} candidate;

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcasecmp(text + n - n_end, end) == 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Files beside a model that are GGUF too: a projector for pictures, statistics for quantizing. */
static bool is_side_file(const char *path)
{
    return strcasestr(base_name(path), "mmproj") != NULL ||
           strcasestr(base_name(path), "imatrix") != NULL;
}

static const vd_hub_file *find(const vd_hub_files *files, const char *path)
{
    size_t low = 0, high = files->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(files->file[middle].path, path);
        if (order == 0)
            return &files->file[middle];
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

/* The name of shard `no` beside another one of the same model. */
static void shard_path(const char *path, size_t stem, unsigned no, unsigned count,
                       char out[VD_HUB_PATH_MAX])
{
    snprintf(out, VD_HUB_PATH_MAX, "%.*s-%05u-of-%05u.gguf", (int)stem, path, no, count);
}

/* Whether file[i] begins a model. */
static bool read_candidate(const vd_hub_files *files, size_t i, candidate *ret)
{
    const char *path = files->file[i].path;
    unsigned no = 1, count = 1;
    size_t stem = 0;
    if (!ends_with(path, ".gguf") || is_side_file(path))
        return false;
    if (vd_gguf_shard_name(path, &no, &count, &stem) && no != 1)
        return false;
    *ret = (candidate){.first = i, .count = count, .bytes = files->file[i].bytes, .whole = true};
    for (no = 2; no <= count && ret->whole; no++) {
        char shard[VD_HUB_PATH_MAX];
        shard_path(path, stem, no, count, shard);
        const vd_hub_file *file = find(files, shard);
        ret->whole = file != NULL;
        ret->bytes = file == NULL || file->bytes < 0 || ret->bytes < 0 ? -1
                                                                       : ret->bytes + file->bytes;
    }
    return true;
}

static bool has_word(const char *path, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = path; (at = strcasestr(at, word)) != NULL; at++) {
        bool begins = at == path || !isalnum((unsigned char)at[-1]);
        bool ends = !isalnum((unsigned char)at[n]) && at[n] != '_';
        if (begins && ends)
            return true;
    }
    return false;
}

static bool is_meant(const char *path, const char *wanted)
{
    return wanted[0] == '\0' || strcmp(path, wanted) == 0 ||
           strcmp(base_name(path), wanted) == 0 || has_word(path, wanted);
}

/* The models that `wanted` means; "" = all. */
static vd_status find_candidates(const vd_hub_files *files, const char *wanted,
                                 candidate **ret_list, size_t *ret_n, vd_err *err)
{
    candidate *list = NULL, one;
    size_t n = 0;
    vd_status st = vd_alloc_array(files->n + 1, sizeof(*list), "a list of models", &list, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < files->n; i++)
        if (is_meant(files->file[i].path, wanted) && read_candidate(files, i, &one))
            list[n++] = one;
    *ret_list = list;
    *ret_n = n;
    return VD_OK;
}

static void show(const vd_hub_files *files, const candidate *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *path = files->file[list[i].first].path;
        fprintf(stderr, "  %9s  ",
                list[i].bytes >= 0 ? vd_cli_size((uint64_t)list[i].bytes).text : "?");
        vd_cli_put_clean(stderr, path, strlen(path), SIZE_MAX);
        if (list[i].count > 1)
            fprintf(stderr, "  (%u files%s)", list[i].count, list[i].whole ? "" : ", some missing");
        fputc('\n', stderr);
    }
}

static vd_status no_model(const vd_hub_ref *ref, const vd_hub_files *files, vd_err *err)
{
    bool safetensors = false;
    for (size_t i = 0; i < files->n; i++)
        safetensors |= ends_with(files->file[i].path, ".safetensors");
    if (safetensors && find(files, "config.json") != NULL)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s holds its weights as safetensors, not as GGUF: "
                       "fetch them into a folder by `verdant pull hf:%s --to DIR`, and make them "
                       "GGUF by `verdant import DIR`", ref->repo, ref->repo);
    return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s holds no GGUF file", ref->repo);
}

/* The one that is meant, or why there is none. */
static vd_status choose(const vd_hub_ref *ref, const vd_hub_files *files, candidate *ret,
                        vd_err *err)
{
    candidate *list = NULL, *all = NULL;
    size_t n = 0, n_all = 0;
    vd_status st = find_candidates(files, ref->file, &list, &n, err);
    if (st == VD_OK)
        st = find_candidates(files, "", &all, &n_all, err);
    if (st != VD_OK)
        goto out;
    if (n_all == 0) {
        st = no_model(ref, files, err);
    } else if (n == 1 && !list[0].whole) {
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "%s lacks some of the %u files of %s", ref->repo,
                     list[0].count, files->file[list[0].first].path);
    } else if (n == 1) {
        *ret = list[0];
    } else {
        size_t n_shown = n > 0 ? n : n_all;
        fprintf(stderr, "%s holds\n", ref->repo);
        show(files, n > 0 ? list : all, n_shown);
        st = VD_FAIL(err, VD_ERR_ARG, "%s%.60s%s of these %zu models; name one by its file, or by "
                     "a word that only its name has, as in verdant pull hf:%s%s%s:%.100s",
                     ref->file[0] != '\0' ? "'" : "", ref->file[0] != '\0' ? ref->file : "it",
                     ref->file[0] == '\0' ? " may be any" : n > 0 ? "' may be any" : "' is none",
                     n_shown, ref->repo, ref->revision[0] != '\0' ? "@" : "", ref->revision,
                     files->file[(n > 0 ? list : all)[0].first].path);
    }
out:
    vd_free(list);
    vd_free(all);
    return st;
}

/* The files whose first is `path`, with what the listing (NULL: there is none) says of them. */
static vd_status gather(const char *path, const vd_hub_files *listing, vd_hub_files *ret,
                        vd_err *err)
{
    unsigned no = 1, count = 1;
    size_t stem = 0;
    vd_status st = VD_OK;
    (void)vd_gguf_shard_name(path, &no, &count, &stem);
    for (unsigned i = 1; st == VD_OK && i <= count; i++) {
        char shard[VD_HUB_PATH_MAX];
        if (count > 1)
            shard_path(path, stem, i, count, shard);
        const char *name = count > 1 ? shard : path;
        const vd_hub_file *file = listing != NULL ? find(listing, name) : NULL;
        st = vd_hub_files_add(ret, name, file != NULL ? file->bytes : -1,
                              file != NULL ? file->sha256 : NULL, err);
    }
    return st;
}

vd_status vd_hub_find_model(const vd_hub *hub, const vd_hub_ref *ref, vd_hub_files *ret_files,
                            vd_err *err)
{
    vd_hub_files listing = {0}, files = {0};
    candidate one = {0};
    vd_status st;
    if (ends_with(ref->file, ".gguf"))
        st = gather(ref->file, NULL, &files, err);
    else if ((st = vd_hub_list(hub, ref, &listing, err)) == VD_OK &&
             (st = choose(ref, &listing, &one, err)) == VD_OK)
        st = gather(listing.file[one.first].path, &listing, &files, err);
    if (st == VD_OK) {
        *ret_files = files;
        files = (vd_hub_files){0};
    }
    vd_hub_files_free(&listing);
    vd_hub_files_free(&files);
    return st;
}

/* Of the weights only what import reads: model.safetensors, else all of the top but a second copy
 * in the form of its maker. */
static bool is_weights(const vd_hub_files *listing, const char *path)
{
    if (!ends_with(path, ".safetensors") || strchr(path, '/') != NULL)
        return false;
    if (find(listing, "model.safetensors") != NULL)
        return strcmp(path, "model.safetensors") == 0;
    return strncmp(path, "consolidated", 12) != 0;
}

/* What describes them; of sentence-transformers, a folder per module too. */
static bool is_description(const vd_hub_files *listing, const char *path)
{
    const char *slash = strchr(path, '/');
    if (slash != NULL)
        return strcmp(slash, "/config.json") == 0 && find(listing, "modules.json") != NULL;
    return ends_with(path, ".json") || ends_with(path, ".jinja") ||
           strcmp(path, "tokenizer.model") == 0;
}

vd_status vd_hub_find_weights(const vd_hub *hub, const vd_hub_ref *ref, vd_hub_files *ret_files,
                              vd_err *err)
{
    vd_hub_files listing = {0}, files = {0};
    size_t n_weights = 0;
    vd_status st = vd_hub_list(hub, ref, &listing, err);
    for (size_t i = 0; st == VD_OK && i < listing.n; i++) {
        const vd_hub_file *file = &listing.file[i];
        bool weights = is_weights(&listing, file->path);
        if (file->path[0] == '.' || (!weights && !is_description(&listing, file->path)))
            continue;
        n_weights += weights;
        st = vd_hub_files_add(&files, file->path, file->bytes, file->sha256, err);
    }
    if (st == VD_OK && (n_weights == 0 || find(&files, "config.json") == NULL))
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "%s holds no model in safetensors with its "
                     "config.json; a GGUF file is pulled without --to", ref->repo);
    if (st == VD_OK) {
        *ret_files = files;
        files = (vd_hub_files){0};
    }
    vd_hub_files_free(&listing);
    vd_hub_files_free(&files);
    return st;
}

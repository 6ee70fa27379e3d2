/* resume.c - see resume.h. */
#include "compress/resume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"

enum { VERSION = 2, STATE_MAX = 64 << 20 };

struct vd_resume {
    char *folder, *fingerprint;
    int dir, lock, data; /* -1: not open */
    bool found;
    vd_resume_state state;
    json_t *json;        /* what state.more is part of */
    uint64_t n_added, n_read; /* bytes of data */
    uint64_t sum;             /* of those that were read and added */
    char data_sum[17], stream_sum[17]; /* of what was found */
};

/* ---- reading and writing ----------------------------------------------------------------------*/

static vd_status failed(const vd_resume *c, const char *what, const char *name, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_IO, "cannot %s %s/%s: %s", what, c->folder, name, strerror(errno));
}

/* FNV-1a, byte by byte, so that it does not matter in which pieces they come. A changed byte is
 * seen for sure. */
static uint64_t sum_of(uint64_t sum, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ at[i]) * 0x100000001b3u;
    return sum;
}

static const uint64_t no_sum = 0xcbf29ce484222325u;

static void sum_text(uint64_t sum, char text[17])
{
    snprintf(text, 17, "%016llx", (unsigned long long)sum);
}

static void stream_name(size_t layer, char name[32])
{
    snprintf(name, 32, "stream.%zu", layer);
}

/* ---- the state --------------------------------------------------------------------------------*/

static vd_status damaged(const vd_resume *c, const char *what, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_FORMAT, "%s: %s; remove the folder to begin anew", c->folder, what);
}

static vd_status take_state(vd_resume *c, json_t *json, vd_err *err)
{
    json_int_t version = 0, n_tensors = -1, layer = -1, data_bytes = -1;
    const char *fingerprint = NULL, *data_sum = NULL, *stream_sum = NULL;
    json_t *more = NULL;
    struct stat info;
    if (json_unpack(json, "{s:I,s:s}", "version", &version, "work", &fingerprint) != 0)
        return damaged(c, "state.json says something else than it should", err);
    if (version != VERSION || strcmp(fingerprint, c->fingerprint) != 0)
        return VD_FAIL(err, VD_ERR_EXISTS, "%s holds the beginning of another compression (other "
                       "options, another model or text); go on with that one, remove the folder, "
                       "or write to another file", c->folder);
    if (json_unpack(json, "{s:I,s:I,s:I,s:s,s:s,s:o}", "tensors", &n_tensors, "layer", &layer,
                    "data_bytes", &data_bytes, "data_sum", &data_sum, "stream_sum", &stream_sum,
                    "more", &more) != 0 ||
        n_tensors < 0 || layer < 0 || data_bytes < 0)
        return damaged(c, "state.json says something else than it should", err);
    snprintf(c->data_sum, sizeof(c->data_sum), "%s", data_sum);
    snprintf(c->stream_sum, sizeof(c->stream_sum), "%s", stream_sum);
    if (fstat(c->data, &info) != 0 || (uint64_t)info.st_size < (uint64_t)data_bytes)
        return damaged(c, "data is shorter than state.json says", err);
    if (ftruncate(c->data, data_bytes) != 0)
        return failed(c, "shorten", "data", err);
    c->state = (vd_resume_state){.n_tensors = (size_t)n_tensors, .layer = (size_t)layer,
                                     .data_bytes = (uint64_t)data_bytes, .more = more};
    c->n_added = c->state.data_bytes;
    c->json = json_incref(json);
    c->found = true;
    return VD_OK;
}

static vd_status read_state(vd_resume *c, vd_err *err)
{
    struct stat info;
    char *text = NULL;
    json_t *json = NULL;
    vd_status st;
    int file = openat(c->dir, "state.json", O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT) {
        if (ftruncate(c->data, 0) != 0)
            return failed(c, "empty", "data", err);
        return VD_OK;
    }
    if (file < 0 || fstat(file, &info) != 0) {
        st = failed(c, "read", "state.json", err);
        goto out;
    }
    if (info.st_size > STATE_MAX) {
        st = damaged(c, "state.json is too large", err);
        goto out;
    }
    st = vd_alloc_array((size_t)info.st_size + 1, 1, "a state", &text, err);
    if (st == VD_OK && !vd_fd_read(file, text, (size_t)info.st_size))
        st = failed(c, "read", "state.json", err);
    if (st == VD_OK && vd_json_parse(text, (size_t)info.st_size, &json, NULL) != VD_OK)
        st = damaged(c, "state.json is no JSON", err);
    if (st == VD_OK)
        st = take_state(c, json, err);
out:
    if (file >= 0)
        close(file);
    json_decref(json);
    vd_free(text);
    return st;
}

/* ---- open and close ---------------------------------------------------------------------------*/

/* A folder of ours has its lock from the beginning; another's may be there by chance. */
static bool is_foreign(const vd_resume *c)
{
    int again = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = again >= 0 ? fdopendir(again) : NULL;
    bool any = false;
    for (struct dirent *entry; all != NULL && (entry = readdir(all)) != NULL;)
        any = any || (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0);
    if (all != NULL)
        closedir(all);
    else if (again >= 0)
        close(again);
    return any && faccessat(c->dir, "lock", F_OK, 0) != 0;
}

static vd_status open_files(vd_resume *c, vd_err *err)
{
    if (mkdir(c->folder, 0700) != 0 && errno != EEXIST)
        return failed(c, "make", "", err);
    c->dir = open(c->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dir < 0)
        return failed(c, "open", "", err);
    if (is_foreign(c))
        return VD_FAIL(err, VD_ERR_EXISTS, "%s holds other files; move it, or write to another "
                       "name", c->folder);
    c->lock = openat(c->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (c->lock < 0)
        return failed(c, "open", "lock", err);
    if (flock(c->lock, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? VD_FAIL(err, VD_ERR_BUSY, "%s is in use: another compression to the same file "
                             "is running", c->folder)
                   : failed(c, "lock", "lock", err);
    c->data = openat(c->dir, "data", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (c->data < 0)
        return failed(c, "open", "data", err);
    return read_state(c, err);
}

vd_status vd_resume_open(const char *target, const char *fingerprint,
                             vd_resume **ret_resume, vd_err *err)
{
    vd_resume *c = NULL;
    size_t n = strlen(target) + sizeof(".work");
    vd_status st = vd_alloc_array(1, sizeof(*c), "a checkpoint", &c, err);
    if (st != VD_OK)
        return st;
    c->dir = c->lock = c->data = -1;
    c->sum = no_sum;
    c->fingerprint = vd_strdup(fingerprint);
    st = vd_alloc_array(n, 1, "a name", &c->folder, err);
    if (st == VD_OK && c->fingerprint == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a checkpoint");
    if (st == VD_OK) {
        snprintf(c->folder, n, "%s.work", target);
        st = open_files(c, err);
    }
    if (st == VD_OK) {
        *ret_resume = c;
        return VD_OK;
    }
    c->found = true; /* what is there is not ours to remove */
    vd_resume_close(c, false);
    return st;
}

static void remove_all(vd_resume *c)
{
    static const char *const names[] = {"state.json", "state.new", "stream.new", "data", "lock"};
    int again = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = again >= 0 ? fdopendir(again) : NULL;
    /* A run that was killed while it saved may have left those of other layers. */
    for (struct dirent *entry; all != NULL && (entry = readdir(all)) != NULL;)
        if (strncmp(entry->d_name, "stream.", 7) == 0 || strncmp(entry->d_name, "imatrix.", 8) == 0)
            unlinkat(c->dir, entry->d_name, 0);
    if (all != NULL)
        closedir(all);
    else if (again >= 0)
        close(again);
    for (size_t i = 0; i < VD_COUNT(names); i++)
        unlinkat(c->dir, names[i], 0);
    rmdir(c->folder);
}

void vd_resume_close(vd_resume *c, bool finished)
{
    if (c == NULL)
        return;
    if (c->dir >= 0 && (finished || !c->found))
        remove_all(c);
    if (c->data >= 0)
        close(c->data);
    if (c->lock >= 0)
        close(c->lock);
    if (c->dir >= 0)
        close(c->dir);
    json_decref(c->json);
    vd_free(c->folder);
    vd_free(c->fingerprint);
    vd_free(c);
}

const vd_resume_state *vd_resume_found(const vd_resume *c)
{
    return c->found ? &c->state : NULL;
}

const char *vd_resume_folder(const vd_resume *c)
{
    return c->folder;
}

/* ---- going on ---------------------------------------------------------------------------------*/

vd_status vd_resume_add(vd_resume *c, const void *bytes, size_t n, vd_err *err)
{
    if (!vd_fd_write(c->data, bytes, n))
        return failed(c, "write", "data", err);
    c->n_added += n;
    c->sum = sum_of(c->sum, bytes, n);
    return VD_OK;
}

vd_status vd_resume_read_end(const vd_resume *c, vd_err *err)
{
    char sum[17];
    sum_text(c->sum, sum);
    if (c->n_read != c->state.data_bytes)
        return damaged(c, "data is longer than the tensors it should hold", err);
    return strcmp(sum, c->data_sum) == 0 ? VD_OK : damaged(c, "data has been changed", err);
}

vd_status vd_resume_read(vd_resume *c, void *bytes, size_t n, vd_err *err)
{
    if (!c->found || n > c->state.data_bytes - c->n_read)
        return damaged(c, "data is shorter than the tensors it should hold", err);
    if (lseek(c->data, (off_t)c->n_read, SEEK_SET) < 0 || !vd_fd_read(c->data, bytes, n))
        return failed(c, "read", "data", err);
    c->n_read += n;
    c->sum = sum_of(c->sum, bytes, n);
    return VD_OK;
}

vd_status vd_resume_stream(vd_resume *c, void *x, size_t n_bytes, vd_err *err)
{
    char name[32], sum[17];
    struct stat info;
    vd_status st = VD_OK;
    stream_name(c->state.layer, name);
    int file = openat(c->dir, name, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info) != 0)
        st = failed(c, "read", name, err);
    else if ((uint64_t)info.st_size != n_bytes)
        st = damaged(c, "the stream has another size than the text's", err);
    else if (!vd_fd_read(file, x, n_bytes))
        st = failed(c, "read", name, err);
    if (st == VD_OK) {
        sum_text(sum_of(no_sum, x, n_bytes), sum);
        if (strcmp(sum, c->stream_sum) != 0)
            st = damaged(c, "the stream has been changed", err);
    }
    if (file >= 0)
        close(file);
    return st;
}

/* A file that is whole on disk under its name, or not there. */
static vd_status put_file(vd_resume *c, const char *temporary, const char *name,
                          const void *bytes, size_t n, vd_err *err)
{
    vd_status st = VD_OK;
    int file = openat(c->dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || !vd_fd_write(file, bytes, n) || fsync(file) != 0 ||
        renameat(c->dir, temporary, c->dir, name) != 0)
        st = failed(c, "write", name, err);
    if (file >= 0)
        close(file);
    if (st != VD_OK)
        unlinkat(c->dir, temporary, 0);
    return st;
}

vd_status vd_resume_save(vd_resume *c, const vd_resume_state *state, const void *x,
                             size_t n_bytes, vd_err *err)
{
    char name[32], old[32], data_sum[17], stream_sum[17];
    stream_name(state->layer, name);
    stream_name(c->state.layer, old);
    sum_text(c->sum, data_sum);
    sum_text(sum_of(no_sum, x, n_bytes), stream_sum);
    bool had = c->found;
    json_t *json = json_pack("{s:i,s:s,s:I,s:I,s:I,s:s,s:s,s:O}", "version", VERSION, "work",
                             c->fingerprint, "tensors", (json_int_t)state->n_tensors, "layer",
                             (json_int_t)state->layer, "data_bytes", (json_int_t)c->n_added,
                             "data_sum", data_sum, "stream_sum", stream_sum, "more", state->more);
    char *text = vd_json_text(json);
    vd_status st = VD_OK;
    if (text == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a checkpoint");
    if (st == VD_OK && fdatasync(c->data) != 0)
        st = failed(c, "write", "data", err);
    if (st == VD_OK)
        st = put_file(c, "stream.new", name, x, n_bytes, err);
    if (st == VD_OK)
        st = put_file(c, "state.new", "state.json", text, strlen(text), err);
    if (st == VD_OK) {
        (void)fsync(c->dir);
        if (had && strcmp(old, name) != 0)
            unlinkat(c->dir, old, 0);
        json_decref(c->json);
        c->json = json_incref(json);
        c->state = *state;
        c->state.data_bytes = c->n_added;
        c->state.more = json_object_get(json, "more");
        c->found = true;
    }
    json_decref(json);
    vd_free(text);
    return st;
}

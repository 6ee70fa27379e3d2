/* stage.c - see stage.h. */
#include "compress/structured/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "compress/calibrated.h"
#include "compress/folder.h"
#include "compress/structured/desk.h"

/* A file that is open and has no name; read by the name that the system gives the descriptor. */
typedef struct between {
    int fd;
    char path[64];
} between;

static void between_done(between *b)
{
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
}

static void name_it(between *b)
{
    snprintf(b->path, sizeof(b->path), "/proc/self/fd/%d", b->fd);
}

/* Opens the file and takes its name away. */
static vd_status take_file(const char *path, between *ret_between, vd_err *err)
{
    vd_status st = VD_OK;
    ret_between->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (ret_between->fd < 0)
        st = VD_FAIL(err, VD_ERR_IO, "%s: %s", path, strerror(errno));
    unlink(path);
    name_it(ret_between);
    return st;
}

/* The model that a cut leaves of `source`. */
static vd_status cut_once(const char *source, const char *folder, const vd_structured *cut,
                          const vd_structured_options *options, between *ret_between,
                          vd_structured_result *result, vd_err *err)
{
    vd_structured_options own = *options;
    char *path = NULL;
    size_t n = strlen(folder) + 64;
    own.ret_fd = &ret_between->fd;
    vd_status st = vd_alloc_array(n, 1, "a name", &path, err);
    if (st != VD_OK)
        return st;
    snprintf(path, n, "%s/.verdant-cut-%ld.gguf", folder, (long)getpid()); /* never there */
    st = vd_structured_run(source, path, cut, &own, result, err);
    if (st == VD_OK)
        name_it(ret_between);
    vd_free(path);
    return st;
}

static vd_status name_on(const vd_desk *desk, const char *name, char **ret, vd_err *err)
{
    size_t n = strlen(desk->path) + strlen(name) + 2;
    vd_status st = vd_alloc_array(n, 1, "a name", ret, err);
    if (st == VD_OK)
        snprintf(*ret, n, "%s/%s", desk->path, name);
    return st;
}

/* What was cut and pruned so far, trained again by what the caller has for it. The two files have
 * names meanwhile: another program may be what reads them. */
static vd_status recover(const char *source, const char *now, const char *folder,
                         const vd_recover *how, const vd_compress_options *rest, bool quantized,
                         between *ret_between, vd_compress_result *result, vd_err *err)
{
    char *student = NULL, *recovered = NULL;
    vd_desk desk = {.fd = -1};
    vd_compress_options prune = *rest;
    prune.type = quantized ? vd_filetype_find("F16") : NULL; /* training needs floats */
    prune.mix = (vd_mix_options){0};
    prune.save_imatrix = NULL;
    prune.gptq = false;
    prune.awq = false; /* once, when it is quantized */
    prune.work = NULL; /* these names are of this process alone */
    if (!vd_prune_is_calibrated(prune.edit.prune.method)) {
        prune.calib = (vd_calib_options){0};
        prune.imatrix = NULL;
    }
    vd_status st = vd_desk_open(folder, &desk, err);
    if (st == VD_OK)
        st = name_on(&desk, "student.gguf", &student, err);
    if (st == VD_OK)
        st = name_on(&desk, "recovered.gguf", &recovered, err);
    if (st == VD_OK)
        st = vd_compress_run(now, student, &prune, result, err);
    if (st == VD_OK)
        st = how->run(how->ctx, student, source, recovered, err);
    if (st == VD_OK)
        st = vd_recover_check(student, recovered, vd_edit_zeroes(&rest->edit), err);
    if (st == VD_OK)
        st = take_file(recovered, ret_between, err);
    vd_desk_close(&desk);
    vd_free(student);
    vd_free(recovered);
    return st;
}

/* Every step reads the text again. */
static vd_status check_text(const char *path, vd_err *err)
{
    struct stat info;
    bool once = path != NULL && (strcmp(path, "-") == 0 ||
                                 (stat(path, &info) == 0 && S_ISFIFO(info.st_mode)));
    if (once)
        return VD_FAIL(err, VD_ERR_ARG, "%s can be read once, and several steps read the text; "
                       "give a file", path);
    return VD_OK;
}

/* What the source holds, by tensor type; and that it is not what is written. */
static vd_status count_before(const char *source, const char *target, vd_compress_result *result,
                              vd_err *err)
{
    vd_gguf *gguf = NULL;
    vd_status st = vd_gguf_open(source, NULL, &gguf, err);
    if (st != VD_OK)
        return st;
    if (vd_gguf_is_file(gguf, target))
        st = VD_FAIL(err, VD_ERR_ARG, "%s is the model itself; write to another file", target);
    if (st == VD_OK)
        st = vd_atomic_file_check(target, err);
    result->file_bytes_before = vd_gguf_file_bytes(gguf);
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        result->before[t->dtype].n_tensors++;
        result->before[t->dtype].n_bytes += t->n_bytes;
    }
    vd_gguf_free(gguf);
    return st;
}

static bool is_quantized(const vd_compress_result *source)
{
    for (uint32_t i = 0; i < VD_DTYPE_LIMIT; i++)
        if (source->before[i].n_tensors > 0 && vd_dtype_get(i)->block > 1)
            return true;
    return false;
}

/* Whether what follows the cuts is calibrated too. */
static bool reads_text(const vd_compress_options *rest)
{
    return rest->type != NULL || rest->mix.types != NULL || rest->save_imatrix != NULL ||
           vd_prune_is_calibrated(rest->edit.prune.method);
}

/* The cuts, one after the other; with none ret_now stays as it is. */
static vd_status cut_all(const char *source, const char *folder, const vd_stage_options *o,
                         const vd_compress_options *rest, between *ret_now,
                         vd_stage_result *result, vd_err *err)
{
    vd_structured_options options = {.calib = rest->calib, .score = o->score,
                                     .multiple = o->multiple, .uniform = o->uniform,
                                     .drift = rest->drift,
                                     .folder = folder, .n_threads = rest->n_threads,
                                     .progress = rest->progress, .ctx = rest->ctx};
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < o->n_cuts; i++) {
        between next = {.fd = -1};
        st = cut_once(ret_now->fd >= 0 ? ret_now->path : source, folder, &o->cut[i], &options,
                      &next, &result->cut[i], err);
        between_done(ret_now);
        *ret_now = next;
    }
    return st;
}

vd_status vd_stage_run(const char *source, const char *target, const vd_stage_options *o,
                       const vd_compress_options *rest, vd_stage_result *ret_result, vd_err *err)
{
    vd_stage_result result = {0};
    vd_compress_result source_only = {0}, pruned = {0};
    between now = {.fd = -1};
    char *folder = NULL;
    vd_status st = VD_OK;
    bool recovers = o->recover.run != NULL, staged = o->n_cuts > 0 || recovers;
    if (staged)
        st = check_text(rest->calib.path, err);
    if (st == VD_OK && staged)
        st = count_before(source, target, &source_only, err);
    if (st == VD_OK && staged)
        st = vd_compress_folder(target, &folder, err);
    if (st == VD_OK)
        st = cut_all(source, folder, o, rest, &now, &result, err);
    vd_compress_options last = *rest;
    if (o->n_cuts > 0 && !reads_text(rest))
        last.calib = (vd_calib_options){0};
    if (st == VD_OK && recovers) {
        between next = {.fd = -1};
        st = recover(source, now.fd >= 0 ? now.path : source, folder, &o->recover, &last,
                     is_quantized(&source_only), &next, &pruned, err);
        between_done(&now);
        now = next;
        last.keep_zeros = vd_edit_zeroes(&last.edit);
        last.edit = (vd_edit_options){0};
    }
    if (st == VD_OK)
        st = (o->sparse ? vd_compress_run_sparse : vd_compress_run)(
            now.fd >= 0 ? now.path : source, target, &last, &result.compress, err);
    if (st == VD_OK && staged) {
        vd_compress_result *r = &result.compress;
        memcpy(r->before, source_only.before, sizeof(r->before));
        r->file_bytes_before = source_only.file_bytes_before;
        r->n_calib_tokens = VD_MAX(r->n_calib_tokens, result.cut[0].n_calib_tokens);
        if (recovers) {
            r->n_edited = pruned.n_edited;
            r->n_zeros_before = pruned.n_zeros_before;
            r->n_zeros_after = pruned.n_zeros_after;
            r->n_calib_tokens = VD_MAX(r->n_calib_tokens, pruned.n_calib_tokens);
        }
    }
    between_done(&now);
    vd_free(folder);
    if (st == VD_OK)
        *ret_result = result;
    return st;
}

vd_status vd_stage_cut(const char *source, const char *target, const vd_stage_options *o,
                       const vd_compress_options *rest, vd_stage_then_fn then, void *ctx,
                       vd_stage_result *ret_result, vd_err *err)
{
    vd_stage_result result = {0};
    between now = {.fd = -1};
    char *folder = NULL;
    vd_status st = check_text(rest->calib.path, err);
    if (st == VD_OK)
        st = count_before(source, target, &result.compress, err);
    if (st == VD_OK)
        st = vd_compress_folder(target, &folder, err);
    if (st == VD_OK)
        st = cut_all(source, folder, o, rest, &now, &result, err);
    if (st == VD_OK)
        st = then(ctx, now.path, err);
    between_done(&now);
    vd_free(folder);
    if (st == VD_OK)
        *ret_result = result;
    return st;
}

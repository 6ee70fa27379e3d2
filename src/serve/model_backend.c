/* model_backend.c - see model_backend.h. */
#include "serve/model_backend.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <verdant/template.h>
#include <verdant/verdant.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/sha256.h"
#include "engine/calibrate.h"
#include "engine/observe.h"
#include "text/prompt.h"

enum { PRINT_BYTES = 1 << 20 }; /* of the weights go into the fingerprint */

struct vd_model_backend {
    vd_engine *engine;
    const vd_tokenizer *tokenizer; /* the engine's */
    vd_template *tmpl; /* NULL in an encoder */
    vd_account *account;
    vd_feed *feed;
    vd_site site;
    vd_hardware hardware;
    vd_histogram *steps;
    char fingerprint[24];
    int64_t created_s;
    size_t max_running;
};

/* One request: where its events go. Freed with the last. */
typedef struct sequence {
    vd_model_backend *model;
    vd_backend_event_fn on_event;
    void *ctx;
    uint64_t begin_ns;
} sequence;

/* ---- what the engine tells the account -------------------------------------------------------*/

static vd_status on_accept(void *ctx, uint64_t request_id, vd_err *err)
{
    vd_model_backend *m = ctx;
    return vd_account_join(m->account, request_id, err);
}

static void on_begin(void *ctx, const vd_step *step)
{
    vd_model_backend *m = ctx;
    vd_account_step_begin(m->account, step);
}

static void on_step(void *ctx, const vd_step *step)
{
    vd_model_backend *m = ctx;
    vd_account_step(m->account, step);
    if (m->steps != NULL) /* a request's, not the calibration's */
        vd_histogram_add(m->steps, step->end_ns - step->begin_ns);
}

static void weigh(const vd_model_backend *m, uint64_t begin_ns, vd_spent *spent)
{
    const vd_carbon_use use = {.energy_uj = spent->energy.total_uj,
                               .operational_ug = spent->energy.operational_ug,
                               .machine_ns = spent->energy.machine_ns};
    vd_intensity tags = vd_feed_over(m->feed, begin_ns, vd_now_ns());
    vd_carbon_of(&use, &tags, &m->site, &m->hardware, &spent->carbon);
}

static void on_event(void *ctx, const vd_event *event)
{
    sequence *s = ctx;
    vd_model_backend *m = s->model;
    if (event->finish == VD_FINISH_NONE) {
        s->on_event(s->ctx, event, NULL);
        return;
    }
    vd_spent spent = {0};
    if (vd_account_leave(m->account, event->request_id, &spent.energy, NULL) == VD_OK)
        weigh(m, s->begin_ns, &spent);
    s->on_event(s->ctx, event, &spent);
    vd_free(s);
}

/* ---- what the server asks --------------------------------------------------------------------*/

static vd_backend_info face_info(void *self)
{
    const vd_model_backend *m = self;
    vd_engine_info info = vd_engine_info_get(m->engine);
    return (vd_backend_info){.fingerprint = m->fingerprint,
                             .created_s = m->created_s,
                             .n_vocab = info.n_vocab,
                             .ctx_tokens = info.ctx_tokens,
                             .kv_tokens = info.kv_tokens,
                             .n_embd = info.n_embd,
                             .max_running = m->max_running,
                             .encoder = info.encoder,
                             .pooling = info.pooling,
                             .pooling_known = info.pooling_known};
}

static void append_ids(vd_buf *ids, int32_t *id, size_t n)
{
    vd_buf_append(ids, id, n * sizeof(*id));
    vd_ids_free(id);
}

static vd_status face_encode(void *self, const char *text, size_t n, vd_buf *ids, vd_err *err)
{
    const vd_model_backend *m = self;
    int32_t *id = NULL;
    size_t n_ids = 0;
    vd_status st = vd_tokenizer_encode(m->tokenizer, text, n, NULL, &id, &n_ids, err);
    if (st != VD_OK)
        return st;
    append_ids(ids, id, n_ids);
    return vd_buf_status(ids, "a prompt", err);
}

static vd_status face_encode_chat(void *self, json_t *messages, vd_buf *ids, vd_err *err)
{
    const vd_model_backend *m = self;
    int32_t *id = NULL;
    size_t n_ids = 0;
    if (m->tmpl == NULL)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "an encoder makes embeddings, no text");
    vd_status st = vd_chat_prompt(m->tmpl, m->tokenizer, messages, NULL, true, NULL, NULL, &id,
                                  &n_ids, err);
    if (st != VD_OK)
        return st;
    append_ids(ids, id, n_ids);
    return vd_buf_status(ids, "a prompt", err);
}

static const char *face_piece(void *self, int32_t id, bool special, size_t *ret_n)
{
    const vd_model_backend *m = self;
    return vd_tokenizer_piece(m->tokenizer, id, special, ret_n);
}

static bool face_is_end(void *self, int32_t id)
{
    const vd_model_backend *m = self;
    return vd_tokenizer_is_end(m->tokenizer, id);
}

static vd_status face_submit(void *self, const vd_request_options *options,
                             vd_backend_event_fn event_fn, void *ctx, uint64_t *ret_id, vd_err *err)
{
    vd_model_backend *m = self;
    sequence *s = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*s), "a request", &s, err);
    if (st != VD_OK)
        return st;
    *s = (sequence){.model = m, .on_event = event_fn, .ctx = ctx, .begin_ns = vd_now_ns()};
    vd_request_options ours = *options;
    ours.on_event = on_event;
    ours.ctx = s;
    st = vd_engine_submit(m->engine, &ours, ret_id, err);
    if (st != VD_OK)
        vd_free(s);
    return st;
}

static void face_cancel(void *self, uint64_t id)
{
    vd_model_backend *m = self;
    vd_engine_cancel(m->engine, id);
}

static vd_engine_stats face_stats(void *self)
{
    vd_model_backend *m = self;
    return vd_engine_stats_get(m->engine);
}

vd_backend vd_model_backend_face(vd_model_backend *model)
{
    static const vd_backend_ops ops = {.info = face_info,
                                       .encode = face_encode,
                                       .encode_chat = face_encode_chat,
                                       .piece = face_piece,
                                       .is_end = face_is_end,
                                       .submit = face_submit,
                                       .cancel = face_cancel,
                                       .stats = face_stats};
    return (vd_backend){.ops = &ops, .self = model};
}

vd_engine_info vd_model_backend_info(const vd_model_backend *model)
{
    return vd_engine_info_get(model->engine);
}

/* ---- opening ---------------------------------------------------------------------------------*/

/* "fp_" and a hash of all that decides which text a seed gives: program, kernels, threads, how keys
 * and values are kept, weights. Guesses do not. */
static vd_status make_fingerprint(vd_model_backend *m, const vd_model_backend_options *o,
                                  vd_err *err)
{
    vd_mapping file;
    vd_sha256 sha;
    vd_status st = vd_mapping_open(o->path, &file, err);
    if (st != VD_OK)
        return st;
    vd_engine_info info = vd_engine_info_get(m->engine);
    char about[160];
    int n = snprintf(about, sizeof(about), "%s %s %zu %s %zu %d %zu", vd_version(), info.kernels,
                     info.n_threads, vd_kv_type_name(o->engine.kv_type), info.kv_bytes,
                     o->engine.exact, file.size);
    vd_sha256_init(&sha);
    vd_sha256_add(&sha, about, (size_t)n);
    vd_sha256_add(&sha, file.data, VD_MIN(file.size, (size_t)PRINT_BYTES));
    char hex[VD_SHA256_HEX + 1];
    vd_sha256_end(&sha, hex);
    snprintf(m->fingerprint, sizeof(m->fingerprint), "fp_%.12s", hex);
    vd_mapping_close(&file);
    return VD_OK;
}

static vd_status parse_template(vd_model_backend *m, vd_err *err)
{
    if (vd_engine_info_get(m->engine).encoder)
        return VD_OK;
    const char *source = vd_engine_chat_template(m->engine);
    if (source == NULL)
        source = vd_chat_fallback(m->tokenizer);
    return vd_template_parse(source, strlen(source), &m->tmpl, err);
}

vd_status vd_model_backend_open(const vd_model_backend_options *o, vd_model_backend **ret_model,
                                vd_err *err)
{
    vd_model_backend *m = NULL;
    struct stat about;
    vd_status st = vd_alloc_array(1, sizeof(*m), "a model", &m, err);
    if (st != VD_OK)
        return st;
    m->account = o->account;
    m->feed = o->feed;
    m->site = o->site;
    m->hardware = o->hardware;
    m->max_running = o->engine.max_running;
    m->created_s = stat(o->path, &about) == 0 ? (int64_t)about.st_mtime : 0;
    st = vd_engine_open(o->path, &o->engine, &m->engine, err);
    if (st != VD_OK)
        goto out;
    m->tokenizer = vd_engine_tokenizer(m->engine);
    st = parse_template(m, err);
    if (st == VD_OK)
        st = make_fingerprint(m, o, err);
    if (st != VD_OK)
        goto out;
    vd_engine_observe(m->engine, &(vd_engine_observer){.on_accept = on_accept,
                                                       .on_begin = on_begin,
                                                       .on_step = on_step,
                                                       .ctx = m,
                                                       .first_id = o->first_id,
                                                       .model = o->number});
    if (o->calibrate_ns != 0)
        st = vd_engine_calibrate(m->engine, o->calibrate_ns, err);
    m->steps = o->steps;
    if (st == VD_OK)
        st = vd_engine_start(m->engine, err);
    if (st != VD_OK)
        goto out;
    *ret_model = m;
    m = NULL;
out:
    vd_model_backend_close(m);
    return st;
}

void vd_model_backend_close(vd_model_backend *m)
{
    if (m == NULL)
        return;
    vd_engine_free(m->engine);
    vd_template_free(m->tmpl);
    vd_free(m);
}

/* engine.c - opening and closing an engine, and what it says of itself. */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "engine/kv_type.h"
#include "text/tokenizer.h"

enum {
    DEFAULT_CTX = 8192,
    DEFAULT_KV = 16384,
    DEFAULT_RUNNING = 32,
    DEFAULT_WAITING = 1024,
    DEFAULT_STEP = 512,
    DEFAULT_STEP_MS = 50,
    DEFAULT_DRAFT = 8,
    DRAFT_ROWS = 32, /* drafted tokens of one step: each needs a row of logits */
    COUNT_MAX = 1 << 24, /* ceiling of every count in the options */
    KEY_MAX = 96
};

static vd_status check_options(const vd_engine_options *o, vd_err *err)
{
    const struct {
        const char *name;
        size_t value;
    } counts[] = {
        {"ctx_tokens", o->ctx_tokens}, {"kv_tokens", o->kv_tokens},
        {"max_running", o->max_running}, {"max_waiting", o->max_waiting},
        {"step_tokens", o->step_tokens},
        {"step_ms", o->step_ms},
    };
    for (size_t i = 0; i < VD_COUNT(counts); i++)
        if (counts[i].value > COUNT_MAX)
            return VD_FAIL(err, VD_ERR_ARG, "%s is %zu, at most %d is possible", counts[i].name,
                           counts[i].value, COUNT_MAX);
    if (o->draft_tokens > VD_DRAFT_MAX)
        return VD_FAIL(err, VD_ERR_ARG, "draft_tokens is %zu, at most %d are possible",
                       o->draft_tokens, VD_DRAFT_MAX);
    if (o->speculate > VD_SPECULATE_MODEL)
        return VD_FAIL(err, VD_ERR_ARG, "there is no way %d to guess tokens", (int)o->speculate);
    if ((o->speculate == VD_SPECULATE_MODEL) != (o->draft_path != NULL))
        return VD_FAIL(err, VD_ERR_ARG,
                       "guesses by a draft model need its file, and no others may have one");
    if (o->kv_type > VD_KV_Q4_0)
        return VD_FAIL(err, VD_ERR_ARG, "there is no type %d of the KV cache", (int)o->kv_type);
    return VD_OK;
}

/* A quarter of the machine's memory is the most that a cache nobody sized may take. */
static size_t default_kv_tokens(const vd_hparams *hp, const vd_engine_options *o)
{
    size_t wanted = VD_MAX((size_t)DEFAULT_KV, 4 * o->ctx_tokens);
    size_t row;
    if (!vd_dtype_row_bytes((uint32_t)vd_kv_type_dtype(o->kv_type), hp->head_dim, &row))
        return wanted; /* vd_kv_create says what is wrong */
    size_t token_bytes = 2 * hp->n_layer * hp->n_kv_head * row;
    long n_pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    if (n_pages <= 0 || page_bytes <= 0)
        return wanted;
    size_t affordable = (size_t)n_pages / 4 * (size_t)page_bytes / token_bytes;
    return VD_MAX(o->ctx_tokens, VD_MIN(wanted, affordable));
}

/* Keys and values of an encoder are read in the step that made them, and never again. */
static void fill_encoder(vd_engine_options *o)
{
    o->step_tokens = VD_MAX(o->step_tokens, o->ctx_tokens);
    if (o->kv_tokens == 0)
        o->kv_tokens = o->step_tokens + o->max_running * VD_KV_PAGE_TOKENS;
    o->kv_type = VD_KV_F32;
    o->no_prefix_cache = true;
    o->speculate = VD_SPECULATE_OFF;
}

static void fill_defaults(vd_engine_options *o, const vd_hparams *hp)
{
    if (o->ctx_tokens == 0)
        o->ctx_tokens = VD_MIN(hp->ctx_train, (size_t)DEFAULT_CTX);
    if (o->kv_tokens == 0 && !hp->block.encoder)
        o->kv_tokens = default_kv_tokens(hp, o);
    if (o->max_running == 0)
        o->max_running = DEFAULT_RUNNING;
    if (o->max_waiting == 0)
        o->max_waiting = DEFAULT_WAITING;
    if (o->step_tokens == 0)
        o->step_tokens = DEFAULT_STEP;
    if (o->step_ms == 0)
        o->step_ms = DEFAULT_STEP_MS;
    if (o->draft_tokens == 0)
        o->draft_tokens = DEFAULT_DRAFT;
    /* Every running sequence must get its token in every step, and guesses some room too. */
    size_t n_guessed = o->speculate != VD_SPECULATE_OFF ? o->draft_tokens : 0;
    o->step_tokens = VD_MAX(o->step_tokens, o->max_running + n_guessed);
    if (hp->block.encoder)
        fill_encoder(o);
    o->ctx_tokens = VD_MIN(o->ctx_tokens, o->kv_tokens);
}

static vd_status copy_metadata(vd_engine *e, const char *key, char **ret, vd_err *err)
{
    vd_str text;
    if (!vd_gguf_get_str(e->model->gguf, key, &text))
        return VD_OK;
    *ret = vd_strndup(text.data, text.n);
    return *ret != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory for %s", key);
}

/* What the options or else the file say, or the custom of such models. */
static vd_status choose_pooling(vd_engine *e, vd_err *err)
{
    static const vd_pooling by_number[] = {VD_POOLING_NONE, VD_POOLING_MEAN, VD_POOLING_CLS,
                                           VD_POOLING_LAST, VD_POOLING_RANK};
    char key[KEY_MAX];
    uint32_t number = UINT32_MAX;
    if (e->options.pooling > VD_POOLING_RANK)
        return VD_FAIL(err, VD_ERR_ARG, "there is no pooling %d", (int)e->options.pooling);
    e->pooling = e->options.pooling;
    e->pooling_known = true;
    if (e->pooling != VD_POOLING_MODEL)
        return VD_OK;
    snprintf(key, sizeof(key), "%s.pooling_type", e->model->arch->name);
    if (vd_gguf_get_u32(e->model->gguf, key, &number) && number < VD_COUNT(by_number)) {
        e->pooling = by_number[number];
    } else if (vd_gguf_find(e->model->gguf, key) != NULL) {
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is not one of 0 to %zu", key,
                       VD_COUNT(by_number) - 1);
    } else {
        e->pooling = e->model->hp.block.encoder ? VD_POOLING_MEAN : VD_POOLING_LAST;
        e->pooling_known = false;
    }
    return VD_OK;
}

static vd_status open_model(vd_engine *e, const char *path, vd_err *err)
{
    const vd_kernels *kernels = vd_kernels_get();
    vd_precision precision =
        e->options.exact ? VD_PRECISION_EXACT : vd_kernels_default_precision(kernels);
    vd_status st = vd_pool_create(e->options.n_threads, &e->pool, err);
    if (st == VD_OK)
        st = vd_model_open(path, precision, e->pool, &e->model, err);
    if (st != VD_OK)
        return st;
    st = vd_tokenizer_create(e->model->gguf, &e->tokenizer, err);
    if (st != VD_OK) {
        vd_err_prefix(err, "%s", path);
        return st;
    }
    size_t n_vocab = vd_tokenizer_n_vocab(e->tokenizer);
    if (n_vocab > e->model->hp.n_vocab)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s: the vocabulary has %zu tokens but the embedding only %zu rows", path,
                       n_vocab, e->model->hp.n_vocab);
    st = copy_metadata(e, "tokenizer.chat_template", &e->chat_template, err);
    if (st == VD_OK)
        st = copy_metadata(e, "general.name", &e->name, err);
    if (st == VD_OK)
        st = choose_pooling(e, err);
    return st;
}

static vd_status make_buffers(vd_engine *e, vd_err *err)
{
    const vd_engine_options *o = &e->options;
    const vd_hparams *hp = &e->model->hp;
    size_t n_vocab = hp->block.encoder ? 0 : hp->n_vocab, n_logits = 0, n_embeddings = 0;
    if (o->speculate != VD_SPECULATE_OFF)
        e->draft_rows = VD_MIN(VD_MIN((size_t)DRAFT_ROWS, o->max_running * o->draft_tokens),
                               o->step_tokens - o->max_running);
    size_t n_out = o->max_running + e->draft_rows;
    if (!vd_mul_size(n_out, n_vocab, &n_logits))
        return VD_FAIL(err, VD_ERR_ARG, "max_running is %zu, too many for this vocabulary",
                       o->max_running);
    if (!vd_mul_size(o->step_tokens, hp->n_embd, &n_embeddings))
        return VD_FAIL(err, VD_ERR_ARG, "step_tokens is %zu, too many for this model",
                       o->step_tokens);
    const struct {
        size_t n, size;
        const char *what;
        void *to;
    } arrays[] = {
        {n_logits, sizeof(float), "logits", &e->logits},
        {n_vocab, sizeof(float), "logits", &e->logits_before},
        {o->step_tokens, sizeof(*e->token), "a batch", &e->token},
        {o->step_tokens, sizeof(*e->pos), "a batch", &e->pos},
        {o->step_tokens, sizeof(*e->seq), "a batch", &e->seq},
        {n_out, sizeof(*e->out), "a batch", &e->out},
        {o->max_running, sizeof(*e->sampled), "a batch", &e->sampled},
        {o->max_running, sizeof(*e->share), "a batch", &e->share},
        {n_embeddings, sizeof(float), "embeddings", &e->embeddings},
        {o->step_tokens, sizeof(*e->embed), "a batch", &e->embed},
        {o->step_tokens, sizeof(*e->embedded), "a batch", &e->embedded},
        {o->max_running, sizeof(*e->pooled), "a batch", &e->pooled},
        {o->max_running + o->max_waiting, sizeof(*e->by_id), "requests", &e->by_id},
    };
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(arrays); i++)
        st = vd_alloc_array(arrays[i].n, arrays[i].size, arrays[i].what, arrays[i].to, err);
    return st;
}

/* What the options ask for that this model cannot do. */
static vd_status check_model(const vd_engine *e, const char *path, vd_err *err)
{
    if (e->options.ctx_tokens > vd_model_ctx_max(e->model))
        return VD_FAIL(err, VD_ERR_ARG,
                       "%s: a context of %zu tokens; the model has positions for %zu", path,
                       e->options.ctx_tokens, vd_model_ctx_max(e->model));
    if (e->model->hp.block.encoder && e->options.draft_path != NULL)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                       "%s is an encoder: it makes no text that a draft model could guess", path);
    return VD_OK;
}

vd_status vd_engine_open(const char *path, const vd_engine_options *options,
                         vd_engine **ret_engine, vd_err *err)
{
    vd_engine *e = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*e), "the engine", &e, err);
    if (st != VD_OK)
        return st;
    if (options != NULL)
        e->options = *options;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->wake, NULL);
    e->next_id = 1;
    st = check_options(&e->options, err);
    if (st == VD_OK)
        st = open_model(e, path, err);
    if (st != VD_OK)
        goto out;
    fill_defaults(&e->options, &e->model->hp);
    st = check_model(e, path, err);
    if (st == VD_OK)
        st = vd_kv_create(&e->model->hp, vd_kv_type_dtype(e->options.kv_type),
                          e->options.kv_tokens, &e->kv, err);
    if (st == VD_OK)
        st = vd_forward_create(e->model, e->kv, e->pool, e->options.step_tokens,
                               e->options.ctx_tokens, &e->forward, err);
    if (st == VD_OK && e->options.n_threads == 0)
        vd_forward_explore_threads(e->forward);
    if (st == VD_OK && e->options.speculate == VD_SPECULATE_MODEL)
        st = vd_drafter_open(e->options.draft_path, e, &e->drafter, err);
    if (st == VD_OK)
        st = vd_sampler_create(e->model->hp.n_vocab, &e->sampler, err);
    if (st == VD_OK)
        st = make_buffers(e, err);
    if (st != VD_OK)
        goto out;
    *ret_engine = e;
    e = NULL;
out:
    vd_engine_free(e);
    return st;
}

void vd_engine_free(vd_engine *e)
{
    if (e == NULL)
        return;
    if (e->by_id != NULL) /* fully opened: requests may be alive */
        vd_engine_stop(e, false);
    vd_free(e->logits);
    vd_free(e->logits_before);
    vd_free(e->token);
    vd_free(e->pos);
    vd_free(e->seq);
    vd_free(e->out);
    vd_free(e->sampled);
    vd_free(e->share);
    vd_free(e->embeddings);
    vd_free(e->embed);
    vd_free(e->embedded);
    vd_free(e->pooled);
    vd_free(e->by_id);
    vd_drafter_free(e->drafter);
    vd_sampler_free(e->sampler);
    vd_forward_free(e->forward);
    vd_kv_free(e->kv);
    vd_free(e->chat_template);
    vd_free(e->name);
    vd_tokenizer_free(e->tokenizer);
    vd_model_free(e->model);
    vd_pool_free(e->pool);
    pthread_cond_destroy(&e->wake);
    pthread_mutex_destroy(&e->lock);
    vd_free(e);
}

void vd_engine_observe(vd_engine *e, const vd_engine_observer *observer)
{
    e->observer = *observer;
    e->next_id = observer->first_id != 0 ? observer->first_id : 1;
}

const vd_tokenizer *vd_engine_tokenizer(const vd_engine *e)
{
    return e->tokenizer;
}

const char *vd_engine_chat_template(const vd_engine *e)
{
    return e->chat_template;
}

vd_engine_info vd_engine_info_get(const vd_engine *e)
{
    const vd_hparams *hp = &e->model->hp;
    return (vd_engine_info){
        .architecture = e->model->arch->name,
        .name = e->name != NULL ? e->name : "",
        .kernels = e->model->kernels->name,
        .n_layer = hp->n_layer,
        .n_embd = hp->n_embd,
        .n_vocab = hp->n_vocab,
        .n_params = e->model->n_params,
        .ctx_train = hp->ctx_train,
        .ctx_tokens = e->options.ctx_tokens,
        .kv_tokens = e->options.kv_tokens,
        .n_threads = vd_pool_n_threads(e->pool),
        .n_threads_decode = vd_forward_n_threads(e->forward),
        .weight_bytes = e->model->weight_bytes,
        .kv_bytes = vd_kv_bytes(e->kv),
        .draft_weight_bytes = e->drafter != NULL ? vd_drafter_weight_bytes(e->drafter) : 0,
        .draft_kv_bytes = e->drafter != NULL ? vd_drafter_kv_bytes(e->drafter) : 0,
        .encoder = hp->block.encoder,
        .pooling = e->pooling,
        .pooling_known = e->pooling_known,
    };
}

/* fake.c - see fake.h. One thread makes one token of every sequence per step. */
#include "fake.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"

enum { END_TOKEN = 256, N_VOCAB = 257 };

typedef struct sequence {
    struct sequence *next;
    uint64_t id;
    vd_backend_event_fn on_event;
    void *ctx;
    size_t n_done, max_tokens, n_prompt, n_text, n_stop, n_top;
    char *text;
    char *stop[4];
    atomic_bool cancelled;
} sequence;

struct vd_fake {
    vd_fake_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_bool ending;
    /* guarded by lock: */
    sequence *sequences;
    uint64_t next_id;
    vd_engine_stats stats;
};

static vd_backend_info fake_info(void *self)
{
    const vd_fake *fake = self;
    return (vd_backend_info){.fingerprint = "fp_fake",
                             .created_s = 1700000000,
                             .n_vocab = N_VOCAB,
                             .ctx_tokens = fake->options.ctx_tokens,
                             .kv_tokens = 4 * fake->options.ctx_tokens,
                             .n_embd = 8,
                             .pooling = VD_POOLING_LAST,
                             .pooling_known = fake->options.embeds};
}

static vd_status fake_encode(void *self, const char *text, size_t n, vd_buf *ids, vd_err *err)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = (unsigned char)text[i];
        vd_buf_append(ids, &id, sizeof(id));
    }
    return vd_buf_status(ids, "tokens", err);
}

static const char *fake_piece(void *self, int32_t id, bool special, size_t *ret_n)
{
    static char bytes[256];
    *ret_n = id >= 0 && id < 256;
    if (*ret_n == 0)
        return "";
    bytes[id] = (char)id;
    return &bytes[id];
}

static bool fake_is_end(void *self, int32_t id)
{
    return id == END_TOKEN;
}

static vd_status fake_encode_chat(void *self, json_t *messages, vd_buf *ids, vd_err *err)
{
    vd_buf text;
    vd_buf_init(&text, SIZE_MAX / 2);
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *message = json_array_get(messages, i);
        vd_buf_printf(&text, "%s: ", json_string_value(json_object_get(message, "role")));
        json_t *content = json_object_get(message, "content");
        vd_buf_append(&text, json_string_value(content), json_string_length(content));
        vd_buf_putc(&text, '\n');
    }
    vd_status st = vd_buf_status(&text, "a prompt", err);
    if (st == VD_OK)
        st = fake_encode(self, vd_buf_text(&text), text.n, ids, err);
    vd_buf_done(&text);
    return st;
}

static void sequence_free(sequence *s)
{
    for (size_t i = 0; i < s->n_stop; i++)
        vd_free(s->stop[i]);
    vd_free(s->text);
    vd_free(s);
}

static vd_status fake_submit(void *self, const vd_request_options *o, vd_backend_event_fn on_event,
                             void *ctx, uint64_t *ret_id, vd_err *err)
{
    vd_fake *fake = self;
    sequence *s = vd_calloc(1, sizeof(*s));
    char *text = vd_calloc(o->n_prompt + 7, 1);
    if (s == NULL || text == NULL)
        abort();
    snprintf(text, o->n_prompt + 7, "Echo: ");
    for (size_t i = 0; i < o->n_prompt; i++)
        text[6 + i] = (char)o->prompt[i];
    s->on_event = on_event;
    s->ctx = ctx;
    s->n_prompt = o->n_prompt;
    s->text = text;
    s->n_text = 6 + o->n_prompt;
    s->n_stop = o->n_stop;
    s->n_top = o->n_top;
    s->max_tokens = o->max_tokens != 0 ? o->max_tokens : fake->options.ctx_tokens - o->n_prompt;
    for (size_t i = 0; i < o->n_stop; i++)
        s->stop[i] = vd_strdup(o->stop[i]);
    pthread_mutex_lock(&fake->lock);
    if (fake->stats.n_running >= fake->options.max_waiting) {
        pthread_mutex_unlock(&fake->lock);
        sequence_free(s);
        return VD_FAIL(err, VD_ERR_BUSY, "full");
    }
    *ret_id = s->id = ++fake->next_id;
    s->next = fake->sequences;
    fake->sequences = s;
    fake->stats.n_running++;
    pthread_cond_signal(&fake->wake);
    pthread_mutex_unlock(&fake->lock);
    return VD_OK;
}

static void fake_cancel(void *self, uint64_t id)
{
    vd_fake *fake = self;
    pthread_mutex_lock(&fake->lock);
    for (sequence *s = fake->sequences; s != NULL; s = s->next)
        if (s->id == id)
            s->cancelled = true;
    pthread_mutex_unlock(&fake->lock);
}

static vd_engine_stats fake_stats(void *self)
{
    vd_fake *fake = self;
    pthread_mutex_lock(&fake->lock);
    vd_engine_stats stats = fake->stats;
    pthread_mutex_unlock(&fake->lock);
    return stats;
}

/* The next token of one sequence; true when it was the last. Called without the lock. */
static bool make_token(vd_fake *fake, sequence *s)
{
    vd_usage usage = {.prompt_tokens = s->n_prompt};
    vd_top_token top[20];
    vd_event e = {.request_id = s->id, .token = -1, .text = ""};
    char c = 0;
    if (s->cancelled || fake->ending) {
        e.finish = VD_FINISH_CANCELLED;
    } else if (s->n_done == s->n_text && !fake->options.endless) {
        e.finish = VD_FINISH_STOP;
        e.token = END_TOKEN;
    } else {
        c = s->n_done < s->n_text ? s->text[s->n_done] : '.';
        e.token = (unsigned char)c;
        e.text = &c;
        e.n_text = 1;
        e.logprob = -0.5f;
        e.n_top = s->n_top;
        for (size_t i = 0; i < s->n_top; i++)
            top[i] = (vd_top_token){.token = (int32_t)(e.token + (int32_t)i) % 128,
                                    .logprob = -0.5f - (float)i};
        e.top = top;
        s->n_done++;
        for (size_t i = 0; i < s->n_stop; i++)
            if (strlen(s->stop[i]) == 1 && s->stop[i][0] == c) {
                e.finish = VD_FINISH_STOP;
                e.n_text = 0;
            }
        if (e.finish == VD_FINISH_NONE && s->n_done == s->max_tokens)
            e.finish = VD_FINISH_LENGTH;
    }
    usage.completion_tokens = s->n_done;
    vd_spent spent = {
        .energy = {.total_uj = 3, .active_uj = 2, .idle_share_uj = 1, .prefill_uj = 1,
                   .decode_uj = 1, .cpu_uj = 3, .method = "fake", .uncertainty_pct = 50,
                   .common_pct = 50, .settled = true},
        .carbon = {.water_l = -1, .pue = 1,
                   .intensity = {.g_per_kwh = 400, .kind = "average", .scope = "lifecycle",
                                 .basis = "location", .boundary = "production",
                                 .source = "a test", .zone = "XX", .version = "2023"}}};
    bool last = e.finish != VD_FINISH_NONE;
    e.usage = last ? &usage : NULL;
    s->on_event(s->ctx, &e, last ? &spent : NULL);
    return last;
}

static void *fake_main(void *arg)
{
    vd_fake *fake = arg;
    pthread_mutex_lock(&fake->lock);
    for (;;) {
        while (fake->sequences == NULL && !fake->ending)
            pthread_cond_wait(&fake->wake, &fake->lock);
        if (fake->sequences == NULL)
            break;
        if (fake->options.step_ns != 0) {
            struct timespec pause = {.tv_sec = (time_t)(fake->options.step_ns / 1000000000u),
                                     .tv_nsec = (long)(fake->options.step_ns % 1000000000u)};
            pthread_mutex_unlock(&fake->lock);
            nanosleep(&pause, NULL);
            pthread_mutex_lock(&fake->lock);
        }
        fake->stats.n_steps++;
        /* Only this thread removes, and others add in front: the links stand without the lock. */
        for (sequence *s = fake->sequences, *next; s != NULL; s = next) {
            pthread_mutex_unlock(&fake->lock);
            bool last = make_token(fake, s);
            pthread_mutex_lock(&fake->lock);
            next = s->next;
            if (!last)
                continue;
            sequence **link = &fake->sequences;
            while (*link != s)
                link = &(*link)->next;
            *link = next;
            fake->stats.n_running--;
            sequence_free(s);
        }
    }
    pthread_mutex_unlock(&fake->lock);
    return NULL;
}

vd_fake *vd_fake_create(const vd_fake_options *options)
{
    vd_fake *fake = vd_calloc(1, sizeof(*fake));
    if (fake == NULL)
        abort();
    fake->options = *options;
    if (fake->options.max_waiting == 0)
        fake->options.max_waiting = 4096;
    if (fake->options.ctx_tokens == 0)
        fake->options.ctx_tokens = 1024;
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->wake, NULL);
    if (pthread_create(&fake->thread, NULL, fake_main, fake) != 0)
        abort();
    return fake;
}

void vd_fake_free(vd_fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->ending = true;
    pthread_cond_signal(&fake->wake);
    pthread_mutex_unlock(&fake->lock);
    pthread_join(fake->thread, NULL);
    pthread_cond_destroy(&fake->wake);
    pthread_mutex_destroy(&fake->lock);
    vd_free(fake);
}

vd_backend vd_fake_backend(vd_fake *fake)
{
    static const vd_backend_ops ops = {.info = fake_info,
                                       .encode = fake_encode,
                                       .piece = fake_piece,
                                       .is_end = fake_is_end,
                                       .encode_chat = fake_encode_chat,
                                       .submit = fake_submit,
                                       .cancel = fake_cancel,
                                       .stats = fake_stats};
    return (vd_backend){.ops = &ops, .self = fake};
}

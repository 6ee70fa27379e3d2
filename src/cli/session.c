/* session.c - see session.h. */
#include "cli/session.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "energy/energy_json.h"
#include "engine/observe.h"
#include "model/store.h"
#include "text/prompt.h"

enum { REPLY_BYTES_MAX = 64 << 20 };

static vd_status on_accept(void *ctx, uint64_t request_id, vd_err *err)
{
    return vd_account_join(ctx, request_id, err);
}

static void on_step(void *ctx, const vd_step *step)
{
    vd_account_step(ctx, step);
}

static vd_status parse_template(vd_session *s, vd_err *err)
{
    if (vd_engine_info_get(s->engine).encoder)
        return VD_OK;
    const char *source = vd_engine_chat_template(s->engine);
    if (source == NULL)
        source = vd_chat_fallback(vd_engine_tokenizer(s->engine));
    return vd_template_parse(source, strlen(source), &s->tmpl, err);
}

static vd_hardware guess_hardware(vd_meter *meter)
{
    vd_meter_info info;
    vd_meter_info_get(meter, &info);
    const vd_hardware_facts facts = {.cpu = info.machine.cpu,
                                     .virtual_machine = info.machine.virtual_machine,
                                     .n_cpu = info.machine.n_cpu,
                                     .memory_bytes = info.machine.memory_bytes};
    return vd_hardware_guess(&facts);
}

/* One value for the whole run, so the sum over windows is the product. */
vd_carbon vd_session_carbon(const vd_session *s, const vd_energy *energy)
{
    const vd_carbon_use use = {.energy_uj = energy->total_uj,
                               .operational_ug =
                                   vd_carbon_flat_ug(energy->total_uj, &s->intensity),
                               .machine_ns = energy->machine_ns};
    vd_carbon carbon;
    vd_carbon_of(&use, &s->intensity, NULL, &s->hardware, &carbon);
    return carbon;
}

vd_status vd_session_open(const char *model, const vd_engine_options *options, const char *zone,
                          vd_session *ret_session, vd_err *err)
{
    vd_session s = {0};
    char *path = NULL, *draft = NULL;
    vd_engine_options engine = *options;
    const vd_zone *row = NULL;
    vd_status st = vd_zone_find(zone, &row, err);
    if (st == VD_OK)
        st = vd_store_resolve(model, &path, err);
    if (st == VD_OK && engine.draft_path != NULL)
        st = vd_store_resolve(engine.draft_path, &draft, err);
    engine.draft_path = draft;
    if (st == VD_OK)
        st = vd_engine_open(path, &engine, &s.engine, err);
    if (st == VD_OK)
        st = parse_template(&s, err);
    if (st == VD_OK)
        st = vd_meter_open(NULL, &s.meter, err);
    if (st == VD_OK)
        st = vd_account_create(s.meter, NULL, &s.account, err);
    if (st == VD_OK) {
        const vd_engine_observer observer = {
            .on_accept = on_accept, .on_step = on_step, .ctx = s.account};
        vd_engine_observe(s.engine, &observer);
        s.intensity = vd_zone_intensity(row, (int64_t)(vd_wall_ns() / 1000000000u));
        s.hardware = guess_hardware(s.meter);
        *ret_session = s;
        s = (vd_session){0};
    }
    vd_free(path);
    vd_free(draft);
    vd_session_close(&s);
    return st;
}

void vd_session_close(vd_session *s)
{
    vd_engine_free(s->engine);
    vd_template_free(s->tmpl);
    vd_account_free(s->account);
    vd_meter_close(s->meter);
    *s = (vd_session){0};
}

vd_status vd_session_check_speech(const vd_session *s, vd_err *err)
{
    vd_engine_info info = vd_engine_info_get(s->engine);
    if (info.encoder)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                       "%s is an encoder: it makes embeddings, no text; see verdant embed",
                       info.architecture);
    return VD_OK;
}

/* What the event callback needs. */
typedef struct answering {
    vd_reply *reply;
    FILE *out;
    bool done, broken; /* broken: nobody reads `out` any more */
} answering;

static void on_event(void *ctx, const vd_event *event)
{
    answering *a = ctx;
    vd_buf_append(&a->reply->text, event->text, event->n_text);
    if (a->out != NULL && event->n_text > 0) {
        fwrite(event->text, 1, event->n_text, a->out);
        a->broken = fflush(a->out) != 0 || ferror(a->out);
    }
    if (event->finish == VD_FINISH_NONE)
        return;
    a->reply->finish = event->finish;
    a->reply->status = event->status;
    a->reply->usage = *event->usage;
    a->done = true;
}

static vd_status submit(vd_session *s, const int32_t *ids, size_t n, const vd_sampling *sampling,
                        size_t max_tokens, answering *a, uint64_t *ret_id, vd_err *err)
{
    vd_request_options options = {.prompt = ids, .n_prompt = n, .max_tokens = max_tokens,
                                  .sampling = *sampling, .on_event = on_event, .ctx = a};
    return vd_engine_submit(s->engine, &options, ret_id, err);
}

vd_status vd_session_answer(vd_session *s, json_t *messages, const char *text,
                            const vd_sampling *sampling, size_t max_tokens, FILE *out,
                            volatile sig_atomic_t *stop, vd_reply *ret_reply, vd_err *err)
{
    vd_reply reply = {0};
    answering a = {.reply = &reply, .out = out};
    uint64_t id = 0;
    int32_t *ids = NULL;
    size_t n = 0;
    vd_buf_init(&reply.text, REPLY_BYTES_MAX);
    const vd_tokenizer *tokenizer = vd_engine_tokenizer(s->engine);
    vd_status st = vd_session_check_speech(s, err);
    if (st == VD_OK && messages != NULL)
        st = vd_chat_prompt(s->tmpl, tokenizer, messages, NULL, true, NULL, NULL, &ids, &n, err);
    else if (st == VD_OK)
        st = vd_tokenizer_encode(tokenizer, text, strlen(text), NULL, &ids, &n, err);
    if (st == VD_OK)
        st = submit(s, ids, n, sampling, max_tokens, &a, &id, err);
    if (st != VD_OK)
        goto out;
    while (st == VD_OK && !a.done) {
        bool worked = false;
        if (a.broken || (stop != NULL && *stop))
            vd_engine_cancel(s->engine, id);
        st = vd_engine_step(s->engine, &worked, err);
    }
    if (st == VD_OK)
        st = vd_account_leave(s->account, id, &reply.energy, err);
    if (st == VD_OK && reply.finish == VD_FINISH_ERROR)
        st = VD_FAIL(err, reply.status, "the answer failed: %s", vd_finish_message(reply.status));
    if (st == VD_OK)
        st = vd_buf_status(&reply.text, "the answer", err);
    if (st != VD_OK)
        goto out;
    reply.carbon = vd_session_carbon(s, &reply.energy);
    *ret_reply = reply;
    vd_buf_init(&reply.text, 0);
out:
    vd_ids_free(ids);
    vd_reply_done(&reply);
    return st;
}

void vd_reply_done(vd_reply *reply)
{
    vd_buf_done(&reply->text);
}

static double seconds(uint64_t ns)
{
    return (double)ns * 1e-9;
}

static double decode_speed(const vd_usage *u)
{
    return u->completion_tokens > 1 && u->decode_ns > 0
               ? (double)(u->completion_tokens - 1) / seconds(u->decode_ns)
               : 0;
}

void vd_reply_print_cost(const vd_reply *r)
{
    const vd_energy *e = &r->energy;
    fprintf(stderr,
            "[%zu tokens, %.1f tokens/s, %.2f J, %.6f g CO2e (%s; energy by %s, +-%.0f %%)]\n",
            r->usage.completion_tokens, decode_speed(&r->usage), (double)e->total_uj * 1e-6,
            r->carbon.operational_g + r->carbon.embodied_g, r->carbon.intensity.zone, e->method,
            e->uncertainty_pct);
}

json_t *vd_reply_json(const vd_reply *r)
{
    static const char *const reasons[] = {"", "stop", "length", "cancelled", "error"};
    const vd_usage *u = &r->usage;
    json_t *energy = vd_energy_json(&r->energy, vd_carbon_json(&r->carbon, u->prompt_tokens +
                                                                    u->completion_tokens));
    return json_pack("{s:s%,s:s,s:{s:I,s:I,s:I,s:{s:I},s:o},s:{s:f,s:f,s:f,s:f,s:I,s:I}}", "text",
                     vd_buf_text(&r->text), r->text.n, "finish_reason", reasons[r->finish], "usage",
                     "prompt_tokens", (json_int_t)u->prompt_tokens, "completion_tokens",
                     (json_int_t)u->completion_tokens, "total_tokens",
                     (json_int_t)u->prompt_tokens + (json_int_t)u->completion_tokens,
                     "prompt_tokens_details", "cached_tokens", (json_int_t)u->cached_tokens,
                     "energy", energy, "timings", "queued_s", seconds(u->queued_ns), "prefill_s",
                     seconds(u->prefill_ns), "decode_s", seconds(u->decode_ns), "decode_tok_s",
                     decode_speed(u), "draft_tokens", (json_int_t)u->draft_tokens, "draft_taken",
                     (json_int_t)u->draft_taken);
}

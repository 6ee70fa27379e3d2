/* books.c - see books.h. */
#include "serve/books.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <verdant/verdant.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/home.h"
#include "base/log.h"
#include "energy/ledger/entry.h"
#include "serve/exchange.h"
#include "serve/server.h"

static const uint64_t say_again_ns = UINT64_C(60000000000);

struct vd_books {
    vd_ledger *ledger;
    vd_receipt_key *key; /* NULL: no receipts */
    uint64_t said_ns; /* when the log heard last of a failure; 0: all was well. Main thread */
};

vd_status vd_books_path(char **ret_path, vd_err *err)
{
    const char *named = getenv("VERDANT_LEDGER");
    if (named == NULL || named[0] == '\0')
        return vd_home_path("ledger.db", ret_path, err);
    if (strcmp(named, "off") == 0)
        return VD_OK;
    *ret_path = vd_strdup(named);
    return *ret_path != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory for a path");
}

/* Without a key there are no receipts, and the rest goes on. */
static void open_key(vd_books *b, const char *folder)
{
    vd_err err = {0};
    char *home = NULL;
    vd_status st = folder == NULL ? vd_home_path("keys", &home, &err) : VD_OK;
    if (st == VD_OK)
        st = vd_receipt_key_open(folder != NULL ? folder : home, true, &b->key, &err);
    if (st != VD_OK)
        vd_log(VD_LOG_WARN, "ledger", "no receipts can be signed why=\"%s\"", err.message);
    else
        vd_log(VD_LOG_INFO, "ledger", "receipts are signed key=%s",
               vd_receipt_key_public(b->key));
    vd_free(home);
}

vd_status vd_books_open(const vd_books_options *o, vd_books **ret_books, vd_err *err)
{
    vd_books *b = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*b), "the books", &b, err);
    if (st != VD_OK)
        return st;
    vd_ledger_options options = {.path = o->path,
                                 .program = "verdant " VD_VERSION,
                                 .method = o->method,
                                 .pue = o->pue,
                                 .lazy = true};
    st = vd_ledger_open(&options, &b->ledger, err);
    if (st != VD_OK)
        goto out;
    vd_log(VD_LOG_INFO, "ledger", "open path=\"%s\"", options.path);
    if (!o->no_receipts)
        open_key(b, o->keys);
    vd_books_tick(b);
    *ret_books = b;
    b = NULL;
out:
    vd_books_close(b);
    return st;
}

void vd_books_close(vd_books *b)
{
    if (b == NULL)
        return;
    if (b->ledger != NULL && vd_ledger_flush(b->ledger, UINT64_C(10000000000), NULL) != VD_OK)
        vd_log(VD_LOG_ERROR, "ledger", "could not be written to its end path=\"%s\"",
               vd_ledger_path(b->ledger));
    vd_ledger_close(b->ledger);
    vd_receipt_key_close(b->key);
    vd_free(b);
}

vd_ledger *vd_books_ledger(vd_books *b)
{
    return b != NULL ? b->ledger : NULL;
}

void vd_books_tick(vd_books *b)
{
    vd_ledger_stats stats;
    if (b == NULL)
        return;
    vd_ledger_stats_get(b->ledger, &stats);
    uint64_t now_ns = vd_now_ns();
    if (stats.failure[0] == '\0') {
        if (b->said_ns != 0)
            vd_log(VD_LOG_INFO, "ledger", "can be written again");
        b->said_ns = 0;
    } else if (b->said_ns == 0 || now_ns - b->said_ns > say_again_ns) {
        vd_log(VD_LOG_ERROR, "ledger", "cannot be written, what is new waits in memory why=\"%s\" "
               "lag_s=%.0f", stats.failure, (double)stats.lag_ns / 1e9);
        b->said_ns = now_ns;
    }
}

vd_ledger_intensity vd_books_intensity(const vd_intensity *from)
{
    vd_ledger_intensity i = {.g_per_kwh = from->g_per_kwh,
                             .from_s = from->valid_from_s,
                             .to_s = from->valid_to_s,
                             .estimated = from->estimated,
                             .stale = from->stale};
    snprintf(i.zone, sizeof(i.zone), "%s", from->zone);
    snprintf(i.kind, sizeof(i.kind), "%s", from->kind);
    snprintf(i.scope, sizeof(i.scope), "%s", from->scope);
    snprintf(i.basis, sizeof(i.basis), "%s", from->basis);
    snprintf(i.boundary, sizeof(i.boundary), "%s", from->boundary);
    snprintf(i.source, sizeof(i.source), "%s", from->source);
    snprintf(i.version, sizeof(i.version), "%s", from->version);
    return i;
}

void vd_books_window(vd_books *b, const vd_window *window, const vd_intensity *intensity)
{
    if (b == NULL)
        return;
    if (window->n_share > 0) {
        vd_ledger_intensity i = vd_books_intensity(intensity);
        vd_ledger_set_intensity(b->ledger, &i);
    }
    vd_ledger_on_window(b->ledger, window);
}

void vd_books_settled(vd_books *b, uint64_t request_id, const vd_energy *energy)
{
    if (b != NULL)
        vd_ledger_on_settled(b->ledger, request_id, energy);
}

/* ---- requests --------------------------------------------------------------------------------*/

static const char *finish_word(vd_finish finish)
{
    static const char *const words[] = {[VD_FINISH_NONE] = "none",
                                        [VD_FINISH_STOP] = "stop",
                                        [VD_FINISH_LENGTH] = "length",
                                        [VD_FINISH_CANCELLED] = "cancelled",
                                        [VD_FINISH_ERROR] = "error"};
    return words[finish];
}

/* The name that lives as long as the server. */
static const char *model_name(const vd_exchange *r)
{
    return r->server->models[r->model].name;
}

void vd_books_choice(vd_books *b, const vd_choice *c, const vd_spent *spent)
{
    if (b == NULL || spent == NULL || spent->energy.method == NULL)
        return;
    vd_ledger_sequence_ended(
        b->ledger,
        &(vd_ledger_sequence){.request_id = c->id,
                              .answer = c->request->book,
                              .model = model_name(c->request),
                              .finish = finish_word(c->finish),
                              .begin_ns = c->begin_ns,
                              .end_ns = vd_now_ns(),
                              .prompt_tokens = (uint32_t)c->usage.prompt_tokens,
                              .cached_tokens = (uint32_t)c->usage.cached_tokens,
                              .completion_tokens = (uint32_t)c->usage.completion_tokens,
                              .embodied_ug = spent->carbon.embodied_g * 1e6,
                              .energy = spent->energy});
}

static const char *const kinds[] = {[VD_ASK_CHAT] = "chat",
                                    [VD_ASK_COMPLETION] = "completion",
                                    [VD_ASK_EMBEDDING] = "embedding"};

void vd_books_answer(vd_books *b, const vd_exchange *r)
{
    if (b == NULL || r->n_spent == 0)
        return;
    vd_ledger_answer a = {.number = r->book,
                          .model = model_name(r),
                          .kind = kinds[r->ask.kind],
                          .begin_ns = r->begin_ns,
                          .end_ns = r->end_ns,
                          .receipt = r->wants_receipt,
                          .n_sequences = (uint32_t)r->n_spent,
                          .energy = r->spent.energy};
    vd_usage_count usage = vd_usage_sum(r);
    a.prompt_tokens = usage.prompt;
    a.cached_tokens = usage.cached;
    a.completion_tokens = usage.completion;
    snprintf(a.id, sizeof(a.id), "%s", r->id);
    snprintf(a.body_id, sizeof(a.body_id), "%s", r->ask.id);
    vd_ledger_answer_ended(b->ledger, &a);
}

/* ---- receipts --------------------------------------------------------------------------------*/

const vd_receipt_key *vd_books_key(const vd_books *b)
{
    return b != NULL ? b->key : NULL;
}

char *vd_books_receipt(const vd_books *b, const vd_exchange *r)
{
    const vd_carbon *carbon = &r->spent.carbon;
    if (vd_books_key(b) == NULL || r->n_spent == 0 || !r->spent.energy.settled)
        return NULL;
    uint64_t offset_ns = vd_wall_ns() - vd_now_ns();
    vd_usage_count usage = vd_usage_sum(r);
    vd_entry e = {.begin_ns = (int64_t)(r->begin_ns + offset_ns),
                  .end_ns = (int64_t)(r->end_ns + offset_ns),
                  .n_sequences = (uint32_t)r->n_spent,
                  .prompt_tokens = usage.prompt,
                  .cached_tokens = usage.cached,
                  .completion_tokens = usage.completion,
                  .energy = r->spent.energy,
                  .pue = carbon->pue > 0 ? carbon->pue : 1,
                  .operational_ug = carbon->operational_g * 1e6,
                  .embodied_ug = carbon->embodied_g * 1e6,
                  .intensity = vd_books_intensity(&carbon->intensity)};
    snprintf(e.id, sizeof(e.id), "%s", r->id);
    snprintf(e.body_id, sizeof(e.body_id), "%s", r->ask.id);
    snprintf(e.model, sizeof(e.model), "%s", model_name(r));
    snprintf(e.kind, sizeof(e.kind), "%s", kinds[r->ask.kind]);
    char *text = NULL;
    json_t *payload = vd_entry_payload(&e);
    if (payload != NULL)
        (void)!vd_receipt_sign(b->key, payload, &text, NULL);
    json_decref(payload);
    return text;
}

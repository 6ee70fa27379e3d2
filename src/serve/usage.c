/* usage.c - tokens, joules and grams of an answer. */
#include "base/alloc.h"
#include "energy/energy_json.h"
#include "serve/books.h"
#include "serve/exchange.h"
#include "serve/server.h"

static void put_energy(const vd_spent *spent, size_t n_tokens, const char *before, vd_buf *out)
{
    json_t *energy = vd_energy_json(&spent->energy, vd_carbon_json(&spent->carbon, n_tokens));
    char *text = vd_json_text(energy);
    json_decref(energy);
    if (text == NULL) {
        out->failed = VD_ERR_NOMEM;
        return;
    }
    vd_buf_puts(out, before);
    vd_buf_puts(out, text);
    vd_free(text);
}

/* Signed, or where the meter is slow, where it will be once the figure is settled. */
static void put_receipt(vd_exchange *r, vd_buf *out)
{
    const vd_books *books = r->server->options.books;
    if (vd_books_key(books) == NULL || r->n_spent == 0)
        return;
    if (!r->spent.energy.settled) {
        vd_buf_printf(out, ",\"receipt\":{\"url\":\"/v1/energy/receipts/%s\"}", r->id);
        return;
    }
    char *text = vd_books_receipt(books, r);
    if (text == NULL) {
        out->failed = VD_ERR_NOMEM;
        return;
    }
    vd_buf_puts(out, ",\"receipt\":");
    vd_buf_puts(out, text);
    vd_free(text);
}

vd_usage_count vd_usage_sum(const vd_exchange *r)
{
    vd_usage_count sum = {0};
    for (size_t i = 0; i < r->n_choices; i++) {
        const vd_choice *c = &r->choices[i];
        sum.completion += c->usage.completion_tokens;
        if (i % r->ask.best_of != 0)
            continue;
        sum.prompt += r->ask.prompts[c->prompt].n_ids;
        sum.cached += c->usage.cached_tokens;
    }
    return sum;
}

void vd_usage_write(vd_exchange *r, vd_buf *out)
{
    vd_usage_count n = vd_usage_sum(r);
    if (r->ask.kind == VD_ASK_EMBEDDING)
        vd_buf_printf(out, "{\"prompt_tokens\":%zu,\"total_tokens\":%zu", n.prompt, n.prompt);
    else
        vd_buf_printf(out, "{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":%zu}",
                  n.prompt, n.completion, n.prompt + n.completion, n.cached);
    if (r->spent.energy.method != NULL)
        put_energy(&r->spent, n.prompt + n.completion, ",\"energy\":", out);
    if (r->wants_receipt)
        put_receipt(r, out);
    vd_buf_putc(out, '}');
}

void vd_usage_comment(vd_exchange *r, vd_buf *out)
{
    vd_usage_count n = vd_usage_sum(r);
    if (r->spent.energy.method == NULL)
        return;
    put_energy(&r->spent, n.prompt + n.completion, ": energy ", out);
    vd_buf_puts(out, "\n\n");
}

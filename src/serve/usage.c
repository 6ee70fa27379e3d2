/* usage.c - tokens, joules and grams of an answer. The energy object is DESIGN.md's. */
#include "serve/jout.h"
#include "serve/exchange.h"

void vd_usage_write(vd_exchange *r, vd_buf *out)
{
    size_t prompt = 0, cached = 0, completion = 0;
    for (size_t i = 0; i < r->n_choices; i++) {
        const vd_choice *c = &r->choices[i];
        completion += c->usage.completion_tokens;
        if (i % r->ask.best_of != 0)
            continue; /* a prompt is counted once, however many answers it gets */
        prompt += r->ask.prompts[c->prompt].n_ids;
        cached += c->usage.cached_tokens;
    }
    vd_buf_printf(out, "{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":%zu}",
                  prompt, completion, prompt + completion, cached);
    if (r->has_spent) {
        vd_spent_basis basis = r->backend->ops->basis(r->backend->self);
        vd_buf_puts(out, ",\"energy\":");
        vd_energy_write(&r->spent, &basis, out);
    }
    vd_buf_putc(out, '}');
}

/* Microjoules as joules, every digit kept, so that sums of answers are exact. */
static void put_joules(vd_buf *out, const char *name, int64_t uj)
{
    uint64_t size = uj < 0 ? 0 - (uint64_t)uj : (uint64_t)uj;
    vd_buf_printf(out, "\"%s\":%s%llu.%06llu", name, uj < 0 ? "-" : "",
                  (unsigned long long)(size / 1000000), (unsigned long long)(size % 1000000));
}

static void put_carbon(const vd_spent *spent, const vd_spent_basis *basis, vd_buf *out)
{
    vd_buf_puts(out, ",\"carbon\":{\"operational_g\":");
    vd_jout_number(out, spent->operational_g, 6);
    vd_buf_puts(out, ",\"embodied_g\":");
    vd_jout_number(out, spent->embodied_g, 6);
    vd_buf_puts(out, ",\"intensity_g_per_kwh\":");
    vd_jout_number(out, basis->intensity_g_per_kwh, 6);
    const struct {
        const char *name, *value;
    } words[] = {{"kind", basis->kind}, {"scope", basis->scope},   {"basis", basis->basis},
                 {"zone", basis->zone}, {"source", basis->source}, {"valid_at", basis->valid_at}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        vd_buf_printf(out, ",\"%s\":", words[i].name);
        vd_jout_or_null(out, words[i].value);
    }
    vd_buf_putc(out, '}');
}

void vd_energy_write(const vd_spent *spent, const vd_spent_basis *basis, vd_buf *out)
{
    vd_buf_putc(out, '{');
    put_joules(out, "total_j", spent->total_uj);
    vd_buf_putc(out, ',');
    put_joules(out, "active_j", spent->active_uj);
    vd_buf_putc(out, ',');
    put_joules(out, "idle_share_j", spent->idle_share_uj);
    vd_buf_putc(out, ',');
    put_joules(out, "prefill_j", spent->prefill_uj);
    vd_buf_putc(out, ',');
    put_joules(out, "decode_j", spent->decode_uj);
    vd_buf_puts(out, ",\"components_j\":{");
    put_joules(out, "cpu", spent->cpu_uj);
    vd_buf_putc(out, ',');
    put_joules(out, "dram", spent->dram_uj);
    vd_buf_putc(out, ',');
    put_joules(out, "gpu", spent->gpu_uj);
    vd_buf_puts(out, "},\"method\":");
    vd_jout_or_null(out, basis->method);
    vd_buf_puts(out, ",\"uncertainty_pct\":");
    vd_jout_number(out, basis->uncertainty_pct, 4);
    if (spent->unsettled)
        vd_buf_puts(out, ",\"settled\":false");
    put_carbon(spent, basis, out);
    vd_buf_putc(out, '}');
}
